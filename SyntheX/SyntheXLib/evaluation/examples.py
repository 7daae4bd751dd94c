"""The images that the report shows: the best, those in the middle and the worst."""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.metrics import activated, dice
from SyntheXLib.evaluation.results import ImageResults, split_masks
from SyntheXLib.inference.overlay import GAMMA, Layers, compose
from SyntheXLib.rendering.display import log_image, to_gray

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.inference.predictions import PredictionFolder

#: Images of each kind.
EACH = 2
_SIDE = 640


@dataclass(frozen=True)
class Example:
    """One image of the report.

    Attributes
    ----------
    kind
        ``best``, ``median`` or ``worst``.
    position
        Place in the results.
    caption
        Its numbers in one line.
    truth, prediction, heat
        Pictures as ``data:`` addresses; `heat` is None in a task without landmarks.
    """

    kind: str
    position: int
    caption: str
    truth: str
    prediction: str
    heat: str | None


def choose(results: ImageResults, each: int = EACH) -> list[tuple[str, int]]:
    """Kind and place of the images to show.

    Ranked by the mean landmark error on the detector, among the images that show at least half of the task's landmarks (when there are
    enough of these, else all that show any); in a task without landmarks by the mean Dice.
    """
    errors = results.errors_detector_mm
    seen = np.count_nonzero(~np.isnan(errors), axis=1)
    if seen.any():
        rows = np.flatnonzero(2 * seen >= errors.shape[1])
        rows = rows if len(rows) >= 3 * each else np.flatnonzero(seen)
        score = np.array([errors[n][~np.isnan(errors[n])].mean() for n in rows])
    else:
        values = dice(results.counts)
        rows = np.flatnonzero(~np.isnan(values).all(axis=1))
        score = -np.array([values[n][~np.isnan(values[n])].mean() for n in rows])
    order = rows[np.argsort(score, kind="stable")]
    if len(order) <= 3 * each:
        cuts = np.array_split(order, 3)
        return [(kind, int(n)) for kind, part in zip(("best", "median", "worst"), cuts, strict=True) for n in part]
    start = (len(order) - each) // 2
    chosen = (("best", order[:each]), ("median", order[start : start + each]), ("worst", order[-each:]))
    return [(kind, int(n)) for kind, part in chosen for n in part]


def make_examples(results: ImageResults, predictions: "PredictionFolder", dataset: "XrayDataset", threshold: float) -> list[Example]:
    """Draw the chosen images."""
    return [_example(kind, n, results, predictions, dataset, threshold) for kind, n in choose(results)]


def _example(
    kind: str, n: int, results: ImageResults, predictions: "PredictionFolder", dataset: "XrayDataset", threshold: float
) -> Example:
    task = results.task
    sample = dataset[int(results.index[n])]
    gray = to_gray(log_image(sample.image), gamma=GAMMA)
    bits, heat = predictions.picture_arrays(n)
    truth = np.where(results.visible[n][:, None], results.truth[n], np.nan)
    confident = results.confidence[n] > threshold
    right = Layers(masks=split_masks(sample.mask, task), truth=truth)
    found = Layers(masks=split_masks(bits, task), landmarks=results.predicted[n], confident=confident, truth=truth)
    warm = Layers(heat=heat, truth=truth)
    return Example(
        kind=kind,
        position=n,
        caption=_caption(n, results, threshold),
        truth=_address(compose(gray, task, right, _SIDE)),
        prediction=_address(compose(gray, task, found, _SIDE)),
        heat=_address(compose(gray, task, warm, _SIDE)) if task.landmarks else None,
    )


def _caption(n: int, results: ImageResults, threshold: float) -> str:
    parts = [f"image {results.index[n]}"]
    if results.specimen[n]:
        parts.append(results.specimen[n])
    values = dice(results.counts)[n]
    if not np.isnan(values).all():
        parts.append(f"mean Dice {np.nanmean(values):.3f}")
    errors = results.errors_detector_mm[n]
    seen = ~np.isnan(errors)
    if seen.any():
        active = activated(errors, results.confidence[n], threshold)
        parts.append(f"mean error {errors[seen].mean():.2f} mm over {seen.sum()} visible landmarks, {active.sum()} activated")
    if np.isfinite(results.angle_deg[n]):
        parts.append(f"turned {results.angle_deg[n]:.0f}° from AP")
    return " · ".join(parts)


def _address(picture: NDArray[np.uint8]) -> str:
    """JPEG in a ``data:`` address; full colour resolution, because thin coloured lines are what it shows."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
