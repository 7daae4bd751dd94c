"""Pictures of what was found: an X-ray with structures, landmarks and heatmaps drawn over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]
Line = NDArray[np.float64]

HEAT: Color = (40, 255, 90)
_TRUTH: Color = (255, 255, 255)
_FREE_LANDMARK: Color = (255, 221, 64)
_SHADOW: Color = (0, 0, 0)
_SUPERSAMPLING = 2
#: For `rendering.display.to_gray` under an overlay: bone gets most of the greys.
GAMMA = 1.8
#: Pictures of this many pixels a side have lines of one pixel; larger ones are drawn thicker.
_UNIT_SIDE = 400


@dataclass(frozen=True)
class Layers:
    """What is drawn over an image of H x W pixels; None leaves a layer out.

    Attributes
    ----------
    masks
        (C, H, W) bool, in the order of the task's structures: translucent with an outline.
    landmarks, confident
        (L, 2) column and row of the predictions, NaN = none, drawn as crosses; (L,) bool, the others are drawn faint.
    truth
        (L, 2) column and row, NaN = none (or not visible), drawn as circles, each joined to its prediction.
    heat
        (H, W) 0..1, in green.
    names
        Write the landmarks' names beside the crosses.
    """

    masks: NDArray[np.bool_] | None = None
    landmarks: NDArray[np.floating] | None = None
    confident: NDArray[np.bool_] | None = None
    truth: NDArray[np.floating] | None = None
    heat: NDArray[np.floating] | None = None
    names: bool = False


def landmark_colors(task: Task) -> list[Color]:
    """Colour of each landmark: that of the first structure on which it lies."""
    of_structure = {s.name: s.color for s in task.structures}
    return [of_structure[m.structures[0]] if m.structures else _FREE_LANDMARK for m in task.landmarks]


def compose(gray: NDArray[np.uint8], task: Task, layers: Layers, side: int = 640) -> NDArray[np.uint8]:
    """Draw the layers over an image.

    Parameters
    ----------
    gray
        (H, W) uint8, bone bright.
    task
        Names and colours.
    layers
        What to draw.
    side
        Pixels of the longer side of the picture; a smaller image is enlarged smoothly, a larger one reduced.

    Returns
    -------
    ndarray
        (h, w, 3) uint8.
    """
    from PIL import Image

    rows, columns = gray.shape
    scale = side / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    base = Image.fromarray(gray).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    picture = np.asarray(base, dtype=np.float32)
    masks = [] if layers.masks is None else list(zip(layers.masks, (one.color for one in task.structures), strict=True))
    soft = [(_resized(mask.astype(np.float32), size), color) for mask, color in masks]
    for values, color in soft:
        inside = values > 0.5
        picture[inside] = 0.7 * picture[inside] + 0.3 * np.array(color, dtype=np.float32)
    if layers.heat is not None:
        strength = 0.85 * np.clip(_resized(layers.heat.astype(np.float32), size), 0, 1)[..., None]
        picture = picture * (1 - strength) + np.array(HEAT, dtype=np.float32) * strength
    canvas = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    # Of a reduced image the outlines are those of the reduced masks: no finer ones would be seen.
    outlined, step = (soft, 1 / scale) if scale < 1 else (masks, 1.0)
    outlines = [(line, color) for mask, color in outlined for line in _outlines(mask, step)]
    return np.asarray(_with_lines(canvas, task, layers, outlines, scale))


def write_label_png(path: Path, labels: NDArray[np.uint8], task: Task) -> None:
    """Write exclusive labels (H, W) as a PNG of indexed colours: 0 black, n + 1 in the colour of structure n."""
    from PIL import Image

    image = Image.fromarray(labels, mode="P") if labels.dtype == np.uint8 else Image.fromarray(labels.astype(np.uint8), mode="P")
    palette = [0, 0, 0]
    for structure in task.structures:
        palette += structure.color
    image.putpalette(palette)
    image.save(path, format="PNG")


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (h, w, 3) or (h, w) uint8 as PNG."""
    from PIL import Image

    # A tenth larger than at the usual level, and written in two fifths of the time.
    Image.fromarray(picture).save(path, format="PNG", compress_level=3)


def _resized(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    from PIL import Image

    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))


