"""The Simulate module's own test: X-rays of a cube, with nodes and without any pip package."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from SyntheXLib.scene.poses import CArmPose
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import Beam

_LEFT_HIP = 77  # in TotalSegmentator's numbering


class SyntheXSimulateTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """A scene with a cube of bone of 20 mm in air, labelled as the left hip, and a landmark in its middle."""
        slicer.mrmlScene.Clear(0)
        hu, labels = np.full((20, 20, 20), -1000, np.int16), np.zeros((20, 20, 20), np.uint8)
        hu[5:15, 5:15, 5:15], labels[5:15, 5:15, 5:15] = 1000, _LEFT_HIP
        matrix = np.diag([2.0, 2.0, 2.0, 1.0])
        volume = slicer.util.addVolumeFromArray(hu, matrix, "CT")
        labelmap = slicer.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
        markups = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
        markups.AddControlPoint((19.0, 19.0, 19.0), "FH-l")
        self.nodes: tuple[Any, Any, Any] = volume, labelmap, markups

    def test_a_labelled_cube_gives_an_image(self) -> None:
        """Open beam beside the cube, less behind it; without llvmlite the numpy renderer works."""
        logic = SyntheXSimulateLogic()
        image = slicer.util.arrayFromVolume(logic.renderXray(logic.specimen(*self.nodes, "hip"), "hip", level="naive"))
        self.assertAlmostEqual(float(image.max()), 1.0, places=3)
        self.assertLess(float(image.min()), 0.6)

    def test_mask_and_landmark_lie_on_the_cube(self) -> None:
        """The isocentre is the middle of the hips, which the camera shows in the middle of the frame from every side."""
        logic = SyntheXSimulateLogic()
        preview = logic.preview(logic.specimen(*self.nodes, "hip"), "hip", Beam("naive"))
        for angle in (0.0, 35.0):
            xray = preview.render(CArmPose(lao_rao_deg=angle, source_to_isocenter_mm=logic.distance("hip")), "preview")
            masks = slicer.util.arrayFromVolume(logic.showMasks(preview))[0]
            rows, columns = masks.shape
            self.assertEqual(masks[rows // 2, columns // 2], 1 + logic.task("hip").structure_names.index("left_hemipelvis"))
            self.assertEqual(masks[0, 0], 0)
            points = logic.showLandmarks(preview)
            place = points.GetNthControlPointPositionWorld(points.GetControlPointIndexByLabel("FH-l"))
            columnSpacing, rowSpacing, _ = xray.GetSpacing()
            np.testing.assert_allclose((place[0], place[1]), (-columns * columnSpacing / 2, -rows * rowSpacing / 2), atol=1e-3)
