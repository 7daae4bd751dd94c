"""From what networks answer to masks, landmarks and how far the answers differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.inference.grid import NetworkGrid
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

#: Probability from which a structure counts as present in a multilabel task (the paper's).
MASK_THRESHOLD = 0.5


class Answer(NamedTuple):
    """What one network says of one view of images, on the CPU and turned back to the images.

    Attributes
    ----------
    probabilities
        (B, C, h, w); C counts the background of an exclusive task.
    heatmaps
        (B, L, h, w), their scale free.
    presence
        (B, L) probability that the landmark is inside the frame; None where the network does not tell.
    """

    probabilities: Tensor
    heatmaps: Tensor
    presence: Tensor | None


def combine(answers: Sequence[Answer]) -> Answer:
    """The mean of answers; each heatmap is first brought to 0..1, as their scales are free (so did Gao et al. 2023)."""
    import torch

    if len(answers) == 1:
        return answers[0]
    scaled = []
    for answer in answers:
        low, high = (extreme((-2, -1), keepdim=True) for extreme in (answer.heatmaps.amin, answer.heatmaps.amax))
        scaled.append((answer.heatmaps - low) / (high - low).clamp_min(1e-12))
    told = [answer.presence for answer in answers if answer.presence is not None]
    return Answer(
        torch.stack([answer.probabilities for answer in answers]).mean(0),
        torch.stack(scaled).mean(0),
        torch.stack(told).mean(0) if told else None,
    )


def read_answers(
    answers: Sequence[Answer],
    task: Task,
    sigma: float,
    grid: NetworkGrid,
    field: NDArray[np.bool_] | None,
    heatmaps: bool,
    readout: str = "parabola",
    heat: bool = False,
) -> list[Prediction]:
    """Predictions of a batch of images.

    Parameters
    ----------
    answers
        Of the networks and views; they are averaged, and their spread is given where there are several.
    task
        Structures and landmarks.
    sigma
        Standard deviation of the trained heatmaps, pixels of the grid.
    grid
        From the images' pixels to those of the answers.
    field
        (B, *grid.shape), where the images show anything: outside nothing is found. None where they do everywhere.
    heatmaps
        Keep the heatmaps and the probabilities.
    readout
        How peaks are found, one of `networks.heatmaps.READOUTS`.
    heat
        Make the picture of the highest heatmaps too.
    """
    import torch

    mean = combine(answers)
    inner = None if field is None else grid.resample(torch.from_numpy(field).float()[:, None]) > 0.5
    masks = _masks(mean.probabilities, task, grid)
    if field is not None:
        masks = masks * field.astype(masks.dtype)
    points, confidence = _landmarks(mean.heatmaps, sigma, inner, readout)
    count = len(masks)
    glow: Any = [None] * count
    if heat:
        glow = _heat(mean.heatmaps, confidence, grid)
        glow = glow if field is None else glow * field
    presence: Any = [None] * count if mean.presence is None else mean.presence.numpy()
    apart: Any = [None] * count
    differing: Any = [None] * count
    if len(answers) > 1:
        every = [grid.restore_points(_landmarks(answer.heatmaps, sigma, inner, readout)[0]) for answer in answers]
        apart = _distance_spread(np.stack(every))
        differing = _mask_spread([_labels(answer.probabilities, task) for answer in answers], _labels(mean.probabilities, task))
    kept: Any = mean.heatmaps.to(torch.float16).numpy() if heatmaps else [None] * count
    chances: Any = _probability(mean.probabilities, task, grid) if heatmaps else [None] * count
    points = grid.restore_points(points)
    parts = zip(masks, points, confidence, glow, kept, chances, presence, apart, differing, strict=True)
    return [Prediction(*part) for part in parts]


def _labels(probabilities: Tensor, task: Task) -> Tensor:
    """(B, structures, h, w) bool on the answers' grid."""
    if task.segmentation != "exclusive":
        return probabilities > MASK_THRESHOLD
    import torch

    labels = probabilities.argmax(1, keepdim=True)
    return labels == torch.arange(1, probabilities.shape[1])[:, None, None]


