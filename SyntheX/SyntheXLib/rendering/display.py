"""Derived versions of the linear image: logarithm and eight bits for people."""

import numpy as np

from SyntheXLib.errors import SyntheXError

# The last bit of a 16-bit converter: below it no detector tells anything.
SIGNAL_FLOOR = 2.0**-16


def value_range(image: np.ndarray, where: str) -> tuple[float, float]:
    """Lowest and highest value of an image; errors call it `where`.

    Raises
    ------
    SyntheXError
        When a value is not finite, or all are the same: that is no X-ray image.
    """
    if not np.isfinite(image).all():
        raise SyntheXError(f"{where} holds {np.count_nonzero(~np.isfinite(image))} pixels that are not finite numbers.")
    low, high = float(image.min()), float(image.max())
    if low == high:
        raise SyntheXError(f"{where} has the same value {low:g} everywhere, expected an X-ray image.")
    return low, high


def log_image(signal: np.ndarray) -> np.ndarray:
    """Attenuation image -log(signal), bone bright.

    Parameters
    ----------
    signal
        Linear detector signal relative to the open beam, any shape.

    Returns
    -------
    numpy.ndarray
        float32, the same shape, at most 16 log(2) = 11.1.
    """
    return -np.log(np.maximum(signal, SIGNAL_FLOOR), dtype=np.float32)


def to_gray(image: np.ndarray, percentiles: tuple[float, float] = (1.0, 99.5), gamma: float = 1.0) -> np.ndarray:
    """(H, W) log image, bone bright, as 8-bit grey: black and white at two percentiles, above a gamma of 1 with most greys for bone."""
    low, high = np.percentile(image, percentiles)
    if high <= low:
        low, high = image.min(), image.max()
    return (np.clip((image - low) / max(high - low, 1e-12), 0, 1) ** gamma * 255 + 0.5).astype(np.uint8)


def to_uint8(signal: np.ndarray, percentiles: tuple[float, float] = (1.0, 99.5)) -> np.ndarray:
    """(H, W) linear signal as 8-bit grey for display, see `to_gray`."""
    return to_gray(log_image(signal), percentiles)
