"""Figures of the report as SVG text whose colours are CSS variables, so that they follow the page into dark mode and onto paper."""

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.calibration import RIGHT_WITHIN_MM, LandmarkCalibration, PixelBins
from SyntheXLib.evaluation.curve import ActivationCurve, CurvePoint
from SyntheXLib.evaluation.metrics import SUCCESS_DISTANCES_MM, activated
from SyntheXLib.evaluation.results import ImageResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that occur nowhere else: in the SVG each is replaced by a variable of the page's style.
_INK, _GRID, _FIRST, _SECOND = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {_INK: "var(--ink)", _GRID: "var(--grid)", _FIRST: "var(--first)", _SECOND: "var(--second)"}
# Further models; with more of them colours and dashes come round, in twelve pairs.
_SERIES = (_FIRST, _SECOND, "#010207", "#010208", "#010209", "#01020a")
_VARIABLES |= {color: f"var(--series{n})" for n, color in enumerate(_SERIES) if color not in _VARIABLES}
_DASHES = ("-", "--", ":", "-.")
_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@contextmanager
def _figure(name: str, width: float, height: float, panels: int = 1) -> Iterator[tuple[list["Axes"], list[str]]]:
    """Axes to draw in and a list that holds the SVG afterwards."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text; DejaVu is among the widest fonts, so any other fits where it does
        "svg.hashsalt": name,  # the same file every time, and no two figures of a page share an id
        "font.size": 10,
        "text.color": _INK,
        "axes.edgecolor": _GRID,
        "axes.labelcolor": _INK,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.7,
        "xtick.color": _GRID,
        "ytick.color": _GRID,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = [figure.add_subplot(1, panels, n + 1) for n in range(panels)]
        out: list[str] = []
        yield axes, out
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        out.append(_inline(buffer.getvalue()))


def _inline(svg: str) -> str:
    """An SVG file as an element of a page: no prolog, no fixed size, colours by variable."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img">{rest}'
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return re.sub(r"'DejaVu Sans'[^;\"]*", _FONT, svg)


def activation_figure(curves: Sequence[tuple[str, ActivationCurve, CurvePoint]], of: str = "visible") -> str:
    """Mean error of the activated landmarks against their share, for each model with the point of the threshold.

    Parameters
    ----------
    curves
        Name, curve, and its point at the threshold.
    of
        Of what the share is taken, for the axis.
    """
    alone = len(curves) == 1
    with _figure("activation", *((4.6, 3.3) if alone else (9.2, 4.2))) as ([ax], out):
        top = 0.1
        for n, (name, curve, at) in enumerate(curves):
            # Another dash for each, so that curves that lie on each other, and on grey paper, can be told apart.
            color, dash = _SERIES[n % len(_SERIES)], _DASHES[n % len(_DASHES)]
            reading = "–" if at.error_mm is None else f"{100 * at.share:.0f} %, {at.error_mm:.2f} mm"
            label = None if alone else f"{name}: {reading}"
            ax.plot(100 * curve.share, curve.error_mm, color=color, linestyle=dash, linewidth=2, label=label)
            top = max(top, 1.15 * float(curve.error_mm.max()) if curve.error_mm.size else 1.0)
            if at.error_mm is None:
                continue
            x = 100 * at.share
            if alone:
                ax.plot([x, x, 0], [0, at.error_mm, at.error_mm], color=_SECOND, linewidth=1, linestyle="--")
                text = f"ncc > {at.threshold:g}: {reading}"
                ax.text(0.98, 0.05, text, transform=ax.transAxes, ha="right", color=_SECOND)  # the curve is high on this side
            ax.plot(x, at.error_mm, "o", color=_SECOND if alone else color, markersize=6)
        if not alone:
            # Beside the plot: long names would lie over the curves.
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), title=f"at ncc > {curves[0][2].threshold:g}")
        ax.set(xlim=(0, 100), ylim=(0, top))
        ax.set(xlabel=f"activated landmarks (% of the {of})", ylabel="mean error (mm on the detector)")
    return out[0]


def error_figure(errors_mm: NDArray[np.float64], confidence: NDArray[np.floating], threshold: float, counted: str = "visible") -> str:
    """Histogram and cumulative share of the errors of all landmarks that count, called `counted`, and of the activated ones."""
    visible = errors_mm[~np.isnan(errors_mm)]
    active = errors_mm[activated(errors_mm, confidence, threshold)]
    finite = visible[np.isfinite(visible)]
    end = max(float(np.percentile(finite, 98)) if finite.size else 0.0, 1.5 * SUCCESS_DISTANCES_MM[-1])
    with _figure("errors", 9.2, 3.4, panels=2) as ((left, right), out):
        bins = np.linspace(0, end, 41).tolist()
        for values, color, label in ((visible, _FIRST, f"all {counted}"), (active, _SECOND, f"ncc > {threshold:g}")):
            inside = values[values <= end]
            left.hist(inside, bins=bins, color=color, alpha=0.55, label=label)
            ordered = np.sort(values)
            if ordered.size:
                shares = 100 * np.arange(1, ordered.size + 1) / visible.size
                right.step(np.append(0, ordered), np.append(0, shares), where="post", color=color, linewidth=2, label=label)
        beyond = int(np.count_nonzero(visible > end))
        left.set(xlim=(0, end), xlabel="error (mm on the detector)", ylabel="landmarks")
        left.legend(title=f"{beyond} beyond {end:.0f} mm" if beyond else None, loc="upper right")
        for distance in SUCCESS_DISTANCES_MM:
            right.axvline(distance, color=_INK, linewidth=0.8, linestyle=":")
        dotted = ", ".join(f"{distance:g}" for distance in SUCCESS_DISTANCES_MM)
        right.set(xlim=(0, end), ylim=(0, 100))
        right.set(xlabel=f"error at most (mm on the detector), dotted: {dotted}", ylabel=f"% of the {counted} landmarks")
        right.legend(loc="lower right")
    return out[0]


