"""Evaluation of predictions with known errors: numbers, tables, report, and what is refused."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_network import SIDE, SPACING, exclusive, toy_dataset, toy_description, toy_task, toy_view

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import examples, figures
from SyntheXLib.evaluation.evaluate import EvaluationResult, evaluate
from SyntheXLib.evaluation.results import angle_from_ap, compare, split_masks
from SyntheXLib.files import sha256
from SyntheXLib.inference.predictions import FORMAT, Prediction, PredictionWriter, open_predictions
from SyntheXLib.scene.poses import CArmPose


def write_predictions(
    folder: Path,
    dataset: XrayDataset,
    shift: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    cut: int = 0,
) -> Path:
    """The truth as predictions; landmarks moved by `shift` (N, L, 2) px, the first `cut` columns of the masks emptied."""
    folder.mkdir()
    count, landmarks = len(dataset), len(dataset.task.landmarks)
    shift = np.zeros((count, landmarks, 2)) if shift is None else shift
    confidence = np.full((count, landmarks), 0.95) if confidence is None else confidence
    with PredictionWriter(folder / "predictions.h5", count) as writer:
        for i in range(count):
            mask = exclusive(dataset[i].mask).astype(np.uint16)
            mask[:, :cut] = 0
            places = (np.nan_to_num(dataset[i].landmarks) + shift[i]).astype(np.float32)
            writer.add(i, Prediction(mask, places, confidence[i].astype(np.float32), np.zeros((SIDE, SIDE), np.uint8)))
    model = toy_description(dataset.task).to_dict()
    task = model.pop("task")
    description = {
        "format": FORMAT,
        "kind": "dataset",
        "model": {"path": "/models/<best>.pt", "sha256": "0" * 64, **model},
        "task": task,
        "threshold": 0.9,
        "device": "cpu",
        "versions": {"python": "3"},
        "dataset": {"path": str(dataset.folder), "checksum": dataset.checksum()},
        "count": count,
        "heatmaps": False,
        "arrays": {"file": "predictions.h5", "sha256": sha256(folder / "predictions.h5")},
    }
    (folder / "predictions.json").write_text(json.dumps(description), encoding="utf-8")
    (folder / "landmarks.csv").touch()
    return folder


def edit(folder: Path, **values: object) -> None:
    path = folder / "predictions.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_shifted(tmp_path: Path) -> tuple[Path, Path, Path]:
    dataset = toy_dataset(tmp_path / "data")
    shift = np.zeros((5, 2, 2))
    shift[:, 0] = 3, 4
    shift[:, 1, 0] = np.arange(5)
    confidence = np.full((5, 2), 0.95)
    confidence[:, 1] = [0.99, 0.98, 0.97, 0.5, 0.4]
    return write_predictions(tmp_path / "predictions", dataset, shift, confidence), tmp_path / "data", tmp_path / "out"


@pytest.fixture
def shifted(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Five toy images; the cube's landmark is off by 3, 4 px in all, the bar's by n, 0 px in image n, with falling confidence."""
    return make_shifted(tmp_path)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    """The evaluation of `shifted`, made once."""
    return evaluate(*make_shifted(tmp_path_factory.mktemp("evaluated")))


def test_known_errors_come_out_in_mm_on_the_detector_and_at_the_isocentre(evaluated: EvaluationResult):
    s = evaluated.summary
    # Cube: 5 px = 10 mm five times. Bar: 0, (out of frame), 4, 6, 8 mm.
    assert (s.detector.visible, s.detector.activated, s.detector.missing) == (9, 7, 0)
    assert s.detector.median == pytest.approx(10.0, abs=1e-4) and s.detector.mean == pytest.approx(68 / 9, abs=1e-4)
    assert s.detector.success == pytest.approx({"2.5": 1 / 9, "5": 2 / 9, "10": 1.0})
    assert s.detector.activated_mean == pytest.approx(54 / 7, abs=1e-4)
    assert s.isocenter.mean == pytest.approx(34 / 9, abs=1e-4)  # source to isocentre 500 of 1000 mm
    assert s.landmarks["C"].visible == 5 and s.landmarks["B"].visible == 4 and s.landmarks["B"].activated == 2
    assert s.landmarks["B"].median == pytest.approx(5.0, abs=1e-4)
    assert s.curve.at_threshold(0.96).error_mm == pytest.approx(2.0, abs=1e-4) and s.curve.at_threshold(0.96).count == 2
    # The one landmark out of frame has confidence 0.98: above it only the bar's in image 0, of nine.
    assert s.absent_auc == pytest.approx(1 / 9)
    assert s.dice.mean_over_structures == 1.0 and s.dice.pooled.images == 10
    assert list(s.specimens) == ["phantom"] and s.specimens["phantom"].images == 5


def test_dice_is_that_of_the_masks(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=1)
    write_predictions(tmp_path / "predictions", dataset, cut=13)  # three of the cube's six columns
    s = evaluate(tmp_path / "predictions", tmp_path / "data", tmp_path / "out").summary
    assert s.dice.structures["cube"].mean == pytest.approx(2 * 0.5 / 1.5)
    assert s.dice.structures["bar"].mean == 1.0
    assert s.dice.mean_over_structures == pytest.approx((2 / 3 + 1) / 2)


