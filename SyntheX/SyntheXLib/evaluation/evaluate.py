"""From a folder of predictions and the data set they are of, to tables, numbers and a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.report import write_report
from SyntheXLib.evaluation.results import ImageResults, Progress, compare
from SyntheXLib.evaluation.summary import Summary, summarize, terminal_table
from SyntheXLib.inference.outputs import versions, write_csv, write_json
from SyntheXLib.inference.predictions import PredictionFolder, open_predictions

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset

METRICS = "metrics.json"
REPORT = "report.html"


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found and where it is written.

    Attributes
    ----------
    summary
        All numbers.
    folder, report
        The folder and ``report.html`` in it.
    text
        A short table for the terminal; its last line is the path of the report.
    """

    summary: Summary
    folder: Path
    report: Path
    text: str


def evaluate(
    predictions_folder: Path | str,
    dataset_folder: Path | str,
    out_folder: Path | str,
    *,
    threshold: float = metrics.CONFIDENCE_THRESHOLD,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Evaluate predictions against the truth of their data set.

    Writes ``metrics.json``, ``per_image.csv``, ``structures.csv`` and ``landmarks.csv`` (one row for each image and structure or
    landmark) and ``report.html`` into `out_folder`.

    Parameters
    ----------
    predictions_folder
        Written by `inference.predict.predict_dataset`.
    dataset_folder
        The data set that was predicted; it may have moved.
    out_folder
        Where the files go; those of an earlier evaluation are replaced.
    threshold
        Confidence above which a landmark is activated.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    SyntheXError
        When predictions or data set cannot be read or do not belong together, or the folder cannot be written.
    """
    from SyntheXLib.datasets.reader import XrayDataset

    out_folder = Path(out_folder)
    predictions = open_predictions(predictions_folder)
    dataset = XrayDataset(Path(dataset_folder))
    _check_dataset(predictions, dataset)
    results = compare(predictions, dataset, progress)
    summary = summarize(results, threshold)
    write_csv(out_folder / "per_image.csv", *_image_table(results, threshold))
    write_csv(out_folder / "structures.csv", *_structure_table(results))
    write_csv(out_folder / "landmarks.csv", *_landmark_table(results, threshold))
    write_report(out_folder / REPORT, results, summary, predictions, dataset)
    source = {key: predictions.description[key] for key in ("model", "dataset", "versions")}
    write_json(
        out_folder / METRICS,
        {
            **summary.to_dict(),
            "task": results.task.name,
            "dataset": {"path": str(dataset.folder.resolve()), "checksum": dataset.checksum()},
            "pixel_spacing_mm": dataset.pixel_spacing_mm,
            "predictions": {"path": str(predictions.folder.resolve()), **source},
            "versions": versions(),
        },
    )
    report = (out_folder / REPORT).resolve()
    return EvaluationResult(summary, out_folder, report, f"{terminal_table(summary)}\n\nReport: {report}")


def _check_dataset(predictions: PredictionFolder, dataset: "XrayDataset") -> None:
    wanted, found = predictions.description["dataset"], dataset.checksum()
    if wanted["checksum"] != found:
        raise SyntheXError(
            f"{predictions.folder} holds predictions for another data set: expected the one that was at {wanted['path']} "
            f"(checksum {wanted['checksum'][:12]}), found {dataset.folder} ({found[:12]})."
        )


def _cell(value: float, digits: int = 4) -> str:
    """A number for a table; empty where there is none."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def _mean(values: NDArray[np.float64]) -> float:
    used = values[np.isfinite(values)]
    return float(used.mean()) if used.size else float("nan")


def _image_table(results: ImageResults, threshold: float) -> tuple[list[str], list[list[Any]]]:
    dice = metrics.dice(results.counts)
    errors = results.errors_detector_mm
    active = metrics.activated(errors, results.confidence, threshold)
    header = ["index", "specimen", "rotation_from_ap_deg", "coverage", "mean_dice"]
    header += [f"dice_{name}" for name in results.task.structure_names]
    header += ["visible_landmarks", "activated_landmarks", "mean_error_detector_mm", "median_error_detector_mm"]
    rows: list[list[Any]] = []
    for n, index in enumerate(results.index):
        middle = metrics.quantile(errors[n][~np.isnan(errors[n])], 0.5)
        rows.append(
            [
                int(index),
                results.specimen[n],
                _cell(results.angle_deg[n], 2),
                _cell(results.coverage[n]),
                _cell(_mean(dice[n])),
                *(_cell(value) for value in dice[n]),
                int(np.count_nonzero(~np.isnan(errors[n]))),
                int(np.count_nonzero(active[n])),
                _cell(_mean(errors[n])),
                "" if middle is None else _cell(middle),
            ]
        )
    return header, rows


def _structure_table(results: ImageResults) -> tuple[list[str], list[list[Any]]]:
    header = ["index", "structure", "dice_strict", "dice_released_code", "true_pixels", "predicted_pixels", "common_pixels"]
    strict, released = metrics.dice(results.counts, "strict"), metrics.dice(results.counts, "released-code")
    counts = results.counts
    rows: list[list[Any]] = []
    for n, index in enumerate(results.index):
        for c, name in enumerate(results.task.structure_names):
            pixels = [int(a[n, c]) for a in (counts.truth, counts.predicted, counts.intersection)]
            rows.append([int(index), name, _cell(strict[n, c]), _cell(released[n, c]), *pixels])
    return header, rows


def _landmark_table(results: ImageResults, threshold: float) -> tuple[list[str], list[list[Any]]]:
    header = ["index", "landmark", "visible", "activated", "confidence", "true_column", "true_row", "column", "row"]
    header += ["error_detector_mm", "error_isocenter_mm"]
    active = metrics.activated(results.errors_detector_mm, results.confidence, threshold)
    rows: list[list[Any]] = []
    for n, index in enumerate(results.index):
        for m, name in enumerate(results.task.landmark_names):
            places = [_cell(float(v), 3) for v in (*results.truth[n, m], *results.predicted[n, m])]
            distances = [_cell(float(v)) for v in (results.errors_detector_mm[n, m], results.errors_isocenter_mm[n, m])]
            seen = [int(results.visible[n, m]), int(active[n, m]), _cell(float(results.confidence[n, m]))]
            rows.append([int(index), name, *seen, *places, *distances])
    return header, rows
