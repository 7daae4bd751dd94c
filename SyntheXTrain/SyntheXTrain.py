"""SyntheX Train: trains a network on simulated data sets."""

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

from SyntheXHomeLib.panels import enable, needs
from SyntheXTrainLib.curves import TrainingCurves, make_curves
from SyntheXTrainLib.logic import SyntheXTrainLogic, TrainingState
from SyntheXTrainLib.self_test import SyntheXTrainTest
from SyntheXTrainLib.texts import stateText

__all__ = ["SyntheXTrain", "SyntheXTrainLogic", "SyntheXTrainTest", "SyntheXTrainWidget"]

_POLL_MS = 1000


class SyntheXTrain(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Train")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Trains a network on a data set that SyntheX simulated. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")


class SyntheXTrainWidget(ScriptedLoadableModuleWidget):
    """The panel: choose data and settings; start, watch, stop and resume."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SyntheXTrainLogic()
        self.curves: tuple[str, TrainingCurves] | None = None  # output folder, nodes
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheXTrain.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self.updatePanel)
        for path in (self.ui.datasetPath, self.ui.validationPath, self.ui.outputPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
            path.connect("currentPathChanged(QString)", self.updatePanel)
        for box in (self.ui.presetBox, self.ui.sizeBox, self.ui.randomizationBox, self.ui.deviceBox):
            box.connect("currentIndexChanged(int)", self.updatePanel)
        self.ui.epochsBox.connect("valueChanged(int)", self.updatePanel)
        self.ui.copyButton.connect("clicked(bool)", self.onCopy)
        self.ui.startButton.connect("clicked(bool)", self.onStart)
        self.ui.stopButton.connect("clicked(bool)", self.onStop)
        self.ui.resumeButton.connect("clicked(bool)", self.onResume)
        self.ui.plotButton.connect("clicked(bool)", self.onPlot)
        self.updatePanel()

    def cleanup(self) -> None:
        """Stop watching; the training itself goes on."""
        self.timer.stop()

    @property
    def folder(self) -> str:
        """The output folder."""
        return str(self.ui.outputPath.currentPath)

    def config(self) -> dict[str, Any]:
        """The choices, as `SyntheXTrainLogic.trainingCommand` takes them."""
        return {
            "datasets": [self.ui.datasetPath.currentPath],
            "out": self.folder,
            "validation": self.ui.validationPath.currentPath or None,
            "preset": self.ui.presetBox.currentText,
            "size": self.ui.sizeBox.currentText if self.ui.sizeBox.currentIndex > 0 else None,
            "randomization": self.ui.randomizationBox.currentText,
            "epochs": self.ui.epochsBox.value,
            "device": self.ui.deviceBox.currentText,
        }

    def updatePanel(self) -> None:
        """Write the command, enable what can be done, and show where the training in the output folder stands."""
        folder = self.folder
        state = self.logic.state(folder) if folder else TrainingState("none")
        running = state.status == "running"
        runs = _("A training runs in the output folder.") if running else ""
        lacks = needs((self.ui.datasetPath.currentPath != "", _("a data set")), (folder != "", _("an output folder")))
        self.ui.commandText.plainText = "" if lacks else self.logic.terminalCommand(self.config())
        enable(self.ui.copyButton, _("Copy the command to the clipboard"), lacks)
        enable(self.ui.startButton, _("Start the training"), runs or lacks)
        enable(self.ui.stopButton, _("End the training; whole epochs stay"), "" if running else _("No training runs in the output folder."))
        resumable = "" if state.status in ("stopped", "failed") else _("There is no interrupted training in the output folder.")
        enable(self.ui.resumeButton, _("Go on from the last whole epoch"), runs or resumable)
        self.ui.statusLabel.text = stateText(state)
        self.ui.progressBar.value = round(1000 * state.share)
        history = self.logic.history(folder) if folder else []
        self.ui.modelEdit.text = str(self.logic.modelPath(folder) or "") if folder else ""
        enable(self.ui.plotButton, _("Show the curve in a plot view"), "" if history else _("No epoch is finished yet."))
        if self.curves is not None and self.curves[0] == folder and self.curves[1].inScene:
            self.curves[1].update(history)
        if running and not self.timer.active:
            self.timer.start()
        elif not running:
            self.timer.stop()

    def onStart(self) -> None:
        """Start the training."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be started."), waitCursor=True):
            self.logic.start(self.config())
        self.updatePanel()

    def onStop(self) -> None:
        """End the training and wait until it is gone."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be stopped."), waitCursor=True):
            self.logic.stop(self.folder)
        self.updatePanel()

    def onResume(self) -> None:
        """Go on with the training in the output folder, with the settings that it had."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be resumed."), waitCursor=True):
            self.logic.resume(self.folder)
        self.updatePanel()

    def onPlot(self) -> None:
        """Show the chosen curve in a plot view; from then on it follows the training."""
        if self.curves is None or self.curves[0] != self.folder or not self.curves[1].inScene:
            self.curves = (self.folder, make_curves(Path(self.folder).name))
            self.curves[1].update(self.logic.history(self.folder))
        slicer.modules.plots.logic().ShowChartInLayout(self.curves[1].charts[self.ui.chartBox.currentIndex])

    def onCopy(self) -> None:
        """Put the command on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.commandText.plainText)
