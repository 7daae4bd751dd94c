"""Predictions held against the truth, image by image: the arrays from which all tables and figures follow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import modes
from SyntheXLib.evaluation.calibration import PixelBins, pixel_bins
from SyntheXLib.evaluation.metrics import NO_TRUTH, Overlap, landmark_errors, overlap, to_isocenter
from SyntheXLib.evaluation.modes import Mode
from SyntheXLib.evaluation.picks import picked
from SyntheXLib.evaluation.surface import surface_distances
from SyntheXLib.scene.view_angles import rotation_from_standard_view
from SyntheXLib.tasks.labels import bits_of_labels, exclusive_labels, structure_masks
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.inference.predictions import PredictionFolder

Progress = Callable[[int, int], None]
#: Parameter of an image, after a structure's name: false where its true mask is not to be trusted (DeepFluoro, of femurs).
_GOOD_TRUTH = "_good_fov"


@dataclass(frozen=True)
class ImageResults:
    """N images, C structures, L landmarks.

    Attributes
    ----------
    task
        Names and order.
    mode
        How landmarks were placed and what counts, see `modes`.
    index
        (N,) index in the data set.
    specimen, imaging_system, fold
        Of each image, empty where the data set does not say; the fold is the specimen where it names none.
    angle_deg
        (N,) angle of the rotation between the view and the standard AP view, 0..180 degrees; NaN where the camera is unknown.
    coverage
        (N,) share of the rays that leave the CT through a cut end, 0..1; NaN where unknown.
    world_to_camera
        (N, 4, 4), mm; NaN where unknown.
    source_to_isocenter_mm
        (N,); NaN where unknown.
    pixels
        Pixels of an image.
    counts
        Pixel counts (N, C). In an exclusive task the truth is the exclusive label too (the later structure lies on top).
    surface_mm, hausdorff95_mm
        (N, C) distances of the outlines, see `surface.surface_distances`; NaN where one of the masks has none.
    pixel_bins
        For the calibration of the masks; None where probabilities are not stored.
    predicted, truth
        (N, L, 2) column and row, pixels.
    confidence
        (N, L).
    visible
        (N, L) the true position lies inside the frame.
    errors_detector_mm, errors_isocenter_mm
        (N, L) see `metrics.landmark_errors`: NaN for what the mode does not count; at the isocentre NaN where its distance is unknown.
    notes
        What keeps the mode from being followed to the letter, a sentence each.
    """

    task: Task
    mode: Mode
    index: NDArray[np.int64]
    specimen: list[str]
    imaging_system: list[str]
    fold: list[str]
    angle_deg: NDArray[np.float64]
    coverage: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]
    source_to_isocenter_mm: NDArray[np.float64]
    pixels: int
    counts: Overlap
    surface_mm: NDArray[np.float64]
    hausdorff95_mm: NDArray[np.float64]
    pixel_bins: PixelBins | None
    predicted: NDArray[np.float32]
    truth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    visible: NDArray[np.bool_]
    errors_detector_mm: NDArray[np.float64]
    errors_isocenter_mm: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N, L) the true position is known, inside the frame or not."""
        return np.isfinite(self.truth[..., 0]) & np.isfinite(self.truth[..., 1])

    def part(self, rows: NDArray[np.bool_]) -> "ImageResults":
        """The images where `rows` (N,) is true; their pixels' calibration is not kept."""
        names = ("specimen", "imaging_system", "fold")
        arrays = [
            *("index", "angle_deg", "coverage", "world_to_camera", "source_to_isocenter_mm", "surface_mm", "hausdorff95_mm"),
            *("predicted", "truth", "confidence", "visible", "errors_detector_mm", "errors_isocenter_mm"),
        ]
        changes: dict[str, Any] = {name: getattr(self, name)[rows] for name in arrays}
        changes |= {name: [v for v, kept in zip(getattr(self, name), rows, strict=True) if kept] for name in names}
        counts = Overlap(self.counts.intersection[rows], self.counts.predicted[rows], self.counts.truth[rows])
        return replace(self, counts=counts, pixel_bins=None, **changes)


