"""The way to the network's grid and back, with a network whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_network import SIDE, SPACING, ToyNetwork, as_image, exclusive, toy_description, toy_predictor, toy_task, toy_view

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.grid import network_grid
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks.transunet import NetworkOutput


def test_an_image_of_known_spacing_gets_the_pixels_of_the_training():
    assert network_grid((400, 600), (0.5, 0.25), (360, 360), 1.0).inner == (200, 150)
    assert network_grid((360, 360), (0.774, 0.774), (360, 360), 0.774).inner == (360, 360)


def test_an_image_of_unknown_spacing_is_fitted_into_the_training_size():
    assert network_grid((1536, 1536), None, (360, 360), 0.774).inner == (360, 360)
    assert network_grid((1000, 500), None, (360, 360), 0.774).inner == (360, 180)
    assert network_grid((90, 120), None, (360, 360), 0.774).inner == (270, 360)


def test_an_implausible_spacing_is_refused():
    for spacing in ((10.0, 10.0), (0.001, 0.001)):
        with pytest.raises(SyntheXError, match="check the pixel spacing"):
            network_grid((360, 360), spacing, (360, 360), 0.774)


def test_points_go_back_with_the_edges_of_the_image_in_place():
    grid = network_grid((400, 600), (0.5, 0.25), (360, 360), 1.0)
    corners = np.array([[-0.5, -0.5], [149.5, 199.5], [0.0, 0.0]])
    # The first pixel of the inner grid covers columns 0-3 and rows 0-1, so its centre is (1.5, 0.5).
    np.testing.assert_allclose(grid.restore_points(corners), [[-0.5, -0.5], [599.5, 399.5], [1.5, 0.5]])


def test_resampling_averages_the_pixels_that_fall_together_and_keeps_edges():
    values = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    grid = network_grid((64, 64), (1.0, 1.0), (32, 32), 2.0)
    small = grid.resample(values)
    assert small.shape == (1, 1, 32, 32)
    # A plane keeps its value at every place: inner (1, 1) lies at (2.5, 2.5).
    assert float(small[0, 0, 5, 7]) == pytest.approx(10.5 * 64 + 14.5, rel=1e-5)


def test_images_of_the_training_size_come_back_pixel_for_pixel_in_their_order():
    predictor = toy_predictor()
    views = [toy_view(n) for n in range(5)]
    found = predictor.predict([as_image(image) for image, _, _ in views], batch=2, heatmaps=True, heat=True)
    for prediction, (_, bits, landmarks) in zip(found, views, strict=True):
        np.testing.assert_array_equal(prediction.mask, exclusive(bits))
        np.testing.assert_allclose(prediction.landmarks, landmarks, atol=0.05)
        assert (prediction.confidence > 0.99).all()
        assert prediction.mask.dtype == np.uint16 and prediction.heat.dtype == np.uint8
        assert prediction.heat is not None and prediction.heat.max() >= 240  # a peak between two pixels is a little below 255
        assert prediction.heatmaps is not None and prediction.heatmaps.shape == (2, SIDE, SIDE)


@pytest.mark.parametrize(("side", "spacing"), [(80, SPACING / 2), (80, None), (120, SPACING / 3), (30, SPACING * 4 / 3)])
def test_other_sizes_come_back_in_their_own_pixels(side: int, spacing: float | None):
    image, bits, landmarks = toy_view(0, side)
    (prediction,) = toy_predictor().predict([as_image(image, spacing)], heat=True)
    assert prediction.heat is not None and prediction.mask.shape == (side, side) == prediction.heat.shape
    assert np.abs(prediction.landmarks - landmarks).max() < 0.5 * max(1, side / SIDE)
    for bit, least in ((1, 0.9), (2, 0.75)):  # the toy network takes the bar's blurred edge for background
        a, b = prediction.mask == bit, bits == bit
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > least


def test_images_of_mixed_sizes_keep_their_order():
    predictor = toy_predictor()
    found = predictor.predict([as_image(toy_view(0, side)[0], None) for side in (80, 40, 80, 30)])
    assert [p.mask.shape[0] for p in found] == [80, 40, 80, 30]
    assert predictor.network.calls == 3


def test_a_wide_image_is_not_squeezed():
    image, _, landmarks = toy_view(0)
    wide = np.ones((SIDE, 70), np.float32)
    wide[:, 20:60] = image
    (prediction,) = toy_predictor().predict([as_image(wide)])
    np.testing.assert_allclose(prediction.landmarks, landmarks + [20, 0], atol=0.05)


def test_a_log_image_and_its_signal_give_the_same():
    image, bits, _ = toy_view(2)
    log = XrayImage(-3 * np.log(image) + 7, "log", (SPACING, SPACING))
    np.testing.assert_array_equal(toy_predictor().predict([log])[0].mask, exclusive(bits))


def test_a_multilabel_network_sets_bits_for_themselves():
    class Both(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            segmentation = torch.full((x.shape[0], 2, *x.shape[2:]), -5.0)
            segmentation[:, 0, 8:] = 5.0
            segmentation[:, 1, 28:] = 5.0
            return NetworkOutput(segmentation, torch.zeros(x.shape[0], 0, *x.shape[2:]))

    task = toy_task("multilabel", landmarks=False)
    (prediction,) = Predictor(Both(), toy_description(task)).predict([as_image(toy_view(0)[0])], heat=True)
    # The network sees 48 x 48: four rows of padding above.
    np.testing.assert_array_equal(prediction.mask[:, 0], [0] * 4 + [1] * 20 + [3] * 16)
    assert (
        prediction.landmarks.shape == (0, 2)
        and prediction.confidence.shape == (0,)
        and prediction.heat is not None
        and not prediction.heat.any()
    )


def test_a_diverged_network_is_refused():
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            return NetworkOutput(torch.full((x.shape[0], 3, *x.shape[2:]), torch.nan), torch.zeros(x.shape[0], 2, *x.shape[2:]))

    with pytest.raises(SyntheXError, match="not finite"):
        Predictor(Broken(), toy_description()).predict([as_image(toy_view(0)[0])])


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(SyntheXError, match="not available"):
        Predictor(torch.nn.Identity(), SimpleNamespace(task=toy_task().to_dict()), "cuda:77")


def test_heat_for_pictures_does_not_depend_on_the_scale_of_the_heatmaps():
    class Scaled(ToyNetwork):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            output = super().forward(x)
            return output._replace(heatmaps=0.02 * output.heatmaps - 5)

    images = [as_image(toy_view(0)[0])]
    plain = toy_predictor().predict(images, heat=True)[0]
    scaled = Predictor(Scaled(toy_task()), toy_description()).predict(images, heat=True)[0]
    assert plain.heat is not None and scaled.heat is not None
    np.testing.assert_allclose(scaled.heat.astype(int), plain.heat, atol=1)
    assert plain.heat.max() >= 240 and np.median(plain.heat) == 0
