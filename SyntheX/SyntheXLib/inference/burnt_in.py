"""Text that was burnt into the pixels of an image: found, and replaced by what surrounds it.

Letters are small areas of one single grey level at an end of the scale, with a step all round them, of similar height, side by side.
A bone that saturates has a soft rim, a screw has no neighbours of its size in a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Height of letters as a share of the longer side, and the most pixels of one as a share of the image.
_LOWEST, _HIGHEST, _LARGEST = 0.006, 0.08, 0.003
#: Step from a letter to what surrounds it as a share of the image's range.
_STEP = 0.2
#: Letters were smoothed or compressed after they were drawn: this share of the range counts as their one level.
_NEAR_END = 0.08
#: Letters in a row from which it is a text, and largest gap between two as a multiple of their height.
_FEWEST, _GAP = 3, 1.6


def find_text(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where letters stand in an image.

    Parameters
    ----------
    values
        (H, W) grey levels as the file stores them.

    Returns
    -------
    ndarray
        (H, W) bool: the letters and a rim of two pixels. Empty for images that are not of integers: those were never drawn on.
    """
    from scipy import ndimage

    marks = np.zeros(values.shape, bool)
    if not np.issubdtype(values.dtype, np.integer) or min(values.shape) < 64:
        return marks
    low, high = int(values.min()), int(values.max())
    for end in (low, high):
        letters, count = ndimage.label(np.abs(values.astype(np.int64) - end) <= _NEAR_END * (high - low), np.ones((3, 3), int))
        if not 0 < count < 20000:  # noise that reaches the end of the scale in so many places is no text
            continue
        boxes = ndimage.find_objects(letters)
        chosen = [n for n, box in enumerate(boxes) if _has_size(box, letters[box] == n + 1, values.shape)]
        chosen = [n for n in chosen if _stands_out(values, letters, n + 1, boxes[n], _STEP * (high - low))]
        for n in _in_rows([boxes[n] for n in chosen], chosen):
            marks[boxes[n]] |= letters[boxes[n]] == n + 1
    return ndimage.binary_dilation(marks, np.ones((3, 3), bool), iterations=2) if marks.any() else marks


def without_text(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The image with its text replaced by the median of the pixels around each letter; the same array where there is none."""
    from scipy import ndimage

    marks = find_text(values)
    if not marks.any():
        return values
    cleaned = values.copy()
    places, _ = ndimage.label(marks)
    for n, box in enumerate(ndimage.find_objects(places)):
        grown = tuple(slice(max(0, side.start - 4), side.stop + 4) for side in box)
        around = values[grown][~marks[grown]]
        if around.size:
            cleaned[box][places[box] == n + 1] = np.median(around.astype(np.float64)).astype(values.dtype)
    return cleaned


def _has_size(box: Any, letter: NDArray[np.bool_], shape: tuple[int, ...]) -> bool:
    height, width = (side.stop - side.start for side in box)
    longest = max(shape)
    # An l or a 1 may be a few pixels wide, no letter is as wide as twice its height.
    return bool(
        max(6, _LOWEST * longest) <= height <= _HIGHEST * longest
        and width <= 2 * height
        and letter.sum() <= _LARGEST * shape[0] * shape[1]
        and letter.sum() >= 0.1 * height * width
    )


def _stands_out(values: NDArray[np.generic], letters: NDArray[np.int32], label: int, box: Any, step: float) -> bool:
    """Whether nearly all pixels at a distance of two or three from the letter differ from it by the step."""
    from scipy import ndimage

    grown = tuple(slice(max(0, side.start - 4), side.stop + 4) for side in box)
    letter = letters[grown] == label
    near = ndimage.binary_dilation(letter, np.ones((3, 3), bool), iterations=2)
    ring = ndimage.binary_dilation(near, np.ones((3, 3), bool)) & ~near & (letters[grown] == 0)
    if not ring.any():
        return False
    difference = np.abs(values[grown][ring].astype(np.float64) - float(values[grown][letter][0]))
    return bool(np.percentile(difference, 10) > step)


def _in_rows(boxes: list[Any], numbers: list[int]) -> list[int]:
    """The numbers of those boxes that stand in a row with at least two others of like height."""
    if len(boxes) < _FEWEST:
        return []
    top, bottom = (np.array([getattr(box[0], end) for box in boxes], float) for end in ("start", "stop"))
    left, right = (np.array([getattr(box[1], end) for box in boxes], float) for end in ("start", "stop"))
    height, middle = bottom - top, (top + bottom) / 2
    tallest = np.maximum(height[:, None], height)
    gap = np.maximum(left[:, None] - right, left - right[:, None])
    neighbours = (
        (np.minimum(height[:, None], height) > 0.5 * tallest) & (np.abs(middle[:, None] - middle) < 0.5 * tallest) & (gap < _GAP * tallest)
    )
    from scipy.sparse.csgraph import connected_components

    _, rows = connected_components(neighbours, directed=False)
    sizes = np.bincount(rows)
    return [number for number, row in zip(numbers, rows, strict=True) if sizes[row] >= _FEWEST]
