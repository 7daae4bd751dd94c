"""SyntheX Infer: bones and landmarks in an X-ray, found by a trained network."""

from typing import Any

import numpy
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.widget import SyntheXInferWidget
from SyntheXLib.errors import SyntheXError

__all__ = ["SyntheXInfer", "SyntheXInferLogic", "SyntheXInferTest", "SyntheXInferWidget"]


class SyntheXInfer(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Infer")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Finds bones and landmarks in an X-ray with a model that SyntheX trained. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")


class SyntheXInferTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_a_volume_of_several_slices_is_refused(self) -> None:
        """Needs no package and no model: the image is looked at first."""
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        slicer.util.updateVolumeFromArray(volume, numpy.zeros((3, 4, 5), numpy.int16))
        with self.assertRaisesRegex(SyntheXError, "single grey image"):
            SyntheXInferLogic().predict(volume, "model.pt")
