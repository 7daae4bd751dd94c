"""Predictions held against the truth, image by image: the arrays from which all tables and figures follow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.metrics import Overlap, landmark_errors, overlap, to_isocenter
from SyntheXLib.scene.view_angles import rotation_from_standard_view
from SyntheXLib.tasks.labels import bits_of_labels, exclusive_labels, structure_masks
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.inference.predictions import PredictionFolder

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageResults:
    """N images, C structures, L landmarks.

    Attributes
    ----------
    task
        Names and order.
    index
        (N,) index in the data set.
    specimen
        Name of the specimen of each image, empty where the data set does not say.
    angle_deg
        (N,) angle of the rotation between the view and the standard AP view, 0..180 degrees; NaN where the camera is unknown.
    coverage
        (N,) share of the rays that leave the CT through a cut end, 0..1; NaN where unknown.
    counts
        Pixel counts (N, C). In an exclusive task the truth is the exclusive label too (the later structure lies on top).
    predicted, truth
        (N, L, 2) column and row, pixels.
    confidence
        (N, L).
    visible
        (N, L) the true position lies inside the frame.
    errors_detector_mm, errors_isocenter_mm
        (N, L) see `metrics.landmark_errors`; at the isocentre NaN where its distance is unknown.
    """

    task: Task
    index: NDArray[np.int64]
    specimen: list[str]
    angle_deg: NDArray[np.float64]
    coverage: NDArray[np.float64]
    counts: Overlap
    predicted: NDArray[np.float32]
    truth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    visible: NDArray[np.bool_]
    errors_detector_mm: NDArray[np.float64]
    errors_isocenter_mm: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N, L) the true position is known, inside the frame or not."""
        return np.isfinite(self.truth[..., 0]) & np.isfinite(self.truth[..., 1])


def compare(predictions: "PredictionFolder", dataset: "XrayDataset", progress: Progress | None = None) -> ImageResults:
    """Hold predictions against the truth of their data set.

    Parameters
    ----------
    predictions, dataset
        Of the same images.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    SyntheXError
        When the counts, names or image sizes do not fit together.
    """
    task = dataset.task
    _check(predictions, dataset)
    count, landmarks = len(predictions), len(task.landmarks)
    counts = np.zeros((3, count, len(task.structures)), dtype=np.int64)
    truth = np.full((count, landmarks, 2), np.nan, dtype=np.float32)
    visible = np.zeros((count, landmarks), dtype=bool)
    specimen: list[str] = []
    angle, coverage, distance = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count)
    for n, (i, bits) in enumerate(zip(predictions.index, predictions.masks(), strict=True)):
        sample = dataset[int(i)]
        if bits.shape != sample.mask.shape:
            raise SyntheXError(
                f"{predictions.folder}: the mask of image {i} has the shape {bits.shape}, expected {sample.mask.shape} of the data set."
            )
        one = overlap(split_masks(bits, task)[None], split_masks(sample.mask, task)[None])
        counts[:, n] = one.intersection[0], one.predicted[0], one.truth[0]
        truth[n], visible[n] = sample.landmarks, sample.visible
        specimen.append(str(sample.parameters.get("specimen", "")))
        coverage[n] = _number(sample.parameters.get("coverage"))
        angle[n] = angle_from_ap(sample.world_to_camera)
        distance[n] = dataset.source_to_isocenter_mm(int(i))
        if progress:
            progress(n + 1, count)
    errors = landmark_errors(predictions.landmarks, truth, visible) * dataset.pixel_spacing_mm
    return ImageResults(
        task=task,
        index=predictions.index,
        specimen=specimen,
        angle_deg=angle,
        coverage=coverage,
        counts=Overlap(*counts),
        predicted=predictions.landmarks,
        truth=truth,
        confidence=predictions.confidence,
        visible=visible,
        errors_detector_mm=errors,
        errors_isocenter_mm=to_isocenter(errors, distance, dataset.source_to_detector_mm),
    )


def split_masks(bits: NDArray[np.unsignedinteger], task: Task) -> NDArray[np.bool_]:
    """(H, W) bit field -> (C, H, W) masks; in an exclusive task each pixel belongs to the last of its structures alone."""
    count = len(task.structures)
    if task.segmentation == "exclusive":
        bits = bits_of_labels(exclusive_labels(bits, count))
    return structure_masks(bits, count)


def angle_from_ap(world_to_camera: NDArray[np.floating]) -> float:
    """See `scene.view_angles.rotation_from_standard_view`, for one (4, 4) camera; NaN where it is unknown."""
    return float(rotation_from_standard_view(np.asarray(world_to_camera, float)[None])[0])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _check(predictions: "PredictionFolder", dataset: "XrayDataset") -> None:
    task, other = dataset.task, predictions.task
    for kind, ours, theirs in (
        ("structures", task.structure_names, other.structure_names),
        ("landmarks", task.landmark_names, other.landmark_names),
    ):
        if ours != theirs:
            expected = f"the {kind} must be those of the data set ({', '.join(ours)})"
            raise SyntheXError(f"{predictions.folder}: {expected}, found {', '.join(theirs)}.")
    if len(predictions) != len(dataset):
        raise SyntheXError(
            f"{predictions.folder} holds predictions of {len(predictions)} images, expected {len(dataset)}, as the data set has."
        )
    if len(dataset) == 0:
        raise SyntheXError("The data set has no images, nothing can be evaluated.")
    if sorted(predictions.index.tolist()) != list(range(len(dataset))):
        raise SyntheXError(f"{predictions.folder}: 'index' must name each image of the data set once (0 to {len(dataset) - 1}).")
