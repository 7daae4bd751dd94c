"""The three modes of counting against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from toy_network import toy_task

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics, modes
from SyntheXLib.evaluation.bootstrap import hierarchical_mean, hierarchical_statistics
from SyntheXLib.evaluation.calibration import calibrate_landmarks, pixel_bins
from SyntheXLib.evaluation.confusion import confusion, summarize_confusion
from SyntheXLib.evaluation.estimates import headlines
from SyntheXLib.evaluation.paired import compare_models
from SyntheXLib.evaluation.picks import picked
from SyntheXLib.evaluation.results import ImageResults
from SyntheXLib.evaluation.surface import outline, surface_distances
from SyntheXLib.tasks.task import Task, load_task

NAN, INF = np.nan, np.inf


def tool_task() -> Task:
    hip = load_task("hip")
    return replace(hip, structures=hip.structures[:1], landmarks=hip.landmarks[2:4])


def results(mode: modes.Mode = "strict", **changes: object) -> ImageResults:
    """Four images of specimens A, A, A, B, two landmarks, two structures."""
    errors = np.array([[1.0, 3.0], [5.0, NAN], [7.0, INF], [20.0, 12.0]])
    confidence = np.array([[0.95, 0.5], [0.92, 0.99], [0.1, NAN], [0.91, 0.2]], np.float32)
    counts = metrics.Overlap(
        *(np.array(v) for v in ([[4, 0], [2, 0], [0, 0], [3, 1]], [[4, 0], [3, 0], [1, 0], [3, 2]], [[4, 0], [4, 0], [4, 0], [5, 1]]))
    )
    count = len(errors)
    values: dict = {
        "task": toy_task(),
        "mode": mode,
        "index": np.arange(count),
        "specimen": ["A", "A", "A", "B"],
        "imaging_system": ["x", "x", "y", "y"],
        "fold": ["A", "A", "A", "B"],
        "angle_deg": np.zeros(count),
        "coverage": np.zeros(count),
        "world_to_camera": np.full((count, 4, 4), NAN),
        "source_to_isocenter_mm": np.full(count, 500.0),
        "pixels": 10,
        "counts": counts,
        "surface_mm": np.array([[0.0, NAN], [2.0, NAN], [NAN, NAN], [3.0, 5.0]]),
        "hausdorff95_mm": np.full((count, 2), NAN),
        "pixel_bins": None,
        "predicted": np.zeros((count, 2, 2), np.float32),
        "truth": np.zeros((count, 2, 2), np.float32),
        "confidence": confidence,
        "visible": ~np.isnan(errors),
        "errors_detector_mm": errors,
        "errors_isocenter_mm": errors / 2,
    }
    return ImageResults(**values | changes)


def test_the_scale_of_the_released_code_is_that_of_its_whole_reductions():
    hip, tool = load_task("hip"), tool_task()
    # 0.194 mm x 4 at 360 px, x 8 at 180, x 3 at 480; the tool's 0.194 mm x 1436 / 480 = 0.58038; exact: 1436 / 360 x 0.194 = 0.77384.
    for side, expected in ((360, 0.776), (180, 1.552), (480, 0.582)):
        assert modes.millimetres_per_pixel("released-code", hip, side, 0.77384) == pytest.approx(expected)
    assert modes.millimetres_per_pixel("released-code", tool, 480, 1.0) == pytest.approx(0.5804, abs=5e-5)
    assert (
        modes.millimetres_per_pixel("strict", hip, 360, 0.77384) == modes.millimetres_per_pixel("paper-text", hip, 360, 0.77384) == 0.77384
    )
    other = replace(hip, c_arm=replace(hip.c_arm, crop_px=0))
    assert modes.millimetres_per_pixel("released-code", other, 360, 0.8) == 0.8


def test_a_tools_ends_count_between_15_and_200_mm():
    ends = np.array([[[0, 0], [9, 12]], [[0, 0], [9, 12.1]], [[0, 0], [120, 160]], [[0, 0], [NAN, NAN]], [[0, 0], [100, 0]]])
    # Distances 15 (not above), 15.08, 200 (not below), unknown, 100.
    assert modes.apart(ends).tolist() == [False, True, False, False, True]


def test_the_text_counts_all_landmarks_of_known_position_and_the_others_those_in_the_frame():
    known, visible = np.array([[True, True, False]]), np.array([[True, False, True]])
    assert modes.counted("paper-text", known, visible).tolist() == [[True, True, False]]
    for mode in ("strict", "released-code"):
        assert modes.counted(mode, known, visible).tolist() == [[True, False, False]]


def test_dice_of_the_modes_differs_in_empty_masks_and_rounding():
    # 2 x 1 / (2 + 1) = 0.6667, both empty, truth empty.
    counts = metrics.Overlap(*(np.array([v]) for v in ([1, 0, 0], [2, 0, 3], [1, 0, 0])))
    np.testing.assert_allclose(modes.mode_dice("strict", counts), [[2 / 3, NAN, NAN]])
    np.testing.assert_allclose(modes.mode_dice("paper-text", counts), [[2 / 3, 1, 0]])
    np.testing.assert_allclose(modes.mode_dice("released-code", counts), [[0.67, 1, 0]], atol=1e-12)


def test_an_unknown_mode_is_refused_in_one_sentence():
    with pytest.raises(SyntheXError, match="mode must be one of strict, paper-text, released-code, found 'paper'"):
        modes.check_mode("paper")


def gaussian(center: tuple[float, float], height: float, sigma: float = 2.0, side: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return height * np.exp(-0.5 * ((columns - center[0]) ** 2 + (rows - center[1]) ** 2) / sigma**2)


def hand_made() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Landmark C has its highest peak at (30, 30) outside the cube and a lower one at (12, 14) in it; the bar is not predicted at all."""
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 10:20, 8:16] = True
    heatmaps = np.stack([gaussian((30, 30), 1.0) + gaussian((12, 14), 0.5), gaussian((20, 21), 1.0)])
    return masks, heatmaps, np.array([[30.2, 29.9], [20.0, 21.0]]), np.array([0.97, 0.96])


