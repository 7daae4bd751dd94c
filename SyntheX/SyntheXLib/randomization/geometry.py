"""Maps of the plane, affine or by a field of displacements, applied to image, labels and landmarks alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch, inside_frame

# Of the inversion of a field: with a slope of a half the rest is below a thousandth of the displacement.
_INVERSION_STEPS = 12


def warp_affine(batch: XrayBatch, output_to_input: Tensor) -> XrayBatch:
    """Resample images (linear) and labels (nearest), and move the landmarks, by the same maps.

    Parameters
    ----------
    batch
        See `XrayBatch`; the size is kept.
    output_to_input
        (B, 2, 3): takes (x, y, 1) of the output to (x, y) of the input, in a frame where the outer edges of the image are -1 and 1 (as
        in `torch.nn.functional.grid_sample` with ``align_corners=False``).

    Returns
    -------
    XrayBatch
        What lies outside is continued by the border pixel in the image and is nothing in the labels; landmarks that leave the frame become
        invisible, others keep what they were.
    """
    height, width = batch.image.shape[2:]
    grid = functional.affine_grid(output_to_input, [len(batch.image), 1, height, width], align_corners=False)
    image = functional.grid_sample(batch.image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = functional.grid_sample(batch.labels.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    size = torch.tensor([width, height], device=batch.landmarks.device, dtype=batch.landmarks.dtype)
    points = (2 * batch.landmarks + 1) / size - 1
    # The grid says where each output pixel comes from; landmarks go the other way.
    inverse = torch.linalg.inv(output_to_input[:, :, :2])
    points = (points - output_to_input[:, None, :, 2]) @ inverse.transpose(1, 2)
    landmarks = ((points + 1) * size - 1) / 2
    visible = batch.visible & inside_frame(landmarks, (height, width))
    return XrayBatch(image, labels.to(batch.labels.dtype), landmarks, visible)


def warp_by_displacement(batch: XrayBatch, displacement: Tensor) -> XrayBatch:
    """Resample images (linear) and labels (nearest) by a smooth field, and move the landmarks along.

    Parameters
    ----------
    batch
        See `XrayBatch`; the size is kept.
    displacement
        (B, 2, H, W), (x, y) in pixels: the output's pixel p shows what was at p + displacement(p). Its slope must stay below one, so that
        nothing is folded.

    Returns
    -------
    XrayBatch
        As of `warp_affine`.
    """
    height, width = batch.image.shape[2:]
    size = torch.tensor([width, height], device=displacement.device, dtype=displacement.dtype)
    rows = torch.arange(height, device=size.device, dtype=size.dtype)
    columns = torch.arange(width, device=size.device, dtype=size.dtype)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    grid = (2 * (pixels + displacement.permute(0, 2, 3, 1)) + 1) / size - 1
    image = functional.grid_sample(batch.image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = functional.grid_sample(batch.labels.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    # A landmark at q comes to the p for which p + displacement(p) = q: each step gains by the field's slope.
    landmarks = known = torch.nan_to_num(batch.landmarks)
    for _ in range(_INVERSION_STEPS):
        places = ((2 * landmarks + 1) / size - 1)[:, :, None]
        there = functional.grid_sample(displacement, places, mode="bilinear", padding_mode="border", align_corners=False)
        landmarks = known - there[..., 0].transpose(1, 2)
    landmarks = torch.where(batch.landmarks.isnan(), batch.landmarks, landmarks)
    visible = batch.visible & inside_frame(landmarks, (height, width))
    return XrayBatch(image, labels.to(batch.labels.dtype), landmarks, visible)
