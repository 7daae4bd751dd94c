"""Metrics and activation curve against values worked out by hand."""

import numpy as np
import pytest

from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.curve import activation_curve

NAN, INF = np.nan, np.inf


def mask(*pixels: tuple[int, int]) -> np.ndarray:
    out = np.zeros((4, 5), dtype=bool)
    for row, column in pixels:
        out[row, column] = True
    return out


def golden_counts() -> metrics.Overlap:
    # Image 0: A predicted 3 px, true 2 px, 2 common -> 4/5. B nothing at all.
    # Image 1: A predicted 1 px, true 3 px, 0 common -> 0.   B predicted 2 px, truth empty.
    # Image 2: A truth 2 px, predicted nothing -> 0.         B 1 px, 2 px, 1 common -> 2/3.
    predicted = np.array(
        [
            [mask((0, 0), (0, 1), (0, 2)), mask()],
            [mask((3, 4)), mask((1, 1), (1, 2))],
            [mask(), mask((2, 2))],
        ]
    )
    truth = np.array(
        [
            [mask((0, 0), (0, 1)), mask()],
            [mask((0, 0), (1, 0), (2, 0)), mask()],
            [mask((0, 0), (3, 4)), mask((2, 2), (2, 3))],
        ]
    )
    return metrics.overlap(predicted, truth)


def test_dice_with_the_strict_rule_leaves_out_images_whose_truth_is_empty():
    expected = [[0.8, NAN], [0.0, NAN], [0.0, 2 / 3]]
    np.testing.assert_allclose(metrics.dice(golden_counts(), "strict"), expected, atol=1e-15)


def test_dice_with_the_rule_of_the_released_code_is_one_where_both_are_empty_and_zero_where_only_the_truth_is():
    expected = [[0.8, 1.0], [0.0, 0.0], [0.0, 2 / 3]]
    np.testing.assert_allclose(metrics.dice(golden_counts(), "released-code"), expected, atol=1e-15)


def test_dice_summary_counts_images_missed_structures_and_false_alarms():
    (a, b), pooled = metrics.summarize_dice(golden_counts())
    assert (a.images, a.missed, a.false_alarms) == (3, 1, 0)
    assert (b.images, b.missed, b.false_alarms) == (1, 0, 1)
    assert a.mean == pytest.approx(0.8 / 3) and a.median == 0.0
    assert a.sd == pytest.approx(0.8 * np.sqrt(2) / 3)  # variance of (0.8, 0, 0) is 0.64 (1/3 - 1/9) = 0.64 * 2/9
    assert b.mean == pytest.approx(2 / 3) and b.sd == 0.0
    assert pooled.images == 4 and pooled.mean == pytest.approx((0.8 + 2 / 3) / 4)
    assert metrics.mean_over_structures([a, b]) == pytest.approx((0.8 / 3 + 2 / 3) / 2)


def test_a_structure_that_never_occurs_has_no_mean_and_does_not_enter_the_mean_over_structures():
    counts = metrics.Overlap(*(np.array([[2, 0]]), np.array([[2, 5]]), np.array([[2, 0]])))
    (a, b), pooled = metrics.summarize_dice(counts)
    assert b.mean is None and b.images == 0 and b.false_alarms == 1
    assert metrics.mean_over_structures([a, b]) == 1.0 and pooled.images == 1
    assert metrics.mean_over_structures([b]) is None


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        metrics.overlap(np.zeros((1, 2, 4, 4), bool), np.zeros((1, 1, 4, 4), bool))


def golden_errors() -> tuple[np.ndarray, np.ndarray]:
    """2 images, 3 landmarks; distances 5, 0, not visible / 13, no prediction, truth unknown."""
    truth = np.array([[[10, 10], [4, 4], [99, 99]], [[0, 0], [7, 7], [NAN, NAN]]], dtype=np.float32)
    predicted = np.array([[[13, 14], [4, 4], [1, 1]], [[5, 12], [NAN, NAN], [3, 3]]], dtype=np.float32)
    visible = np.array([[True, True, False], [True, True, True]])
    confidence = np.array([[0.95, 0.85, 0.99], [0.91, NAN, 0.99]], dtype=np.float32)
    return metrics.landmark_errors(predicted, truth, visible), confidence


def test_landmark_errors_are_distances_nan_where_unseen_and_infinite_where_not_predicted():
    errors, _ = golden_errors()
    np.testing.assert_allclose(errors, [[5, 0, NAN], [13, INF, NAN]])


def test_errors_at_the_isocentre_are_divided_by_the_magnification_of_each_image():
    out = metrics.to_isocenter(np.array([[10.0, NAN], [10.0, 5.0]]), np.array([510.0, 680.0]), 1020.0)
    np.testing.assert_allclose(out, [[5.0, NAN], [20 / 3, 10 / 3]])


def test_error_summary_counts_missing_landmarks_as_failures():
    errors, confidence = golden_errors()
    s = metrics.summarize_errors(errors, confidence)
    assert (s.visible, s.activated, s.missing) == (4, 2, 1)
    assert s.activated_share == 0.5
    assert s.median == 9.0  # of 0, 5, 13, inf
    assert s.mean == 6.0 and s.sd == pytest.approx(np.sqrt((36 + 1 + 49) / 3))
    assert s.p95 is None  # infinitely far
    assert s.success == {"2.5": 0.25, "5": 0.5, "10": 0.5}
    assert s.activated_mean == 9.0 and s.activated_sd == 4.0 and s.activated_median == 9.0


