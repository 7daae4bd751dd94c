"""Whether an image is like those a model was validated on.

For each image some plain numbers are taken: of the network's input (which has mean 0 and standard deviation 1) where its grey levels lie
and how rough it is; of the answer, how sure the landmarks are and how much of the image is covered. `domain_statistics` takes them from
validation images and gives their ranges, which a training stores in the model's record as ``training["domain"]``; `domain_warning` says of
a new image what lies far outside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictions import Prediction

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor

DOMAIN = "domain"
_NAMES = {
    "dark": "the dark end of the grey levels",
    "middle": "the middle grey level",
    "bright": "the bright end of the grey levels",
    "roughness": "the roughness from pixel to pixel",
    "confidence": "the confidence of the landmarks",
    "covered": "the share of the image that structures cover",
}
#: Only low values of these are a reason to warn.
_LOW_ONLY = ("confidence",)
#: A number is far when it lies beyond the validation's range by this many times the width of the range.
_FAR = 0.5
#: Ranges narrower than this, of few or of very like images, count as this wide.
_NARROWEST = 0.1
#: The range leaves out this share of the validation images at each end.
_TAIL = 0.01
_BATCH = 8


def domain_statistics(predictor: Predictor, images: Iterable[XrayImage]) -> dict[str, Any]:
    """The ranges of validation images, plain values for JSON.

    Parameters
    ----------
    predictor
        The trained network.
    images
        Validation images, any number from 2 on; they are looked at in small batches.

    Returns
    -------
    dict
        ``count`` and ``ranges``: name to lowest and highest, less the outermost 1 % at each end.
    """
    features: list[dict[str, float]] = []
    for some in _batches(images):
        features += [image_features(predictor, *pair) for pair in zip(some, predictor.predict(some), strict=True)]
    ranges = {}
    for name in features[0] if len(features) > 1 else ():
        low, high = np.quantile([one[name] for one in features], (_TAIL, 1 - _TAIL))
        ranges[name] = [round(float(low), 5), round(float(high), 5)]
    return {"count": len(features), "ranges": ranges}


def image_features(predictor: Predictor, image: XrayImage, prediction: Prediction) -> dict[str, float]:
    """The numbers of one image, by the names that `domain_statistics` uses."""
    x = predictor.inputs([image])[0, 0].numpy()
    dark, middle, bright = np.percentile(x, (5, 50, 95))
    found = {
        "dark": float(dark),
        "middle": float(middle),
        "bright": float(bright),
        "roughness": float((np.abs(np.diff(x, axis=0)).mean() + np.abs(np.diff(x, axis=1)).mean()) / 2),
        "covered": float((prediction.mask != 0).mean()),
    }
    return found | ({"confidence": float(prediction.confidence.mean())} if len(prediction.confidence) else {})


def domain_warning(predictor: Predictor, image: XrayImage, prediction: Prediction) -> str | None:
    """What is unlike the validation, as one sentence; None when nothing is, or the model has no statistics."""
    ranges = predictor.description.training.get(DOMAIN, {}).get("ranges", {})
    if not ranges:
        return None
    odd = []
    for name, value in image_features(predictor, image, prediction).items():
        if name not in ranges:
            continue
        low, high = ranges[name]
        far = _FAR * max(high - low, _NARROWEST)
        if value < low - far or (value > high + far and name not in _LOW_ONLY):
            odd.append(f"{_NAMES[name]} is {value:.2f} ({low:.2f} to {high:.2f})")
    return f"unlike the images the model was validated on: {'; '.join(odd)}" if odd else None


def _batches(images: Iterable[XrayImage]) -> Iterator[Sequence[XrayImage]]:
    some: list[XrayImage] = []
    for image in images:
        some.append(image)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some
