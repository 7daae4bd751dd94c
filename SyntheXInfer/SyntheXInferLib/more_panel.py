"""The part of the panel for an ensemble: further models that are asked, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXInferLib.model_panel import chooseFolder
from SyntheXInferLib.models import isModel


class MorePanel:
    """Further models are added to a list, one after another.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.parameters: Any = None
        ui.morePath.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Dirs
        ui.moreBundleButton.connect("clicked(bool)", lambda: chooseFolder(ui.morePath))
        ui.morePath.connect("currentPathChanged(QString)", self._updateButtons)
        ui.addModelButton.connect("clicked(bool)", self.onAdd)
        ui.removeModelButton.connect("clicked(bool)", self.onRemove)
        ui.modelList.connect("currentRowChanged(int)", self._updateButtons)

    @property
    def models(self) -> list[str]:
        """Model files and bundles that are asked: the chosen one, and those of the list."""
        p = self.parameters
        return list(dict.fromkeys([p.modelPath, *p.moreModels]))

    def update(self) -> None:
        """Show the list."""
        ui, listed = self._ui, list(self.parameters.moreModels)
        if [ui.modelList.item(row).text() for row in range(ui.modelList.count)] != listed:
            ui.modelList.clear()
            ui.modelList.addItems(listed)
            for row, path in enumerate(listed):
                ui.modelList.item(row).setToolTip(path)  # its beginning may not fit
            ui.modelList.setCurrentRow(len(listed) - 1)
        for widget in (ui.modelList, ui.removeModelButton):
            widget.visible = bool(listed)
        self._updateButtons()

    def onAdd(self) -> None:
        """Put the path on the list."""
        p, path = self.parameters, str(Path(self._ui.morePath.currentPath).expanduser())
        p.moreModels = [*p.moreModels, path]
        self._ui.morePath.currentPath = ""

    def onRemove(self) -> None:
        """Take the selected model off the list."""
        row = self._ui.modelList.currentRow
        self.parameters.moreModels = [path for n, path in enumerate(self.parameters.moreModels) if n != row]

    def _updateButtons(self, *_arguments: Any) -> None:
        ui, p = self._ui, self.parameters
        if p is None:
            return
        path = ui.morePath.currentPath
        lacks = "" if path and isModel(Path(path).expanduser()) else _("Needs a model.")
        if not lacks and str(Path(path).expanduser()) in self.models:
            lacks = _("It is chosen already.")
        enable(ui.addModelButton, _("Ask this model too; the answers are averaged"), lacks)
        lacks = "" if ui.modelList.currentRow >= 0 else _("Select a model in the list first.")
        enable(ui.removeModelButton, _("Take the model off the list; it stays on the disk"), lacks)