def test_overlapping_masks_belong_to_the_label_on_top_in_an_exclusive_task_and_to_both_in_a_multilabel_one():
    bits = np.array([[0, 1], [2, 3]], np.uint16)
    np.testing.assert_array_equal(split_masks(bits, toy_task("exclusive")), [[[0, 1], [0, 0]], [[0, 0], [1, 1]]])
    np.testing.assert_array_equal(split_masks(bits, toy_task("multilabel")), [[[0, 1], [0, 1]], [[0, 0], [1, 1]]])


def test_the_terminal_table_ends_with_the_path_of_the_report(evaluated: EvaluationResult):
    lines = evaluated.text.splitlines()
    assert lines[-1] == f"Report: {(evaluated.folder / 'report.html').resolve()}"
    assert re.search(r"^mean over 2 structures +1\.000 +0\.000 +10$", "\n".join(lines), re.MULTILINE)
    assert any("all 9 visible landmarks: median 10.00 mm, mean 7.56 ± " in line for line in lines)
    assert any("ncc) > 0.9: 77.8 % (7 of 9), mean 7.71 ± " in line for line in lines)


def test_the_terminal_table_gives_no_mean_where_no_landmark_is_activated(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=3)
    predictions = write_predictions(tmp_path / "predictions", dataset, confidence=np.full((3, 2), 0.5))
    text = evaluate(predictions, tmp_path / "data", tmp_path / "out").text
    assert "With confidence (ncc) > 0.9: 0.0 % (0 of 5)\n" in text and "median 0.00 mm, mean 0.00 ± 0.00 mm\n" in text


def test_tables_have_a_row_for_each_image_structure_and_landmark(evaluated: EvaluationResult):
    images, structures, landmarks = (rows(evaluated.folder / f"{name}.csv") for name in ("per_image", "structures", "landmarks"))
    assert (len(images), len(structures), len(landmarks)) == (5, 10, 10)
    assert images[2]["rotation_from_ap_deg"] == "20.00" and images[2]["coverage"] == "0.2500" and images[2]["specimen"] == "phantom"
    assert [row["visible_landmarks"] for row in images] == ["2", "1", "2", "2", "2"]
    assert float(images[2]["mean_error_detector_mm"]) == pytest.approx(7.0, abs=1e-3)
    assert structures[0]["structure"] == "cube" and structures[0]["true_pixels"] == "48" and structures[0]["dice_strict"] == "1.0000"
    hidden = landmarks[3]
    assert (hidden["landmark"], hidden["visible"], hidden["activated"], hidden["error_detector_mm"]) == ("B", "0", "0", "")
    assert float(landmarks[5]["error_isocenter_mm"]) == pytest.approx(2.0, abs=1e-3)


def test_metrics_json_holds_all_numbers(shifted: tuple[Path, Path, Path]):
    evaluate(*shifted, threshold=0.96)
    values = json.loads((shifted[2] / "metrics.json").read_text(encoding="utf-8"))
    assert values["images"] == 5 and values["threshold"] == 0.96 and values["pixel_spacing_mm"] == SPACING
    assert values["curve"]["at_threshold"]["count"] == 2 and values["curve"]["at_shares"]["1"]["count"] == 9
    assert values["curve"]["area_mm"] > 0 and values["dice"]["structures"]["bar"]["images"] == 5
    assert values["dataset"]["checksum"] == XrayDataset(shifted[1]).checksum()


def test_the_report_is_one_file_without_script_or_anything_from_outside(evaluated: EvaluationResult):
    page = evaluated.report.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>") and "$" not in page
    assert "<script" not in page and "@import" not in page and "<link" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert page.count("<img") == 15  # five images of three pictures
    for word in ("cube", "bar", "phantom", "Best", "Median", "Worst", "10.00 mm", "77.8 %", "Rotation from the standard AP view"):
        assert word in page, word
    assert "/models/&lt;best&gt;.pt" in page and "<best>" not in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    clips = re.findall(r'<clipPath id="([^"]+)"', page)
    assert clips and len(clips) == len(set(clips))  # no figure refers into another


def test_figures_take_their_colours_from_the_page(evaluated: EvaluationResult):
    results = compare(open_predictions(evaluated.folder.parent / "predictions"), XrayDataset(evaluated.folder.parent / "data"))
    drawn = [
        figures.landmark_figure(results),
        figures.geometry_figure(results),
        figures.error_figure(results.errors_detector_mm, results.confidence, 0.9),
    ]
    for svg in drawn:
        assert svg is not None and svg.startswith("<svg") and "var(--first)" in svg and "var(--ink)" in svg
        assert not re.search(r"#01020\d", svg) and "DejaVu" not in svg


def test_examples_are_the_best_the_middle_and_the_worst(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=9)
    order = [4, 0, 8, 2, 6, 1, 5, 3, 7]  # image at each rank
    shift = np.zeros((9, 2, 2))
    shift[order, :, 0] = np.arange(9)[:, None]
    results = compare(open_predictions(write_predictions(tmp_path / "predictions", dataset, shift)), dataset)
    chosen = examples.choose(results, each=1)
    assert chosen == [("best", 4), ("median", 6), ("worst", 7)]
    assert [kind for kind, _ in examples.choose(results, each=4)] == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3


