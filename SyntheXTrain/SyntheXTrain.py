"""SyntheX Train: trains a network on simulated data sets."""

from typing import Any

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from SyntheXTrainLib.logic import SyntheXTrainLogic
from SyntheXTrainLib.self_test import SyntheXTrainTest
from SyntheXTrainLib.widget import SyntheXTrainWidget

__all__ = ["SyntheXTrain", "SyntheXTrainLogic", "SyntheXTrainTest", "SyntheXTrainWidget"]


class SyntheXTrain(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Train")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Trains a network on data sets that SyntheX simulated. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")