def _middle_half(ax: "Axes", place: float, values: NDArray[np.float64], upright: bool = False) -> float:
    """Draw the median as a dot on a bar from the 25th to the 75th percentile of the finite values; return the end of the bar."""
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0
    low, middle, high = (float(v) for v in np.percentile(values, [25, 50, 75]))
    bar, dot = (([low, high], [place, place]), (middle, place))
    if upright:
        bar, dot = (bar[1], bar[0]), (dot[1], dot[0])
    ax.plot(*bar, color=_FIRST, linewidth=5, alpha=0.4, solid_capstyle="round")
    ax.plot(*dot, "o", color=_FIRST, markersize=6)
    return high


def landmark_figure(results: ImageResults) -> str:
    """Median and middle half of the errors of each landmark, in the task's order."""
    names = results.task.landmark_names
    with _figure("landmarks", 9.2, 0.8 + 0.21 * len(names)) as ([ax], out):
        end = max(_middle_half(ax, n, results.errors_detector_mm[:, n]) for n in range(len(names)))
        ax.set(xlim=(0, 1.08 * end or 1), ylim=(len(names) - 0.4, -0.6), xlabel="error (mm on the detector): median and middle half")
        ax.set_yticks(range(len(names)), names)
        ax.grid(visible=False, axis="y")
    return out[0]


def dice_figure(results: ImageResults, values: NDArray[np.float64]) -> str:
    """Median and middle half of the Dice of each structure; `values` (N, C), NaN = left out."""
    names = [name.replace("_", " ") for name in results.task.structure_names]
    with _figure("dice", 9.2, 0.8 + 0.23 * len(names)) as ([ax], out):
        for n in range(len(names)):
            _middle_half(ax, n, values[:, n])
        # From the first tenth below all bars, so that good structures can still be told apart.
        lowest = min((float(np.nanpercentile(v, 25)) for v in values.T if not np.isnan(v).all()), default=0.0)
        ax.set(xlim=(max(0.0, np.floor(10 * lowest - 0.5) / 10), 1.005))
        ax.set(ylim=(len(names) - 0.4, -0.6), xlabel="Dice: median and middle half")
        ax.set_yticks(range(len(names)), names)
        ax.grid(visible=False, axis="y")
    return out[0]


def geometry_figure(results: ImageResults) -> str | None:
    """How far the views are turned from the standard AP view, and how the error depends on it; None when no pose is known."""
    known = np.isfinite(results.angle_deg)
    if not known.any():
        return None
    angle = results.angle_deg[known]
    edges = np.arange(0, 10 * np.ceil(max(float(angle.max()), 10.0) / 10) + 1, 10)
    panels = 2 if results.task.landmarks else 1
    with _figure("geometry", 9.2, 3.1, panels) as (axes, out):
        axes[0].hist(angle, bins=edges.tolist(), color=_FIRST, alpha=0.8, rwidth=0.92)
        axes[0].set(xlabel="rotation from the standard AP view (degrees)", ylabel="images", xlim=(0, edges[-1]))
        if panels == 2:
            errors = results.errors_detector_mm[known]
            for low, high in itertools.pairwise(edges):
                values = errors[(angle >= low) & ((angle < high) | (high == edges[-1]))]
                _middle_half(axes[1], (low + high) / 2, values, upright=True)
            axes[1].set(xlabel="rotation from the standard AP view (degrees)", ylabel="error (mm on the detector)", xlim=(0, edges[-1]))
            axes[1].set_ylim(bottom=0)
    return out[0]


def calibration_figure(landmarks: LandmarkCalibration, pixels: PixelBins | None, structures: Sequence[str]) -> str | None:
    """Share of landmarks that are right by confidence, and of pixels by probability; None when there is neither."""
    filled = [b for b in landmarks.bins if b.count]
    panels = bool(filled) + (pixels is not None)
    if not panels:
        return None
    with _figure("calibration", 4.6 * panels, 3.3, panels) as (axes, out):
        remaining = iter(axes)
        if filled:
            ax, most = next(remaining), max(b.count for b in filled)
            for b in filled:
                ax.bar((b.low + b.high) / 2, b.right or 0.0, width=0.09, color=_FIRST, alpha=0.25 + 0.65 * b.count / most)
                ax.text((b.low + b.high) / 2, (b.right or 0.0) + 0.015, str(b.count), ha="center", fontsize=7.5)
            ax.set(
                xlim=(0, 1), ylim=(0, 1.08), xlabel="confidence (ncc); numbers: landmarks", ylabel=f"share within {RIGHT_WITHIN_MM:g} mm"
            )
        if pixels is not None:
            ax = next(remaining)
            ax.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
            for c, name in enumerate(structures):
                used = pixels.count[c] > 0
                x, y = pixels.probability[c, used] / pixels.count[c, used], pixels.truth[c, used] / pixels.count[c, used]
                dash = _DASHES[c // len(_SERIES) % len(_DASHES)]
                ax.plot(x, y, dash, color=_SERIES[c % len(_SERIES)], marker="o", markersize=3, label=name.replace("_", " "))
            ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability of a pixel", ylabel="share that is true")
            ax.legend(fontsize=7.5, loc="upper left")
    return out[0]
