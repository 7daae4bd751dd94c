"""Landmarks that a network finds in an X-ray, for the start of its registration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from SyntheXLib.inference.images import XrayImage
from SyntheXLib.registration.views import View

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor

# Lower than what a found landmark must have elsewhere: a start needs four that are about right, and RANSAC leaves out the wrong ones.
START_THRESHOLD = 0.5
# How far off such a landmark may be, mm on the detector.
START_TOLERANCE_MM = 15.0


def predicted_landmarks(predictor: Predictor, view: View, polarity: int = 0, threshold: float = START_THRESHOLD) -> dict[str, np.ndarray]:
    """The landmarks that a network finds in a view: name to (2,) column and row.

    Parameters
    ----------
    predictor
        The network; it sees the image at the spacing that the view's camera gives, and nothing outside the view's mask.
    view
        An X-ray on a log scale, as it was taken: in a mirrored one left and right are confused.
    polarity
        1 for bone bright, -1 for bone dark; with 0 the network looks at both and the one it is surer of on the mean is taken, as
        `inference.polarity` does.
    threshold
        Confidence that a landmark must have.

    Raises
    ------
    SyntheXError
        When the image does not fit the network.
    """
    field = None if view.mask.all() else view.mask
    image = XrayImage(np.asarray(view.image, np.float32), "log", view.camera.pixel_spacing_mm, None, field)
    signs = [polarity] if polarity else [1, -1]
    seen = predictor.predict([replace(image, pixels=sign * image.pixels) for sign in signs])
    found = max(seen, key=lambda one: float(one.confidence.mean()))
    sure = found.confidence > threshold
    named = zip(predictor.task.landmark_names, found.landmarks, sure, strict=True)
    return {name: np.asarray(place, float) for name, place, take in named if take}
