"""What the Train panel says of a training."""

from __future__ import annotations

from slicer.i18n import tr as _

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


def durationText(seconds: float) -> str:
    """``1 h 2 min``, ``3 min 4 s`` or ``5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
    return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest) if minutes else _("{seconds} s").format(seconds=rest)
