"""The field that the collimator leaves open, found on the image: a disc, or a polygon of straight blades.

What is wanted is an area along the border of the picture that is uniform, parted from the rest by a sharp edge, and bounded by a circle or
by few straight lines. For a row of grey levels at either end of the scale, all that lies beyond the level and hangs together with the
border is taken for the blades' shadow; a circle and a convex polygon are fitted to the rest. The best fit is believed only if it explains
the shadow's area, the shadow is smooth, and along most of its edge the image steps by a good part of its range: the outline of a body in
front of open beam does not do all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Longer side of the reduced image on which the field is looked for.
_SIDE = 256
#: Levels, as shares of the range, beyond which pixels may be shadow.
_LEVELS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4)
#: Shares of the image that the field may have.
_SMALLEST_FIELD, _LARGEST_FIELD = 0.08, 0.985
#: Shadow that is not explained by the shape, as a share of the shadow.
_MISFIT = 0.12
#: Step of the image across the edge as a share of its range, and share of the edge that must have it.
_STEP, _EDGE_SHARE = 0.15, 0.7
#: The field ends this far inside the found edge, as a share of the longer side: penumbra and interpolation stay outside.
_MARGIN = 0.009
_MOST_BLADES = 8
#: Roughest shadow, as a share of the range: blades show scatter, a body more.
_TEXTURE = 0.012
#: Noise is great where little gets through: a median over so many pixels goes before, and leaves at most this share of it.
_MEDIAN, _NOISE_LEFT = 5, 0.3


@dataclass(frozen=True)
class Collimation:
    """An open field, in pixels of its image; (0, 0) is the centre of the first pixel.

    Attributes
    ----------
    kind
        ``"round"`` or ``"polygon"``.
    circle
        Column and row of the middle, and radius; None of a polygon.
    blades
        (n, 3) straight edges: outward unit normal (column, row), and how far along it the edge lies; none of a disc.
    """

    kind: str
    circle: tuple[float, float, float] | None
    blades: NDArray[np.float64]

    def depth(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """How far inside the nearest edge places lie, pixels; negative outside. The arrays' shapes broadcast together."""
        if self.circle is not None:
            x, y, radius = self.circle
            return radius - np.hypot(columns - x, rows - y)
        depths: NDArray[np.float64] = np.min([d - nx * columns - ny * rows for nx, ny, d in self.blades], axis=0)
        return depths

    def field(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W), true in the open field."""
        rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
        return self.depth(columns, rows) > 0


def find_collimation(image: NDArray[np.floating]) -> Collimation | None:
    """Find the open field of an image.

    Parameters
    ----------
    image
        (H, W) on any scale, shadow bright or dark; a linear signal is best given as its logarithm.

    Returns
    -------
    Collimation or None
        None where the whole image is open, or nothing is sure.
    """
    from scipy import ndimage
    from skimage.transform import resize

    if min(image.shape) < 32:
        return None
    scale = min(1.0, _SIDE / max(image.shape))
    shape = (max(32, round(image.shape[0] * scale)), max(32, round(image.shape[1] * scale)))
    low, high = np.percentile(image, (0.5, 99.5))
    if not high > low:
        return None
    small = resize(np.clip((image - low) / (high - low), 0, 1).astype(np.float32), shape, order=1, anti_aliasing=scale < 1)
    smooth = ndimage.gaussian_filter(ndimage.median_filter(small, _MEDIAN, mode="nearest"), 1.0)
    noise = np.abs(small - smooth)
    low, high = np.percentile(smooth, (0.5, 99.5))
    if not high > low:
        return None
    smooth, noise = np.clip((smooth - low) / (high - low), 0, 1), noise / (high - low)
    best: tuple[float, Collimation] | None = None
    for values in (smooth, 1 - smooth):
        for level in _LEVELS:
            found = _fitted(values, noise, level)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
    return None if best is None else _enlarged(best[1], shape, (image.shape[0], image.shape[1]))


def _fitted(values: NDArray[np.floating], noise: NDArray[np.floating], level: float) -> tuple[float, Collimation] | None:
    """Score and shape of the field when all dark pixels that hang together with the border are shadow; None where no shape is believed."""
    from scipy import ndimage
    from skimage.morphology import opening

    labels, _ = ndimage.label(values < level)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    field = ndimage.binary_fill_holes(~np.isin(labels, border[border > 0]))
    field = opening(field, np.ones((5, 5), bool))
    parts, count = ndimage.label(field)
    if count > 1:
        field = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    if not (_SMALLEST_FIELD < field.mean() < _LARGEST_FIELD and field[field.shape[0] // 2, field.shape[1] // 2]):
        return None
    if _texture(values, noise, ~field) > _TEXTURE:
        return None
    rows, columns = np.arange(values.shape[0])[:, None], np.arange(values.shape[1])[None]
    best: tuple[float, Collimation] | None = None
    for shape in (_disc(field), _polygon(field)):
        if shape is None:
            continue
        depth = shape.depth(columns, rows)
        misfit = np.count_nonzero((depth > 0) != field) / np.count_nonzero(~field)
        step = _edge_share(values, depth)
        if misfit < _MISFIT and step > _EDGE_SHARE:
            score = step - 2 * misfit - 0.01 * len(shape.blades)
            if best is None or score > best[0]:
                best = (score, shape)
    return best


def _texture(values: NDArray[np.floating], noise: NDArray[np.floating], shadow: NDArray[np.bool_]) -> float:
    """How rough the shadow is: the deviation from the mean of its neighbourhood that all but a tenth of its pixels stay below.

    Noise of blades, behind which little gets through, is greater than in the field, and what is left of it is taken off. Other noise
    counts: an area as noisy as the field, or less, is tissue or open beam, unless it is smooth.
    """
    from scipy import ndimage

    within = ndimage.binary_erosion(shadow, iterations=3, border_value=1)
    if not within.any():
        return np.inf
    rough, noisy = (np.percentile(one[within], 90) for one in (np.abs(values - ndimage.uniform_filter(values, 7, mode="nearest")), noise))
    louder = np.median(noise[within]) > np.median(noise[~shadow])
    return float(rough - _NOISE_LEFT * noisy if louder else rough + noisy)


def _edge_share(values: NDArray[np.floating], depth: NDArray[np.floating]) -> float:
    """Share of the edge within the image across which the image steps up into the field, from uniform shadow.

    Both sides are looked at in the same direction from the field's middle: three pixels outside, and the brightest of what follows inside.
    """
    from scipy import ndimage

    inside = ndimage.grey_dilation(np.where((depth > 0) & (depth < 6), values, 0), size=(13, 13))
    outside = ndimage.grey_erosion(np.where((depth < 0) & (depth > -6), values, 1), size=(7, 7))
    edge = np.abs(depth) <= 0.75
    edge[:3], edge[-3:], edge[:, :3], edge[:, -3:] = False, False, False, False
    if not edge.any():
        return 0.0
    return float((inside[edge] - outside[edge] > _STEP).mean())


def _rim(field: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 2) column and row of the field's outline where it does not run along the border of the picture."""
    from skimage.measure import find_contours

    padded = np.pad(field.astype(np.float32), 1, mode="edge")
    lines = find_contours(padded, 0.5)
    points = np.concatenate([line[:, ::-1] - 1 for line in lines]) if lines else np.zeros((0, 2))
    inside = (points > 0.6).all(1) & (points < np.array(field.shape[::-1]) - 1.6).all(1)
    return points[inside]


