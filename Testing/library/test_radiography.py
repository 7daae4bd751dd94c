"""Effects of processed radiographs, and CTs that are averaged and go on beyond their ends."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.radiography import Equalize, Leads, LocalContrast, Opacities, ToneCurve, smoothed
from SyntheXLib.scene.coarser_ct import coarser
from SyntheXLib.scene.continuation import continue_beyond
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.labels import exclusive_labels
from SyntheXLib.tasks.settings import ContinuationSettings
from SyntheXLib.tasks.task import Task, load_task

SHAPE = (48, 64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(image: torch.Tensor) -> XrayBatch:
    count = len(image)
    labels = torch.zeros(count, 1, *image.shape[2:], dtype=torch.uint8)
    return XrayBatch(image, labels, torch.zeros(count, 0, 2), torch.zeros(count, 0, dtype=torch.bool))


def noise(count: int = 8) -> torch.Tensor:
    return torch.rand(count, 1, *SHAPE, generator=generator(3)) * 3 - 1


def test_a_tone_curve_keeps_order_and_ends() -> None:
    image = noise()
    curved = ToneCurve(parts=4, spread=1.0)(batch(image), generator()).image
    for before, after in zip(image.flatten(1), curved.flatten(1), strict=True):
        order = before.argsort()
        assert (after[order].diff() >= -1e-5).all()
        assert after.min() == pytest.approx(float(before.min()), abs=1e-5)
        assert after.max() == pytest.approx(float(before.max()), abs=1e-5)
    assert (curved - image).abs().max() > 0.1
    straight = ToneCurve(parts=4, spread=0.0)(batch(image), generator()).image  # equal slopes are the straight line
    assert torch.allclose(straight, image, atol=1e-5)


def test_equalising_wholly_makes_all_grey_levels_alike_frequent() -> None:
    image = noise() ** 3
    levels = Equalize((1.0, 1.0))(batch(image), generator()).image
    unit = (levels - image.amin((1, 2, 3), keepdim=True)) / (image.amax((1, 2, 3), keepdim=True) - image.amin((1, 2, 3), keepdim=True))
    assert torch.allclose(
        unit.flatten(1).quantile(torch.tensor([0.25, 0.5, 0.75]), dim=1), torch.tensor([[0.25], [0.5], [0.75]]), atol=2e-3
    )


def test_wide_gaussians_keep_a_constant_and_match_their_closed_form() -> None:
    assert torch.allclose(smoothed(torch.full((2, 1, *SHAPE), 0.7), torch.tensor([1.0, 40.0])), torch.tensor(0.7))
    x = torch.arange(64.0)
    wave = torch.cos(2 * torch.pi * x / 16).expand(1, 1, *SHAPE)
    # The transfer of a Gaussian: exp(-(2 pi f sigma)^2 / 2), here in the middle, away from the borders.
    transfer = float(np.exp(-0.5 * (2 * np.pi / 16 * 3) ** 2))
    assert torch.allclose(smoothed(wave, torch.tensor([3.0]))[..., 20:44], transfer * wave[..., 20:44], atol=1e-4)


def test_local_contrast_damps_the_large_scale_alone() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, *SHAPE).clone()
    fine = ramp + 0.05 * ((torch.arange(64) % 2) * 2 - 1)
    effect = LocalContrast(scale=(0.1, 0.1), kept=(0.2, 0.2), evened=(0.0, 0.0))
    changed = effect(batch(fine), generator()).image[0, 0, 24]
    step = float((changed[33] - changed[32]).abs() + (changed[32] - changed[31]).abs()) / 2
    assert step == pytest.approx(0.1, rel=0.1)  # from pixel to pixel as before
    rise = float(changed[40:48].mean() - changed[16:24].mean())
    assert rise == pytest.approx(0.2 * 24 / 63, rel=0.15)


def test_opacities_brighten_and_leave_the_labels() -> None:
    before = batch(noise())
    before.labels[:] = 1
    after = Opacities(count=(2, 2), strength=(0.5, 0.5))(before, generator())
    added = after.image - before.image
    assert (added >= -1e-6).all()
    assert (added.flatten(1).amax(1) > 0.4 * 3 * 0.5).all()
    assert torch.equal(after.labels, before.labels)
    assert torch.equal(Opacities(count=(0, 0))(before, generator()).image, before.image)


def test_leads_are_thin_bright_lines() -> None:
    image = torch.linspace(0, 1, 64).expand(16, 1, *SHAPE).clone()
    added = Leads(count=(1, 1), width=(0.5, 0.5), strength=(0.4, 0.4))(batch(image), generator()).image - image
    covered = (added > 0.04).flatten(1).float().mean(1)
    assert added.min() >= 0
    assert added.max() == pytest.approx(0.4, rel=1e-3)
    assert (covered < 0.2).all()
    assert (covered > 0.01).float().mean() > 0.7  # few lie outside


# CTs

OBLIQUE = np.array([[0.0, -1.5, 0, 10], [-1.0, 0, 0, 20], [0, 0, -2.0, 30], [0, 0, 0, 1]])


def specimen(shape: tuple[int, int, int] = (10, 12, 14), matrix: np.ndarray = OBLIQUE) -> Specimen:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 500, shape).astype(np.int16)
    labels = (rng.random(shape) < 0.5).astype(np.uint16)
    return Specimen("s", hu, matrix, labels, ("lung",), {})


def test_coarser_voxels_hold_the_mean_and_stay_where_they_were() -> None:
    fine = specimen()
    coarse = coarser(fine, 3.0)  # 1 x 1.5 x 2 mm: factors 3, 2, 2 (1.5 rounds to the even 2)
    assert coarse.hu.shape == (5, 6, 4)
    assert coarse.spacing_mm == pytest.approx([3, 3, 4])
    block = fine.hu[4:6, 2:4, 3:6]
    assert coarse.hu[2, 1, 1] == pytest.approx(block.mean(), abs=0.5)
    assert bool(coarse.labels[2, 1, 1]) == (fine.labels[4:6, 2:4, 3:6].mean() >= 0.5)
    middle = fine.ijk_to_ras @ [4, 2.5, 4.5, 1]
    assert coarse.ijk_to_ras @ [1, 1, 2, 1] == pytest.approx(middle)
    assert coarser(fine, 1.0) is fine


def test_the_patient_goes_on_and_nothing_else_moves() -> None:
    before = specimen()
    # Axis k falls: its first slice is the top. Axis j runs along -R.
    after = continue_beyond(before, ContinuationSettings(above_mm=8, below_mm=4, sides_mm=3))
    assert after.hu.shape == (10 + 4 + 2, 12 + 2 * 2, 14)
    assert np.array_equal(after.hu[4:14, 2:14], before.hu)
    assert np.array_equal(after.labels[4:14, 2:14], before.labels)
    assert after.labels.astype(bool).sum() == before.labels.astype(bool).sum()
    assert after.ijk_to_ras @ [0, 2, 4, 1] == pytest.approx(before.ijk_to_ras @ [0, 0, 0, 1])
    assert np.array_equal(after.hu[0, 2:14], before.hu[0])
    assert np.array_equal(after.hu[-1, 2:14], before.hu[-1])


def test_shoulders_slope_to_a_neck_without_bone_beside_the_spine() -> None:
    hu = np.full((6, 60, 100), -1000, np.int16)
    hu[:, 20:40, 10:90] = 40
    hu[:, 25:35, 12:22] = 900  # humeral head
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    tall = continue_beyond(
        Specimen("s", hu, matrix, np.zeros(hu.shape, np.uint16), ("lung",), {}), ContinuationSettings(above_mm=40, neck=0.4)
    )
    width = [(np.count_nonzero((slab > -300).any(0))) for slab in tall.hu]
    assert width[:6] == [80] * 6
    assert width[-1] == pytest.approx(0.4 * 80, abs=2)
    assert all(low >= high for low, high in pairwise(width))
    assert tall.hu[6:].max() <= 80


def test_the_lungs_of_radiographs_end_at_heart_and_diaphragm() -> None:
    task = load_task("chest-lungs")
    bits = np.array([[0b0001, 0b0101, 0b1001, 0b0100]], np.uint16)
    assert exclusive_labels(bits, len(task.structures)).tolist() == [[1, 3, 4, 3]]
    assert task.scene.lesions is not None
    assert task.scene.lesions.structure == ""
    assert task.made_structures == ()


@pytest.mark.parametrize("key,value", [("above_mm", -1.0), ("neck", 0.0)])
def test_an_impossible_continuation_is_refused(key: str, value: float) -> None:
    values = load_task("chest-lungs").to_dict()
    values["scene"]["continuation"][key] = value
    with pytest.raises(SyntheXError, match=f"scene.continuation.{key} must be at least"):
        Task.from_dict(values)
