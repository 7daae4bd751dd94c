"""From the bit field of projected structures to masks and exclusive labels."""

import numpy as np


def structure_masks(bits: np.ndarray, count: int) -> np.ndarray:
    """Split a bit field into one mask per structure.

    Parameters
    ----------
    bits
        Unsigned integers of shape (..., H, W); bit n is set where structure n is hit.
    count
        Number of structures.

    Returns
    -------
    numpy.ndarray
        bool of shape (..., count, H, W).
    """
    shifts = np.arange(count, dtype=bits.dtype).reshape(count, 1, 1)
    return (bits[..., None, :, :] >> shifts & bits.dtype.type(1)).astype(bool)


def exclusive_labels(bits: np.ndarray, count: int) -> np.ndarray:
    """One label a pixel: 0 for nothing, n + 1 for structure n; where structures overlap, the later one lies on top.

    Parameters
    ----------
    bits
        Unsigned integers of shape (..., H, W).
    count
        Number of structures, at most 254.

    Returns
    -------
    numpy.ndarray
        uint8 of the same shape.
    """
    labels = np.zeros(bits.shape, np.uint8)
    for bit in range(count):
        labels[(bits >> bits.dtype.type(bit) & bits.dtype.type(1)).astype(bool)] = bit + 1
    return labels


def bits_of_labels(labels: np.ndarray) -> np.ndarray:
    """Bit field (uint32) of exclusive labels: label n + 1 sets bit n alone, 0 sets none."""
    return np.where(labels > 0, np.uint32(1) << (np.maximum(labels, 1) - 1).astype(np.uint32), 0).astype(np.uint32)