def test_the_released_code_picks_the_highest_pixel_inside_the_predicted_structure():
    masks, heatmaps, peaks, sure = hand_made()
    for mode, expected in (
        ("strict", [[30.2, 29.9], [20, 21]]),
        ("paper-text", [[30, 30], [20, 21]]),
        ("released-code", [[12, 14], [NAN, NAN]]),
    ):
        points, confidence = picked(mode, toy_task(), peaks, sure, masks, heatmaps, sigma_px=2.0)
        np.testing.assert_allclose(points, expected, atol=1e-5)
        assert np.isnan(confidence[1]) == (mode == "released-code")
        # Either peak is a whole Gaussian of the right width, the other one is far off: ncc is near 1, whatever its height.
        assert confidence[0] > 0.96


def test_heatmaps_on_a_coarser_grid_are_placed_in_the_pixels_of_the_image():
    masks, heatmaps, peaks, sure = hand_made()
    wide = masks.repeat(2, axis=1).repeat(2, axis=2)  # an image of 80 pixels, the network saw 40
    points, _ = picked("released-code", toy_task(), peaks, sure, wide, heatmaps, sigma_px=2.0)
    np.testing.assert_allclose(points[0], [24.5, 28.5])  # (12 + 1/2) x 2 - 1/2


def test_without_heatmaps_a_peak_outside_its_structure_is_dropped():
    masks, _, _, sure = hand_made()
    points, confidence = picked("released-code", toy_task(), np.array([[30.2, 29.9], [12.4, 14.4]]), sure, masks[[0, 0]], None, 2.0)
    np.testing.assert_allclose(points, [[NAN, NAN], [12, 14]])
    assert np.isnan(confidence[0]) and confidence[1] == pytest.approx(0.96)


def test_a_tool_is_picked_anywhere():
    masks, heatmaps, peaks, sure = hand_made()
    points, _ = picked("released-code", tool_task(), peaks, sure, masks[:1], heatmaps, 2.0)
    np.testing.assert_allclose(points, [[30, 30], [20, 21]])


def test_confusion_measures_of_ten_pixels():
    # TP 2, FP 1, FN 2, TN 5: 2/4, 5/6, 2/3, 7/10, F1 4/(4+1+2), F2 10/(10+8+1).
    counts = metrics.Overlap(np.array([[2]]), np.array([[3]]), np.array([[4]]))
    found = confusion(counts, 10)
    expected = {"sensitivity": 0.5, "specificity": 5 / 6, "precision": 2 / 3, "accuracy": 0.7, "f1": 4 / 7, "f2": 10 / 19}
    assert {name: float(value[0, 0]) for name, value in found.items()} == pytest.approx(expected)
    # F2 = 5 P R / (4 P + R).
    assert expected["f2"] == pytest.approx(5 * (2 / 3) * 0.5 / (4 * 2 / 3 + 0.5))


