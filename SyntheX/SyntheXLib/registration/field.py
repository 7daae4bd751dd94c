"""Which pixels of an X-ray lie in the field: shutters and round detectors leave a border that says nothing."""

from __future__ import annotations

import numpy as np

# The search works on images of about this many pixels a side.
_SIDE = 200
# The field of straight blades and an iris is convex; so much of its convex hull must be filled.
_SOLID = 0.96
# Step across the field's edge in standard deviations of the image, by which a border of shutters is told from anatomy.
_STEP = 1.0
# So much of the step must lie within 5 pixels of the small image.
_SHARP = 0.65
# Pixels of the small image by which the border is widened: penumbra and blur.
_MARGIN = 3


def field_mask(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels inside the field of the collimator; all of them where no border is found.

    A border is a region of the darkest or the brightest values along the image's edges, whose inner limit is a marked step, and which
    leaves a convex field.

    Parameters
    ----------
    image
        (H, W) grey values of any scale and polarity.
    """
    from scipy import ndimage

    factor = max(1, round(max(image.shape) / _SIDE))
    rows, columns = (side // factor for side in image.shape)
    small = np.asarray(image[: rows * factor, : columns * factor], np.float32).reshape(rows, factor, columns, factor).mean((1, 3))
    small = ndimage.gaussian_filter(ndimage.median_filter(small, 3), 1.0)
    low, high = np.percentile(small, [0.1, 99.9])
    if high <= low:
        return np.ones(image.shape, bool)
    best, most = None, _STEP
    for values in (small, -small):
        bottom, top = (low, high) if values is small else (-high, -low)
        for share in np.linspace(0.04, 0.6, 15):
            field = _field_above(values, bottom + share * (top - bottom))
            if field is None:
                continue
            step = _step(values, field) / small[field].std()
            if step > most:
                best, most = field, step
    if best is None:
        return np.ones(image.shape, bool)
    border = ndimage.binary_dilation(~best, iterations=_MARGIN)
    whole = np.repeat(np.repeat(~border, factor, 0), factor, 1)
    return np.pad(whole, ((0, image.shape[0] - whole.shape[0]), (0, image.shape[1] - whole.shape[1])), mode="edge")


def _field_above(values: np.ndarray, threshold: float) -> np.ndarray | None:
    """What the regions below the threshold that touch the image's edges leave, where that is one convex piece; else None."""
    from scipy import ndimage
    from skimage.measure import regionprops

    labels, _ = ndimage.label(values < threshold)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    border = np.isin(labels, edge[edge > 0])
    if not 0.005 < border.mean() < 0.9:
        return None
    pieces = ndimage.label(~border)[0]
    field = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    field = ndimage.binary_opening(field, iterations=2)
    if not field.any() or field.sum() < 0.9 * (~border).sum():
        return None
    return field if regionprops(field.astype(np.uint8))[0].solidity >= _SOLID else None


def _step(values: np.ndarray, field: np.ndarray) -> float:
    """Lower quartile of the step across the field's edge, so that nearly all of the edge must be one; 0 where it is a slope."""
    from scipy import ndimage

    inside = field & ~ndimage.binary_erosion(field, iterations=1, border_value=1)
    if not inside.any():
        return 0.0

    def rise(side: int) -> np.ndarray:
        return (ndimage.maximum_filter(values, side) - ndimage.minimum_filter(values, side))[inside]

    # An edge is as high within 5 pixels as within 13; anatomy goes on rising.
    near, wide = rise(5), rise(13)
    return float(np.percentile(near, 25)) if np.median(near / np.maximum(wide, 1e-12)) > _SHARP else 0.0
