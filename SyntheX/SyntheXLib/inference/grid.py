"""From an image's pixels to the pixels a network was trained on, and back.

An image of known spacing is resampled to the spacing of the training, so that a bone has as many pixels as the network is used to; the
field of view may then differ from the training's. One of unknown spacing is fitted into the training's image size with its aspect kept.
Padding to what the network takes is the network's affair (`networks.normalization.forward_any_size`).
Pixel (0, 0) is the centre of the first pixel; edges keep their place when sizes change.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from torch import Tensor

#: Fewest pixels a side that the network takes.
SMALLEST = 16
#: A resampled image more than this many times larger than those of the training means that a spacing is wrong.
_LARGEST = 4


@dataclass(frozen=True)
class NetworkGrid:
    """How one image becomes the network's input.

    Attributes
    ----------
    shape
        Rows and columns of the image.
    inner
        Rows and columns after resampling.
    """

    shape: tuple[int, int]
    inner: tuple[int, int]

    def resample(self, images: "Tensor") -> "Tensor":
        """(B, 1, *shape) -> (B, 1, *inner); averages over the pixels that fall together when it shrinks."""
        return images if self.inner == self.shape else _interpolate(images, self.inner)

    def restore(self, maps: "Tensor") -> "Tensor":
        """(B, C, *inner) -> (B, C, *shape), bilinear."""
        return maps if self.inner == self.shape else _interpolate(maps, self.shape)

    def restore_points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., 2) column and row on the inner grid -> in pixels of the image."""
        scale = np.array([self.shape[1] / self.inner[1], self.shape[0] / self.inner[0]])
        return ((points + 0.5) * scale - 0.5).astype(np.float32)


def network_grid(
    shape: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
    trained_shape: tuple[int, int],
    trained_spacing_mm: float,
    where: str = "Image",
) -> NetworkGrid:
    """Work out the grid of an image.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    spacing_mm
        Height and width of a pixel on the detector, mm; None when unknown.
    trained_shape, trained_spacing_mm
        Rows and columns of the training's images, and side of their pixels in mm.
    where
        Names the image in errors.

    Raises
    ------
    SyntheXError
        When the resampled image would be below 16 px or far larger than the training's.
    """
    if spacing_mm is None:
        scale = min(trained_shape[0] / shape[0], trained_shape[1] / shape[1])
        scales = (scale, scale)
    else:
        scales = (spacing_mm[0] / trained_spacing_mm, spacing_mm[1] / trained_spacing_mm)
    inner = (round(shape[0] * scales[0]), round(shape[1] * scales[1]))
    if min(inner) < SMALLEST or max(inner) > _LARGEST * max(trained_shape):
        told = "unknown" if spacing_mm is None else f"{spacing_mm[0]:g} x {spacing_mm[1]:g} mm"
        raise SyntheXError(
            f"{where}: {shape[0]} x {shape[1]} pixels with spacing {told} become {inner[0]} x {inner[1]} pixels of "
            f"{trained_spacing_mm:g} mm, expected {SMALLEST} to {_LARGEST * max(trained_shape)} a side; check the pixel spacing."
        )
    return NetworkGrid(shape, inner)


def _interpolate(images: "Tensor", shape: tuple[int, int]) -> "Tensor":
    from torch.nn import functional

    return functional.interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)
