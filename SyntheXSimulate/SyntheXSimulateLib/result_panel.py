"""The part of the panel that takes the X-ray out and results away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.results import FILES, Result, Results


class ResultPanel:
    """Exports the X-ray, remembers what was made, and deletes the last of it.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    changed
        Called when a result has come or gone.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic, changed: Callable[[], None]) -> None:
        self._ui, self._logic, self._changed = ui, logic, changed
        self._parameters: Any = None
        self._results: Results | None = None
        ui.exportButton.connect("clicked(bool)", self._onExport)
        ui.exportPath.connect("currentPathChanged(QString)", lambda _path: changed())
        ui.deleteButton.connect("clicked(bool)", self._onDelete)

    def bind(self, parameters: Any) -> None:
        """Keep the history in these parameters from now on."""
        self._parameters, self._results = parameters, Results(parameters)

    def unbind(self) -> None:
        """Forget the parameters."""
        self._parameters = self._results = None

    def made(self, kind: str, path: Any = "") -> None:
        """Note a result, see `results.Results.add`."""
        if self._results is not None:
            self._results.add(kind, path)
            self._changed()

    def updateState(self, running: bool) -> None:
        """Enable what works now, say of the rest why it does not; `running`: a data set is being made."""
        if self._results is None:
            return
        image = "" if self._parameters.xray is not None else _("Render an X-ray first.")
        path = "" if self._ui.exportPath.currentPath else _("Needs a file.")
        enable(self._ui.exportButton, _("Write the X-ray; the file's ending decides what is written"), image or path)
        last = self._results.last()
        busy = _("Wait until the data set is made.") if running else ""
        enable(self._ui.deleteButton, _what(last) if last else "", busy if last else _("Nothing was made yet."))

    def _onExport(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be written."), waitCursor=True):
            path = self._logic.export(self._parameters.xray, self._ui.exportPath.currentPath)
            self._ui.statusLabel.text = _("Wrote {path}.").format(path=path)
            self.made("export", path)

    def _onDelete(self) -> None:
        last = self._results.last() if self._results is not None else None
        if self._results is None or last is None:
            return
        question = _("{what}? This cannot be undone.").format(what=_what(last))
        if last.kind in FILES and not slicer.util.confirmYesNoDisplay(question):
            return
        with slicer.util.tryWithErrorDisplay(_("The result could not be deleted."), waitCursor=True):
            self._results.delete(last)
            self._ui.statusLabel.text = _("Deleted.")
        self._changed()


def _what(result: Result) -> str:
    """What deleting a result does."""
    sentences = {
        "segmentation": _("Remove the segmentation that was made from the scene"),
        "xray": _("Remove the X-ray with what lies over it, C-arm and tools from the scene"),
        "cloud": _("Remove the source positions from the scene"),
        "histogram": _("Remove the histograms from the scene"),
        "browse": _("Remove the browsed images from the scene; the data set stays on the disk"),
        "match": _("Remove the poses of real X-rays from the scene"),
        "export": _("Delete the file {path}"),
        "dataset": _("Delete the data set in {path} from the disk"),
    }
    return sentences[result.kind].format(path=result.path)
