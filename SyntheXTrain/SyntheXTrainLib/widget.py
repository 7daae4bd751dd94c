"""The panel of the Train module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, needs, say
from SyntheXHomeLib.parameter_widget import ParameterWidget
from SyntheXHomeLib.settings import LAST_DATASET, LAST_MODEL, recall, remember
from SyntheXTrainLib.adaptation_panel import AdaptationPanel
from SyntheXTrainLib.advanced_panel import AdvancedPanel
from SyntheXTrainLib.close_question import CloseQuestion
from SyntheXTrainLib.curves import CHARTS, TrainingCurves
from SyntheXTrainLib.dataset_panel import DatasetPanel
from SyntheXTrainLib.logic import SyntheXTrainLogic, TrainingState
from SyntheXTrainLib.parameters import AS_PRESET, TrainParameters
from SyntheXTrainLib.picture_panel import PicturePanel
from SyntheXTrainLib.result_panel import ResultPanel
from SyntheXTrainLib.study import StudyState
from SyntheXTrainLib.study_panel import StudyPanel
from SyntheXTrainLib.texts import stateText

LAST_TRAINING = "SyntheX/LastTraining"  # setting: folder of the training that was started last
_POLL_MS = 1000
# Path field of the panel, and the parameter that keeps it; connectGui knows no path field for texts.
_PATHS = (
    ("datasetPath", "dataset"),
    ("validationPath", "validation"),
    ("outputPath", "output"),
    ("pretrainedPath", "pretrained"),
    ("exportPath", "export"),
    ("livePath", "live"),
    ("targetPath", "target"),
    ("adaptTestPath", "adaptTest"),
    ("adaptModelPath", "adaptModel"),
    ("adaptOutputPath", "adaptOutput"),
    ("translatedPath", "translated"),
    ("studyPath", "study"),
    ("studyDataPath", "studyData"),
    ("studyOutputPath", "studyOutput"),
)


class SyntheXTrainWidget(ParameterWidget):
    """Choose data and settings, look at samples; start, watch, stop and resume; take the model."""

    logic: SyntheXTrainLogic

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent, SyntheXTrainLogic(), TrainParameters)
        self._followed: set[str] = set()  # folders in which a training was seen running

    def setup(self) -> None:
        """Build the panel."""
        super().setup()
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self.updatePanel)
        for path in (self.ui.datasetPath, self.ui.validationPath, self.ui.outputPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
        for name, parameter in _PATHS:
            getattr(self.ui, name).connect("currentPathChanged(QString)", self._pathSlot(parameter))
        self.ui.livePath.filters = self.ui.pretrainedPath.filters = ctk.ctkPathLineEdit.Files
        self._datasets = DatasetPanel(self.ui, self.logic)
        self._advanced = AdvancedPanel(self.ui)
        self._pictures = PicturePanel(self.ui, self.logic, self.config)
        self._result = ResultPanel(self.ui, self.logic)
        self._adaptation = AdaptationPanel(self.ui, self.logic, lambda: self._datasets.folders)
        self._study = StudyPanel(self.ui, self.logic)
        self._parts = (self._datasets, self._advanced, self._pictures, self._adaptation, self._study)
        for name in ("adaptStartButton", "adaptStopButton", "adaptResumeButton", "studyStartButton", "studyStopButton"):
            getattr(self.ui, name).connect("clicked(bool)", self._soonAgain)  # behind what the button itself does
        self.ui.startButton.connect("clicked(bool)", self.onStart)
        self.ui.stopButton.connect("clicked(bool)", self.onStop)
        self.ui.resumeButton.connect("clicked(bool)", self.onResume)
        self.ui.plotButton.connect("clicked(bool)", self.onPlot)
        self.ui.copyButton.connect("clicked(bool)", self.onCopy)
        self.ui.deleteButton.connect("clicked(bool)", self.onDelete)
        self.closeQuestion = CloseQuestion(self._runningFolders, self.logic.stop)
        self.followScene()

    def enter(self) -> None:
        """Called when the panel is opened."""
        super().enter()
        self._offerLast()
        self.updatePanel()

    def cleanup(self) -> None:
        """Stop watching; the training itself goes on."""
        self.closeQuestion.remove()
        super().cleanup()
        self._pictures.close()
        self._adaptation.close()

    # The parameter node

    def _fill(self) -> None:
        for part in self._parts:
            part.bind(self.parameters)

    def _bound(self) -> None:
        self._offerLast()
        self._onModified()

    def _released(self) -> None:
        self.timer.stop()
        for part in self._parts:
            part.bind(None)

    def _offerLast(self) -> None:
        """Where nothing is chosen yet: the data set made last, and the training started last, which may still run."""
        p = self.parameters
        made, trained = recall(LAST_DATASET), recall(LAST_TRAINING)
        if not p.dataset and not p.datasets and made and Path(made, "dataset.json").is_file():
            p.dataset = made
        if not p.output and trained and self.logic.state(trained).status != "none":
            p.output = trained

    def _onModified(self, *_arguments: Any) -> None:
        for name, parameter in _PATHS:
            edit, value = getattr(self.ui, name), getattr(self.parameters, parameter)
            if edit.currentPath != value:
                edit.currentPath = value
        self.updatePanel()

    def _pathSlot(self, parameter: str) -> Callable[[str], None]:
        """What keeps a path field in its parameter."""

        def keep(path: str) -> None:
            if self.parameters is not None and getattr(self.parameters, parameter) != path:
                setattr(self.parameters, parameter, path)

        return keep

    def config(self) -> dict[str, Any]:
        """The choices, as `SyntheXTrainLogic.trainingCommand` takes them."""
        p = self.parameters
        return {
            "datasets": self._datasets.folders,
            "out": p.output,
            "validation": p.validation or None,
            "preset": p.preset,
            "size": None if p.size == AS_PRESET else p.size,
            "randomization": p.randomization,
            "epochs": p.epochs,
            "device": p.device,
            **self._advanced.options(),
        }

    # What can be done now

    def updatePanel(self) -> None:
        """Write the command, enable what can be done, and show where the training in the output folder stands."""
        if self.parameters is None:
            return
        p, ui = self.parameters, self.ui
        folder = p.output
        state = self.logic.state(folder) if folder else TrainingState("none")
        running = state.status == "running"
        self._follow(folder, state)
        runs = _("A training runs in the output folder.") if running else ""
        problem = self._datasets.update()
        start = self._advanced.update(bool(self._datasets.folders), self._datasets.densities)
        data = (bool(self._datasets.folders) or p.live != "", _("a data set"))
        lacks = needs(data, (folder != "", _("an output folder"))) or problem or start
        ui.commandText.plainText = "" if lacks else self.logic.terminalCommand(self.config())
        enable(ui.copyButton, _("Copy the command to the clipboard"), lacks)
        enable(ui.startButton, _("Start the training"), runs or lacks)
        enable(ui.stopButton, _("End the training; whole epochs stay"), "" if running else _("No training runs in the output folder."))
        resumable = "" if state.status in ("stopped", "failed") else _("There is no interrupted training in the output folder.")
        enable(ui.resumeButton, _("Go on from the last whole epoch"), runs or resumable)
        say(ui.statusLabel, stateText(state))
        ui.progressBar.value = round(1000 * state.share)
        history = self.logic.history(folder) if folder else []
        enable(ui.plotButton, _("Show the curve in a plot view"), "" if history else _("No epoch is finished yet."))
        curves = self._curves()
        if curves is not None:
            curves.update(history)
        self._pictures.update(folder, needs(data) or problem)
        self._result.update(folder, state)
        adaptation, study = self._adaptation.update(), self._study.update()
        self._follow(p.adaptOutput, adaptation)
        self._follow(p.studyOutput, study)
        watched = "running" in (state.status, adaptation.status, study.status)
        if watched and not self.timer.active:
            self.timer.start()
        elif not watched:
            self.timer.stop()

    def _soonAgain(self, *_arguments: Any) -> None:
        self.updatePanel()

    def _follow(self, folder: str, state: TrainingState | StudyState) -> None:
        if state.status == "running":
            self._followed.add(folder)
        elif folder in self._followed:
            self._followed.discard(folder)
            model = self.logic.modelPath(folder)
            if state.status == "finished" and model is not None:
                remember(LAST_MODEL, str(model))

    def _runningFolders(self) -> list[str]:
        return sorted(folder for folder in self._followed if self.logic.isRunning(folder))

    def _curves(self) -> TrainingCurves | None:
        """Nodes of the curves of the run in the output folder; None where there are none."""
        p = self.parameters
        curves = TrainingCurves(p.table, tuple(p.charts))
        return curves if p.output and p.curvesOf == p.output and curves.inScene else None

    # What the buttons do

    def onStart(self) -> None:
        """Start the training."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be started."), waitCursor=True):
            self.logic.start(self.config())
            remember(LAST_TRAINING, self.parameters.output)
        self.updatePanel()

    def onStop(self) -> None:
        """End the training and wait until it is gone."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be stopped."), waitCursor=True):
            self.logic.stop(self.parameters.output)
        self.updatePanel()

    def onResume(self) -> None:
        """Go on with the training in the output folder, with the settings that it had."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be resumed."), waitCursor=True):
            self.logic.resume(self.parameters.output)
            remember(LAST_TRAINING, self.parameters.output)
        self.updatePanel()

    def onPlot(self) -> None:
        """Show the chosen curve in a plot view; from then on it follows the training."""
        p = self.parameters
        curves = self._curves()
        if curves is None:
            curves = self.logic.curves(Path(p.output).name, self.logic.history(p.output))
            with slicer.util.NodeModify(p.parameterNode):
                p.table, p.charts, p.curvesOf = curves.table, list(curves.charts), p.output
        slicer.modules.plots.logic().ShowChartInLayout(curves.charts[CHARTS.index(p.chart)])

    def onCopy(self) -> None:
        """Put the command on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.commandText.plainText)

    def onDelete(self) -> None:
        """Delete the run, after a question."""
        folder = self.parameters.output
        if slicer.util.confirmYesNoDisplay(_("Delete the training in {folder}, with its models?").format(folder=folder)):
            with slicer.util.tryWithErrorDisplay(_("The training could not be deleted."), waitCursor=True):
                self.logic.deleteRun(folder)
        self.updatePanel()
