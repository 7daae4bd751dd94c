"""Evaluation of predictions with known errors: numbers, tables, report, and what is refused."""

import csv
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_network import SIDE, SPACING, exclusive, toy_dataset, toy_description, toy_task, toy_view

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import examples, figures
from SyntheXLib.evaluation.bone_mesh import BoneMesh, bone_mesh, surface_of_labels
from SyntheXLib.evaluation.evaluate import EvaluationResult, evaluate
from SyntheXLib.evaluation.metrics import dice
from SyntheXLib.evaluation.modes import MODES
from SyntheXLib.evaluation.results import angle_from_ap, compare, split_masks
from SyntheXLib.evaluation.views_figure import views_figure
from SyntheXLib.files import sha256
from SyntheXLib.inference.predictions import FORMAT, Prediction, PredictionWriter, open_predictions
from SyntheXLib.scene.case_files import itk_image
from SyntheXLib.scene.poses import CArmPose


def write_predictions(
    folder: Path,
    dataset: XrayDataset,
    shift: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    cut: int = 0,
    heatmaps: bool = False,
) -> Path:
    """The truth as predictions; landmarks moved by `shift` (N, L, 2) px, the first `cut` columns of the masks emptied.

    Heatmaps, if wanted, have a far peak at (2, 2) and a lower one where the landmark is predicted; probabilities are 0.4 in the mask.
    """
    folder.mkdir()
    count, landmarks = len(dataset), len(dataset.task.landmarks)
    shift = np.zeros((count, landmarks, 2)) if shift is None else shift
    confidence = np.full((count, landmarks), 0.95) if confidence is None else confidence
    with PredictionWriter(folder / "predictions.h5", count) as writer:
        for i in range(count):
            mask = exclusive(dataset[i].mask).astype(np.uint16)
            mask[:, :cut] = 0
            places = (np.nan_to_num(dataset[i].landmarks) + shift[i]).astype(np.float32)
            heat = np.zeros((SIDE, SIDE), np.uint8)
            kept = {"heatmaps": two_peaks(places), "probability": probability(mask)} if heatmaps else {}
            writer.add(i, Prediction(mask, places, confidence[i].astype(np.float32), heat, **kept))
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
        "heatmaps": heatmaps,
        "arrays": {"file": "predictions.h5", "sha256": sha256(folder / "predictions.h5")},
    }
    (folder / "predictions.json").write_text(json.dumps(description), encoding="utf-8")
    (folder / "landmarks.csv").touch()
    return folder


