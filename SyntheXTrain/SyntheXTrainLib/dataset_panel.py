"""The part of the panel that chooses data sets: a path, and a list for more than one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, say
from SyntheXTrainLib.datasets import DatasetsSummary
from SyntheXTrainLib.logic import SyntheXTrainLogic


class DatasetPanel:
    """What is in the path field counts; Add moves it to the list, to make room for another.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Tells what data sets hold.
    """

    def __init__(self, ui: Any, logic: SyntheXTrainLogic) -> None:
        self._ui, self._logic = ui, logic
        self._parameters: Any = None
        self._read: tuple[Any, DatasetsSummary] | None = None  # what was summarised, and the result
        ui.addDatasetButton.connect("clicked(bool)", self.onAdd)
        ui.removeDatasetButton.connect("clicked(bool)", self.onRemove)
        ui.datasetList.connect("currentRowChanged(int)", self._updateButtons)

    def bind(self, parameters: Any) -> None:
        """Work on these parameters from now on; None: on none."""
        self._parameters = parameters

    @property
    def folders(self) -> list[str]:
        """Chosen data sets."""
        chosen = [*self._parameters.datasets, self._parameters.dataset]
        return list(dict.fromkeys(folder for folder in chosen if folder))

    @property
    def densities(self) -> bool:
        """Whether the chosen data sets store area densities."""
        return bool(self.folders) and self._summary().densities

    def update(self) -> str:
        """Show the choice and what it holds; give the reason for which nothing can be trained on it, empty when it can."""
        listed = list(self._parameters.datasets)
        ui = self._ui
        if [ui.datasetList.item(row).text() for row in range(ui.datasetList.count)] != listed:
            ui.datasetList.clear()
            ui.datasetList.addItems(listed)
            for row, folder in enumerate(listed):
                ui.datasetList.item(row).setToolTip(folder)  # its beginning may not fit
            ui.datasetList.setCurrentRow(len(listed) - 1)
        for widget in (ui.datasetList, ui.removeDatasetButton):
            widget.visible = bool(listed)
        self._updateButtons()
        summary = self._summary() if self.folders else DatasetsSummary()
        say(ui.summaryLabel, summary.problem or _text(summary))
        return summary.problem

    def onAdd(self) -> None:
        """Move the path to the list."""
        p = self._parameters
        p.datasets, p.dataset = self.folders, ""

    def onRemove(self) -> None:
        """Take the selected data set off the list; its files stay."""
        row = self._ui.datasetList.currentRow
        self._parameters.datasets = [folder for n, folder in enumerate(self._parameters.datasets) if n != row]

    def _updateButtons(self) -> None:
        ui, p = self._ui, self._parameters
        if p is None:
            return
        lacks = _("Needs a folder.") if not p.dataset else _("It is in the list.") if p.dataset in p.datasets else ""
        enable(ui.addDatasetButton, _("Put the data set on a list, to train on several at once"), lacks)
        chosen = ui.datasetList.currentRow >= 0
        lacks = "" if chosen else _("Select a data set in the list first.")
        enable(ui.removeDatasetButton, _("Take the data set off the list; its files stay"), lacks)

    def _summary(self) -> DatasetsSummary:
        """Read anew when the choice changes, or shards have come."""
        folders, validation = self.folders, self._parameters.validation
        state = [(folder, _modified(folder)) for folder in (*folders, validation)]
        if self._read is None or self._read[0] != state:
            self._read = (state, self._logic.datasets(folders, validation or None))
        return self._read[1]


def _modified(folder: str) -> float:
    try:
        return Path(folder, "shards").stat().st_mtime
    except OSError:
        return 0.0


def _text(summary: DatasetsSummary) -> str:
    if not summary.task:
        return ""
    names = ", ".join(summary.specimens[:3]) + (" ..." if len(summary.specimens) > 3 else "")
    return _("{task}: {structures} structures, {landmarks} landmarks. {images} images of {side} px, specimens: {count} ({names}).").format(
        task=summary.task,
        structures=summary.structures,
        landmarks=summary.landmarks,
        images=summary.images,
        side=summary.side,
        count=len(summary.specimens),
        names=names,
    )
