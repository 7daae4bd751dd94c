"""What the Train panel says of a training."""

from __future__ import annotations

from slicer.i18n import tr as _

from SyntheXHomeLib.panels import durationText
from SyntheXTrainLib.logic import TrainingState


def stateText(state: TrainingState) -> str:
    """One sentence on where a training stands; empty when there is none."""
    if state.status == "running" and state.epochs:
        return _("Running: epoch {epoch} of {epochs}, loss {loss}, {speed} images/s, {left} left").format(
            epoch=state.epoch,
            epochs=state.epochs,
            loss=f"{state.loss:.4f}",
            speed=f"{state.images_per_second:.1f}",
            left=durationText(state.seconds_left),
        )
    return {
        "none": "",
        "running": _("Starting: loading the data"),
        "finished": _("Finished."),
        "stopped": _("Stopped; Resume goes on from the last whole epoch."),
        "failed": _("Failed: {message}").format(message=state.message),
    }[state.status]