def test_a_task_without_landmarks_gets_a_report_too(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=4, task=toy_task(landmarks=False))
    result = evaluate(write_predictions(tmp_path / "predictions", dataset), tmp_path / "data", tmp_path / "out")
    page = result.report.read_text(encoding="utf-8")
    assert "Landmark" not in result.text and "<h2>Landmarks</h2>" not in page and page.count("<img") == 8
    assert result.summary.dice.mean_over_structures == 1.0


def test_a_landmark_without_prediction_is_counted_as_a_failure_and_said(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=4)
    shift = np.zeros((4, 2, 2))
    shift[2] = np.nan
    result = evaluate(write_predictions(tmp_path / "predictions", dataset, shift), tmp_path / "data", tmp_path / "out")
    assert result.summary.detector.missing == 2 and result.summary.detector.success["5"] == pytest.approx(5 / 7)
    assert result.summary.at_shares["1"] is None
    assert "2 visible landmarks have no prediction" in result.report.read_text(encoding="utf-8")


def test_a_report_on_the_training_data_says_so(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=3)
    predictions = write_predictions(tmp_path / "predictions", dataset)
    assert "trained on this very data set" not in evaluate(predictions, tmp_path / "data", tmp_path / "out").report.read_text(
        encoding="utf-8"
    )
    model = json.loads((predictions / "predictions.json").read_text(encoding="utf-8"))["model"]
    edit(predictions, model=model | {"training": {"datasets": [{"folder": str(tmp_path / "data"), "images": 3}]}})
    assert "trained on this very data set" in evaluate(predictions, tmp_path / "data", tmp_path / "out").report.read_text(encoding="utf-8")


def test_the_angle_from_ap_is_that_of_the_whole_rotation():
    for pose, angle in (
        (CArmPose(), 0.0),
        (CArmPose(lao_rao_deg=30), 30.0),
        (CArmPose(cran_caud_deg=-25, translation_ap_mm=40), 25.0),
        (CArmPose(roll_deg=170), 170.0),
        # Quarter turns about two axes are one of 120 degrees about the diagonal.
        (CArmPose(lao_rao_deg=90, cran_caud_deg=90), 120.0),
    ):
        assert angle_from_ap(pose.world_to_camera(np.array([5.0, 6.0, 7.0]))) == pytest.approx(angle, abs=1e-5)


def test_predictions_survive_a_move_of_the_data_set(shifted: tuple[Path, Path, Path], tmp_path: Path):
    shutil.move(shifted[1], tmp_path / "elsewhere")
    assert evaluate(shifted[0], tmp_path / "elsewhere", shifted[2]).summary.images == 5


def test_predictions_of_another_data_set_are_refused(shifted: tuple[Path, Path, Path], tmp_path: Path):
    toy_dataset(tmp_path / "other", seed=7)
    with pytest.raises(SyntheXError, match="another data set"):
        evaluate(shifted[0], tmp_path / "other", shifted[2])
    assert not shifted[2].exists()


def test_broken_predictions_are_refused_in_one_sentence(shifted: tuple[Path, Path, Path], tmp_path: Path):
    folder, data, out = shifted
    with pytest.raises(SyntheXError, match="does not exist"):
        evaluate(tmp_path / "nowhere", data, out)
    with pytest.raises(SyntheXError, match="no complete predictions"):
        evaluate(data, data, out)
    for values, message in (
        ({"format": 99}, "expected format 1, found 99"),
        ({"kind": "images"}, "of image files"),
        ({"count": 4}, r"'mask' must begin with the shape \(4,\), found \(5, 40, 40\)"),
    ):
        copy = Path(shutil.copytree(folder, tmp_path / message[:8]))
        edit(copy, **values)
        with pytest.raises(SyntheXError, match=message) as error:
            evaluate(copy, data, out)
        assert "\n" not in str(error.value)
    (folder / "predictions.h5").write_bytes(b"something else")
    with pytest.raises(SyntheXError, match="checksums differ"):
        evaluate(folder, data, out)
    (folder / "predictions.h5").unlink()
    with pytest.raises(SyntheXError, match=r"no predictions\.h5"):
        evaluate(folder, data, out)
    assert not out.exists()


def test_predictions_of_fewer_images_are_refused(tmp_path: Path):
    short, whole = toy_dataset(tmp_path / "short", count=3), toy_dataset(tmp_path / "whole", count=4)
    predictions = write_predictions(tmp_path / "predictions", short)
    edit(predictions, dataset={"path": "x", "checksum": whole.checksum()})
    with pytest.raises(SyntheXError, match="of 3 images, expected 4"):
        evaluate(predictions, tmp_path / "whole", tmp_path / "out")


def test_toy_views_move(tmp_path: Path):
    # The tests above rest on images that differ.
    assert not np.array_equal(toy_view(0)[1], toy_view(1)[1])
