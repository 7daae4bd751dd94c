"""The part of the panel that shows pictures: the inputs of a training, and its validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, say
from SyntheXTrainLib.logic import SyntheXTrainLogic
from SyntheXTrainLib.parameters import BEST_VALIDATION, INPUTS
from SyntheXTrainLib.samples import SamplesPage

_POLL_MS = 200
_MARGIN = 40  # of the sections round the picture


class PicturePanel:
    """Draws a page of inputs in a process of its own, and shows that or the pages that a training leaves in its folder.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Draws and finds pages, and makes nodes of them.
    config
        Gives the settings of the panel, see `SyntheXTrainLogic.trainingCommand`.
    """

    def __init__(self, ui: Any, logic: SyntheXTrainLogic, config: Callable[[], dict[str, Any]]) -> None:
        self._ui, self._logic, self._config = ui, logic, config
        self._parameters: Any = None
        self._page: SamplesPage | None = None
        self._drawing = False
        self._lacks = ""
        self._shown: Any = None
        say(ui.samplesLabel, "")
        ui.samplesButton.connect("clicked(bool)", self.onSamples)
        ui.sliceViewButton.connect("clicked(bool)", self.onSliceView)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def bind(self, parameters: Any) -> None:
        """Work on these parameters from now on; None: on none."""
        self._parameters = parameters

    def close(self) -> None:
        """End what is being drawn, and remove it."""
        self._timer.stop()
        self._drawing = False
        if self._page is not None:
            self._page.close()
            self._page = None

    def update(self, folder: str, lacks: str) -> None:
        """Show the chosen picture of the run in a folder; `lacks` says why no inputs can be drawn, empty when they can."""
        self._lacks = lacks
        enable(
            self._ui.samplesButton,
            _("Draw training images as the network will see them, randomised, with masks and landmarks"),
            _("The page is being drawn.") if self._drawing else lacks,
        )
        path = self._path(folder)
        choice = self._parameters.picture
        missing = _("Press Show samples first.") if choice == INPUTS else _("No epoch is finished yet.")
        enable(self._ui.sliceViewButton, _("Show the picture in a slice view, where it can be enlarged"), "" if path else missing)
        self._show(path)

    def onSamples(self) -> None:
        """Begin to draw a page of inputs."""
        self.close()
        with slicer.util.tryWithErrorDisplay(_("The samples could not be drawn."), waitCursor=True):
            self._page = self._logic.samples(self._config())
            self._drawing = True
            self._parameters.picture = INPUTS
            say(self._ui.samplesLabel, _("Drawing samples ..."))
            self._timer.start()
        self.update(self._parameters.output, self._lacks)

    def onSliceView(self) -> None:
        """Show the picture as a volume."""
        path = self._path(self._parameters.output)
        if path is None:
            return
        with slicer.util.tryWithErrorDisplay(_("The picture could not be shown."), waitCursor=True):
            node = self._logic.picture(path, self._parameters.pictureVolume)
            self._parameters.pictureVolume = node
            if slicer.app.layoutManager() is not None:
                slicer.util.setSliceViewerLayers(background=node, foreground=None, label=None, fit=True)

    def _poll(self) -> None:
        page = self._page
        if page is None or not page.finished:
            return
        self._timer.stop()
        self._drawing = False
        say(self._ui.samplesLabel, page.message)
        self.update(self._parameters.output, self._lacks)

    def _path(self, folder: str) -> Path | None:
        choice = self._parameters.picture
        if choice == INPUTS:
            return None if self._page is None or self._drawing else self._page.picture
        pages = self._logic.validationPictures(folder) if folder else []
        best = [path for path in pages if path.stem == "best"]
        last = [path for path in pages if path.stem != "best"]
        chosen = best if choice == BEST_VALIDATION else last
        return chosen[-1] if chosen else None

    def _show(self, path: Path | None) -> None:
        label = self._ui.pictureLabel
        label.visible = path is not None
        if path is None:
            self._shown = None
            return
        width = max(self._ui.pictureSection.width - _MARGIN, 200)
        shown = (path, path.stat().st_mtime_ns, width)
        if shown != self._shown:  # drawn anew once an epoch, not once a second
            self._shown = shown
            pixmap = qt.QPixmap(str(path)).scaledToWidth(width, qt.Qt.SmoothTransformation)
            label.setPixmap(pixmap)
            label.setFixedHeight(pixmap.height())  # its width is ignored, so that the panel may be narrower than the picture
            label.toolTip = str(path)
