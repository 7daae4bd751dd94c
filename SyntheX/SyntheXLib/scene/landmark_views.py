"""Pictures to judge landmarks by: on the bones from several sides, and on the CT."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from SyntheXLib.files import atomic_write
from SyntheXLib.scene.bone_surface import GRID_MM, StraightBone
from SyntheXLib.scene.case_files import ijk_to_ras
from SyntheXLib.scene.hip_landmarks import HipLandmarks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pictures are for screen and documentation; a 1.2 mm pixel holds several surface points, so that no gap shows what lies behind.
PIXEL_MM = 1.2
TINT = {"l": (0.95, 0.76, 0.62), "r": (0.66, 0.78, 0.92)}
# Title, direction of view and upward direction (right, anterior, superior), bones drawn; for details also centre and half width, mm.
VIEWS = (
    ("from in front (AP)", (0, -1, 0), (0, 0, 1), "lr", None),
    ("inlet, 45 degrees from above", (0, -1, -1), (0, 0, 1), "lr", None),
    ("outlet, 45 degrees from below", (0, -1, 1), (0, 0, 1), "lr", None),
    ("left bone from outside", (1, 0, 0), (0, 0, 1), "l", None),
    ("right bone from outside", (-1, 0, 0), (0, 0, 1), "r", None),
    ("right bone from behind and outside", (-1, 1, 0), (0, 0, 1), "r", None),
    ("symphysis from in front", (0, -1, 0), (0, 0, 1), "lr", ((0, 30, -15), 50)),
    ("left symphyseal surface", (-1, 0, 0), (0, 0, 1), "l", ((0, 30, -15), 50)),
    ("pubic bones from below", (0, 0, 1), (0, 1, 0), "lr", ((0, 30, -15), 50)),
)


def draw_bones(found: HipLandmarks, path: Path) -> None:
    """Write a PNG with the hip bones and their landmarks in nine views along the pelvic axes.

    Filled dots are seen directly, hollow ones lie behind bone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    local = {name: found.frame.to_frame(point) for name, point in found.points.items() if np.all(np.isfinite(point))}
    figure = Figure(figsize=(13, 12), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, towards, upwards, sides, detail) in zip(figure.subplots(3, 3).flat, VIEWS, strict=True):
        view = np.array(towards) / np.linalg.norm(towards)
        up = np.array(upwards) - (np.array(upwards) @ view) * view
        up = up / np.linalg.norm(up)
        to_view = np.stack([np.cross(view, up), up, view])  # columns of a picture run to the viewer's right
        vertices = np.concatenate([found.bones[side].vertices for side in sides])
        centre, half = detail or ((vertices.min(axis=0) + vertices.max(axis=0)) / 2, 0.52 * np.ptp(vertices @ to_view.T, axis=0)[:2].max())
        picture, depth = _shade({side: found.bones[side] for side in sides}, to_view, np.array(centre), half)
        axes.imshow(picture, extent=(-half, half, -half, half), origin="lower")
        for name, point in local.items():
            if name[-1] not in sides:
                continue
            x, y, z = to_view @ (point - centre)
            if max(abs(x), abs(y)) > half:
                continue
            pixel = tuple(np.clip(((np.array([y, x]) + half) / PIXEL_MM).astype(int), 0, len(depth) - 1))
            hidden = z > depth[pixel] + 3
            axes.plot(x, y, "o", color="crimson", markerfacecolor="none" if hidden else "crimson", markersize=5)
            left = x < 0 and len(sides) > 1  # names of a pair apart
            axes.annotate(
                name,
                (x, y),
                xytext=(-5 if left else 5, 4),
                ha="right" if left else "left",
                textcoords="offset points",
                fontsize=8,
                color="navy",
            )
        axes.set(title=title, xticks=[], yticks=[], xlim=(-half, half), ylim=(-half, half))
    _save(figure, path)


