"""SyntheX Simulate: X-rays from a labelled CT."""

from typing import Any

import numpy
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.widget import SyntheXSimulateWidget

__all__ = ["SyntheXSimulate", "SyntheXSimulateLogic", "SyntheXSimulateTest", "SyntheXSimulateWidget"]


class SyntheXSimulate(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Simulate")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Simulates X-rays from a CT whose bones are labelled. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")


class SyntheXSimulateTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_a_labelled_cube_gives_an_image(self) -> None:
        """Needs no package: without llvmlite the numpy renderer works."""
        hu = numpy.full((20, 20, 20), -1000, numpy.int16)
        hu[5:15, 5:15, 5:15] = 1000
        labels = numpy.zeros(hu.shape, numpy.uint8)
        labels[5:15, 5:15, 5:15] = 77  # TotalSegmentator's left hip
        matrix = numpy.diag([2.0, 2.0, 2.0, 1.0])
        volume = slicer.util.addVolumeFromArray(hu, matrix, "CT")
        labelmap = slicer.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
        logic = SyntheXSimulateLogic()
        specimen = logic.specimen(volume, labelmap, None, "hip")
        image = slicer.util.arrayFromVolume(logic.renderXray(specimen, "hip", level="naive"))
        self.assertAlmostEqual(float(image.max()), 1.0, places=3)
        self.assertLess(float(image.min()), 0.6)
