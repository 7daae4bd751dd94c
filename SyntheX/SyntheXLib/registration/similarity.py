"""How alike two X-ray images are whose grey values are not comparable: correlation of their gradients.

The gradient correlation of an image with another does not change under a x image + b of either, and turns its sign when a is negative
(an inverted image). Within small patches any smooth monotone map of the grey values, as from linear to logarithmic, is nearly such a line,
so that the patch-wise mean is nearly free of it too. Gradient correlation: Penney et al., IEEE Trans. Med. Imaging 17 (1998); in patches,
as used for pelvis and femur: Grupp et al., IEEE Trans. Biomed. Eng. 67 (2020).
"""

from __future__ import annotations

import numpy as np

# A patch of the moving image with less than this share of the mean patch's gradient energy is flat: its correlation is pulled to zero.
_FLAT = 1e-3
# A patch counts when at least this share of its pixels is inside the mask.
_FILLED = 0.25


class GradientSimilarity:
    """Similarity of moving images to one fixed image, from -1 to 1.

    Parameters
    ----------
    fixed
        (H, W) image.
    mask
        (H, W) bool: pixels that count; None takes all.
    patch
        Side of the square patches, px, in each of which the gradients are correlated; None correlates them over the whole image.
    """

    def __init__(self, fixed: np.ndarray, mask: np.ndarray | None = None, patch: int | None = None) -> None:
        self._patch = patch
        valid = np.ones(np.shape(fixed), bool) if mask is None else np.asarray(mask, bool)
        self._inside = self._cut(_neighbourhood(valid)[None].astype(np.float32))  # (1, P, n)
        count = self._inside.sum(2, keepdims=True)
        self._inside *= count >= _FILLED * self._inside.shape[2]
        self._count = np.maximum(self._inside.sum(2), 1)
        gradient = self._cut(sobel(fixed)) * self._inside
        gradient = (gradient - gradient.sum(2, keepdims=True) / self._count[..., None]) * self._inside
        norm = np.sqrt((gradient**2).sum(2))
        self._fixed = gradient / np.maximum(norm, 1e-12)[..., None]
        # A patch without structure says nothing; one with much of it should not speak for all.
        self._weight = np.sqrt(norm)
        self._total = max(float(self._weight.sum()), 1e-12)

    def __call__(self, moving: np.ndarray) -> float:
        """Similarity of a moving image (H, W); 1 for the fixed image itself, -1 for its negative."""
        gradient = self._cut(sobel(moving)) * self._inside
        product = np.einsum("cpn,cpn->cp", self._fixed, gradient)
        energy = np.einsum("cpn,cpn->cp", gradient, gradient) - gradient.sum(2) ** 2 / self._count
        flat = _FLAT * energy.mean() + 1e-30
        return float((self._weight * product / np.sqrt(np.maximum(energy, 0) + flat)).sum() / self._total)

    def _cut(self, channels: np.ndarray) -> np.ndarray:
        """(C, H, W) as (C, patches, pixels); the last patches are filled up by zeros."""
        count, height, width = channels.shape
        if self._patch is None:
            return channels.reshape(count, 1, -1)
        side = self._patch
        rows, columns = -(-height // side), -(-width // side)
        if (rows * side, columns * side) != (height, width):
            whole = np.zeros((count, rows * side, columns * side), channels.dtype)
            whole[:, :height, :width] = channels
            channels = whole
        return channels.reshape(count, rows, side, columns, side).transpose(0, 1, 3, 2, 4).reshape(count, rows * columns, side * side)


def sobel(image: np.ndarray) -> np.ndarray:
    """(2, H - 2, W - 2) derivatives along columns and rows of an (H, W) image, smoothed across by 1 2 1."""
    image = np.asarray(image, np.float32)
    across = image[:, 2:] - image[:, :-2]
    down = image[2:] - image[:-2]
    return np.stack([across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]])


def _neighbourhood(mask: np.ndarray) -> np.ndarray:
    """(H - 2, W - 2): pixels all of whose 3 x 3 neighbours are in the mask."""
    rows = mask[:-2] & mask[1:-1] & mask[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
