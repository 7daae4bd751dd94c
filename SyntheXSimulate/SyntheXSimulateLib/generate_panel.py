"""The section of the panel that makes a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXSimulateLib.generate import GenerateSettings, Generation, Progress

_POLL_MS = 300


class GeneratePanel:
    """Starts, follows and cancels one run.

    Parameters
    ----------
    ui
        The panel's widgets.
    start
        Starts a run with the settings it is given, see `SyntheXSimulateLogic.generate`.
    changed
        Called when a run has begun, and when it has ended, then with the folder of the data set unless it failed.
    """

    def __init__(self, ui: Any, start: Callable[[GenerateSettings], Generation], changed: Callable[[Path | None], None]) -> None:
        self._ui, self._start, self._changed = ui, start, changed
        self._randomizeTip = ui.randomizeCheckBox.toolTip
        self._why = ""
        self._generation: Generation | None = None
        ui.generateFolder.filters = ctk.ctkPathLineEdit.Dirs
        ui.generateButton.connect("clicked(bool)", self._onButton)
        ui.generateBar.visible = False
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def updateState(self, why: str) -> None:
        """Enable the button, or say why not; `why` is the reason for which nothing can be rendered."""
        self._why = why
        running = self._generation is not None
        reason = "" if running else why or ("" if self._ui.generateFolder.currentPath else _("Name a folder first."))
        self._ui.generateButton.enabled = not reason
        self._ui.generateButton.text = _("Cancel") if running else _("Generate data set")
        self._ui.generateButton.toolTip = reason or (
            _("End the run; what is finished stays")
            if running
            else _("Make labelled X-rays in a process of their own; a folder that holds a part of this data set is continued")
        )
        for widget in (self._ui.generateFolder, self._ui.countBox, self._ui.imageSizeBox, self._ui.workersBox, self._ui.seedBox):
            widget.enabled = not running
        level = "" if self._ui.levelBox.currentText == "realistic" else _("Matters to the realistic level alone.")
        enable(self._ui.randomizeCheckBox, self._randomizeTip, _("A data set is being made.") if running else level)

    @property
    def running(self) -> bool:
        """Whether a data set is being made."""
        return self._generation is not None

    def close(self) -> None:
        """End the run at once."""
        self._timer.stop()
        if self._generation is not None:
            self._generation.close()
            self._generation = None

    def _onButton(self) -> None:
        if self._generation is not None:
            self._ui.generateButton.enabled = False
            self._ui.generateLabel.text = _("Ending ...")
            self._generation.cancel()
            return
        folder = Path(self._ui.generateFolder.currentPath).expanduser()
        settings = GenerateSettings(
            self._ui.countBox.value,
            folder,
            self._ui.workersBox.value,
            self._ui.seedBox.value,
            imageSize=self._ui.imageSizeBox.value,
            randomizeExposure=self._ui.randomizeCheckBox.checked and self._ui.levelBox.currentText == "realistic",
        )
        with slicer.util.tryWithErrorDisplay(_("The data set could not be started."), waitCursor=True):
            self._generation = self._start(settings)
            self._ui.generateLabel.text = _("Starting ...")
            self._ui.generateBar.visible = True
            self._ui.generateBar.maximum = 0  # busy until the first image
            self._timer.start()
        self._changed(None)

    def _poll(self) -> None:
        generation = self._generation
        if generation is None:
            return
        finished, progress = generation.finished(), generation.progress()
        self._show(progress)
        if finished:
            self._timer.stop()
            self._generation = None
            self._ui.generateBar.visible = False
            self._ui.generateLabel.text = generation.message()
            self._changed(None if generation.failed() else generation.folder)

    def _show(self, progress: Progress) -> None:
        if not progress.total:
            return
        self._ui.generateBar.maximum, self._ui.generateBar.value = progress.total, progress.done
        if not self._ui.generateButton.enabled:
            return  # it is ending
        text = _("{done} of {total} images").format(done=progress.done, total=progress.total)
        if progress.secondsLeft is not None:
            minutes, seconds = divmod(round(progress.secondsLeft), 60)
            text += _(", {rate:.1f} a second, {minutes}:{seconds:02d} left").format(rate=progress.rate, minutes=minutes, seconds=seconds)
        self._ui.generateLabel.text = text