def two_peaks(places: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    far = np.exp(-0.125 * ((columns - 2) ** 2 + (rows - 2) ** 2))
    maps = [far + 0.5 * np.exp(-0.125 * ((columns - x) ** 2 + (rows - y) ** 2)) for x, y in np.nan_to_num(places)]
    return np.stack(maps).astype(np.float16)


def probability(mask: np.ndarray) -> np.ndarray:
    return np.stack([np.where(mask >> bit & 1, 102, 0) for bit in range(2)]).astype(np.uint8)


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


def test_further_tables_hold_the_headlines_the_curve_and_the_groups(evaluated: EvaluationResult):
    summary, curve, groups = (rows(evaluated.folder / f"{name}.csv") for name in ("summary", "curve", "groups"))
    values = {row["measure"]: row for row in summary}
    assert values["error_mm"]["mode"] == "strict" and values["error_mm"]["model"] == "predictions" and values["error_mm"]["count"] == "9"
    assert float(values["error_mm"]["value"]) == pytest.approx(68 / 9, abs=1e-3)
    assert float(values["error_mm"]["low"]) < 68 / 9 < float(values["error_mm"]["high"])
    assert float(curve[-1]["share"]) == 1.0 and float(curve[-1]["mean_error_detector_mm"]) == pytest.approx(68 / 9, abs=1e-3)
    assert [(row["kind"], row["group"], row["images"]) for row in groups] == [("specimen", "phantom", "5")]


def test_the_modes_place_and_count_landmarks_differently(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data")
    predictions = open_predictions(write_predictions(tmp_path / "predictions", dataset, heatmaps=True))
    strict, text, released = (compare(predictions, dataset, mode=mode) for mode in MODES)
    # Strict: the stored place, which is the truth. The nine that are visible count.
    assert np.nanmax(strict.errors_detector_mm) < 1e-5 and np.count_nonzero(~np.isnan(strict.errors_detector_mm)) == 9
    # The text: the highest pixel, far off at (2, 2); the one out of frame at (99, 99), predicted there, counts too.
    cube = np.hypot(12.5 - 2, 13.5 - 2) * SPACING
    assert text.errors_detector_mm[0, 0] == pytest.approx(cube) and np.isfinite(text.errors_detector_mm).all()
    assert text.errors_detector_mm[1, 1] == pytest.approx(np.hypot(97, 97) * SPACING)
    # Its masks are empty, as no probability reaches 0.5.
    assert not text.counts.predicted.any() and released.counts.predicted.all()
    # The released code finds the lower peak inside the structure; the landmark lies between two pixels along both axes.
    assert released.errors_detector_mm[0, 0] == pytest.approx(np.hypot(0.5, 0.5) * SPACING)
    assert text.notes == released.notes == ()


def test_a_true_mask_that_the_data_set_does_not_trust_is_left_out_in_strict_mode_alone(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", bad_truth={0: "cube", 2: "cube"})
    predictions = open_predictions(write_predictions(tmp_path / "predictions", dataset, heatmaps=True))
    strict, released = (compare(predictions, dataset, mode=mode) for mode in ("strict", "released-code"))
    assert [bool(np.isnan(v)) for v in dice(strict.counts)[:, 0]] == [True, False, True, False, False]
    assert np.isnan(strict.surface_mm[[0, 2], 0]).all() and "2 true masks are left out" in strict.notes[-1]
    assert not np.isnan(dice(strict.counts)[:, 1]).any() and not np.isnan(dice(released.counts)).any()
    # Nor do its pixels count for the calibration.
    assert strict.pixel_bins is not None and released.pixel_bins is not None
    assert strict.pixel_bins.count.sum(1).tolist() == [3 * SIDE**2, 5 * SIDE**2]
    assert released.pixel_bins.count.sum(1).tolist() == [5 * SIDE**2, 5 * SIDE**2]


def test_what_a_mode_lacks_is_said(shifted: tuple[Path, Path, Path]):
    result = evaluate(*shifted, mode="released-code", draws=10)
    note = "Heatmaps and probabilities are not stored ('synthex infer --heatmaps' does)"
    assert note in result.text and html.escape(note) in result.report.read_text(encoding="utf-8")
    # The cube's landmark is (3, 4) px off: in image 0 at (15.5, 17.5) -> (16, 18), outside the cube, and so in all images.
    assert result.summary.landmarks["C"].missing == 5
    assert result.summary.headline["activated_error_mm"].low is not None


def test_the_expected_calibration_error_of_masks_comes_from_their_probabilities(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=2)
    result = evaluate(write_predictions(tmp_path / "p", dataset, heatmaps=True), tmp_path / "data", tmp_path / "out", draws=10)
    # 48 of 1600 pixels are given 0.4 and are all true, the others 0 and 0: 0.03 x 0.6.
    assert result.summary.mask_calibration_error is not None
    assert result.summary.mask_calibration_error["cube"] == pytest.approx(0.03 * 0.6)


def test_models_are_compared_in_one_report(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=4)
    good, bad = tmp_path / "good" / "found", tmp_path / "bad" / "found"
    for folder, pixels in ((good, 1.0), (bad, 3.0)):
        folder.parent.mkdir()
        write_predictions(folder, dataset, np.stack([np.full((4, 2), pixels), np.zeros((4, 2))], axis=-1))
    steps: list[tuple[int, int]] = []
    result = evaluate([good, bad], tmp_path / "data", tmp_path / "out", draws=50, progress=lambda done, total: steps.append((done, total)))
    assert list(result.summaries) == ["good/found", "bad/found"] and steps == [(n, 8) for n in range(1, 9)]
    error, overlap = result.comparisons
    # 3 px - 1 px = 2 px = 4 mm in every image.
    assert (error.measure, error.images, error.second_better) == ("error_mm", 4, 0.0)
    assert (error.difference.value, error.difference.low, error.difference.high) == pytest.approx((4.0, 4.0, 4.0), abs=1e-4)
    assert overlap.measure == "dice" and overlap.difference.value == 0.0
    values = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert values["model"] == "good/found" and values["detector"]["median"] == pytest.approx(2.0, abs=1e-4)
    assert values["others"]["bad/found"]["detector"]["median"] == pytest.approx(6.0, abs=1e-4) and len(values["comparisons"]) == 2
    page = result.report.read_text(encoding="utf-8")
    assert "bad/found − good/found" in page and "+4.00" in page and "var(--second)" in page and "<script" not in page
    # The better one is in bold, of a draw (Dice) none; the second curve is dashed, so that it hides no equal one.
    first_table = page[page.index("<table") : page.index("</table>")]
    assert re.findall(r"<b>(\d[.]\d+)", first_table)[:1] == ["2.00"] and "<b>1.000" not in first_table
    figure = page[page.index("Error when only the most confident are kept") :]
    dashes = re.findall(
        r'<path d="[^"]*" clip-path="[^"]*" style="[^"]*stroke: var\(--(first|second)\)[^"]*"', figure[: figure.index("</svg>")]
    )
    assert dashes == ["first", "second"]
    assert figure[: figure.index("</svg>")].count("stroke-dasharray") == 2  # of the curve and in the legend
    clips = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(clips) == len(set(clips))
    assert {row["model"] for row in rows(tmp_path / "out" / "landmarks.csv")} == {"good/found", "bad/found"}


def test_the_same_folder_twice_gets_two_names(shifted: tuple[Path, Path, Path]):
    assert list(evaluate([shifted[0], shifted[0]], *shifted[1:], draws=10).summaries) == ["predictions", "predictions (2)"]


def test_an_unknown_mode_leaves_nothing_behind(shifted: tuple[Path, Path, Path]):
    with pytest.raises(SyntheXError, match="found 'loose'"):
        evaluate(*shifted, mode="loose")
    assert not shifted[2].exists()


def test_the_views_are_drawn_where_cameras_are_known(evaluated: EvaluationResult):
    results = compare(open_predictions(evaluated.folder.parent / "predictions"), XrayDataset(evaluated.folder.parent / "data"))
    picture = views_figure(results, None)
    assert picture is not None and picture.startswith(b"\xff\xd8\xff")
    cube = np.array([[x, y, z] for x in (0, 9) for y in (0, 9) for z in (0, 9)], float)
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    assert views_figure(results, ("phantom", BoneMesh(cube, faces))) != picture
    assert views_figure(results, ("another", BoneMesh(cube, faces))) == picture
    assert views_figure(replace(results, world_to_camera=np.full((5, 4, 4), np.nan)), None) is None


def test_the_surface_of_a_ball_lies_at_its_radius():
    spacing, center, radius = 2.0, np.array([10.0, -20.0, 30.0]), 25.0
    grid = np.mgrid[:40, :40, :40]
    # A ball about voxel 20 in each direction, with the label 7.
    labels = np.where(((grid - 20.0) ** 2).sum(0) * spacing**2 < radius**2, 7, 0).astype(np.uint8)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = center - 20 * spacing
    mesh = surface_of_labels(itk_image(labels, matrix), [7])
    assert mesh is not None
    distance = np.linalg.norm(mesh.vertices - center, axis=1)
    assert abs(distance.mean() - radius) < 0.5 and distance.std() < 0.7
    assert surface_of_labels(itk_image(labels, matrix), [3]) is None


def test_a_label_map_of_another_specimen_is_refused(tmp_path: Path):
    dataset = toy_dataset(tmp_path / "data", count=1)
    (tmp_path / "labels.nii.gz").write_bytes(b"something")
    with pytest.raises(SyntheXError, match="is of no specimen"):
        bone_mesh(dataset, [tmp_path / "labels.nii.gz"])
    with pytest.raises(SyntheXError, match="does not exist"):
        bone_mesh(dataset, [tmp_path / "nothing.nii.gz"])
    assert bone_mesh(dataset) is None


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
    assert "Pixels right and wrong" in page and result.summary.confusion["cube"].mean["f2"] == 1.0


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
