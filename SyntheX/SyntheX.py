"""SyntheX home: what the extension does, sample data, and what is installed."""

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from SyntheXHomeLib import sample_data
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.self_test import SyntheXTest
from SyntheXHomeLib.widget import SyntheXWidget

__all__ = ["SyntheX", "SyntheXLogic", "SyntheXTest", "SyntheXWidget"]


class SyntheX(ScriptedLoadableModule):
    """Name, place and texts of the module; adds the samples to the module Sample Data."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _(
            "From an annotated CT to a network that reads real fluoroscopy: simulate labelled X-rays, train on them, apply the network. "
            "For research, not for clinical use."
        )
        parent.acknowledgementText = _(
            "Method: C. Gao et al., Synthetic data accelerates the development of generalizable learning-based algorithms for X-ray image "
            "analysis, Nature Machine Intelligence 5, 2023."
        )
        slicer.app.connect("startupCompleted()", self.registerSamples)

    def registerSamples(self) -> None:
        """Called when all modules are there."""
        sample_data.register(sample_data.loadWithDialog)
