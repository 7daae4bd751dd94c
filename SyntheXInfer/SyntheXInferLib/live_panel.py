"""The part of the panel that follows an image live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, say
from SyntheXInferLib.live import LiveInference
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.parameters import optionsOf
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXInferLib.texts import liveText

_TICK_MS = 16  # a frame of the window
_TELL_TICKS = 16  # after how many the numbers are shown anew while no frame comes


class LivePanel:
    """Starts and stops, and gives the window's time to `LiveInference.poll`.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        The module's logic.
    keep
        Called with the followed volume and the nodes when these are new.
    told
        Called when the nodes hold another frame.
    changed
        Called when it was started, has been stopped or has ended.
    """

    def __init__(
        self,
        ui: Any,
        logic: SyntheXInferLogic,
        keep: Callable[[Any, FoundNodes], None],
        told: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._ui, self._logic = ui, logic
        self._keep, self._told, self._changed = keep, told, changed
        self.parameters: Any = None
        self.live: LiveInference | None = None
        self._asked: Any = None  # image, models and options that it was started with
        self._models: list[str] = []
        self._found: FoundNodes | None = None  # what the panel knows of
        self._ticks = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self._tick)
        say(ui.liveLabel, "")
        ui.liveButton.connect("clicked(bool)", self.onButton)

    def updateState(self, lacks: str, models: list[str], found: FoundNodes | None) -> None:
        """Enable the button, or say why not, and take settings over that were changed while it runs."""
        self._models, p = models, self.parameters
        button = self._ui.liveButton
        if self.live is None:
            self._found = found
            button.text = _("Start live")
            tip = _("Follow an image that changes, such as a stream or a sequence that is played: its newest frame, again and again")
            enable(button, tip, lacks)
            return
        button.text = _("Stop live")
        enable(button, _("Stop following the image; what was found last stays"))
        self.live.threshold, self.live.showUnsure = p.threshold, p.showUnsure
        if not lacks and self._asked != self._ask():  # an image that is gone is told by the next tick
            self.stop()
            self._start()

    def onButton(self) -> None:
        """Start or stop."""
        if self.live is not None:
            self.stop()
            self._changed()
        else:
            with slicer.util.tryWithErrorDisplay(_("The image cannot be followed."), waitCursor=True):
                self._start()
                self._found = None  # so that the first result counts as new: an evaluation is of another frame
            self._changed()

    def stop(self, problem: str = "") -> None:
        """Stop following, and tell why if there is a reason."""
        self._timer.stop()
        if self.live is not None:
            self.live.stop()
            self._found, self.live = self.live.found, None
        say(self._ui.liveLabel, problem)

    def _ask(self) -> tuple[Any, list[str], InferOptions]:
        return self.parameters.image, self._models, replace(optionsOf(self.parameters), threshold=0.0)

    def _start(self) -> None:
        p, found = self.parameters, self._found
        own = found is not None and found.inScene and p.resultImage is not None
        self.live = self._logic.startLive(p.image, self._models, optionsOf(p))
        if own and p.resultImage is self.live.volume:
            self.live.found = found  # of the same image: its nodes go on
        self.live.showUnsure = p.showUnsure
        self._asked, self._ticks = self._ask(), 0
        self._timer.start()
        self._tell()

    def _tick(self) -> None:
        live = self.live
        if live is None:
            return
        self._ticks += 1
        if live.poll():
            assert live.found is not None
            if live.found is not self._found:
                self._found = live.found
                self._keep(live.volume, live.found)
            else:
                self._told()
            self._tell()
        elif not live.running:
            self.stop(live.problem)
            self._changed()
        elif self._ticks % _TELL_TICKS == 0:
            self._tell()

    def _tell(self) -> None:
        if self.live is not None:
            say(self._ui.liveLabel, liveText(self.live.numbers(), self.live.problem))