def test_where_there_is_nothing_the_released_code_says_one_and_strict_says_nothing():
    # Image 0: as above, sensitivity (2 + 1e-4) / (4 + 1e-4). Image 1: truth and prediction empty, (0 + 1e-4) / (0 + 1e-4) = 1.
    counts = metrics.Overlap(*(np.array(v)[:, None] for v in ([2, 0], [3, 0], [4, 0])))
    (strict,), (released,) = (summarize_confusion(counts, 10, mode) for mode in ("strict", "released-code"))
    assert strict.mean["sensitivity"] == 0.5 and strict.images["sensitivity"] == 1 and strict.sd["sensitivity"] == 0.0
    first = 2.0001 / 4.0001
    assert released.mean["sensitivity"] == pytest.approx((first + 1) / 2) and released.sd["sensitivity"] == pytest.approx((1 - first) / 2)
    # Specificity of image 1 is 10 / 10; pooled over both: TN 15 of 16.
    assert strict.mean["specificity"] == pytest.approx((5 / 6 + 1) / 2) and strict.pooled["specificity"] == pytest.approx(15 / 16)


def test_surface_distance_of_shifted_lines():
    a, b = np.zeros((2, 20, 20), bool)
    a[5, 5:10], b[8, 5:10] = True, True
    # One pixel thin, 3 pixels apart: every distance is 3 px = 6 mm.
    assert surface_distances(a, b, 2.0) == (6.0, 6.0)
    b[8, 10:14] = True
    # The longer line has 4 pixels beyond, at sqrt(9 + k^2) px from the end of the other one, k = 1 .. 4: (5 x 3 + 5 x 3 + rest) / 14.
    rest = sum(np.sqrt(9 + k * k) for k in range(1, 5))
    mean, far = surface_distances(a, b, 1.0)
    assert mean == pytest.approx((30 + rest) / 14)
    # 95th percentile of the nine distances from b: place 0.95 x 8 = 7.6 between sqrt 18 and 5.
    assert far == pytest.approx(np.sqrt(18) + 0.6 * (5 - np.sqrt(18)))


def test_the_edge_of_the_image_is_no_outline():
    mask = np.zeros((6, 6), bool)
    mask[:, :3] = True
    assert outline(mask).tolist() == [[row, 2] for row in range(6)]
    assert np.isnan(surface_distances(np.ones((6, 6), bool), mask, 1.0)).all()
    assert np.isnan(surface_distances(mask, np.zeros((6, 6), bool), 1.0)).all()


def test_the_hierarchical_mean_is_that_of_the_groups_means():
    # A: (1 + 3 + 5 + 7) / (2 + 1 + 1) = 4, B: 32 / 2 = 16; (4 + 16) / 2 = 10. The second measure is there in A alone.
    total, count = np.array([[4.0, 1.0], [5.0, 0.0], [7.0, 3.0], [32.0, 0.0]]), np.array([[2.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    first, second = hierarchical_mean(total, count, ["A", "A", "A", "B"], draws=500)
    assert (first.value, first.groups) == (10.0, 2) and (second.value, second.groups) == (2.0, 1)
    assert first.low is not None and first.high is not None and first.low < 10 < first.high
    assert hierarchical_mean(total, count, ["A", "A", "A", "B"], draws=500) == [first, second]  # the same every time


def test_two_specimens_of_one_image_give_an_interval_from_one_to_the_other():
    # Both, or twice the one: 2, 6, 10 with the chances 1/4, 1/2, 1/4.
    (found,) = hierarchical_mean(np.array([[2.0], [10.0]]), np.ones((2, 1)), ["A", "B"], draws=2000)
    assert (found.value, found.low, found.high) == (6.0, 2.0, 10.0)


def test_images_of_one_specimen_give_the_interval_of_a_plain_bootstrap():
    values = np.random.default_rng(3).normal(5, 2, 400)
    (found,) = hierarchical_mean(values[:, None], np.ones((400, 1)), ["A"] * 400, draws=4000)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02) and found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_one_image_has_no_interval():
    (found,) = hierarchical_mean(np.array([[3.0]]), np.ones((1, 1)), ["A"], draws=10)
    assert (found.value, found.low, found.high) == (3.0, None, None)


def test_specimens_that_differ_widen_the_interval_beyond_that_of_independent_images():
    random = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], 60)
    values = random.normal(0, 1, 360) + np.repeat(random.normal(0, 3, 6), 60)
    (ours,) = hierarchical_mean(values[:, None], np.ones((360, 1)), groups.tolist(), draws=2000)
    (naive,) = hierarchical_mean(values[:, None], np.ones((360, 1)), ["all"] * 360, draws=2000)
    assert ours.high - ours.low > 3 * (naive.high - naive.low)


