"""SyntheX Simulate: X-rays from a labelled CT."""

from typing import Any

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.self_test import SyntheXSimulateTest
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