def _masks(probabilities: Tensor, task: Task, grid: NetworkGrid) -> NDArray[np.unsignedinteger]:
    """(B, *shape) bit field. Probabilities are interpolated, not logits: they are bounded, so no pixel outweighs its neighbours.

    One channel after another: all at once at the size of a large image would take the memory of as many images.
    """
    import torch

    kind = np.uint16 if len(task.structures) <= 16 else np.uint32
    bits = np.zeros((len(probabilities), *grid.shape), kind)
    planes = (grid.restore(probabilities[:, n : n + 1])[:, 0] for n in range(probabilities.shape[1]))
    if task.segmentation != "exclusive":
        for bit, plane in enumerate(planes):
            bits[(plane > MASK_THRESHOLD).numpy()] |= kind(1 << bit)
        return bits
    highest = next(planes).clone()  # of the background
    for bit, plane in enumerate(planes):
        bits[(plane > highest).numpy()] = 1 << bit
        torch.maximum(highest, plane, out=highest)
    return bits


def _probability(probabilities: Tensor, task: Task, grid: NetworkGrid) -> NDArray[np.uint8]:
    """(B, C, h, w) -> (B, structures, *shape), 255 = 1; the background of an exclusive task is left out."""
    import torch

    chances = probabilities[:, 1:] if task.segmentation == "exclusive" else probabilities
    steps: NDArray[np.uint8] = (grid.restore(chances).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return steps


def _landmarks(maps: Tensor, sigma: float, field: Tensor | None, readout: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, L, h, w) heatmaps -> (B, L, 2) column and row, (B, L) confidence; peaks are looked for in the field, (B, 1, h, w)."""
    from SyntheXLib.networks.heatmaps import peak_confidence, read_peaks

    points = read_peaks(maps if field is None else maps.where(field, maps.amin((-2, -1), keepdim=True)), sigma, readout)
    return points.numpy(), peak_confidence(maps, points, sigma).numpy()


def _heat(maps: Tensor, confidence: NDArray[np.float32], grid: NetworkGrid) -> NDArray[np.uint8]:
    """(B, L, h, w) heatmaps -> (B, *shape), the highest of them, 255 = 1, each scaled so that its peak is as high as its confidence.

    The scale of a heatmap says nothing: the ncc loss leaves it and the background's level open. Squared, so that peaks stand out from
    the broad shoulders of an unsure map.
    """
    import torch

    if not maps.shape[1]:
        return np.zeros((maps.shape[0], *grid.shape), np.uint8)
    background = maps.flatten(-2).median(-1).values[..., None, None]
    height = (maps.amax((-2, -1), keepdim=True) - background).clamp_min(1e-12)
    scaled = ((maps - background) / height).clamp(0, 1).square() * torch.from_numpy(confidence).clamp(0, 1)[..., None, None]
    highest = grid.restore(scaled.amax(dim=1, keepdim=True))[:, 0]
    heat: NDArray[np.uint8] = (highest.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return heat


def _distance_spread(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, B, L, 2) places -> (B, L) root mean square distance from their mean."""
    spread: NDArray[np.float32] = np.sqrt(np.square(points - points.mean(0)).sum(-1).mean(0)).astype(np.float32)
    return spread


def _mask_spread(each: list[Tensor], mean: Tensor) -> NDArray[np.float32]:
    """(B, C) one minus the mean Dice of each answer's mask with that of their mean; NaN where all are empty."""
    import torch

    both = torch.stack([(mask & mean).sum((-2, -1)) for mask in each]).double()
    total = torch.stack([mask.sum((-2, -1)) + mean.sum((-2, -1)) for mask in each]).double()
    empty = (total == 0).all(0)
    dice = torch.where(total > 0, 2 * both / total.clamp_min(1), 1.0).mean(0)
    spread: NDArray[np.float32] = torch.where(empty, torch.nan, 1 - dice).float().numpy()
    return spread
