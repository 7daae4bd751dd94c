"""The part of the panel in which the model is chosen, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXHomeLib.settings import LAST_MODEL, recall
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.models import ModelFacts, isModel, modelStamp
from SyntheXInferLib.texts import modelNames, modelText
from SyntheXLib.errors import SyntheXError


class ModelPanel:
    """One model, a file or the folder of a bundle; `MorePanel` adds those of an ensemble.

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
        self._facts: tuple[Any, ModelFacts | str] = (None, "")  # path and stamp of the model, and its facts or why there are none
        ui.modelPath.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Dirs
        ui.modelPath.connect("currentPathChanged(QString)", self._onPath)
        ui.lastModelButton.connect("clicked(bool)", self.onLast)
        ui.bundleButton.connect("clicked(bool)", lambda: chooseFolder(ui.modelPath))

    def updateState(self, why: str) -> None:
        """Show what the model says; `why` is the reason for which none can be chosen."""
        ui = self._ui
        self._showFacts()
        last = lastModel()
        reason = "" if last else _("No training has ended on this computer yet.")
        enable(ui.lastModelButton, _("Take {path}").format(path=last), why or reason)
        enable(ui.bundleButton, _("Choose the folder of a MONAI bundle"), why)
        ui.modelPath.enabled = not why

    def onLast(self) -> None:
        """Take the model that was trained last."""
        self._ui.modelPath.currentPath = lastModel()

    def _onPath(self, path: str) -> None:
        if self.parameters is not None and self.parameters.modelPath != path:
            self.parameters.modelPath = path

    def _showFacts(self) -> None:
        path = self.parameters.modelPath
        key = (path, modelStamp(path) if path else ())
        if key != self._facts[0]:
            facts: ModelFacts | str = ""
            if path and not isModel(path):
                folder = Path(path).is_dir()
                facts = _("The folder is no MONAI bundle: it has no configs/metadata.json.") if folder else _("There is no such file.")
            elif path:
                try:
                    facts = self._logic.modelFacts(path)
                except SyntheXError as error:
                    facts = str(error)
            self._facts = (key, facts)
        facts = self._facts[1]
        self._ui.modelLabel.text = (facts if isinstance(facts, str) else modelText(facts)) or "-"
        self._ui.modelLabel.toolTip = _("What the model says of itself") if isinstance(facts, str) else modelNames(facts)


def lastModel() -> str:
    """The model that was trained last, if it is still there; else empty."""
    path = recall(LAST_MODEL)
    return path if path and Path(path).is_file() else ""


def chooseFolder(pathEdit: Any) -> None:
    """Let the user choose a folder; the browse button of a path that may be a file offers files alone."""
    folder = qt.QFileDialog.getExistingDirectory(pathEdit, _("Folder of a MONAI bundle"), pathEdit.currentPath)
    if folder:
        pathEdit.currentPath = str(folder)