def test_error_summary_quantiles_agree_with_numpy_when_nothing_is_missing():
    errors = np.random.default_rng(1).gamma(2.0, 2.0, size=(40, 5))
    s = metrics.summarize_errors(errors, np.ones_like(errors))
    assert s.median == pytest.approx(np.median(errors)) and s.p95 == pytest.approx(np.percentile(errors, 95))
    assert s.activated == s.visible == 200


def test_error_summary_of_nothing_says_nothing():
    s = metrics.summarize_errors(np.full((2, 2), NAN), np.ones((2, 2)))
    assert s.visible == 0 and s.median is None and s.mean is None and s.activated_share is None and s.success["5"] is None


def test_the_threshold_itself_does_not_activate():
    errors = np.array([1.0, 1.0])
    assert metrics.activated(errors, np.array([0.9, 0.9000001]), 0.9).tolist() == [False, True]


def test_absent_landmark_auc_is_the_share_of_pairs_in_the_right_order():
    confidence = np.array([0.9, 0.5, 0.2, 0.5, 0.1, 0.8])
    visible = np.array([True, True, True, False, False, False])
    known = np.array([True, True, True, True, True, False])
    # Pairs (0.9: 2 of 2), (0.5: a tie and one), (0.2: 1 of 2) = 2 + 1.5 + 1 of 6; the last is unknown and left out.
    assert metrics.absent_landmark_auc(confidence, known, visible) == pytest.approx(4.5 / 6)
    assert metrics.absent_landmark_auc(confidence, known, np.ones(6, bool)) is None


def test_activation_curve_is_the_running_mean_from_the_most_confident_on():
    # Confidence order 0.99, 0.95, 0.8, 0.5 with errors 1, 2, 3, 6: running means 1, 1.5, 2, 3.
    curve = activation_curve(np.array([[6.0, 1.0], [3.0, 2.0], [NAN, NAN]]), np.array([[0.5, 0.99], [0.8, 0.95], [1.0, 1.0]]))
    np.testing.assert_allclose(curve.confidence, [0.99, 0.95, 0.8, 0.5])
    np.testing.assert_allclose(curve.share, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.error_mm, [1, 1.5, 2, 3])
    at = curve.at_threshold(0.9)
    assert (at.share, at.error_mm, at.count) == (0.5, 1.5, 2)
    readings = [curve.at_share(p) for p in (0.5, 0.75, 0.9, 1.0)]
    assert [r.error_mm for r in readings if r] == [1.5, 2.0, 3.0, 3.0]
    assert [r.threshold for r in readings if r] == [0.95, 0.8, 0.5, 0.5]
    assert curve.area_mm() == pytest.approx(0.25 * (1 + 1.25 + 1.75 + 2.5))


def test_landmarks_of_equal_confidence_enter_the_curve_together():
    curve = activation_curve(np.array([1.0, 3.0, 8.0]), np.array([0.7, 0.7, 0.2]))
    np.testing.assert_allclose(curve.share, [2 / 3, 1.0])
    np.testing.assert_allclose(curve.error_mm, [2.0, 4.0])
    assert curve.at_threshold(0.7).count == 0 and curve.at_threshold(0.69).count == 2
    assert curve.area_mm() == pytest.approx(2 / 3 * 2 + 1 / 3 * 3)


def test_a_missing_landmark_keeps_the_curve_from_reaching_all():
    curve = activation_curve(np.array([1.0, INF, 3.0, 2.0]), np.array([0.9, NAN, 0.8, 0.7]))
    assert curve.visible == 4 and curve.share[-1] == 0.75
    assert curve.at_share(1.0) is None
    reached = curve.at_share(0.75)
    assert reached is not None and reached.error_mm == 2.0 and reached.count == 3


def test_the_curve_of_equal_errors_has_that_error_as_area():
    confidence = np.random.default_rng(0).random(1000)
    curve = activation_curve(np.full(1000, 4.5), confidence)
    assert curve.area_mm() == pytest.approx(4.5)
    share = curve.at_share(0.9)
    assert share is not None and share.count == 900


def test_the_curve_agrees_with_thresholding_by_hand():
    rng = np.random.default_rng(2)
    errors, confidence = rng.gamma(1.0, 3.0, 300), np.round(rng.random(300), 2)
    errors[::17] = NAN
    curve = activation_curve(errors, confidence)
    for threshold in (0.0, 0.25, 0.5, 0.9, 0.99):
        kept = ~np.isnan(errors) & (confidence > threshold)
        point = curve.at_threshold(threshold)
        assert point.count == kept.sum()
        assert point.share == pytest.approx(kept.sum() / (~np.isnan(errors)).sum())
        assert point.error_mm == (pytest.approx(errors[kept].mean()) if kept.any() else None)


def test_an_empty_curve_has_no_points():
    curve = activation_curve(np.full(3, NAN), np.ones(3))
    assert curve.visible == 0 and curve.area_mm() is None and curve.at_share(0.5) is None and curve.at_threshold(0.9).error_mm is None
