"""From where the images were taken: sources as dots and principal rays as lines round the bones, in 3D."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.bone_mesh import BoneMesh
from SyntheXLib.evaluation.metrics import dice
from SyntheXLib.evaluation.results import ImageResults

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d import Axes3D

#: Width and height of the picture, pixels.
VIEWS_SIZE = (1352, 637)
_DPI = 130
# Where the eye is: azimuth from the patient's right towards the front and elevation towards the head, degrees; and where the arrows stand
# in the cube that is drawn, -1 to 1.
_EYES = ((20.0, 22.0, (0.0, -1.0, -0.85)), (90.0, 76.0, (-0.9, -0.8, -1.0)))
# Rays go on beyond the isocentre by this much, mm.
_BEYOND_MM = 180.0
# At most so many views are drawn, evenly taken.
_MOST = 400
_BONE = "#d9c7a3"


def views_figure(results: ImageResults, mesh: tuple[str, BoneMesh] | None) -> bytes | None:
    """Draw the views of all specimens about a common isocentre.

    Parameters
    ----------
    results
        Dots are coloured by the images' mean landmark error (mm on the detector), in a task without landmarks by their mean Dice.
    mesh
        Name of a specimen and the surface of its bones (RAS, mm), or None.

    Returns
    -------
    bytes or None
        JPEG; None when no camera with its isocentre is known.
    """
    known = np.isfinite(results.world_to_camera).all((1, 2)) & np.isfinite(results.source_to_isocenter_mm)
    if not known.any():
        return None
    source, direction = _rays(results.world_to_camera[known])
    isocenter = source + results.source_to_isocenter_mm[known, None] * direction
    names = np.array(results.specimen)[known]
    centers = {name: isocenter[names == name].mean(0) for name in np.unique(names)}
    middle = np.array([centers[name] for name in names])
    value, title = _value(results)
    rows = np.unique(np.linspace(0, len(source) - 1, min(len(source), _MOST)).astype(int))
    ends = isocenter + _BEYOND_MM * direction
    bones = None
    if mesh is not None and mesh[0] in centers:
        bones = BoneMesh(mesh[1].vertices - centers[mesh[0]], mesh[1].faces)
    points = [(one - middle)[rows] for one in (source, isocenter, ends)]
    return _draw(points, value[known][rows], title, bones)


def _rays(world_to_camera: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source (N, 3) and unit vector of the principal ray (N, 3), RAS."""
    rotation, shift = world_to_camera[:, :3, :3], world_to_camera[:, :3, 3]
    return -np.einsum("nji,nj->ni", rotation, shift), rotation[:, 2]


def _value(results: ImageResults) -> tuple[NDArray[np.float64], str]:
    if results.task.landmarks:
        values, title = results.errors_detector_mm, "mean landmark error of the image, mm"
    else:
        values, title = dice(results.counts), "mean Dice of the image"
    there = np.isfinite(values)
    number = there.sum(1)
    return np.where(number > 0, np.where(there, values, 0).sum(1) / np.maximum(number, 1), np.nan), title


def _draw(points: list[NDArray[np.float64]], value: NDArray[np.float64], title: str, bones: BoneMesh | None) -> bytes:
    """`points` are sources, isocentres and ends of the rays, (N, 3) each."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(VIEWS_SIZE[0] / _DPI, VIEWS_SIZE[1] / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    finite = value[np.isfinite(value)]
    top = float(np.percentile(finite, 95)) if finite.size else 1.0
    scale = Normalize(float(finite.min()) if finite.size else 0.0, max(top, 1e-9))
    colors = colormaps["viridis"](scale(np.where(np.isfinite(value), value, 0.0)))
    colors[~np.isfinite(value)] = 0.6, 0.6, 0.6, 1.0
    everything = np.concatenate([*points, *([] if bones is None else [bones.vertices])])
    for place, (azimuth, elevation, corner) in enumerate(_EYES):
        axes: Any = figure.add_axes((0.0 + 0.45 * place, 0.0, 0.45, 1.0), projection="3d", computed_zorder=False)
        _scene(axes, points, colors, bones, azimuth, elevation)
        low, high = everything.min(0), everything.max(0)
        reach = (high - low).max() / 2
        axes.set_box_aspect((1, 1, 1), zoom=1.4)
        for setter, center in zip((axes.set_xlim, axes.set_ylim, axes.set_zlim), (low + high) / 2, strict=True):
            setter(center - reach, center + reach)
        axes.set_axis_off()
        _axes_of_patient(axes, (low + high) / 2 + reach * np.array(corner), reach)
    bar = figure.colorbar(ScalarMappable(scale, "viridis"), cax=figure.add_axes((0.925, 0.16, 0.014, 0.68)), extend="max")
    bar.set_label(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", pil_kwargs={"quality": 92, "subsampling": 0})
    return buffer.getvalue()


def _scene(
    axes: "Axes3D",
    points: list[NDArray[np.float64]],
    colors: NDArray[np.float64],
    bones: BoneMesh | None,
    azimuth: float,
    elevation: float,
) -> None:
    """What lies behind the isocentre is drawn before the bones, the rest after them."""
    from matplotlib.colors import LightSource
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    axes.view_init(elev=elevation, azim=azimuth)
    a, e = np.radians([azimuth, elevation])
    eye = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    if bones is not None:
        axes.plot_trisurf(
            *bones.vertices.T,
            triangles=bones.faces,
            color=_BONE,
            linewidth=0,
            antialiased=False,
            lightsource=LightSource(azdeg=90 - azimuth + 30, altdeg=40),
            zorder=2,
        )
    source, middle, ends = points
    for start, stop in ((source, middle), (middle, ends)):
        front = ((start + stop) / 2) @ eye > 0
        for chosen, order in ((~front, 1), (front, 3)):
            if chosen.any():
                lines = Line3DCollection(np.stack([start, stop], 1)[chosen], colors="#5b6675", linewidths=0.4, alpha=0.35, zorder=order)
                axes.add_collection3d(lines)
    front = source @ eye > 0
    for chosen, order in ((~front, 1), (front, 4)):
        if chosen.any():
            axes.scatter(*source[chosen].T, c=colors[chosen], s=9, depthshade=False, zorder=order)


def _axes_of_patient(axes: "Axes3D", corner: NDArray[np.float64], reach: float) -> None:
    """Arrows to the right, front and head of the patient."""
    for n, letter in enumerate("RAS"):
        end = corner.copy()
        end[n] += 0.16 * reach
        axes.plot(*np.stack([corner, end]).T, color="#1c2430", linewidth=1, zorder=5)
        end[n] += 0.06 * reach
        axes.text(*end, letter, color="#1c2430", ha="center", va="center", zorder=5)