def test_strict_headlines_are_means_over_specimens():
    found = headlines(results(), 0.9, draws=200)
    # A: 1, 3, 5, 7 (the one without prediction is left out) -> 4; B: 20, 12 -> 16.
    assert found["error_mm"].value == 10.0 and found["error_mm"].count == 6
    # Activated: A 1, 5 -> 3; B 20. Shares: A 2 of 5, B 1 of 2.
    assert found["activated_error_mm"].value == 11.5 and found["activated_share"].value == pytest.approx((0.4 + 0.5) / 2)
    # Within 5 mm: A 1, 3, 5 of 5 (a missing one fails), B none.
    assert found["success_5_mm"].value == pytest.approx(0.3)
    # Dice: A 1, 4/7, 0; B 6/8 and 2/3; where the truth is empty nothing counts.
    assert found["dice"].value == pytest.approx(((1 + 4 / 7) / 3 + (0.75 + 2 / 3) / 2) / 2)
    assert found["surface_mm"].value == pytest.approx((1 + 4) / 2)
    assert found["error_mm:C"].value == pytest.approx((13 / 3 + 20) / 2) and found["dice:bar"].value == pytest.approx(2 / 3)
    assert found["error_mm"].low is not None


def test_areas_are_taken_within_each_specimen_and_have_intervals():
    visible = np.array([[True, True], [True, False], [True, True], [True, True]])
    found = headlines(results(visible=visible), 0.9, draws=500)
    # A, by confidence: 1 (0.95), 5 (0.92), 3 (0.5), 7 (0.1) of 5 that count: running means 1, 3, 3, 4 at 0.2, 0.4, 0.6, 0.8;
    # area 0.2 (1 + 2 + 3 + 3.5) = 1.9. B: 20, then 16: 0.5 (20 + 18) = 19.
    area = found["curve_area_mm"]
    assert area.value == pytest.approx((1.9 + 19) / 2) and area.low is not None and area.low < area.value < area.high
    # The one that is not visible, in A, has the highest confidence of all, 0.99: no pair is in the right order. B has none.
    assert found["absent_auc"].value == 0.0
    assert "absent_auc" not in headlines(results("released-code"), 0.9)


def test_the_statistic_of_two_specimens_of_one_image_goes_from_one_to_the_other():
    values = np.array([2.0, 10.0])
    (found,) = hierarchical_statistics(lambda rows: values[rows].max(keepdims=True), ["A", "B"], draws=400)
    assert (found.value, found.low, found.high, found.groups) == (6.0, 2.0, 10.0, 2)


def test_headlines_of_the_text_are_means_over_the_folds():
    found = headlines(results("paper-text"), 0.9)
    # Fold A: activated 1, 5 -> 3 +- 2; fold B: 20 +- 0.
    one = found["activated_error_mm"]
    assert (one.value, one.sd, one.low) == (11.5, 1.0, None)
    # Dice, both empty = 1: A 1, 1, 4/7, 1, 0, 1; B 6/8, 2/3.
    assert found["dice"].value == pytest.approx(((4 + 4 / 7) / 6 + (0.75 + 2 / 3) / 2) / 2)


def test_headlines_of_the_released_code_are_pooled():
    one = headlines(results("released-code"), 0.9)["activated_error_mm"]
    # 1, 5, 20: mean 26/3, variance (1 + 25 + 400) / 3 - (26/3)^2 = 142 - 75.111 = 66.889; 1.96 SD / sqrt 3.
    assert one.value == pytest.approx(26 / 3) and one.sd == pytest.approx(np.sqrt(142 - (26 / 3) ** 2)) and one.count == 3
    assert one.high - one.value == pytest.approx(1.96 * one.sd / np.sqrt(3)) and one.value - one.low == pytest.approx(one.high - one.value)
    # Dice rounded: 1, 1, 0.57, 1, 0, 1, 0.75, 0.67.
    assert headlines(results("released-code"), 0.9)["dice"].value == pytest.approx(5.99 / 8)


