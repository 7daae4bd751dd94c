"""The part of the panel that loads a data set to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.levels import LEVELS
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

# Data sets of the same views lie beside each other, in folders of these names: the levels, and the real images of `synthex match`.
_PARTS = (*LEVELS, "real")


class BrowsePanel:
    """Shows the first images of the data set in the folder that is named.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    made
        Called with the kind of a result (see `results.NODES`) when there is one.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic, made: Callable[[str], None]) -> None:
        self._ui, self._logic, self._made = ui, logic, made
        self._parameters: Any = None
        self._known: tuple[Any, ...] = ()  # folder, time of its header, limit: of what was said
        self._said = ("", "")
        self._parts: list[str] = []  # levels that the folder holds
        self._running = False
        ui.browseButton.connect("clicked(bool)", self._onBrowse)
        ui.browseLevelBox.connect("currentIndexChanged(int)", lambda _index: self.updateState(self._running))

    def bind(self, parameters: Any) -> None:
        """Keep what is made in these parameters from now on."""
        self._parameters = parameters

    def unbind(self) -> None:
        """Forget the parameters."""
        self._parameters = None

    def updateState(self, running: bool) -> None:
        """Enable the button, or say why not; `running`: a data set is being made."""
        self._running = running
        if self._parameters is None:
            return
        self._listParts()
        lacks, memory = self._state()
        lacks = _("Wait until the data set is made.") if running and not lacks else lacks
        enable(self._ui.browseButton, _("Load images, masks and landmarks as sequences, to be browsed together"), lacks)
        self._ui.browseLabel.text = memory
        self._ui.browseLabel.visible = bool(memory)

    def _listParts(self) -> None:
        """Offer the levels where the folder holds data sets of the same views in place of one."""
        text = self._ui.generateFolder.currentPath
        folder, parts = Path(text).expanduser(), list[str]()
        if text and not (folder / HEADER_FILE).is_file():
            parts = [part for part in _PARTS if (folder / part / HEADER_FILE).is_file()]
        if parts != self._parts:
            self._parts, box = parts, self._ui.browseLevelBox
            blocked = box.blockSignals(True)  # which would ask for this again
            box.clear()
            for part in parts:
                box.addItem(part)
            box.setCurrentIndex(parts.index("realistic") if "realistic" in parts else 0)
            box.blockSignals(blocked)
        for widget in (self._ui.browseLevelBoxLabel, self._ui.browseLevelBox):
            widget.visible = bool(parts)

    def _folder(self) -> Path:
        """The data set."""
        folder = Path(self._ui.generateFolder.currentPath).expanduser()
        return folder / self._ui.browseLevelBox.currentText if self._parts else folder

    def _state(self) -> tuple[str, str]:
        """What is in the way, and what it would take."""
        text = self._ui.generateFolder.currentPath
        header = self._folder() / HEADER_FILE
        if not text or not header.is_file():
            return (_("Needs the folder of a data set.") if not text else _("There is no data set in the folder.")), ""
        known = header, header.stat().st_mtime_ns, self._parameters.browseLimit
        if known != self._known:
            self._known = known
            try:
                shown, count, size = self._logic.browseSize(header.parent, self._parameters.browseLimit)
                sentence = _("{shown} of {count} images take {size:.0f} MB of memory.")
                self._said = "", sentence.format(shown=shown, count=count, size=max(1, size / 1e6))
            except SyntheXError as error:
                self._said = str(error), ""
        return self._said

    def _onBrowse(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The data set could not be loaded."), waitCursor=True):
            folder = self._folder()
            browsed = self._logic.browse(folder, self._parameters.browseLimit)
            remove_nodes(list(self._parameters.browsed))
            self._parameters.browsed = browsed.nodes
            image, masks, _points = browsed.proxies
            slicer.util.setSliceViewerLayers(background=image, label=masks, labelOpacity=0.4, fit=True)
            if hasattr(slicer.modules.sequences, "toolBar"):  # not without a window
                slicer.modules.sequences.toolBar().setActiveBrowserNode(browsed.browser)
            self._made("browse")
            self._ui.generateLabel.text = _("Browse {name} in the toolbar of sequences.").format(name=folder.name)