def compare(
    predictions: "PredictionFolder", dataset: "XrayDataset", progress: Progress | None = None, mode: Mode = "strict"
) -> ImageResults:
    """Hold predictions against the truth of their data set.

    Parameters
    ----------
    predictions, dataset
        Of the same images.
    progress
        Called with the number of images done and their total.
    mode
        How landmarks are placed and what counts, see `modes`.

    Raises
    ------
    SyntheXError
        When the counts, names or image sizes do not fit together.
    """
    task = dataset.task
    _check(predictions, dataset)
    count, structures, landmarks = len(predictions), len(task.structures), len(task.landmarks)
    counts = np.zeros((3, count, structures), dtype=np.int64)
    surface = np.full((2, count, structures), np.nan)
    truth = np.full((count, landmarks, 2), np.nan, dtype=np.float32)
    found, sure = np.full_like(truth, np.nan), np.full((count, landmarks), np.nan, dtype=np.float32)
    visible = np.zeros((count, landmarks), dtype=bool)
    names: dict[str, list[str]] = {"specimen": [], "imaging_system": [], "fold": []}
    coverage, distance, cameras = np.full(count, np.nan), np.zeros(count), np.zeros((count, 4, 4))
    bins: PixelBins | None = None
    searched = False
    sigma = float(predictions.description["model"].get("heatmap_sigma_px", 0.0))
    stored = zip(predictions.index, predictions.masks(), predictions.optional("heatmap"), predictions.optional("probability"), strict=True)
    for n, (i, bits, heatmaps, probability) in enumerate(stored):
        sample = dataset[int(i)]
        searched = heatmaps is not None
        if bits.shape != sample.mask.shape:
            raise SyntheXError(
                f"{predictions.folder}: the mask of image {i} has the shape {bits.shape}, expected {sample.mask.shape} of the data set."
            )
        ours, theirs = split_masks(bits, task), split_masks(sample.mask, task)
        trusted = np.array([mode != "strict" or sample.parameters.get(f"{s}{_GOOD_TRUTH}") is not False for s in task.structure_names])
        if probability is not None:
            image_bins = pixel_bins(probability, theirs, trusted)
            bins = image_bins if bins is None else bins + image_bins
            if mode == "paper-text":
                ours = probability > modes.MASK_THRESHOLD * 255
        one = overlap(ours[None], theirs[None])
        counts[:, n] = one.intersection[0], one.predicted[0], one.truth[0]
        for c in range(structures):
            if not trusted[c]:
                counts[:, n, c] = 0, 0, NO_TRUTH
                continue
            surface[:, n, c] = surface_distances(ours[c], theirs[c], dataset.pixel_spacing_mm)
        truth[n], visible[n] = sample.landmarks, sample.visible
        found[n], sure[n] = picked(mode, task, predictions.landmarks[n], predictions.confidence[n], ours, heatmaps, sigma)
        for name, values in names.items():
            values.append(str(sample.parameters.get(name) or ""))
        coverage[n] = _number(sample.parameters.get("coverage"))
        cameras[n], distance[n] = sample.world_to_camera, dataset.source_to_isocenter_mm(int(i))
        if progress:
            progress(n + 1, count)
    scale = modes.millimetres_per_pixel(mode, task, dataset.image_shape[0], dataset.pixel_spacing_mm)
    if mode == "released-code" and modes.is_tool(task):
        sure[~modes.apart(found * scale)] = np.nan
    known = np.isfinite(truth[..., 0]) & np.isfinite(truth[..., 1])
    errors = landmark_errors(found, truth, modes.counted(mode, known, visible)) * scale
    names["fold"] = [fold or specimen for fold, specimen in zip(names["fold"], names["specimen"], strict=True)]
    return ImageResults(
        task=task,
        mode=mode,
        index=predictions.index,
        **names,
        angle_deg=rotation_from_standard_view(cameras),
        coverage=coverage,
        world_to_camera=cameras,
        source_to_isocenter_mm=distance,
        pixels=dataset.image_shape[0] * dataset.image_shape[1],
        counts=Overlap(*counts),
        surface_mm=surface[0],
        hausdorff95_mm=surface[1],
        pixel_bins=bins,
        predicted=found,
        truth=truth,
        confidence=sure,
        visible=visible,
        errors_detector_mm=errors,
        errors_isocenter_mm=to_isocenter(errors, distance, dataset.source_to_detector_mm),
        notes=_notes(mode, task, searched, bins is not None, int(np.count_nonzero(counts[2] == NO_TRUTH))),
    )


def _notes(mode: Mode, task: Task, heatmaps: bool, probabilities: bool, untrusted: int) -> tuple[str, ...]:
    """What the mode needs and the predictions do not hold, and what is left out."""
    notes = []
    if mode == "released-code" and task.landmarks and not modes.is_tool(task) and not heatmaps:
        notes.append("a heatmap's highest point outside the predicted structure is dropped, not searched anew inside it")
    if mode == "paper-text" and task.segmentation == "exclusive" and not probabilities:
        notes.append("a pixel belongs to the structure of the highest probability, also where that is below 0.5")
    told = [f"Heatmaps and probabilities are not stored ('synthex infer --heatmaps' does): {note}." for note in notes]
    if untrusted:
        told.append(f"{untrusted} true masks are left out, as the data set says that they are not to be trusted (good-fov).")
    return tuple(told)


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
