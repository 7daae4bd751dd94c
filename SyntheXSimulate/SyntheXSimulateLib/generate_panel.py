"""The section of the panel that makes a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.library_command import Progress
from SyntheXHomeLib.panels import durationText, enable
from SyntheXSimulateLib.generate import GenerateSettings, Generation

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
        Called when a run has begun, and with the run when that has ended.
    """

    def __init__(self, ui: Any, start: Callable[[GenerateSettings], Generation], changed: Callable[[Generation | None], None]) -> None:
        self._ui, self._start, self._changed = ui, start, changed
        self._randomizeTip = ui.randomizeCheckBox.toolTip
        names = ("countBox", "imageSizeBox", "fullSizeCheckBox", "varyBox", "oversampleBox", "viewsPath")
        self._tips = {name: getattr(ui, name).toolTip for name in names}
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
        self._ui.generateButton.text = _("Cancel") if running else _("Generate data set")
        if self._generation is not None:
            ending = _("Ending ...") if self._generation.cancelled else ""
            enable(self._ui.generateButton, _("End the run; what is finished stays"), ending)
        else:
            tip = _("Make labelled X-rays in a process of their own; a folder that holds a part of this data set is continued")
            enable(self._ui.generateButton, tip, why or ("" if self._ui.generateFolder.currentPath else _("Needs a folder.")))
        for widget in (self._ui.generateFolder, self._ui.workersBox, self._ui.seedBox):
            widget.enabled = not running
        busy = _("A data set is being made.") if running else ""
        given = _("The given views say it.") if self._ui.viewsPath.currentPath else ""
        for name, lacks in (
            ("countBox", given),
            ("imageSizeBox", _("The whole detector is taken.") if self._ui.fullSizeCheckBox.checked else ""),
            ("fullSizeCheckBox", ""),
            ("varyBox", _("The patient is the one of the given views.") if given else ""),
            ("oversampleBox", ""),
            ("viewsPath", ""),
        ):
            enable(getattr(self._ui, name), self._tips[name], busy or lacks)
        level = "" if self._ui.levelBox.currentText == "realistic" else _("Matters to the realistic level alone.")
        enable(self._ui.randomizeCheckBox, self._randomizeTip, _("A data set is being made.") if running else level)

    @property
    def running(self) -> bool:
        """Whether a data set is being made."""
        return self._generation is not None

    def close(self) -> None:
        """End the run."""
        self._timer.stop()
        if self._generation is not None:
            self._generation.close()
            self._generation = None

    def _onButton(self) -> None:
        if self._generation is not None:
            self._generation.cancel()
            self._ui.generateLabel.text = _("Ending ...")
            self.updateState(self._why)
            return
        views = self._ui.viewsPath.currentPath
        folder = Path(self._ui.generateFolder.currentPath).expanduser()
        settings = GenerateSettings(
            self._ui.countBox.value,
            folder,
            self._ui.workersBox.value,
            self._ui.seedBox.value,
            imageSize=self._ui.imageSizeBox.value,
            randomizeExposure=self._ui.randomizeCheckBox.checked and self._ui.levelBox.currentText == "realistic",
            fullSize=self._ui.fullSizeCheckBox.checked,
            vary=self._ui.varyBox.value if not views and self._ui.varyBox.value else None,
            oversample=self._ui.oversampleBox.value,
            views=Path(views).expanduser() if views else None,
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
        if not generation.cancelled:
            self._show(progress)
        if finished:
            self._ui.generateBar.visible = False
            self._ui.generateLabel.text = generation.message()
            self.close()
            self._changed(generation)

    def _show(self, progress: Progress) -> None:
        if not progress.total:
            return
        self._ui.generateBar.maximum, self._ui.generateBar.value = progress.total, progress.done
        text = _("{done} of {total} images").format(done=progress.done, total=progress.total)
        if progress.secondsLeft is not None:
            text += _(", {speed} images/s, {left} left").format(speed=f"{progress.rate:.1f}", left=durationText(progress.secondsLeft))
        self._ui.generateLabel.text = text
