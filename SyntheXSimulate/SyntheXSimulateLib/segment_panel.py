"""The part of the panel that makes a segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE
from SyntheXSimulateLib.segment import SegmentRun

_POLL_MS = 300


class SegmentPanel:
    """Starts, follows and cancels one run, and takes its result as the case's bones.

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
        self._run: SegmentRun | None = None
        self._lacks: dict[str, str] = {}  # by model: asked for often, and slow to tell
        for title in (_("TotalSegmentator"), _("Network")):
            ui.segmentWayBox.addItem(title)
        ui.segmentWayBox.setCurrentIndex(1 if logic.whyNoSegmentation("") and not logic.whyNoSegmentation(None) else 0)
        ui.segmentSection.collapsed = True
        ui.segmentBar.visible = ui.segmentLabel.visible = False
        ui.segmentWayBox.connect("currentIndexChanged(int)", lambda _index: self._changed())
        ui.segmentModelPath.connect("currentPathChanged(QString)", lambda _path: self._changed())
        ui.segmentButton.connect("clicked(bool)", self._onButton)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def bind(self, parameters: Any) -> None:
        """Segment the CT of these parameters from now on."""
        self._parameters = parameters
        self._lacks.clear()

    def unbind(self) -> None:
        """Forget the parameters; a run goes on until its CT has left the scene."""
        self._parameters = None

    def updateState(self) -> None:
        """Enable what works now, say of the rest why it does not."""
        if self._parameters is None:
            return
        ui, running, network = self._ui, self._run is not None, bool(self._ui.segmentWayBox.currentIndex)
        busy = _("A segmentation is being made.") if running else ""
        enable(ui.segmentWayBox, _("What finds the bones in the CT"), busy)
        tip = _("TorchScript file, or folder of a MONAI bundle, whose metadata names the channels")
        enable(ui.segmentModelPath, tip, busy or ("" if network else _("Not needed by TotalSegmentator.")))
        tip = _("TotalSegmentator's coarser network: minutes without a GPU, where the other takes an hour")
        enable(ui.segmentFastCheckBox, tip, busy or (_("For TotalSegmentator alone.") if network else ""))
        ui.segmentButton.text = _("Cancel") if running else _("Make segmentation")
        if running:
            enable(ui.segmentButton, _("End the run"), _("Ending ...") if self._run is not None and self._run.cancelled() else "")
        else:
            enable(ui.segmentButton, _("Find the bones of the CT, in a process of its own"), self._why())

    def close(self) -> None:
        """End the run at once."""
        self._timer.stop()
        if self._run is not None:
            self._run.close()
            self._run = None

    def _model(self) -> str:
        """The network; empty for TotalSegmentator."""
        return str(self._ui.segmentModelPath.currentPath) if self._ui.segmentWayBox.currentIndex else ""

    def _why(self) -> str:
        volume = self._parameters.volume
        if volume is None or volume.GetAttribute(GEOMETRY_ATTRIBUTE):
            return _("Choose a CT first.")
        network, model = bool(self._ui.segmentWayBox.currentIndex), self._model()
        key = model or ("network" if network else "")
        if key not in self._lacks:
            self._lacks[key] = self._logic.whyNoSegmentation(model or (None if network else ""))
        return self._lacks[key] or (_("Name a model first.") if network and not model else "")

    def _changed(self) -> None:
        self._lacks.clear()
        self.updateState()

    def _onButton(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._ui.segmentLabel.text = _("Ending ...")
            self.updateState()
            return
        with slicer.util.tryWithErrorDisplay(_("The segmentation could not be started."), waitCursor=True):
            p = self._parameters
            self._run = self._logic.segment(p.volume, p.task, self._model(), bool(self._ui.segmentFastCheckBox.checked))
            self._ui.segmentLabel.text = _("Starting ...")
            self._ui.segmentBar.visible = self._ui.segmentLabel.visible = True
            self._ui.segmentBar.maximum = 0  # busy until there is something to show
            self._timer.start()
        self.updateState()

    def _poll(self) -> None:
        run = self._run
        if run is None:
            return
        if run.volume.GetScene() is None:
            self._end(_("The CT has left the scene."))
            return
        done, total = run.progress()
        if total and not run.cancelled():
            self._ui.segmentBar.maximum, self._ui.segmentBar.value = total, done
            self._ui.segmentLabel.text = run.message()
        if not run.finished() or self._parameters is None:
            return
        if run.cancelled() or run.failed():
            self._end(_("Cancelled.") if run.cancelled() else run.message())
            return
        text = _("The segmentation could not be loaded.")
        try:
            with slicer.util.tryWithErrorDisplay(text, waitCursor=True):
                self._parameters.segmentation = self._parameters.labels = run.result()
                text = _("Made {name}.").format(name=self._parameters.labels.GetName())
                self._made("segmentation")
        finally:
            self._end(text)

    def _end(self, text: str) -> None:
        self.close()
        self._ui.segmentBar.visible = False
        self._ui.segmentLabel.text = text
        self.updateState()
