"""SyntheX Infer: bones and landmarks in an X-ray, found by a trained network."""

from typing import Any

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.self_test import SyntheXInferTest
from SyntheXInferLib.widget import SyntheXInferWidget

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
