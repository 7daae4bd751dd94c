"""The panel of the Infer module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.image_nodes import frameCount, isSequence, knownIntensity, shownImage
from SyntheXHomeLib.panels import enable, needs
from SyntheXHomeLib.parameter_widget import ParameterWidget
from SyntheXInferLib.evaluation_panel import EvaluationPanel
from SyntheXInferLib.live_panel import LivePanel
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.model_panel import ModelPanel, lastModel
from SyntheXInferLib.models import isModel
from SyntheXInferLib.more_panel import MorePanel
from SyntheXInferLib.parameters import InferParameters, optionsOf, spacingOf
from SyntheXInferLib.report_panel import ReportPanel
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXInferLib.series import SeriesRun
from SyntheXInferLib.texts import factsText, foundText
from SyntheXLib.errors import SyntheXError

_POLL_MS = 300
# How long a slider must rest until the landmarks of a run are marked anew.
_REST_MS = 100


class SyntheXInferWidget(ParameterWidget):
    """Choose image and model, find, look, evaluate, export."""

    logic: SyntheXInferLogic

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent, SyntheXInferLogic(), InferParameters)
        self.run: SeriesRun | None = None
        self._runImage: Any = None
        self._marked: Any = None  # threshold and visibility that the landmarks have

    def setup(self) -> None:
        """Build the panel."""
        super().setup()
        self.ui.progressBar.visible = False
        self._pollTimer, self._markTimer = qt.QTimer(), qt.QTimer()
        self._pollTimer.setInterval(_POLL_MS)
        self._pollTimer.connect("timeout()", self._poll)
        self._markTimer.setSingleShot(True)
        self._markTimer.setInterval(_REST_MS)
        self._markTimer.connect("timeout()", self._mark)
        self.ui.imagePath.filters = ctk.ctkPathLineEdit.Files
        self.ui.exportPath.filters = ctk.ctkPathLineEdit.Dirs
        self.ui.imagePath.connect("currentPathChanged(QString)", self.updateState)
        self.ui.loadButton.connect("clicked(bool)", self.onLoad)
        self.ui.dicomButton.connect("clicked(bool)", self.onDicom)
        self.ui.predictButton.connect("clicked(bool)", self.onPredict)
        self.ui.deleteButton.connect("clicked(bool)", self.onDelete)
        self._model, self._more = ModelPanel(self.ui, self.logic), MorePanel(self.ui)
        self._live = LivePanel(self.ui, self.logic, self._keep, self._tellFound, self.updateState)
        self._evaluation, self._report = EvaluationPanel(self.ui, self.logic), ReportPanel(self.ui, self.logic)
        self.followScene()

    def enter(self) -> None:
        """Called when the panel is opened."""
        super().enter()
        self.updateState()  # a training may have ended meanwhile

    # The parameter node

    def _fill(self) -> None:
        p = self.parameters
        if p.image is None:
            p.image = self.logic.firstImage()
        if not p.modelPath:
            p.modelPath = lastModel()

    def _bound(self) -> None:
        p = self.parameters
        self.ui.modelPath.currentPath = p.modelPath
        for part in (self._model, self._more, self._live, self._evaluation, self._report):
            part.parameters = p
        self._marked = (p.threshold, p.showUnsure)
        self._evaluation.showTable()
        self.updateState()

    def _released(self) -> None:
        self._markTimer.stop()
        self._stopRun()
        self._live.stop()
        self._report.stop()
        self._evaluation.release()
        for part in (self._model, self._more, self._live, self._report):
            part.parameters = None

    def _onSceneStartClose(self, *_arguments: Any) -> None:
        super()._onSceneStartClose()
        self.ui.statusLabel.text = ""

    def _onModified(self, *_arguments: Any) -> None:
        p = self.parameters
        if (p.threshold, p.showUnsure) != self._marked:
            self._markTimer.start()
        found = self.found
        if found is not None:
            self._showMasks(self.logic.shown(p.resultImage, found).segmentation)
        self.updateState()

    @property
    def found(self) -> FoundNodes | None:
        """What was found last, if it is still in the scene."""
        p = self.parameters
        there = p is not None and p.masks is not None and p.points is not None and p.resultImage is not None
        return FoundNodes(p.masks, (p.points,)) if there else None

    # What can be done now

    def updateState(self, *_arguments: Any) -> None:
        """Show what is known, enable what works now, and say of the rest why it does not."""
        p = self.parameters
        if p is None:
            return
        live = self._live.live is not None
        running = _("A run is being worked on.") if self.run is not None else _("The image is followed live.") if live else ""
        self._showImageFacts()
        self._model.updateState(running)
        self._more.update()
        frames, models = frameCount(p.image), self._more.models
        good = all(isModel(path) for path in models)
        lacks = needs((frames > 0, _("an X-ray")), (good, _("a model")))
        button = self.ui.predictButton
        if self.run is not None:
            button.text = _("Cancel")
            enable(button, _("End the work on the run; nothing is kept"))
        else:
            button.text = _("Find bones and landmarks") if frames <= 1 else _("Find them in {count} frames").format(count=frames)
            enable(button, _("Apply the model to the image; a run is worked on in a process of its own"), running or lacks)
        one = p.image is not None and (isSequence(p.image) or frames <= 1)
        follow = needs((one, _("a single image or a sequence")), (good, _("a model")))
        self._live.updateState((running if self.run is not None else "") or follow, models, self.found)
        path = self.ui.imagePath.currentPath
        enable(self.ui.loadButton, _("Load the X-ray file"), running or needs((path != "", _("a file"))))
        here = needs((self.found is not None, _("a result")))
        tip = _("Remove the masks, points and evaluation that were made last")
        enable(self.ui.deleteButton, tip, running or here)
        self.ui.imageSelector.enabled = not running
        self._evaluation.updateState(running or here, self.found)
        self._report.updateState(models, needs((good, _("a model"))))

    def _showImageFacts(self) -> None:
        image = self.parameters.image
        known = image is not None and frameCount(image) > 0 and knownIntensity(image) is not None
        try:
            text = factsText(self.logic.facts(image), known) if frameCount(image) else ""
        except SyntheXError as error:
            text = str(error)
        self.ui.factsLabel.text = text or "-"
        why = _("Known: the image was made by SyntheX.") if known else ""
        enable(self.ui.polarityBox, _("Which way round the image is; automatic: as the file says, else the network tries both ways"), why)
        enable(self.ui.intensityBox, _("What the numbers follow; automatic: as the file says, else as displayed"), why)

    # Image

    def onDicom(self) -> None:
        """Open Slicer's DICOM database."""
        slicer.util.selectModule("DICOM")

    def onLoad(self) -> None:
        """Load the named file and choose it."""
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be loaded."), waitCursor=True):
            image = self.parameters.image = self.logic.loadImage(Path(self.ui.imagePath.currentPath).expanduser())
            self._showImage(image)
            self.ui.statusLabel.text = _("Loaded {name}.").format(name=image.GetName())

    # Finding

    def onPredict(self) -> None:
        """Apply the model to the image, or end the work on a run."""
        if self.run is not None:
            self._stopRun()
            self.ui.statusLabel.text = _("Cancelled.")
            self.updateState()
            return
        p = self.parameters
        with slicer.util.tryWithErrorDisplay(_("The model could not be applied."), waitCursor=True):
            if isSequence(p.image) or frameCount(p.image) > 1:
                self.run, self._runImage = self.logic.startSeries(p.image, self._more.models, optionsOf(p)), p.image
                self.ui.statusLabel.text = _("Reading the model ...")
                self.ui.progressBar.maximum = 0  # busy until the first frame
                self.ui.progressBar.visible = True
                self._pollTimer.start()
            else:
                self._keep(p.image, self.logic.predict(p.image, self._more.models, optionsOf(p)))
        self.updateState()

    def _poll(self) -> None:
        run, image = self.run, self._runImage
        if run is None:
            return
        if image.GetScene() is None:
            self._stopRun()
            self.ui.statusLabel.text = _("Cancelled: the image was removed.")
            self.updateState()
            return
        progress = run.progress()
        if progress.total:
            self.ui.progressBar.maximum, self.ui.progressBar.value = progress.total, progress.done
            self.ui.statusLabel.text = _("{done} of {total} frames").format(done=progress.done, total=progress.total)
        if not run.finished():
            return
        self._pollTimer.stop()
        self.run = self._runImage = None
        self.ui.progressBar.visible = False
        self.ui.statusLabel.text = ""
        with slicer.util.tryWithErrorDisplay(_("The model could not be applied."), waitCursor=True):
            sequence, found = self.logic.showSeries(image, run.result(), self.parameters.threshold)
            self.parameters.image = sequence
            self._keep(sequence, found)
        self.updateState()

    def _stopRun(self) -> None:
        self._pollTimer.stop()
        if self.run is not None:
            self.run.close()
            self.run = self._runImage = None
        self.ui.progressBar.visible = False

    # The result

    def _keep(self, image: Any, found: FoundNodes) -> None:
        """Remember and show what was found."""
        p = self.parameters
        self._evaluation.forget()
        with slicer.util.NodeModify(p.parameterNode):
            p.resultImage, p.masks, p.points = image, found.segmentation, found.landmarks[0]
        if not p.showUnsure:
            self._mark()
        self._showImage(image)
        shown = self.logic.shown(image, found)
        self._showMasks(shown.segmentation)
        self.logic.putInFolder(image, shown.segmentation, *shown.landmarks)
        self._tellFound()

    def _tellFound(self) -> None:
        found = self.found
        if found is not None:
            spacing = spacingOf(self.parameters) or self.logic.facts(self.parameters.resultImage).pixel_spacing_mm
            self.ui.statusLabel.text = foundText(found, None if spacing is None else sum(spacing) / 2)

    def _mark(self) -> None:
        """Give the landmarks the threshold of the panel."""
        p, found = self.parameters, self.found
        if p is None:
            return
        self._marked = (p.threshold, p.showUnsure)
        if found is not None:
            self.logic.setThreshold(p.resultImage, found, p.threshold, p.showUnsure)
            self._tellFound()
            self._evaluation.updateNumbers(found)

    def _showImage(self, image: Any) -> None:
        slicer.util.setSliceViewerLayers(background=shownImage(image), label=None, fit=True)

    def _showMasks(self, segmentationNode: Any) -> None:
        display = segmentationNode.GetDisplayNode()
        if display is not None and display.GetOpacity2DFill() != self.parameters.opacity:
            display.SetOpacity2DFill(self.parameters.opacity)

    def onDelete(self) -> None:
        """Remove the last result."""
        found, p = self.found, self.parameters
        assert found is not None
        self._evaluation.forget()
        self.logic.remove(p.resultImage, found)
        with slicer.util.NodeModify(p.parameterNode):
            p.masks = p.points = p.resultImage = None
        self.ui.statusLabel.text = ""
        self.updateState()
