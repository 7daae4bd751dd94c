"""The Infer module's own test: what a network says as nodes on the image, and its evaluation."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from SyntheXInferLib.landmark_nodes import addLandmarks
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.result_nodes import FoundNodes, addSegmentation
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import load_task

_NEEDED = ("torch", "monai", "skimage")
_SIDE, _SPACING_MM = 32, 2.0


class SyntheXInferTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """A scene with an X-ray of 32 pixels."""
        slicer.mrmlScene.Clear(0)
        pixels = np.arange(_SIDE * _SIDE, dtype=np.uint16).reshape(1, _SIDE, _SIDE)
        self.image = slicer.util.addVolumeFromArray(pixels, np.diag([-_SPACING_MM, -_SPACING_MM, 1.0, 1.0]), "X-ray")

    def nodes(self, name: str, shift: int) -> FoundNodes:
        """A square and landmarks on a line, moved by `shift` pixels to the right."""
        task = load_task("hip")
        mask = np.zeros((_SIDE, _SIDE), np.uint16)
        mask[8:16, 8 + shift : 16 + shift] = 1
        points = np.stack([np.arange(len(task.landmarks)) + 4.0 + shift, np.full(len(task.landmarks), 9.0)], axis=1).astype(np.float32)
        found = Prediction(mask, points, np.full(len(points), 0.95, np.float32), mask.astype(np.uint8))
        markups = addLandmarks(name, self.image, 0, found, task, 0.9)
        return FoundNodes(addSegmentation(name, self.image, [found], task), (markups,))

    def test_a_volume_of_several_slices_is_refused(self) -> None:
        """Needs no package and no model: the image is looked at first."""
        volume = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), np.eye(4), "CT")
        with self.assertRaisesRegex(SyntheXError, "single grey image"):
            SyntheXInferLogic().predict(volume, "model.pt")

    def test_two_pixels_aside_are_four_millimetres_and_a_dice_of_three_quarters(self) -> None:
        """Of eight columns six are common; needs no package."""
        table = SyntheXInferLogic().evaluate(self.image, self.nodes("found", 2), self.nodes("truth", 0))
        rows = {table.GetCellText(row, 0): row for row in range(table.GetNumberOfRows())}
        columns = {table.GetColumnName(column): column for column in range(table.GetNumberOfColumns())}
        self.assertAlmostEqual(float(table.GetCellText(rows["left_hemipelvis"], columns["dice"])), 0.75, places=4)
        self.assertAlmostEqual(float(table.GetCellText(rows["FH-l"], columns["error_detector_mm"])), 4.0, places=3)

    def test_a_model_file_gives_masks_and_landmarks_on_the_image(self) -> None:
        """A network that has learnt nothing yet; passed over where the packages are not installed."""
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            self.skipTest(f"{', '.join(missing)}: not installed")
        from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model

        task = load_task("hip")
        description = ModelDescription("small", (_SIDE, _SIDE), _SPACING_MM, task.to_dict(), 2.0)
        with tempfile.TemporaryDirectory(prefix="SyntheX-") as folder:
            path = Path(folder, "model.pt")
            save_model(path, build_network(description), description)
            found = SyntheXInferLogic().predict(self.image, path, InferOptions(device="cpu"))
        self.assertEqual(found.segmentation.GetSegmentation().GetNumberOfSegments(), len(task.structures))
        (markups,) = found.landmarks
        self.assertEqual(markups.GetNumberOfControlPoints(), len(task.landmarks))
        for index in range(markups.GetNumberOfControlPoints()):
            x, y, z = markups.GetNthControlPointPositionWorld(index)
            self.assertTrue(min(x, y) >= -_SIDE * _SPACING_MM and max(x, y) <= _SPACING_MM and z == 0)
