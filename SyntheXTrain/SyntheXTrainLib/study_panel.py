"""The part of the panel that runs a study: a list of data sets, trainings and tests, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, needs, say
from SyntheXTrainLib.logic import SyntheXTrainLogic
from SyntheXTrainLib.study import StudyState


class StudyPanel:
    """Runs a study in a process of its own and shows its table.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Starts, stops and tells.
    """

    def __init__(self, ui: Any, logic: SyntheXTrainLogic) -> None:
        self._ui, self._logic = ui, logic
        self._parameters: Any = None
        self._shown = ""
        ui.studyPath.filters = ctk.ctkPathLineEdit.Files
        for path in (ui.studyDataPath, ui.studyOutputPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
        ui.studyText.visible = False
        ui.studyStartButton.connect("clicked(bool)", self.onStart)
        ui.studyStopButton.connect("clicked(bool)", self.onStop)

    def bind(self, parameters: Any) -> None:
        """Work on these parameters from now on; None: on none."""
        self._parameters = parameters

    def update(self) -> StudyState:
        """Enable what can be done, and show where the study in its folder stands, which is given."""
        p, ui = self._parameters, self._ui
        state = self._logic.studyState(p.studyOutput) if p.studyOutput else StudyState("none")
        running = state.status == "running"
        lacks = needs((p.study != "", _("a study")), (p.studyOutput != "", _("an output folder")))
        runs = _("A process runs in the output folder.") if running else ""
        enable(ui.studyStartButton, _("Run the study, or go on with it"), runs or lacks)
        enable(ui.studyStopButton, _("End the study; what is finished stays"), "" if running else _("No study runs there."))
        say(ui.studyStatusLabel, _text(state))
        table = self._logic.studyTable(p.studyOutput) if p.studyOutput else ""
        if table != self._shown:
            self._shown = table
            ui.studyText.setMarkdown(table)
        ui.studyText.visible = table != ""
        return state

    def onStart(self) -> None:
        """Start the study, or go on with it."""
        p = self._parameters
        with slicer.util.tryWithErrorDisplay(_("The study could not be started."), waitCursor=True):
            self._logic.startStudy(p.study, p.studyOutput, p.studyData or None)

    def onStop(self) -> None:
        """End the study and wait until it is gone."""
        with slicer.util.tryWithErrorDisplay(_("The study could not be stopped."), waitCursor=True):
            self._logic.stop(Path(self._parameters.studyOutput))


def _text(state: StudyState) -> str:
    where = _("step {number} of {steps}: {step}").format(number=state.number, steps=state.steps, step=state.step) if state.steps else ""
    return {
        "none": "",
        "running": _("Running, {where}").format(where=where) if where else _("Starting"),
        "finished": _("Finished."),
        "stopped": _("Stopped; Run goes on from there."),
        "failed": _("Failed: {message}").format(message=state.message),
    }[state.status]