def _with_lines(canvas: "Image", task: Task, layers: Layers, outlines: Sequence[tuple[Line, Color]], scale: float) -> "Image":
    """Draw outlines and landmarks on a layer of twice the size, so that they come out smooth, and lay it over the canvas."""
    from PIL import Image, ImageDraw

    fine = Image.new("RGBA", (canvas.width * _SUPERSAMPLING, canvas.height * _SUPERSAMPLING), (0, 0, 0, 0))
    draw = ImageDraw.Draw(fine)
    zoom = scale * _SUPERSAMPLING
    unit = _SUPERSAMPLING * max(1.0, max(canvas.size) / _UNIT_SIDE)

    def place(points: NDArray[np.floating]) -> NDArray[np.float64]:
        return (np.asarray(points, dtype=np.float64) + 0.5) * zoom  # the pixel's centre is half a pixel from the edge

    for line, color in outlines:
        draw.line([tuple(p) for p in place(line)], fill=(*color, 255), width=round(1.2 * unit), joint="curve")
    truth = None if layers.truth is None else place(layers.truth)
    found = None if layers.landmarks is None else place(layers.landmarks)
    if truth is not None and found is not None:
        for a, b in zip(found, truth, strict=True):
            if np.isfinite(a).all() and np.isfinite(b).all():
                draw.line([tuple(a), tuple(b)], fill=(*_TRUTH, 170), width=round(unit))
    for point in truth if truth is not None else ():
        if np.isfinite(point).all():
            _circle(draw, point, 7.0 * unit, unit)
    if found is not None:
        confident = np.ones(len(found), bool) if layers.confident is None else layers.confident
        for point, color, sure in zip(found, landmark_colors(task), confident, strict=True):
            if np.isfinite(point).all():
                _cross(draw, point, color, unit, bool(sure))
        if layers.names:
            _names(draw, found, task.landmark_names, unit, fine.size)
    smooth = fine.convert("RGBa").resize(canvas.size, Image.Resampling.BOX).convert("RGBA")
    return Image.alpha_composite(canvas.convert("RGBA"), smooth).convert("RGB")


def _outlines(mask: NDArray[Any], step: float) -> list[Line]:
    """Closed lines (n, 2) round a mask, rounded by less than a pixel so that the steps of the pixels do not show.

    `mask` is bool, or how much of each pixel is inside, 0..1; `step` is the side of its pixels in those of the image, in which the columns
    and rows of the lines are.
    """
    from skimage.filters import gaussian
    from skimage.measure import find_contours

    inside = mask > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return []
    top, left = max(rows[0] - 3, 0), max(columns[0] - 3, 0)
    part = mask[top : rows[-1] + 4, left : columns[-1] + 4].astype(np.float32)
    padded = np.pad(gaussian(part, sigma=0.6), 1)
    return [(line[:, ::-1] - 1 + (left, top) + 0.5) * step - 0.5 for line in find_contours(padded, 0.5)]


def _circle(draw: "ImageDraw", center: NDArray[np.float64], radius: float, unit: float) -> None:
    box = [*(center - radius), *(center + radius)]
    draw.ellipse(box, outline=(*_SHADOW, 190), width=round(3.0 * unit))
    inset = 0.75 * unit
    draw.ellipse([box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset], outline=(*_TRUTH, 255), width=round(1.5 * unit))


def _cross(draw: "ImageDraw", center: NDArray[np.float64], color: Color, unit: float, sure: bool) -> None:
    arm = (6.0 if sure else 4.0) * unit
    bright = tuple(int(255 - (255 - c) * 0.7) for c in color)  # lighter than the structure under it
    for width, ink in ((3.6, (*_SHADOW, 190 if sure else 90)), (1.9, (*bright, 255 if sure else 150))):
        for dx, dy in ((1, 1), (1, -1)):
            reach = arm + 0.5 * width
            line = [center[0] - dx * reach, center[1] - dy * reach, center[0] + dx * reach, center[1] + dy * reach]
            draw.line(line, fill=ink, width=round(width * unit))


def _names(draw: "ImageDraw", points: NDArray[np.float64], names: Sequence[str], unit: float, size: tuple[int, int]) -> None:
    """Names beside their points, turned to the other side where they would leave the picture."""
    from PIL import ImageFont

    font, rim = ImageFont.load_default(size=11 * unit), round(1.5 * unit)
    for point, name in zip(points, names, strict=True):
        if not np.isfinite(point).all():
            continue
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font, stroke_width=rim)
        x = point[0] + 9 * unit - left
        if x + right > size[0]:
            x = point[0] - 9 * unit - right
        y = min(max(point[1] - (bottom + top) / 2, -top), size[1] - bottom)
        draw.text((x, y), name, font=font, fill=(255, 255, 255, 235), stroke_width=rim, stroke_fill=(0, 0, 0, 210))
