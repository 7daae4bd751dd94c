"""Pictures by which a registration is judged with the eye: contours over the X-ray, and a checkerboard of X-ray and projection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SyntheXLib.files import atomic_write

# Pixels of the longer side of a picture, fields of the checkerboard along it.
_SIDE = 720
_FIELDS = 8
_LINE = (255, 150, 30)


def overlay(image: np.ndarray, projection: np.ndarray, masks: Sequence[tuple[np.ndarray, tuple[int, int, int]]] = ()) -> np.ndarray:
    """The X-ray with the outlines of the projected bones over it.

    Parameters
    ----------
    image
        (H, W), bone bright.
    projection
        (H, W) attenuation of bone; its edges are drawn where no masks are given.
    masks
        (H, W) bool of each structure and its colour, red green blue.

    Returns
    -------
    numpy.ndarray
        (h, w, 3) uint8.
    """
    from scipy import ndimage

    scale = max(1, round(_SIDE / max(image.shape)))
    picture = np.repeat(_grey(ndimage.zoom(image.astype(np.float32), scale, order=1, grid_mode=True, mode="nearest"))[..., None], 3, 2)
    for mask, color in masks or [(projection > 0.15 * projection.max(), _LINE)]:
        fine = ndimage.zoom(mask.astype(np.float32), scale, order=1, grid_mode=True, mode="nearest") > 0.5
        width = max(1, round(2 * max(fine.shape) / _SIDE))
        picture[ndimage.binary_dilation(fine, iterations=width) & ~fine] = color
    return picture


def checkerboard(image: np.ndarray, projection: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(h, w) uint8: fields of the X-ray (bone bright) and of the projection by turns; edges go on where the pose is right.

    Both are shown without their slow parts, so that what soft tissue darkens does not matter.
    """
    from scipy import ndimage

    inside = np.ones(image.shape, np.float32) if mask is None else mask.astype(np.float32)
    sigma = max(image.shape) / 20

    def flat(values: np.ndarray) -> np.ndarray:
        values = ndimage.gaussian_filter(values, max(image.shape) / 250)  # less noise
        low = ndimage.gaussian_filter(values * inside, sigma) / np.maximum(ndimage.gaussian_filter(inside, sigma), 1e-3)
        detail = (values - low) * (inside > 0)
        spread = np.percentile(np.abs(detail), 99)
        return np.clip(detail / max(float(spread), 1e-12), -1, 1)

    side = max(1, max(image.shape) // _FIELDS)
    rows, columns = np.indices(image.shape) // side
    mixed = np.where((rows + columns) % 2 == 0, flat(image.astype(np.float32)), flat(projection.astype(np.float32)))
    scale = max(1, round(_SIDE / max(image.shape)))
    fine = ndimage.zoom(mixed, scale, order=1, grid_mode=True, mode="nearest")
    return ((fine + 1) * 127.5).clip(0, 255).astype(np.uint8)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (h, w, 3) or (h, w) uint8 as PNG, whole or not at all."""
    from PIL import Image

    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [1, 99.5])
    return (np.clip((image - low) / max(float(high - low), 1e-12), 0, 1) * 255).astype(np.uint8)
