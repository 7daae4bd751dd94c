"""The part of the panel that adapts to another domain: CycleGAN, ADDA, and translated data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable, needs, say
from SyntheXHomeLib.settings import LAST_DATASET, LAST_MODEL, recall, remember
from SyntheXTrainLib.adaptation import RESULTS, Translation
from SyntheXTrainLib.logic import SyntheXTrainLogic, TrainingState
from SyntheXTrainLib.parameters import ADDA, AS_METHOD
from SyntheXTrainLib.texts import stateText

_POLL_MS = 500


class AdaptationPanel:
    """Adapts from the data sets that the panel trains on; runs in a process of its own, as a training does.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Starts, stops and tells.
    sources
        Gives the folders of the data sets.
    """

    def __init__(self, ui: Any, logic: SyntheXTrainLogic, sources: Callable[[], list[str]]) -> None:
        self._ui, self._logic, self._sources = ui, logic, sources
        self._parameters: Any = None
        self._translation: Translation | None = None
        for path in (ui.targetPath, ui.adaptTestPath, ui.adaptOutputPath, ui.translatedPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
        ui.adaptModelPath.filters = ctk.ctkPathLineEdit.Files
        say(ui.translateLabel, "")
        ui.adaptStartButton.connect("clicked(bool)", self.onStart)
        ui.adaptStopButton.connect("clicked(bool)", self.onStop)
        ui.adaptResumeButton.connect("clicked(bool)", self.onResume)
        ui.translateButton.connect("clicked(bool)", self.onTranslate)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def bind(self, parameters: Any) -> None:
        """Work on these parameters from now on; None: on none."""
        self._parameters = parameters
        if parameters is not None and not parameters.adaptModel:
            model = recall(LAST_MODEL)
            parameters.adaptModel = model if model and Path(model).is_file() else ""

    def close(self) -> None:
        """End a translation; an adaptation goes on."""
        self._timer.stop()
        if self._translation is not None:
            self._translation.close()
            self._translation = None

    def config(self) -> dict[str, Any]:
        """The choices, as `SyntheXTrainLogic.adaptationCommand` takes them."""
        p = self._parameters
        adda = p.adaptMethod == ADDA
        return {
            "method": "adda" if adda else "cyclegan",
            "source": self._sources(),
            "target": p.target,
            "out": p.adaptOutput,
            "model": p.adaptModel if adda else None,
            "test": p.adaptTest or None,
            "preset": None if p.adaptPreset == AS_METHOD else p.adaptPreset,
            "randomization": p.adaptRandomization if adda and p.adaptRandomization != AS_METHOD else None,
            "epochs": p.adaptEpochs or None,
            "device": p.device,
        }

    def update(self) -> TrainingState:
        """Enable what can be done, and show where the adaptation in its folder stands, which is given."""
        p, ui = self._parameters, self._ui
        state = self._logic.state(p.adaptOutput) if p.adaptOutput else TrainingState("none")
        running = state.status == "running"
        adda = p.adaptMethod == ADDA
        lacks = "" if adda else _("CycleGAN adapts images, not a network.")
        enable(ui.adaptModelPath, _("Trained network that ADDA adapts"), lacks)
        enable(ui.adaptRandomizationBox, _("Domain randomisation of both domains in ADDA"), lacks)
        lacks = needs(
            (bool(self._sources()), _("a data set above")),
            (p.target != "", _("a target")),
            (not adda or p.adaptModel != "", _("a model")),
            (p.adaptOutput != "", _("an output folder")),
        )
        if not adda and p.adaptPreset == "released-code":
            lacks = lacks or _("There is no published code of the CycleGAN: choose another preset.")
        runs = _("A process runs in the output folder.") if running else ""
        enable(ui.adaptStartButton, _("Start the adaptation"), runs or lacks)
        enable(ui.adaptStopButton, _("End the adaptation; whole epochs stay"), "" if running else _("No adaptation runs there."))
        resumable = "" if state.status in ("stopped", "failed") else _("There is no interrupted adaptation in the output folder.")
        enable(ui.adaptResumeButton, _("Go on from the last whole epoch"), runs or resumable)
        ui.adaptProgressBar.value = round(1000 * state.share)
        result = self._logic.adaptationResult(p.adaptOutput) if p.adaptOutput else None
        told = stateText(state)
        if state.status == "finished" and result is not None:
            told = _("Finished: {path}").format(path=result)
        say(ui.adaptStatusLabel, told)
        translator = result is not None and result.name == RESULTS["cyclegan"]
        lacks = needs(
            (bool(self._sources()), _("a data set above")), (translator, _("a finished CycleGAN")), (p.translated != "", _("a folder"))
        )
        enable(ui.translateButton, _("Write the translated data set"), lacks if self._translation is None else _("It is being written."))
        return state

    def onStart(self) -> None:
        """Start the adaptation."""
        with slicer.util.tryWithErrorDisplay(_("The adaptation could not be started."), waitCursor=True):
            self._logic.startAdaptation(self.config())

    def onStop(self) -> None:
        """End it and wait until it is gone."""
        with slicer.util.tryWithErrorDisplay(_("The adaptation could not be stopped."), waitCursor=True):
            self._logic.stop(self._parameters.adaptOutput)

    def onResume(self) -> None:
        """Go on with it, with the settings that it had."""
        with slicer.util.tryWithErrorDisplay(_("The adaptation could not be resumed."), waitCursor=True):
            self._logic.resume(self._parameters.adaptOutput)

    def onTranslate(self) -> None:
        """Begin to write the translated data set."""
        p = self._parameters
        with slicer.util.tryWithErrorDisplay(_("The data set could not be translated."), waitCursor=True):
            translator = self._logic.adaptationResult(p.adaptOutput)
            assert translator is not None  # else the button is off
            self._translation = Translation(translator, self._sources()[0], p.translated, p.device)
            say(self._ui.translateLabel, _("Translating ..."))
            self._timer.start()
        self.update()

    def _poll(self) -> None:
        job = self._translation
        if job is None:
            return
        if not job.finished():
            progress = job.progress()
            if progress.total:
                text = _("Translating: {done} of {total} images").format(done=progress.done, total=progress.total)
                say(self._ui.translateLabel, text)
            return
        failed, message = job.failed, job.message()
        self.close()
        if failed:
            say(self._ui.translateLabel, message)
        else:
            folder = self._parameters.translated
            remember(LAST_DATASET, folder)
            say(self._ui.translateLabel, _("Wrote {path}.").format(path=folder))
        self.update()
