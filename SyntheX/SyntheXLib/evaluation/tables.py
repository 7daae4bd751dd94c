"""The numbers of an evaluation as CSV files."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.confusion import CONFUSION_MEASURES, confusion
from SyntheXLib.evaluation.estimates import Headline
from SyntheXLib.evaluation.model_evaluation import ModelEvaluation
from SyntheXLib.inference.outputs import write_csv

Rows = Iterator[list[Any]]


def write_tables(folder: Path, models: Sequence[ModelEvaluation]) -> None:
    """Write all tables; each has the model's name in its first column.

    ``summary.csv`` the headline numbers, ``curve.csv`` the activation curves, ``groups.csv`` specimens and imaging systems;
    ``per_image.csv``, and ``structures.csv`` and ``landmarks.csv`` with a row for each image and structure or landmark.
    """
    task = models[0].results.task
    image_header = ["index", "specimen", "imaging_system", "rotation_from_ap_deg", "coverage", "mean_dice"]
    image_header += [f"dice_{name}" for name in task.structure_names]
    image_header += ["visible_landmarks", "activated_landmarks", "mean_error_detector_mm", "median_error_detector_mm"]
    structure_header = ["index", "structure", "dice_strict", "dice_released_code", "true_pixels", "predicted_pixels", "common_pixels"]
    structure_header += ["surface_mm", "hausdorff95_mm", *CONFUSION_MEASURES]
    landmark_header = ["index", "landmark", "visible", "activated", "confidence", "true_column", "true_row", "column", "row"]
    landmark_header += ["error_detector_mm", "error_isocenter_mm"]
    group_header = ["kind", "group", "images", "mean_dice", "surface_mm", "visible", "activated", "missing"]
    group_header += ["median_detector_mm", "mean_detector_mm", "activated_mean_detector_mm", "median_isocenter_mm", "mean_isocenter_mm"]
    for name, header, rows in (
        ("summary", ["mode", "measure", *(field.name for field in fields(Headline))], _headline_rows),
        ("curve", ["confidence", "share", "mean_error_detector_mm"], _curve_rows),
        ("groups", group_header, _group_rows),
        ("per_image", image_header, _image_rows),
        ("structures", structure_header, _structure_rows),
        ("landmarks", landmark_header, _landmark_rows),
    ):
        write_csv(folder / f"{name}.csv", ["model", *header], ([model.name, *row] for model in models for row in rows(model)))


def _cell(value: float | None, digits: int = 4) -> str:
    """A number for a table; empty where there is none."""
    return "" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _mean(values: NDArray[np.float64]) -> float:
    used = values[np.isfinite(values)]
    return float(used.mean()) if used.size else float("nan")


def _headline_rows(model: ModelEvaluation) -> Rows:
    for measure, one in model.summary.headline.items():
        yield [model.summary.mode, measure, *(_cell(value) for value in (one.value, one.sd, one.low, one.high)), one.count]


def _curve_rows(model: ModelEvaluation) -> Rows:
    curve = model.summary.curve
    for point in zip(curve.confidence, curve.share, curve.error_mm, strict=True):
        yield [_cell(value, 6) for value in point]


def _group_rows(model: ModelEvaluation) -> Rows:
    for kind, groups in (("specimen", model.summary.specimens), ("imaging_system", model.summary.imaging_systems)):
        for name, one in groups.items():
            e, i = one.errors, one.isocenter
            errors = [_cell(value) for value in (e.median, e.mean, e.activated_mean, i.median, i.mean)]
            yield [kind, name, one.images, _cell(one.dice), _cell(one.surface_mm), e.visible, e.activated, e.missing, *errors]


def _image_rows(model: ModelEvaluation) -> Rows:
    results = model.results
    dice, errors = metrics.dice(results.counts), results.errors_detector_mm
    active = metrics.activated(errors, results.confidence, model.summary.threshold)
    for n, index in enumerate(results.index):
        yield [
            int(index),
            results.specimen[n],
            results.imaging_system[n],
            _cell(results.angle_deg[n], 2),
            _cell(results.coverage[n]),
            _cell(_mean(dice[n])),
            *(_cell(value) for value in dice[n]),
            int(np.count_nonzero(~np.isnan(errors[n]))),
            int(np.count_nonzero(active[n])),
            _cell(_mean(errors[n])),
            _cell(metrics.quantile(errors[n][~np.isnan(errors[n])], 0.5)),
        ]


def _structure_rows(model: ModelEvaluation) -> Rows:
    results, counts = model.results, model.results.counts
    strict, released = metrics.dice(counts, "strict"), metrics.dice(counts, "released-code")
    measures = confusion(counts, results.pixels)
    for n, index in enumerate(results.index):
        for c, name in enumerate(results.task.structure_names):
            trusted = counts.truth[n, c] != metrics.NO_TRUTH
            pixels = [int(a[n, c]) if trusted else "" for a in (counts.truth, counts.predicted, counts.intersection)]
            rest = [results.surface_mm[n, c], results.hausdorff95_mm[n, c], *(measures[key][n, c] for key in CONFUSION_MEASURES)]
            yield [int(index), name, _cell(strict[n, c]), _cell(released[n, c]), *pixels, *(_cell(value) for value in rest)]


def _landmark_rows(model: ModelEvaluation) -> Rows:
    results = model.results
    active = metrics.activated(results.errors_detector_mm, results.confidence, model.summary.threshold)
    for n, index in enumerate(results.index):
        for m, name in enumerate(results.task.landmark_names):
            places = [_cell(float(v), 3) for v in (*results.truth[n, m], *results.predicted[n, m])]
            distances = [_cell(float(v)) for v in (results.errors_detector_mm[n, m], results.errors_isocenter_mm[n, m])]
            seen = [int(results.visible[n, m]), int(active[n, m]), _cell(float(results.confidence[n, m]))]
            yield [int(index), name, *seen, *places, *distances]
