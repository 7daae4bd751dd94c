"""Test folds taken as one, against values worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_report import rows, write_predictions
from toy_network import SPACING, toy_dataset, toy_task

from SyntheXLib.benchmarks.line_results import measures_of
from SyntheXLib.cli import main
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import modes
from SyntheXLib.evaluation.estimates import headlines
from SyntheXLib.evaluation.folds import open_folds, over_folds
from SyntheXLib.evaluation.results import ImageResults, compare
from SyntheXLib.tasks.task import Task

# Pixels; the truth lies at half ones, a prediction at the highest whole one (12.5 -> 12, 13.5 -> 14): no shift, two columns, four rows.
STILL, ASIDE, BELOW = np.sqrt(0.5), np.sqrt(1.5**2 + 0.5**2), np.sqrt(3.5**2 + 0.5**2)


def make_folds(folder: Path, task: Task | None = None) -> tuple[list[Path], list[Path]]:
    """Fold one: three images, C found two columns aside, B not found for certain. Fold two: two images, C in its place, B four rows below.

    In the second images B is out of frame. In fold two the left half of the cube's mask is missing, where C is found.
    """
    one, two = (toy_dataset(folder / name, count, task, seed) for name, count, seed in (("one", 3, 0), ("two", 2, 1)))
    shift, sure = np.zeros((3, 2, 2)), np.full((3, 2), 0.95)
    shift[:, 0, 0], sure[:, 1] = 2, 0.5
    first = write_predictions(folder / "found_one", one, shift, sure)
    below = np.zeros((2, 2, 2))
    below[:, 1, 1] = 4
    second = write_predictions(folder / "found_two", two, below, np.array([[0.95, 0.99]] * 2), cut=13)
    return [first, second], [one.folder, two.folder]


def pooled(folder: Path, mode: modes.Mode, task: Task | None = None) -> ImageResults:
    predictions, datasets = make_folds(folder, task)
    return compare(*open_folds(predictions, datasets), mode=mode)


def test_the_text_takes_the_mean_over_the_folds(tmp_path: Path) -> None:
    results = pooled(tmp_path, "paper-text")
    assert results.fold == ["one"] * 3 + ["two"] * 2 and results.index.tolist() == [0, 1, 2, 3, 4]
    found = headlines(results, 0.9)
    # Fold two: C twice, B once in the frame, and once, 4 px exactly, beyond it, where the text counts it too.
    second = np.array([STILL, STILL, BELOW, 4]) * SPACING
    one = found["activated_error_mm"]
    assert one.value == pytest.approx((ASIDE * SPACING + second.mean()) / 2, rel=1e-5) and one.count == 7
    assert one.sd == pytest.approx(second.std() / 2, rel=1e-5)
    # Cube with half of its mask: 2 x 24 / (24 + 48).
    assert found["dice"].value == pytest.approx((1 + (2 / 3 + 1) / 2) / 2)


def test_the_released_code_pools_the_images(tmp_path: Path) -> None:
    results = pooled(tmp_path, "released-code")
    found = headlines(results, 0.9)
    # C of fold two lies where the cube is not predicted: dropped. B beyond the frame does not count.
    scale = modes.millimetres_per_pixel("released-code", results.task, 40, SPACING)
    errors = np.array([ASIDE, ASIDE, ASIDE, BELOW]) * scale
    one = found["activated_error_mm"]
    assert (one.value, one.sd, one.count) == (pytest.approx(errors.mean(), rel=1e-5), pytest.approx(errors.std(), rel=1e-5), 4)
    assert found["dice"].value == pytest.approx((8 + 2 * 0.67) / 10)


def test_strict_takes_every_landmark_of_the_specimen(tmp_path: Path) -> None:
    # One specimen: C 2, 2, 2, 0, 0 px, B 0, 0 and 4 px.
    assert headlines(pooled(tmp_path, "strict"), 0.9, draws=10)["error_mm"].value == pytest.approx(10 / 8 * SPACING)


def test_the_pixels_of_a_task_that_is_measured_by_them(tmp_path: Path) -> None:
    task = toy_task()
    task = replace(task, evaluation=replace(task.evaluation, measures="confusion"))
    # 24 of 1600 pixels are missed in each image of fold two, half of the structure.
    text = measures_of(pooled(tmp_path / "a", "paper-text", task), 10)
    assert text["accuracy"].value == pytest.approx((1 + 0.985) / 2) and text["sensitivity"].value == pytest.approx(0.75)
    code = measures_of(pooled(tmp_path / "b", "released-code", task), 10)
    assert code["accuracy"].value == pytest.approx((3 + 2 * 0.985) / 5, abs=1e-6)
    assert code["accuracy"].sd == pytest.approx(0.015 * np.sqrt(0.24), abs=1e-6)


def test_a_number_over_the_folds(tmp_path: Path) -> None:
    results = pooled(tmp_path, "strict")
    assert over_folds(results, lambda part: float(len(part))) == (2.5, 2)
    assert over_folds(results, lambda part: None if part.fold[0] == "one" else 7.0) == (7.0, 1)
    assert over_folds(results, lambda part: None) == (None, 0)


def test_parts_of_one_name_are_one_fold(tmp_path: Path) -> None:
    predictions, datasets = make_folds(tmp_path)
    results = compare(*open_folds(predictions, datasets, ["all", "all"]), mode="paper-text")
    assert set(results.fold) == {"all"}
    assert headlines(results, 0.9)["dice"].value == pytest.approx((8 + 2 * 2 / 3) / 10)


def test_the_command_writes_tables_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, _ = make_folds(tmp_path)
    out = tmp_path / "report"
    assert main(["evaluate", "--folds", *map(str, predictions), "--mode", "paper-text", "--draws", "10", "--out", str(out)]) == 0
    assert "mean ± SD of the test folds' means and SDs" in capsys.readouterr().out
    (line,) = [row for row in rows(out / "summary.csv") if row["measure"] == "dice"]
    assert float(line["value"]) == pytest.approx((1 + 5 / 6) / 2, abs=1e-4)
    assert len(rows(out / "per_image.csv")) == 5 and "data:image" in (out / "report.html").read_text(encoding="utf-8")


def test_folds_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    predictions, datasets = make_folds(tmp_path)
    with pytest.raises(SyntheXError, match="are of the same images: expected each image in one fold alone"):
        open_folds([predictions[0]] * 2)
    with pytest.raises(SyntheXError, match="holds predictions for another data set than"):
        open_folds(predictions, datasets[::-1])
    with pytest.raises(SyntheXError, match="at least one fold"):
        open_folds([])
