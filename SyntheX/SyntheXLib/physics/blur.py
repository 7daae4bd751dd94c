"""Modulation transfer: of focal spot and motion, and how a transfer function is applied to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError

# Added on every side before the transform, so that opposite borders do not run into each other.
_MARGIN_MM, _MARGIN_PIXELS = 5.0, 8


def apply_mtf(image: np.ndarray, mtf: Callable[[np.ndarray, np.ndarray], np.ndarray], spacing_mm: tuple[float, float]) -> np.ndarray:
    """Blur an image by a modulation transfer function; beyond its border the image goes on as it is there.

    The function is applied up to the pixels' Nyquist frequency. Pixels wider than the blur keep most of their contrast there, and a
    sharp step then rings by up to a few per cent of its height, as any band-limited image does.

    Parameters
    ----------
    image
        (H, W).
    mtf
        From frequencies along columns and rows, in cycles/mm and broadcast together, to the transfer; 1 at 0.
    spacing_mm
        Height and width of a pixel, mm.

    Returns
    -------
    numpy.ndarray
        (H, W) float32.
    """
    from scipy import fft

    margins, sizes = padded_sizes((image.shape[0], image.shape[1]), spacing_mm)
    after = [size - length - margin for size, length, margin in zip(sizes, image.shape, margins, strict=True)]
    padded = np.pad(image.astype(np.float32, copy=False), list(zip(margins, after, strict=True)), mode="edge")
    v, u = np.fft.fftfreq(sizes[0], spacing_mm[0]), np.fft.rfftfreq(sizes[1], spacing_mm[1])
    transfer = mtf(u[None, :], v[:, None]).astype(np.float32)
    blurred = fft.irfft2(fft.rfft2(padded) * transfer, sizes)
    return np.ascontiguousarray(blurred[margins[0] : margins[0] + image.shape[0], margins[1] : margins[1] + image.shape[1]])


def padded_sizes(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[list[int], list[int]]:
    """Pixels put before an image (rows, columns) of pixels of `spacing_mm`, and its sides with those before and after, for a transform."""
    from scipy import fft

    margins = [max(_MARGIN_PIXELS, int(np.ceil(_MARGIN_MM / side))) for side in spacing_mm]
    sizes = [int(fft.next_fast_len(length + 2 * margin, real=True)) for length, margin in zip(shape, margins, strict=True)]
    return margins, sizes


@dataclass(frozen=True)
class GeometricBlur:
    """What smears the shadow before the detector sees it: the focal spot's size and the patient's motion during the exposure.

    Attributes
    ----------
    focal_spot_mm
        Side of the square, evenly shining focal spot, mm; 0 is a point. C-arms: 0.3 to 0.6 nominal.
    source_to_object_mm
        Distance from the source to the plane for which the blur holds, mm; the isocentre of the standard view.
    motion_mm
        Way of the shadow on the detector during the exposure, mm, at constant speed.
    motion_deg
        Its direction: 0 along the rows (u), 90 along the columns (v).
    """

    focal_spot_mm: float = 0.6
    source_to_object_mm: float = 700.0
    motion_mm: float = 0.0
    motion_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.focal_spot_mm < 0 or self.motion_mm < 0 or not self.source_to_object_mm > 0:
            raise SyntheXError(
                f"Blur: focal_spot_mm and motion_mm must not be negative and source_to_object_mm above 0, "
                f"found {self.focal_spot_mm:g}, {self.motion_mm:g} and {self.source_to_object_mm:g}."
            )

    def shadow_mm(self, source_to_detector_mm: float) -> float:
        """Width (mm) of a point's shadow on the detector: focal spot times (magnification - 1)."""
        return self.focal_spot_mm * max(source_to_detector_mm / self.source_to_object_mm - 1, 0.0)

    def mtf(self, u: np.ndarray, v: np.ndarray, source_to_detector_mm: float) -> np.ndarray:
        """Transfer at frequencies u along the rows and v along the columns, in cycles/mm on the detector."""
        side = self.shadow_mm(source_to_detector_mm)
        transfer = np.sinc(side * u) * np.sinc(side * v)
        if self.motion_mm:
            angle = np.deg2rad(self.motion_deg)
            transfer = transfer * np.sinc(self.motion_mm * (u * np.cos(angle) + v * np.sin(angle)))
        return transfer

    def apply(self, image: np.ndarray, spacing_mm: tuple[float, float], source_to_detector_mm: float) -> np.ndarray:
        """Blur an (H, W) image of pixels of height and width `spacing_mm`; see `apply_mtf`."""
        if self.motion_mm == 0 and self.shadow_mm(source_to_detector_mm) == 0:
            return image
        return apply_mtf(image, lambda u, v: self.mtf(u, v, source_to_detector_mm), spacing_mm)
