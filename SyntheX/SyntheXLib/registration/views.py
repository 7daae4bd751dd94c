"""The fixed images of a registration, from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import Camera

# Share of the longer side by which an open field is narrowed: its edge is stronger than any in the patient, and must not take part.
_RIM = 0.008


@dataclass(frozen=True, eq=False)
class View:
    """A fixed image and where its camera stands while the object is at its start.

    Attributes
    ----------
    image
        (H, W) float32; grey values on any scale.
    camera
        Of the same shape.
    mask
        (H, W) bool: pixels that count.
    background
        (H, W) float32 to which the moving image is added, what else stands in the beam; None for nothing.
    """

    image: np.ndarray
    camera: Camera
    mask: np.ndarray
    background: np.ndarray | None = None

    def __post_init__(self) -> None:
        for what, array in (("mask", self.mask), ("camera", self.camera), ("background", self.background)):
            if array is not None and array.shape != self.image.shape:
                raise SyntheXError(f"The {what} of a view must have the image's shape {self.image.shape}, found {array.shape}.")

    def at(self, longest: int) -> View:
        """The view binned by the whole factor that brings its longer side nearest to `longest` px; a rest at the far edges is cut off."""
        factor = max(1, round(max(self.image.shape) / longest))
        if factor == 1:
            return self
        rows, columns = (side // factor for side in self.image.shape)
        camera = self.camera.region(0, 0, (rows * factor, columns * factor)).resized((rows, columns))
        background = None if self.background is None else _binned(self.background, factor)
        return View(_binned(self.image, factor), camera, _binned(self.mask, factor) > 0.99, background)

    def moved(self, motion: np.ndarray) -> View:
        """The view with its camera where it stands relative to an object that a (4, 4) motion of the world has not moved."""
        return replace(self, camera=camera_after(self.camera, motion))


def open_view(image: np.ndarray, camera: Camera) -> View:
    """An X-ray (H, W) on a log scale of either polarity, of which what lies outside the collimator's field does not count."""
    from SyntheXLib.inference.collimation import find_collimation

    found = find_collimation(image)
    if found is None:
        return View(image, camera, np.ones(image.shape, bool))
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    return View(image, camera, found.depth(columns, rows) > _RIM * max(image.shape))


def camera_after(camera: Camera, motion: np.ndarray) -> Camera:
    """The camera that sees a resting object as `camera` sees it moved by a (4, 4) motion of the world."""
    return replace(camera, world_to_camera=camera.world_to_camera @ motion)


def _binned(array: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (side // factor for side in array.shape)
    blocks = array[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean((1, 3), dtype=np.float32)
