"""The part of the panel that evaluates the model on a data set, and opens the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, needs, say
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.parameters import optionsOf
from SyntheXInferLib.report import ReportRun
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.evaluation.evaluate import REPORT

_POLL_MS = 300


class ReportPanel:
    """Predictions and report are made by processes of their own.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        The module's logic.
    """

    def __init__(self, ui: Any, logic: SyntheXInferLogic) -> None:
        self._ui, self._logic = ui, logic
        self.parameters: Any = None
        self.run: ReportRun | None = None
        self._models: list[str] = []
        self._lacks = ""
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        ui.reportBar.visible = False
        say(ui.reportLabel, "")
        for edit in (ui.reportDataset, ui.reportFolder):
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.connect("currentPathChanged(QString)", lambda _path: self._update())
        ui.reportButton.connect("clicked(bool)", self.onButton)
        ui.openReportButton.connect("clicked(bool)", self.onOpen)

    def updateState(self, models: list[str], lacks: str) -> None:
        """Enable the buttons, or say why not; `lacks` is what is wrong with the models."""
        self._models, self._lacks = models, lacks
        self._update()

    def _update(self) -> None:
        ui = self._ui
        dataset = Path(ui.reportDataset.currentPath).expanduser()
        there = ui.reportDataset.currentPath != "" and (dataset / HEADER_FILE).is_file()
        lacks = self._lacks or needs((there, _("a data set")), (ui.reportFolder.currentPath != "", _("a folder for the report")))
        if self.run is not None:
            ui.reportButton.text = _("Cancel")
            enable(ui.reportButton, _("End the evaluation"))
        else:
            ui.reportButton.text = _("Evaluate on data set")
            enable(ui.reportButton, _("Apply the model to the data set, hold it against the truth, and write a report"), lacks)
        for widget in (ui.reportDataset, ui.reportFolder, ui.modeBox):
            widget.enabled = self.run is None
        report = self._report
        lacks = "" if ui.reportFolder.currentPath and report.is_file() else _("There is no report in the folder yet.")
        enable(ui.openReportButton, _("Open {path} in a browser").format(path=report), lacks)

    @property
    def _report(self) -> Path:
        return Path(self._ui.reportFolder.currentPath).expanduser() / REPORT

    def onButton(self) -> None:
        """Evaluate, or end that."""
        ui = self._ui
        if self.run is not None:
            self.stop()
            say(ui.reportLabel, _("Cancelled."))
        else:
            with slicer.util.tryWithErrorDisplay(_("The model could not be evaluated."), waitCursor=True):
                dataset, p = Path(ui.reportDataset.currentPath).expanduser(), self.parameters
                self.run = self._logic.startReport(self._models, dataset, self._report.parent, p.reportMode, optionsOf(p))
                say(ui.reportLabel, _("Reading the model ..."))
                ui.reportBar.maximum, ui.reportBar.visible = 0, True  # busy until the first image
                self._timer.start()
        self._update()

    def onOpen(self) -> None:
        """Show the report in the browser."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._report)))

    def stop(self) -> None:
        """End what runs."""
        self._timer.stop()
        if self.run is not None:
            self.run.close()
            self.run = None
        self._ui.reportBar.visible = False

    def _poll(self) -> None:
        run, ui = self.run, self._ui
        if run is None:
            return
        finished, progress = run.finished(), run.progress()
        if progress.total:
            ui.reportBar.maximum, ui.reportBar.value = progress.total, progress.done
            text = _("{done} of {total} images evaluated") if run.evaluating else _("{done} of {total} images predicted")
            say(ui.reportLabel, text.format(done=progress.done, total=progress.total))
        if not finished:
            return
        self._timer.stop()
        self.run = None
        ui.reportBar.visible = False
        say(ui.reportLabel, "")
        with slicer.util.tryWithErrorDisplay(_("The model could not be evaluated."), waitCursor=True):
            say(ui.reportLabel, _("Wrote {path}.").format(path=run.result()))
        self._update()
