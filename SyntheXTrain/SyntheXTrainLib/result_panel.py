"""The part of the panel that gives the model away: copy its path, export it, use it, delete the run."""

from __future__ import annotations

from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, needs, say
from SyntheXHomeLib.settings import LAST_MODEL, remember
from SyntheXTrainLib.logic import SyntheXTrainLogic, TrainingState


class ResultPanel:
    """Works on the run in the output folder.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Finds, copies and deletes.
    """

    def __init__(self, ui: Any, logic: SyntheXTrainLogic) -> None:
        self._ui, self._logic = ui, logic
        self._folder = ""
        say(ui.exportLabel, "")
        ui.exportPath.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Writable
        ui.exportPath.nameFilters = [_("Model files") + " (*.pt)"]
        ui.copyPathButton.connect("clicked(bool)", lambda: qt.QApplication.clipboard().setText(ui.modelEdit.text))
        ui.exportButton.connect("clicked(bool)", self.onExport)
        ui.inferButton.connect("clicked(bool)", self.onInfer)

    def update(self, folder: str, state: TrainingState) -> None:
        """Show the model of the run in a folder, and enable what can be done with it."""
        if folder != self._folder:
            say(self._ui.exportLabel, "")
        self._folder = folder
        ui = self._ui
        ui.modelEdit.text = str(self._logic.modelPath(folder) or "") if folder else ""
        model = "" if ui.modelEdit.text else _("There is no model yet.")
        enable(ui.copyPathButton, _("Copy the path of the model file to the clipboard"), model)
        enable(ui.exportButton, _("Copy the model file to the place named"), model or needs((ui.exportPath.currentPath != "", _("a file"))))
        enable(ui.inferButton, _("Open SyntheX Infer with this model"), model)
        there = _("There is no training in the output folder.") if state.status == "none" else ""
        running = _("A training runs in the output folder.") if state.status == "running" else ""
        enable(ui.deleteButton, _("Delete models, checkpoints, pictures and log of the run, after a question"), there or running)

    def onExport(self) -> None:
        """Copy the model file."""
        with slicer.util.tryWithErrorDisplay(_("The model could not be exported."), waitCursor=True):
            written = self._logic.exportModel(self._folder, self._ui.exportPath.currentPath)
            say(self._ui.exportLabel, _("Wrote {path}.").format(path=written))

    def onInfer(self) -> None:
        """Open the Infer module with the model."""
        remember(LAST_MODEL, self._ui.modelEdit.text)
        slicer.util.selectModule("SyntheXInfer")
