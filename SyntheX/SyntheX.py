"""SyntheX home: what the extension does, sample data, and what is installed."""

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.self_test import SyntheXTest

__all__ = ["SyntheX", "SyntheXLogic", "SyntheXTest", "SyntheXWidget"]


class SyntheX(ScriptedLoadableModule):
    """Name, place and texts of the module."""

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


class SyntheXWidget(ScriptedLoadableModuleWidget):
    """The panel: opens the other modules, loads and removes sample data, lists Python packages."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SyntheXLogic()
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheX.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.sampleBox.addItems(self.logic.sampleNames())
        self.ui.simulateButton.connect("clicked(bool)", lambda: slicer.util.selectModule("SyntheXSimulate"))
        self.ui.trainButton.connect("clicked(bool)", lambda: slicer.util.selectModule("SyntheXTrain"))
        self.ui.inferButton.connect("clicked(bool)", lambda: slicer.util.selectModule("SyntheXInfer"))
        self.ui.loadButton.connect("clicked(bool)", self.onLoad)
        self.ui.removeButton.connect("clicked(bool)", self.onRemove)
        self.enter()

    def enter(self) -> None:
        """Look again at what is installed."""
        lines = [f"{name} {version or _('not installed')}" for name, version in self.logic.installed().items()]
        self.ui.packageLabel.text = "\n".join(lines)

    def onLoad(self) -> None:
        """Download the chosen case on first use and load it."""
        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
            volume, _labelmap, _markups = self.logic.loadSample(self.ui.sampleBox.currentText)
            slicer.util.setSliceViewerLayers(background=volume, fit=True)
            self.ui.statusLabel.text = _("Loaded {name}.").format(name=volume.GetName())

    def onRemove(self) -> None:
        """Delete the downloaded files."""
        with slicer.util.tryWithErrorDisplay(_("The downloads could not be removed."), waitCursor=True):
            freed = self.logic.removeSamples()
            self.ui.statusLabel.text = _("Downloads removed: {size} MB.").format(size=f"{freed / 1e6:.1f}")
