"""The home module's own test, with nodes and without any pip package."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from SyntheXHomeLib import sample_data
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.nodes import ijkToWorld, labelNames, nameLabels
from SyntheXLib.tasks.task import load_task


class SyntheXTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def test_every_package_has_a_version_or_a_problem(self) -> None:
        """Asks metadata alone, so it holds before anything is installed."""
        states = SyntheXLogic().packages()
        self.assertIn("torch", [state.name for state in states])
        self.assertTrue(all(state.version or state.problem == "missing" for state in states))

    def test_the_samples_have_pictures(self) -> None:
        """They are part of the extension."""
        for name in SyntheXLogic().sampleNames():
            self.assertTrue(sample_data.thumbnail(name).is_file(), name)

    def test_a_label_map_carries_the_names_of_a_task(self) -> None:
        """The library's task files are there, and colour tables keep the names."""
        task = load_task("hip")
        node = slicer.util.addVolumeFromArray(np.ones((2, 2, 2), np.uint8), np.eye(4), "labels", "vtkMRMLLabelMapVolumeNode")
        nameLabels(node, task)
        self.assertEqual(labelNames(node), dict(enumerate(task.structure_names, start=1)))

    def test_a_parent_transform_moves_the_voxels(self) -> None:
        """Voxel (1, 2, 3) of a volume with 2 mm spacing, moved 10 mm to the right."""
        node = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), "CT")
        matrix = np.eye(4)
        matrix[0, 3] = 10
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        np.testing.assert_allclose((ijkToWorld(node) @ [1, 2, 3, 1])[:3], [12, 4, 6], atol=1e-12)
