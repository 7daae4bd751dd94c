"""Which way round an image is that does not say it."""

from __future__ import annotations

from collections.abc import Callable

from SyntheXLib.inference.image_facts import ImageFacts
from SyntheXLib.inference.images import AUTO, POLARITIES, XrayImage, told_meaning
from SyntheXLib.inference.predictor import Predictor


def find_meaning(
    predictor: Predictor, facts: ImageFacts, polarity: str, intensity: str, image: Callable[[str, str], XrayImage]
) -> tuple[str, str]:
    """Polarity and intensity of an image: as given, or for ``auto`` as the image says; where it says no polarity, the network is asked.

    The network looks at the image both ways round. The polarity with the higher mean confidence of the landmarks is taken, as a network
    that was trained on bone that is bright is unsure of bone that is dark; without landmarks, or when both are alike, ``bone-bright``.

    Parameters
    ----------
    predictor
        The network.
    facts
        What the image says.
    polarity, intensity
        Given, or ``auto``.
    image
        Makes the image with a polarity and an intensity.

    Raises
    ------
    SyntheXError
        When the image does not fit the network.
    """
    told, meant = told_meaning(facts, polarity, intensity)
    if polarity != AUTO or facts.polarity is not None or not predictor.task.landmarks:
        return told, meant
    found = predictor.predict([image(name, meant) for name in POLARITIES])
    confidence = {name: float(one.confidence.mean()) for name, one in zip(POLARITIES, found, strict=True)}
    return max(POLARITIES, key=lambda name: confidence[name]), meant
