"""Draw a study: ``python Docs/studies_figure.py STUDY OUT.png`` its table, with ``--sets naive target`` images of its sets.

A dot is a training, a line the mean over seeds with the 95 % interval of Student's t. Of the sets, each row shows one.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.evaluation.study_runs import t_half_width
from SyntheXLib.inference.overlay import write_picture
from SyntheXLib.rendering.display import to_uint8

COUNT = 8
COLUMNS = {"dice": "mean Dice", "median_error_detector_mm": "median landmark error on the detector, mm"}


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a study")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--sets", nargs="+", default=[], metavar="SET", help="draw images of these sets")
    options = parser.parse_args()
    if options.sets:
        draw_sets([options.study / "sets" / name for name in options.sets], options.out)
        return
    with (options.study / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    draw(rows, options.out)


def draw(rows: list[dict[str, str]], out: Path) -> None:
    """One line for each run, in the order of the table, one panel for each measure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = list(dict.fromkeys(row["run"] for row in rows))
    figure = Figure(figsize=(10, 1.1 + 0.27 * len(runs)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (column, title) in zip(figure.subplots(1, len(COLUMNS), sharey=True), COLUMNS.items(), strict=True):
        for place, run in enumerate(runs):
            values = np.array([float(row[column]) for row in rows if row["run"] == run])
            color = "0.55" if "same domain" in run else "C0"
            axes.errorbar(values.mean(), place, xerr=t_half_width(values), fmt="|", color=color, capsize=3, markersize=10)
            axes.plot(values, np.full(len(values), place), "o", color=color, markersize=3.5, alpha=0.6)
        axes.set_yticks(range(len(runs)), runs)
        axes.set_xlabel(title)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    figure.savefig(out, dpi=110)


def draw_sets(folders: list[Path], out: Path) -> None:
    """A row of images, spread over the set, for each."""
    rows = []
    for folder in folders:
        dataset = XrayDataset(folder)
        # Cases take turns.
        images = [to_uint8(dataset[place * (len(dataset) // COUNT) + place % 2].image) for place in range(COUNT)]
        rows.append(np.hstack([np.kron(image, np.ones((2, 2), np.uint8)) for image in images]))
    write_picture(out, np.repeat(np.vstack(rows)[..., None], 3, axis=2))


if __name__ == "__main__":
    main()
