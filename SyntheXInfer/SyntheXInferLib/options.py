"""How an image is looked at, one value for all that finds something."""

from __future__ import annotations

from dataclasses import dataclass

from SyntheXLib.inference.images import AUTO
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD


@dataclass(frozen=True)
class InferOptions:
    """Settings of a prediction.

    Attributes
    ----------
    threshold
        Confidence above which a landmark counts as found.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    polarity, intensity
        What the numbers mean, see `SyntheXLib.inference.images` and, for ``auto``, `SyntheXLib.inference.polarity`; not asked of images of
        the Simulate module.
    spacing
        Height and width of a pixel in mm on the detector; None takes what is known of the image.
    flip, turn
        Look at the mirror image, and at the image upside down, too, and average.
    collimation
        ``auto``: what the collimator covers is found and not looked at; ``none``: the whole image is open.
    """

    threshold: float = CONFIDENCE_THRESHOLD
    device: str = "auto"
    polarity: str = AUTO
    intensity: str = AUTO
    spacing: tuple[float, float] | None = None
    flip: bool = False
    turn: bool = False
    collimation: str = AUTO

    @property
    def views(self) -> tuple[str, ...]:
        """As `SyntheXLib.inference.predictor.Predictor` takes them."""
        return ("plain", *(["flip"] if self.flip else []), *(["turn"] if self.turn else []))
