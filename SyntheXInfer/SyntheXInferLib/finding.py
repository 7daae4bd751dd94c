"""From frames, taken out of the scene, to what a network says of them. Nothing here knows the scene, so that a thread may do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from SyntheXInferLib.options import InferOptions
from SyntheXLib.inference.image_facts import ImageFacts
from SyntheXLib.inference.images import AUTO, XrayImage, check_meaning, xray_image
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor


@dataclass(frozen=True)
class Shot:
    """Frames of an image at one time.

    Attributes
    ----------
    name
        Of the image, for messages.
    frames
        (K, H, W) pixels.
    facts
        What is known of them.
    known
        Their intensity, when the Simulate module made them; None of any other.
    """

    name: str
    frames: np.ndarray
    facts: ImageFacts
    known: str | None


@dataclass(frozen=True)
class Finding:
    """What a network said.

    Attributes
    ----------
    task
        Of the network.
    predictions
        One for each frame.
    meaning
        Polarity and intensity that the frames were taken for.
    warning
        What is unlike the images that the model was validated on, see `SyntheXLib.inference.domain`; empty when nothing is known to be.
    field
        (H, W) what the collimator leaves open, in which alone the network looked; None where all is open.
    """

    task: Task
    predictions: list[Prediction]
    meaning: tuple[str, str]
    warning: str = ""
    field: np.ndarray | None = None


def find(
    predictor: Predictor,
    shot: Shot,
    options: InferOptions,
    meaning: tuple[str, str] | None = None,
    field: np.ndarray | str | None = AUTO,
) -> Finding:
    """Apply a network to all frames; text that was burnt into their pixels is painted over first.

    Parameters
    ----------
    predictor, shot, options
        The network, the frames and how they are looked at; device and views are those of the network.
    meaning
        Polarity and intensity where they were decided before; None decides here, for which the network may have to look twice.
    field
        What the collimator leaves open (see `Finding`) where that was found before; ``auto`` does what the options say.

    Raises
    ------
    SyntheXError
        When an option is unknown or an image does not fit the network.
    """
    from SyntheXLib.inference.burnt_in import without_text
    from SyntheXLib.inference.domain import domain_warning
    from SyntheXLib.inference.polarity import asked_frames, find_meaning
    from SyntheXLib.inference.predict_images import open_field

    check_meaning(options.polarity, options.intensity)
    frames, known = [without_text(frame) for frame in shot.frames], shot.known
    spacing = options.spacing or shot.facts.pixel_spacing_mm
    asked = [frames[number] for number in asked_frames(len(frames))]
    linear = "linear" in (known, options.intensity, shot.facts.intensity)
    if isinstance(field, str):
        field = open_field(asked, linear) if options.collimation == AUTO else None
    if known:
        images = [XrayImage(frame.astype(np.float32), known, spacing, field=field) for frame in frames]
        meaning = ("bone-dark", known)
    else:

        def image(frame: np.ndarray, turned: str, meant: str) -> XrayImage:
            return replace(xray_image(frame, turned, meant, spacing, f"Volume '{shot.name}'"), field=field)

        if meaning is None:
            meaning = find_meaning(
                predictor, shot.facts, options.polarity, options.intensity, lambda *meant: [image(one, *meant) for one in asked]
            )
        images = [image(frame, *meaning) for frame in frames]
    predictions = predictor.predict(images)
    return Finding(predictor.task, predictions, meaning, domain_warning(predictor, images[0], predictions[0]) or "", field)