def test_landmarks_sorted_by_confidence():
    errors = np.array([1.0, 9.0, 4.0, NAN, INF, 2.0])
    found = calibrate_landmarks(errors, np.array([0.95, 0.12, 0.18, 0.5, NAN, 1.0]))
    assert [b.count for b in found.bins] == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    low, high = found.bins[1], found.bins[9]
    assert (low.error_mm, low.right, high.error_mm, high.right) == (6.5, 0.5, 1.5, 1.0)
    # Ranks of 0.95, 0.12, 0.18, 1: 3 1 2 4; of 1, 9, 4, 2: 1 4 3 2. d^2 = 4 + 9 + 1 + 4; 1 - 6 x 18 / (4 x 15) = -0.8.
    assert found.spearman == pytest.approx(-0.8)
    assert calibrate_landmarks(np.full(3, NAN), np.ones(3)).spearman is None


def test_expected_calibration_error_of_eight_pixels():
    probability = np.array([[[255, 255, 204, 204], [51, 51, 0, 0]]], np.uint8)  # 1, 0.8, 0.2, 0
    truth = np.array([[[1, 1, 1, 0], [0, 0, 0, 0]]], bool)
    # Bin of 1: |1 - 1|; of 0.8: |1/2 - 0.8|; of 0.2: |0 - 0.2|; of 0: 0. Each holds a quarter of the pixels: (0.3 + 0.2) / 4.
    bins = pixel_bins(probability, truth)
    assert bins.expected_error() == pytest.approx([0.125])
    assert (bins + bins).expected_error() == pytest.approx([0.125])
    # A structure whose truth is not to be trusted adds no pixel, the other one all of its own.
    both = pixel_bins(np.repeat(probability, 2, 0), np.repeat(truth, 2, 0), np.array([False, True]))
    assert both.count.sum(1).tolist() == [0, 8] and both.expected_error() == [None, pytest.approx(0.125)]
    assert (both + pixel_bins(np.repeat(probability, 2, 0), np.repeat(truth, 2, 0))).count.sum(1).tolist() == [8, 16]


def test_paired_differences_are_taken_image_by_image():
    first = results()
    second = results(errors_detector_mm=np.array([[2.0, 2.0], [1.0, NAN], [6.0, 8.0], [22.0, 12.0]]))
    error, dice = compare_models(first, second, ("one", "two"), draws=300)
    # Image 0: 2 - 2 = 0, image 1: -4, image 2: -1 on the landmark that both place, image 3: 17 - 16 = 1. A: -5/3, B: 1.
    assert error.difference.value == pytest.approx((-5 / 3 + 1) / 2) and error.images == 4
    assert error.second_better == 0.5 and (error.first, error.second) == ("one", "two")
    # One-tailed: mean -1, SD (n - 1) of 0, -4, -1, 1 is sqrt(14/3); t = 1 / sqrt(14/12) = 0.9258 with 3 degrees of freedom: p = 0.2114.
    assert error.p_value == pytest.approx(0.2114, abs=2e-4)
    assert dice.difference.value == 0.0 and dice.p_value is None and dice.second_better == 0.0


def test_a_part_keeps_the_rows_of_every_array():
    part = results().part(np.array([True, False, False, True]))
    assert part.specimen == ["A", "B"] and part.imaging_system == ["x", "y"] and len(part) == 2
    assert part.counts.truth.tolist() == [[4, 0], [5, 1]] and part.errors_detector_mm[1].tolist() == [20.0, 12.0]


def test_masks_whose_truth_is_not_trusted_count_nowhere():
    # Image 0: TP 2, FP 1, FN 2, TN 5 of ten pixels; image 1 has no truth to be trusted.
    counts = metrics.Overlap(*(np.array(v)[:, None] for v in ([2, 0], [3, 0], [4, metrics.NO_TRUTH])))
    for rule in ("strict", "released-code"):
        np.testing.assert_allclose(metrics.dice(counts, rule)[:, 0], [4 / 7, NAN])
    (each,), _ = metrics.summarize_dice(counts)
    assert (each.images, each.missed, each.false_alarms) == (1, 0, 0)
    (found,) = summarize_confusion(counts, 10, "strict")
    assert found.images["accuracy"] == 1 and found.mean["accuracy"] == 0.7 and found.pooled["accuracy"] == pytest.approx(0.7)
