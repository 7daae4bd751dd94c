"""The panel of the home module."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from SyntheXHomeLib import handover
from SyntheXHomeLib.installation_panel import InstallationPanel
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.panels import enable
from SyntheXHomeLib.sample_data import Cancelled, thumbnail
from SyntheXLib.cache import CACHE_KINDS, size_text
from SyntheXLib.datasets.sample import SAMPLES

_THUMBNAIL_WIDTH = 110


class SyntheXWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Opens the steps, loads samples, shows what is installed and what lies in the data folder."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = SyntheXLogic()
        self._loading = self._cancelled = False

    def setup(self) -> None:
        """Build the panel; nothing is started yet."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheX.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.sampleBox.addItems(self.logic.sampleNames())
        self.ui.sampleBox.connect("currentIndexChanged(int)", self.updateSample)
        self.ui.simulateButton.connect("clicked(bool)", self.onSimulate)
        self.ui.trainButton.connect("clicked(bool)", self.onTrain)
        self.ui.inferButton.connect("clicked(bool)", self.onInfer)
        self.ui.loadButton.connect("clicked(bool)", self.onLoad)
        self.ui.cancelLoadButton.connect("clicked(bool)", self.onCancelLoad)
        self.ui.removeSampleButton.connect("clicked(bool)", self.onRemoveSample)
        self.ui.openFolderButton.connect("clicked(bool)", self.onOpenFolder)
        self.ui.emptyButton.connect("clicked(bool)", self.onEmpty)
        self.ui.dataKindBox.connect("currentIndexChanged(int)", self._enableEmpty)
        self.installation = InstallationPanel(self.ui, self.logic, self.updateData)
        for event in (slicer.mrmlScene.EndCloseEvent, slicer.mrmlScene.EndImportEvent):
            self.addObserver(slicer.mrmlScene, event, self.updateSteps)
        self.updateSteps()
        self.updateData()
        self.installation.update()

    def enter(self) -> None:
        """Look again: other modules made files, other extensions installed packages."""
        self.updateSteps()
        self.updateData()
        if self.installation.found is None:
            self.installation.check()
        else:
            self.installation.update()

    def cleanup(self) -> None:
        """Called when the panel is unloaded."""
        self._cancelled = True
        self.installation.close()
        self.removeObservers()

    # The steps

    def updateSteps(self, *_arguments: Any) -> None:
        """Say what each step is opened with."""
        sample, dataset, model = handover.lastSample(), handover.lastDataset(), handover.lastModel()
        nodes = _(" with the sample {name}").format(name=sample[0].GetName()) if sample else ""
        folder = _(" with the data set {path}").format(path=dataset) if dataset else ""
        file = _(" with the model {path}").format(path=model) if model else ""
        for button, module, given in (
            (self.ui.simulateButton, "SyntheXSimulate", nodes),
            (self.ui.trainButton, "SyntheXTrain", folder),
            (self.ui.inferButton, "SyntheXInfer", file),
        ):
            lacks = "" if hasattr(slicer.modules, module.lower()) else _("Slicer has not loaded the module {name}.").format(name=module)
            enable(button, _("Open the module {name}{given}").format(name=module, given=given), lacks)

        gone = "" if sample else _("There is no sample in the scene.")
        enable(self.ui.removeSampleButton, _("Take the sample that was loaded last out of the scene"), gone)

    def onSimulate(self) -> None:
        """Open Simulate with the sample."""
        handover.giveSample()
        handover.openModule("SyntheXSimulate")

    def onTrain(self) -> None:
        """Open Train with the data set that was made last."""
        handover.openModule("SyntheXTrain", "datasetPath", handover.lastDataset())

    def onInfer(self) -> None:
        """Open Infer with the model that was trained last."""
        handover.openModule("SyntheXInfer", "modelPath", handover.lastModel())

    # Samples

    def updateSample(self, *_arguments: Any) -> None:
        """Show the chosen sample."""
        sample = SAMPLES[self.ui.sampleBox.currentText]
        here = self.logic.sampleSizes()[sample.name] > 0
        picture = qt.QPixmap(str(thumbnail(sample.name)))
        self.ui.sampleThumbnail.setPixmap(picture.scaledToWidth(_THUMBNAIL_WIDTH, qt.Qt.SmoothTransformation))
        place = _("On this computer") if here else _("To be downloaded: {size}").format(size=size_text(sample.archive.size))
        self.ui.sampleLabel.text = f"{sample.title}\n{sample.licence}\n{place}"
        self.ui.loadButton.text = _("Load") if here else _("Download and load")
        self.ui.loadBar.visible = self.ui.cancelLoadButton.visible = self._loading
        loading = _("A sample is being loaded.") if self._loading else ""
        enable(self.ui.loadButton, _("Load CT, label map and landmarks into the scene"), loading)
        enable(self.ui.sampleBox, _("An openly licensed CT with labels, the pelvis with landmarks too"), loading)

    def onLoad(self) -> None:
        """Download the chosen case on first use and load it."""
        self._loading, self._cancelled = True, False
        self.ui.loadBar.value = 0
        self.updateSample()
        self._enableEmpty()
        try:
            with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
                text = self._load(self.ui.sampleBox.currentText)
            self.ui.statusLabel.text = text
        finally:
            self._loading = False
            self.updateSteps()
            self.updateData()

    def _load(self, name: str) -> str:
        try:
            volume, _labelmap, _markups = self.logic.loadSample(name, self._progress)
        except Cancelled:
            return _("Cancelled; nothing was kept.")
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        return _("Loaded {name}.").format(name=volume.GetName())

    def _progress(self, done: int, total: int) -> None:
        self.ui.loadBar.maximum, self.ui.loadBar.value = total // 1000, done // 1000  # Qt counts in 32 bits
        slicer.app.processEvents()
        if self._cancelled:
            raise Cancelled

    def onCancelLoad(self) -> None:
        """End the download."""
        self._cancelled = True

    def onRemoveSample(self) -> None:
        """Undo the last loading."""
        handover.removeLastSample()
        self.ui.statusLabel.text = ""
        self.updateSteps()

    # The data folder

    def updateData(self) -> None:
        """Show where the data folder is and how large."""
        sizes, titles = self.logic.dataSizes(), {"samples": _("Sample CTs"), "deepdrr": _("DeepDRR environment")}
        self.ui.dataFolderEdit.text = str(self.logic.dataFolder())
        index = max(self.ui.dataKindBox.currentIndex, 0)
        self.ui.dataKindBox.clear()
        self.ui.dataKindBox.addItem(_("Everything: {size}").format(size=size_text(sum(sizes.values()))), "")
        for kind, size in sizes.items():
            self.ui.dataKindBox.addItem(f"{titles.get(kind, CACHE_KINDS[kind])}: {size_text(size)}", kind)
        self.ui.dataKindBox.setCurrentIndex(index)
        there = "" if self.logic.dataFolder().is_dir() else _("There is no data folder yet; the first download makes it.")
        enable(self.ui.openFolderButton, _("Show the folder in the system's file browser"), there)
        self._enableEmpty()
        self.updateSample()

    def _chosenKinds(self) -> list[str]:
        kind = self.ui.dataKindBox.itemData(self.ui.dataKindBox.currentIndex)
        return [kind] if kind else list(CACHE_KINDS)

    def _enableEmpty(self, *_arguments: Any) -> None:
        sizes = self.logic.dataSizes()
        lacks = "" if any(sizes[kind] for kind in self._chosenKinds()) else _("There is nothing to delete.")
        if self._loading:
            lacks = _("A sample is being loaded.")
        enable(self.ui.emptyButton, _("Delete it from this computer; nodes in the scene stay"), lacks)

    def onOpenFolder(self) -> None:
        """Show the data folder."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.logic.dataFolder())))

    def onEmpty(self) -> None:
        """Delete the chosen kind of files."""
        kinds = self._chosenKinds()
        text = _("Delete {size} in {folder}: {kinds}?").format(
            size=size_text(sum(self.logic.dataSizes()[kind] for kind in kinds)),
            folder=self.logic.dataFolder(),
            kinds=", ".join(CACHE_KINDS[kind] for kind in kinds),
        )
        if not slicer.util.confirmOkCancelDisplay(text, _("SyntheX")):
            return
        with slicer.util.tryWithErrorDisplay(_("The files could not be deleted."), waitCursor=True):
            freed = self.logic.emptyData(kinds)
            self.ui.statusLabel.text = _("Deleted {size}.").format(size=size_text(freed))
        self.updateData()
        self.installation.update()