def draw_ct(ct: sitk.Image, found: HipLandmarks, path: Path) -> None:
    """Write a PNG with the landmarks on projections of the CT and the spheres of the femoral heads on slices through their centres."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ct = sitk.DICOMOrient(ct, "LPS")  # axes run to the left, back and head: from in front, columns to the viewer's right
    hu = sitk.GetArrayFromImage(ct).astype(np.float32)
    to_ijk = np.linalg.inv(ijk_to_ras(ct))
    spacing = ct.GetSpacing()
    points = {name: to_ijk[:3, :3] @ point + to_ijk[:3, 3] for name, point in found.points.items() if np.all(np.isfinite(point))}
    heads = {side: points[f"FH-{side}"] for side in found.head_radius_mm}
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3)
    bone = np.clip(hu, 0, 1500)
    for axes, title, axis, (across, upward) in (
        (panels[0, 0], "CT from in front", 1, (0, 2)),
        (panels[0, 1], "CT from the left", 0, (1, 2)),
    ):
        axes.imshow(bone.sum(axis=2 - axis), cmap="gray", origin="lower", aspect=spacing[upward] / spacing[across])
        for name, ijk in points.items():
            axes.plot(ijk[across], ijk[upward], "o", color="crimson", markersize=3)
            right = axis == 1 and name.endswith("-r")
            axes.annotate(
                name,
                (ijk[across], ijk[upward]),
                xytext=(-4 if right else 4, 3),
                ha="right" if right else "left",
                textcoords="offset points",
                fontsize=7,
                color="yellow",
            )
        axes.set(title=title, xticks=[], yticks=[])
    slices = [(panels[1, 0], "r", 1), (panels[1, 1], "l", 1), (panels[0, 2], "r", 2), (panels[1, 2], "l", 2)]
    for axes, side, axis in slices:
        axes.set(title=f"femoral head {side}, {'coronal' if axis == 1 else 'axial'}", xticks=[], yticks=[])
        if side not in heads:
            continue
        across, upward = 0, 3 - axis
        centre, radius = heads[side], found.head_radius_mm[side]
        axes.imshow(
            np.take(hu, int(np.clip(np.rint(centre[axis]), 0, hu.shape[2 - axis] - 1)), axis=2 - axis),
            cmap="gray",
            vmin=-200,
            vmax=1200,
            origin="lower",
            aspect=spacing[upward] / spacing[across],
        )
        angle = np.linspace(0, 2 * np.pi, 100)
        axes.plot(
            centre[across] + radius / spacing[across] * np.cos(angle),
            centre[upward] + radius / spacing[upward] * np.sin(angle),
            color="yellow",
        )
        axes.plot(centre[across], centre[upward], "+", color="crimson")
        half = 60
        axes.set_xlim(centre[across] - half / spacing[across], centre[across] + half / spacing[across])
        low, high = centre[upward] - half / spacing[upward], centre[upward] + half / spacing[upward]
        axes.set_ylim((low, high) if axis == 1 else (high, low))  # axial slices have the front at the top
    _save(figure, path)


def _shade(bones: dict[str, StraightBone], to_view: np.ndarray, centre: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture (N, N, 3) and depth (N, N) in mm along the view of the nearest surface points; first row at the bottom."""
    from scipy import ndimage
    from skimage.measure import marching_cubes

    size = int(2 * half / PIXEL_MM) + 1
    depth = np.full((size, size), np.inf)
    picture = np.ones((size, size, 3))
    for side, bone in bones.items():
        # The landmarks' surface is open where the image cuts the bone; for the eye the cut is closed.
        closed = marching_cubes(ndimage.gaussian_filter(bone.mask.astype(np.float32), 0.8), 0.5)[0]
        seen = (bone.start + closed[:, ::-1] * GRID_MM - centre) @ to_view.T
        pixel = ((seen[:, :2] + half) / PIXEL_MM).astype(int)
        inside = np.all((pixel >= 0) & (pixel < size), axis=1) & np.all(seen[:, :2] >= -half, axis=1)
        nearest = np.full((size, size), np.inf)
        np.minimum.at(nearest, (pixel[inside, 1], pixel[inside, 0]), seen[inside, 2])
        filled = ndimage.grey_opening(nearest, (3, 3))  # a pixel that no point hit takes its neighbours' depth
        smooth = ndimage.gaussian_filter(np.where(np.isfinite(filled), filled, 0.0), 0.8)
        weight = ndimage.gaussian_filter(np.isfinite(filled).astype(float), 0.8)
        slope_y, slope_x = np.gradient(smooth / np.maximum(weight, 1e-6), PIXEL_MM)
        # Light from above on the viewer's left; the surface faces the viewer.
        light = (1.0 + 0.35 * slope_x - 0.35 * slope_y) / np.sqrt(1.0 + slope_x**2 + slope_y**2)
        front = filled < depth
        picture[front] = np.clip(0.25 + 0.75 * light[front], 0.15, 1.0)[:, None] * TINT[side]
        depth[front] = filled[front]
    return picture, depth


def _save(figure: Figure, path: Path) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=75)
    with atomic_write(path) as temporary:
        Image.open(buffer).convert("RGB").quantize(200).save(temporary, optimize=True)
