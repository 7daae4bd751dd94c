"""Landmarks as heatmaps and back: Gaussian targets, sub-pixel peaks, and how much a peak looks like a Gaussian.

Pixel (0, 0) is the centre of the first pixel; landmarks are (column, row) in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SIGMA_PX = 1.5
READOUTS = ("parabola", "centroid")
ACTIVATION_THRESHOLD = 0.9  # Gao et al. 2023: a landmark counts as found when its confidence is above this


def heatmap_sigma_px(heatmap_sigma_mm: float, pixel_spacing_mm: float) -> float:
    """Standard deviation of a task's heatmaps in pixels of `pixel_spacing_mm` on the detector, not below 1.5 px."""
    return max(heatmap_sigma_mm / pixel_spacing_mm, SMALLEST_SIGMA_PX)


def gaussian_profiles(landmarks: Tensor, visible: Tensor, shape: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
    """Column and row factors of the target heatmaps, which are their outer products.

    Parameters
    ----------
    landmarks
        (B, L, 2), (column, row), NaN allowed where not visible.
    visible
        bool (B, L).
    shape
        (H, W).
    sigma
        Standard deviation, pixels.

    Returns
    -------
    tuple
        (B, L, H) and (B, L, W); the row factor is zero for an invisible landmark.
    """
    places = torch.where(visible[..., None], landmarks, 0.0).float()
    columns = torch.arange(shape[1], device=landmarks.device, dtype=torch.float32)
    rows = torch.arange(shape[0], device=landmarks.device, dtype=torch.float32)
    across = torch.exp(-0.5 * ((columns - places[..., 0, None]) / sigma) ** 2)
    down = torch.exp(-0.5 * ((rows - places[..., 1, None]) / sigma) ** 2)
    return down * visible[..., None], across


def gaussian_heatmaps(landmarks: Tensor, visible: Tensor, shape: tuple[int, int], sigma: float) -> Tensor:
    """Target heatmaps (B, L, H, W): Gaussians of peak 1 at the landmarks, zero where not visible; see `gaussian_profiles`."""
    down, across = gaussian_profiles(landmarks, visible, shape, sigma)
    return down[..., :, None] * across[..., None, :]


def find_peaks(heatmaps: Tensor) -> Tensor:
    """Place of the highest response of each map, refined by a parabola through it and its neighbours along each axis.

    The refinement does not change when the map is scaled or shifted in value, which the NCC loss leaves open.

    Parameters
    ----------
    heatmaps
        (B, L, H, W).

    Returns
    -------
    Tensor
        float32 (B, L, 2), (column, row), within half a pixel of the highest pixel. At the border there is no refinement across it.
    """
    heatmaps = heatmaps.float()
    height, width = heatmaps.shape[-2:]
    flat = heatmaps.flatten(-2)
    highest = flat.argmax(-1) if flat.numel() else flat.new_zeros(flat.shape[:-1], dtype=torch.long)
    rows, columns = highest // width, highest % width

    def at(row: Tensor, column: Tensor) -> Tensor:
        return flat.gather(-1, (row.clamp(0, height - 1) * width + column.clamp(0, width - 1))[..., None])[..., 0]

    def offset(before: Tensor, after: Tensor, inside: Tensor) -> Tensor:
        curvature = before + after - 2 * peak
        shift = 0.5 * (before - after) / torch.where(curvature < 0, curvature, -torch.inf)
        return torch.where(inside, shift.clamp(-0.5, 0.5), 0.0)

    peak = at(rows, columns)
    column_shift = offset(at(rows, columns - 1), at(rows, columns + 1), (columns > 0) & (columns < width - 1))
    row_shift = offset(at(rows - 1, columns), at(rows + 1, columns), (rows > 0) & (rows < height - 1))
    return torch.stack([columns + column_shift, rows + row_shift], dim=-1)


def soft_peaks(heatmaps: Tensor, sigma: float, rounds: int = 2) -> Tensor:
    """Place of the highest response of each map, refined by the centroid of all that lies around it (a local soft-argmax).

    Around a first guess c (`find_peaks`) the map, from its median on, is weighted with a Gaussian of `sigma`. The product of two Gaussians
    of the same width has its centroid half-way between theirs, so the peak is at c + 2 (centroid - c): exact for a map that is the
    Gaussian it was trained towards, and steadier under noise than a parabola through three pixels. Can be differentiated.

    Parameters
    ----------
    heatmaps
        (B, L, H, W).
    sigma
        Standard deviation of the trained Gaussians, pixels.
    rounds
        How often the result is taken as the next guess.

    Returns
    -------
    Tensor
        float32 (B, L, 2), (column, row), inside the map and within `sigma` of `find_peaks`.
    """
    heatmaps = heatmaps.float()
    height, width = heatmaps.shape[-2:]
    first = find_peaks(heatmaps)
    raised = (heatmaps - heatmaps.flatten(-2).median(-1).values[..., None, None]).clamp_min(0)
    columns = torch.arange(width, device=heatmaps.device, dtype=torch.float32)
    rows = torch.arange(height, device=heatmaps.device, dtype=torch.float32)
    limit = torch.tensor([width - 1.0, height - 1.0], device=heatmaps.device)
    guess = first
    for _ in range(rounds):
        across = torch.exp(-0.5 * ((columns - guess[..., 0, None]) / sigma) ** 2)
        down = torch.exp(-0.5 * ((rows - guess[..., 1, None]) / sigma) ** 2)
        weights = raised * (down[..., :, None] * across[..., None, :])
        whole = weights.sum((-2, -1))
        place = torch.stack([(weights.sum(-2) * columns).sum(-1), (weights.sum(-1) * rows).sum(-1)], dim=-1)
        centroid = torch.where(whole[..., None] > 0, place / whole[..., None].clamp_min(torch.finfo(torch.float32).tiny), guess)
        guess = first + (guess + 2 * (centroid - guess) - first).clamp(-sigma, sigma)
        guess = torch.minimum(guess.clamp_min(0), limit)
    return guess


def read_peaks(heatmaps: Tensor, sigma: float, readout: str = "parabola") -> Tensor:
    """Landmarks (B, L, 2) of heatmaps: `find_peaks` for ``"parabola"``, `soft_peaks` for ``"centroid"``."""
    return soft_peaks(heatmaps, sigma) if readout == "centroid" else find_peaks(heatmaps)


def peak_confidence(heatmaps: Tensor, peaks: Tensor, sigma: float) -> Tensor:
    """Normalised cross-correlation of the patch round each peak with a Gaussian of the same size.

    The patch has an odd side of about ten `sigma` and is reflected at the border of the map. The Gaussian sits on the sub-pixel peak: at
    small `sigma` a Gaussian on the pixel centre would make the confidence depend on where between two pixels a landmark falls.

    Parameters
    ----------
    heatmaps
        (B, L, H, W).
    peaks
        (B, L, 2) of `find_peaks`, (column, row).
    sigma
        Standard deviation of the Gaussian, pixels.

    Returns
    -------
    Tensor
        float32 (B, L) in -1 .. 1; 0 where the patch is flat. Above `ACTIVATION_THRESHOLD` a landmark counts as found.
    """
    height, width = heatmaps.shape[-2:]
    half = max(1, round(5 * sigma))
    steps = torch.arange(-half, half + 1, device=heatmaps.device)
    centers = peaks.round().long()
    columns = _reflect(centers[..., 0, None] + steps, width)
    rows = _reflect(centers[..., 1, None] + steps, height)
    index = rows[..., :, None] * width + columns[..., None, :]
    patches = heatmaps.float().flatten(-2).gather(-1, index.flatten(-2))
    rest = peaks - centers
    across = torch.exp(-0.5 * ((steps - rest[..., 0, None]) / sigma) ** 2)
    down = torch.exp(-0.5 * ((steps - rest[..., 1, None]) / sigma) ** 2)
    gaussian = (down[..., :, None] * across[..., None, :]).flatten(-2)
    patches = patches - patches.mean(-1, keepdim=True)
    gaussian = gaussian - gaussian.mean(-1, keepdim=True)
    product = (patches * gaussian).sum(-1)
    norm = patches.square().sum(-1).sqrt() * gaussian.square().sum(-1).sqrt()
    return torch.where(norm > 0, product / norm.clamp_min(torch.finfo(torch.float32).tiny), 0.0)


def _reflect(index: Tensor, length: int) -> Tensor:
    """Mirror indices at the first and last element, which are not repeated, as often as needed."""
    if length == 1:
        return torch.zeros_like(index)
    period = 2 * (length - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)
