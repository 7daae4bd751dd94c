"""Images that were mirrored or turned on their way to the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.views import View
from SyntheXLib.tasks.task import nearest

# Name to whether columns and rows run backwards in the file.
ORIENTATIONS = {"as-stored": (False, False), "mirrored": (True, False), "turned-180": (True, True), "mirrored-turned": (False, True)}


def reoriented(view: View, name: str) -> View:
    """The view as it was taken, when the file holds it mirrored or turned; the principal point goes with the pixels.

    Raises
    ------
    SyntheXError
        When the name is none of `ORIENTATIONS`.
    """
    columns, rows = _backwards(name)
    steps = (slice(None, None, -1 if rows else None), slice(None, None, -1 if columns else None))
    intrinsics = view.camera.intrinsics.copy()
    height, width = view.image.shape
    if columns:
        intrinsics[0, 2] = width - 1 - intrinsics[0, 2]
    if rows:
        intrinsics[1, 2] = height - 1 - intrinsics[1, 2]
    background = None if view.background is None else view.background[steps]
    return View(np.ascontiguousarray(view.image[steps]), replace(view.camera, intrinsics=intrinsics), view.mask[steps], background)


def reoriented_pixels(pixels: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    """(N, 2) columns and rows of the file as those of the view as it was taken."""
    columns, rows = _backwards(name)
    pixels = np.array(pixels, float)
    if columns:
        pixels[:, 0] = shape[1] - 1 - pixels[:, 0]
    if rows:
        pixels[:, 1] = shape[0] - 1 - pixels[:, 1]
    return pixels


def _backwards(name: str) -> tuple[bool, bool]:
    if name not in ORIENTATIONS:
        raise SyntheXError(f"Unknown orientation '{name}': expected one of {', '.join(ORIENTATIONS)}{nearest(name, ORIENTATIONS)}.")
    return ORIENTATIONS[name]
