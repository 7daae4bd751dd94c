"""Regular domain randomisation: ranges, closed forms, and that landmarks and labels go where the image goes."""

import math

import pytest
import torch

from SyntheXLib.networks.heatmaps import find_peaks, gaussian_heatmaps
from SyntheXLib.randomization.batch import XrayBatch, inside_frame
from SyntheXLib.randomization.geometry import warp_affine
from SyntheXLib.randomization.intensity import change_gamma
from SyntheXLib.randomization.regular import RegularRandomization
from SyntheXLib.randomization.warps import crop_maps

SILENT = {"noise": (0.0, 0.0), "gamma": (1.0, 1.0)}


def batch_of(image: torch.Tensor, landmarks: torch.Tensor, labels: torch.Tensor | None = None) -> XrayBatch:
    labels = torch.zeros(image.shape, dtype=torch.uint8) if labels is None else labels
    return XrayBatch(image, labels, landmarks, inside_frame(landmarks, (image.shape[2], image.shape[3])))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(360, 360), (128, 128), (96, 160)])
def test_landmarks_and_labels_follow_a_peak_through_the_crop(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    count = 16
    size = torch.tensor([shape[1], shape[0]])
    landmarks = (torch.rand(count, 1, 2) * 0.5 + 0.25) * size
    image = gaussian_heatmaps(landmarks, torch.ones(count, 1, dtype=torch.bool), shape, 4.0)
    rows, columns = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    distance = torch.hypot(columns - landmarks[..., 0, None], rows - landmarks[..., 1, None])
    labels = (distance < 6).to(torch.uint8).reshape(count, 1, *shape)
    out = RegularRandomization(**SILENT)(batch_of(image, landmarks, labels), generator())
    assert out.visible.all()
    assert out.image.shape == image.shape
    assert (find_peaks(out.image) - out.landmarks).abs().max() < 0.25
    assert (out.landmarks - landmarks).abs().max() > 2
    for n in range(count):
        row, column = (out.labels[n, 0] > 0).nonzero().float().mean(0)
        assert abs(column - out.landmarks[n, 0, 0]) < 0.5
        assert abs(row - out.landmarks[n, 0, 1]) < 0.5
        # Area grows by 1 / 0.9^2.
        assert out.labels[n].sum() == pytest.approx(math.pi * 36 / 0.81, rel=0.06)


def test_the_crop_maps_window_edges_to_image_edges() -> None:
    # Window of half the size, as far left and up as it goes: its first pixel begins where the image's does.
    landmarks = torch.tensor([[[-0.5, -0.5], [9.5, 9.5], [4.5, 4.5]]])
    batch = batch_of(torch.zeros(1, 1, 20, 20), landmarks)
    out = warp_affine(batch, crop_maps(0.5, torch.tensor([[-0.5, -0.5]])))
    torch.testing.assert_close(out.landmarks, torch.tensor([[[-0.5, -0.5], [19.5, 19.5], [9.5, 9.5]]]))
    # The edge between the last pixel and nothing belongs to nothing.
    assert out.visible.tolist() == [[True, False, True]]


def test_the_crop_never_looks_outside_the_image() -> None:
    inside = torch.ones(64, 1, 40, 40)
    out = RegularRandomization(**SILENT)(batch_of(inside, torch.zeros(64, 0, 2), inside.to(torch.uint8)), generator())
    assert out.labels.eq(1).all()  # outside, labels would be 0


def test_crop_places_cover_the_whole_range_in_both_directions() -> None:
    landmarks = torch.full((400, 1, 2), 49.5)
    out = RegularRandomization(**SILENT)(batch_of(torch.zeros(400, 1, 100, 100), landmarks), generator())
    moved = (out.landmarks - 49.5)[:, 0]
    # The window's centre moves by up to 5 px, enlarged by 1 / 0.9.
    assert moved.abs().max() <= 5 / 0.9 + 1e-3
    assert (moved.amax(0) > 5).all()
    assert (moved.amin(0) < -5).all()
    assert moved.mean(0).abs().max() < 0.6
    assert torch.corrcoef(moved.T)[0, 1].abs() < 0.15


def test_landmarks_that_leave_become_invisible_and_unknown_ones_stay_unknown() -> None:
    landmarks = torch.tensor([[[0.0, 0.0], [50.0, 50.0], [math.nan, math.nan], [-20.0, 50.0]]]).repeat(50, 1, 1)
    out = RegularRandomization(**SILENT)(batch_of(torch.zeros(50, 1, 100, 100), landmarks), generator())
    assert torch.equal(out.visible, inside_frame(out.landmarks, (100, 100)))
    assert not out.visible[:, 0].all()
    assert out.visible[:, 1].all()
    assert not out.visible[:, 2:].any()
    assert out.landmarks[:, 2].isnan().all()


def test_the_noise_has_a_standard_deviation_drawn_between_the_limits_for_each_image() -> None:
    # Range 8, and gamma 1 with whole-size crop leaves the noise alone.
    image = torch.zeros(300, 1, 40, 40)
    image[:, :, 0, 0] = 8
    out = RegularRandomization(gamma=(1.0, 1.0), crop=1.0)(batch_of(image, torch.zeros(300, 0, 2)), generator())
    deviation = (out.image - image)[:, :, 1:].std((1, 2, 3)) / 8
    assert 0.004 < deviation.min() < 0.01
    assert 0.095 < deviation.max() < 0.105
    assert deviation.mean().item() == pytest.approx(0.0525, abs=0.004)


def test_gamma_raises_the_image_scaled_by_its_minimum_and_maximum() -> None:
    image = torch.tensor([[2.0, 4.0], [6.0, 10.0]]).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    out = change_gamma(image, torch.tensor([0.7, 1.3]))
    for n, gamma in enumerate((0.7, 1.3)):
        expected = [2 + 8 * share**gamma for share in (0, 0.25, 0.5, 1)]
        assert out[n].flatten().tolist() == pytest.approx(expected)
    assert change_gamma(torch.ones(1, 1, 2, 2), torch.tensor([1.3])).eq(1).all()


def test_the_same_generator_gives_the_same_images_and_every_image_its_own_effects() -> None:
    torch.manual_seed(3)
    image = torch.rand(1, 1, 32, 32).repeat(4, 1, 1, 1)
    batch = batch_of(image, torch.full((4, 1, 2), 15.0))
    first, again, other = (RegularRandomization()(batch, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.landmarks, again.landmarks)
    assert not torch.equal(first.image, other.image)
    assert len({tuple(row) for row in first.landmarks[:, 0].tolist()}) == 4
    assert torch.equal(batch.image, image)


def test_a_rotation_carries_landmarks_along() -> None:
    torch.manual_seed(0)
    landmarks = torch.rand(6, 3, 2) * 40 + 44
    visible = torch.ones(6, 3, dtype=torch.bool)
    angle = torch.linspace(-0.5, 0.5, 6)
    maps = torch.zeros(6, 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = torch.cos(angle)
    maps[:, 1, 0] = torch.sin(angle)
    maps[:, 0, 1] = -torch.sin(angle)
    maps[:, :, 2] = 0.1
    for place in range(3):
        image = gaussian_heatmaps(landmarks, visible, (128, 128), 3.0)[:, place : place + 1]
        out = warp_affine(batch_of(image, landmarks), maps)
        assert (find_peaks(out.image)[:, 0] - out.landmarks[:, place]).abs().max() < 0.25