def _disc(field: NDArray[np.bool_]) -> Collimation | None:
    """A circle through the rim, by least squares in the algebraic distance (Kasa 1976), twice more without what lies far from it."""
    points = _rim(field)
    if len(points) < 30:
        return None
    chosen = points
    for _ in range(3):
        if len(chosen) < 30:
            return None
        system = np.column_stack([2 * chosen, np.ones(len(chosen))])
        x, y, rest = np.linalg.lstsq(system, (chosen**2).sum(1), rcond=None)[0]
        square = rest + x * x + y * y
        if square <= 0:
            return None
        radius = float(np.sqrt(square))
        distance = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        chosen = points[distance <= max(1.5, 2 * float(np.median(distance)))]
    # A circle much larger than the picture is a straight edge.
    return Collimation("round", (float(x), float(y), radius), np.zeros((0, 3))) if radius < 1.5 * max(field.shape) else None


def _polygon(field: NDArray[np.bool_]) -> Collimation | None:
    """The convex hull of the field with as few corners as keep to it, and of that the edges that are not the border of the picture."""
    from skimage.measure import find_contours
    from skimage.morphology import convex_hull_image

    hull = convex_hull_image(field)
    line = max(find_contours(np.pad(hull.astype(np.float32), 1), 0.5), key=len)[:, ::-1] - 1
    corners = corners_of(line, 0.012 * max(field.shape))[:-1]
    if not 3 <= len(corners) <= _MOST_BLADES:
        return None
    middle, limit = corners.mean(0), np.array(field.shape[::-1]) - 1.0
    blades = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if any((np.abs(np.array([a[k], b[k]]) - end) < 3.1).all() for k in (0, 1) for end in (0.0, limit[k])):
            continue
        along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
        normal = np.array([along[1], -along[0]])
        if normal @ (a - middle) < 0:
            normal = -normal
        blades.append((*normal, float(normal @ a)))
    return Collimation("polygon", None, np.array(blades)) if blades else None


def corners_of(line: NDArray[np.floating], tolerance: float) -> NDArray[np.floating]:
    """The points of a line (n, 2) that keep within `tolerance` of all others: the algorithm of Douglas and Peucker (1973).

    scikit-image has it too, in a module whose imports take half a second of the first image.
    """
    start, along = line[0], line[-1] - line[0]
    share = np.clip((line - start) @ along / max(along @ along, 1e-12), 0, 1)
    distance = np.hypot(*(line - start - share[:, None] * along).T)
    far = int(distance.argmax())
    if distance[far] <= tolerance:
        return line[[0, -1]]
    return np.concatenate([corners_of(line[: far + 1], tolerance), corners_of(line[far:], tolerance)[1:]])


def _enlarged(found: Collimation, shape: tuple[int, int], full: tuple[int, int]) -> Collimation:
    """The field of the reduced image on the pixels of the full one, less the margin."""
    down, across = full[0] / shape[0], full[1] / shape[1]
    margin = _MARGIN * max(full)
    if found.circle is not None:
        x, y, radius = found.circle
        return Collimation("round", ((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5, radius * (across + down) / 2 - margin), found.blades)
    normals, distances = found.blades[:, :2], found.blades[:, 2]
    stretched = normals / np.array([across, down])
    length = np.hypot(*stretched.T)
    offset = distances + normals.sum(1) * 0.5 - (stretched.sum(1)) * 0.5
    return Collimation("polygon", None, np.column_stack([stretched / length[:, None], offset / length - margin]))
