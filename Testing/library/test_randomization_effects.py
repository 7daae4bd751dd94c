"""Every effect of the domain randomisation against its closed form, and every warp by a peak that it carries along."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.heatmaps import find_peaks, gaussian_heatmaps
from SyntheXLib.randomization.batch import XrayBatch, inside_frame
from SyntheXLib.randomization.corruption import BoxDropout, BoxNoise, Dropout, SaltAndPepper
from SyntheXLib.randomization.effect import Effect, InOrder, SomeOf, Sometimes, one_of
from SyntheXLib.randomization.filters import BoxBlur, Emboss, GaussianBlur, MotionBlur, Pool, Sharpen, pooled
from SyntheXLib.randomization.fluoroscopy import CollimatorEdges, Polarity, SideMarker
from SyntheXLib.randomization.intensity import (
    Brightness,
    Illumination,
    Invert,
    LinearContrast,
    LogContrast,
    Noise,
    PixelBrightness,
    Quantize,
    SigmoidContrast,
    Window,
)
from SyntheXLib.randomization.names import LEVELS, PRESETS
from SyntheXLib.randomization.presets import make_randomization, paper_effects
from SyntheXLib.randomization.warps import Affine, Crop, Jitter, LocalDistortion, Mirror, Turn, mirrored_places
from SyntheXLib.tasks.settings import Landmark
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
SHAPE = (96, 128)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, shape: tuple[int, int] = SHAPE) -> XrayBatch:
    """Random smooth images from 0 to some two, without labels or landmarks."""
    noise = torch.rand(count, 1, shape[0] // 8, shape[1] // 8, generator=generator(5))
    image = torch.nn.functional.interpolate(noise, shape, mode="bicubic") * 2
    return XrayBatch(
        image, torch.zeros(count, 1, *shape, dtype=torch.uint8), torch.zeros(count, 0, 2), torch.zeros(count, 0, dtype=torch.bool)
    )


def unit(image: Tensor) -> Tensor:
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    return (image - low) / (high - low)


# Grey values


def test_noise_has_the_deviation_asked_for() -> None:
    batch = images()
    span = batch.image.amax((1, 2, 3)) - batch.image.amin((1, 2, 3))
    found = (Noise((0.05, 0.05))(batch, generator()).image - batch.image).std((1, 2, 3)) / span
    assert torch.allclose(found, torch.full_like(found, 0.05), rtol=0.05)
    drawn = (Noise((0.0, 0.1))(batch, generator()).image - batch.image).std((1, 2, 3)) / span
    assert drawn.min() < 0.02 and drawn.max() > 0.08 and drawn.max() < 0.11


@pytest.mark.parametrize(
    ("effect", "closed_form"),
    [
        (LinearContrast((1.7, 1.7)), lambda v: (0.5 + 1.7 * (v - 0.5)).clamp(0, 1)),
        (LogContrast((0.8, 0.8)), lambda v: 0.8 * torch.log2(1 + v)),
        (LogContrast((1.4, 1.4)), lambda v: (1.4 * torch.log2(1 + v)).clamp(max=1)),
        (SigmoidContrast((6.0, 6.0), (0.45, 0.45)), lambda v: 1 / (1 + torch.exp(6 * (0.45 - v)))),
        (Quantize((3, 3)), lambda v: (v * 7).round() / 7),
        (Polarity(), lambda v: 1 - v),
    ],
)
def test_contrast_acts_on_the_scaled_image(effect: Effect, closed_form: Callable[[Tensor], Tensor]) -> None:
    batch = images(4)
    low, high = batch.image.amin((1, 2, 3), keepdim=True), batch.image.amax((1, 2, 3), keepdim=True)
    found = (effect(batch, generator()).image - low) / (high - low)
    torch.testing.assert_close(found, closed_form(unit(batch.image)), atol=1e-5, rtol=1e-4)


def test_inversion_is_the_largest_value_less_the_image() -> None:
    batch = images(3)
    torch.testing.assert_close(Invert()(batch, generator()).image, batch.image.amax((1, 2, 3), keepdim=True) - batch.image)


def test_brightness_multiplies_images_or_pixels() -> None:
    batch = images()
    ratio = Brightness()(batch, generator()).image / batch.image
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio), rtol=1e-4)
    assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5001
    ratio = (PixelBrightness()(batch, generator()).image / batch.image).flatten()
    assert abs(ratio.mean() - 1) < 0.01 and abs(ratio.std() - 1 / math.sqrt(12)) < 0.01


def test_a_window_saturates_the_shares_asked_for() -> None:
    batch = images(8)
    out = Window((0.03, 0.03), (0.01, 0.01))(batch, generator()).image
    pixels = SHAPE[0] * SHAPE[1]
    for before, after in zip(batch.image, out, strict=True):
        assert (after == after.min()).sum() == pytest.approx(0.03 * pixels, abs=2)
        assert (after == after.max()).sum() == pytest.approx(0.01 * pixels, abs=2)
        inside = (before > after.min()) & (before < after.max())
        assert torch.equal(before[inside], after[inside])


def test_illumination_adds_a_plane_and_a_bowl() -> None:
    batch = images(16)
    field = Illumination(0.2)(batch, generator()).image - batch.image
    y, x = torch.meshgrid(torch.linspace(-1, 1, SHAPE[0]), torch.linspace(-1, 1, SHAPE[1]), indexing="ij")
    basis = torch.stack([x, y, x**2 + y**2]).flatten(1).T
    solution = torch.linalg.lstsq(basis, field.flatten(1).T)
    span = batch.image.amax((1, 2, 3)) - batch.image.amin((1, 2, 3))
    assert torch.allclose(basis @ solution.solution, field.flatten(1).T, atol=1e-4)
    assert (solution.solution / span).abs().max() <= 0.2001 and (solution.solution / span).abs().max() > 0.1


# Neighbourhoods


def impulse(count: int = 1) -> XrayBatch:
    batch = images(count)
    image = torch.zeros_like(batch.image)
    image[:, :, 48, 64] = 1
    return batch._replace(image=image)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 3.0])
def test_gaussian_blur_has_its_variance_along_each_axis(sigma: float) -> None:
    out = GaussianBlur((sigma, sigma))(impulse(), generator()).image[0, 0]
    assert out.sum() == pytest.approx(1, abs=1e-5)
    for axis, middle in ((1, 48), (0, 64)):
        profile = out.sum(axis)
        places = torch.arange(len(profile)) - middle
        assert (profile * places).sum() == pytest.approx(0, abs=1e-4)
        assert (profile * places**2).sum() == pytest.approx(sigma**2, rel=0.02)


@pytest.mark.parametrize("side", [2, 3, 6, 7])
def test_box_blur_is_the_mean_of_a_centred_square(side: int) -> None:
    out = BoxBlur((side, side))(impulse(), generator()).image[0, 0]
    if side % 2:
        expected = torch.zeros(SHAPE)
        reach = side // 2
        expected[48 - reach : 49 + reach, 64 - reach : 65 + reach] = 1 / side**2
        torch.testing.assert_close(out, expected)
    places = torch.arange(SHAPE[1]) - 64
    assert out.sum() == pytest.approx(1, abs=1e-5) and (out.sum(0) * places).sum() == pytest.approx(0, abs=1e-5)


def test_motion_spreads_a_point_along_one_line() -> None:
    out = MotionBlur((9.0, 9.0))(impulse(32), generator()).image[:, 0]
    y, x = torch.meshgrid(torch.arange(SHAPE[0]) - 48.0, torch.arange(SHAPE[1]) - 64.0, indexing="ij")
    assert torch.allclose(out.sum((1, 2)), torch.ones(32), atol=1e-5)
    covariance = torch.stack([torch.stack([(out * a * b).sum((1, 2)) for a in (x, y)], 1) for b in (x, y)], 1)
    across, along = torch.linalg.eigvalsh(covariance).T
    # A line of length 9 has the variance 81 / 12; the sharing among neighbours adds at most a quarter.
    assert ((along - 81 / 12).abs() < 0.3).all() and (across < 0.3).all()


def test_sharpening_keeps_what_is_flat_and_blends() -> None:
    flat = images(2)._replace(image=torch.full((2, 1, *SHAPE), 0.7))
    torch.testing.assert_close(Sharpen((1.0, 1.0))(flat, generator()).image, flat.image)
    out = Sharpen((0.25, 0.25))(impulse(), generator()).image[0, 0]
    assert out[48, 64] == pytest.approx(0.75 + 0.25 * 9) and out[47, 63] == pytest.approx(-0.25)


def test_embossing_adds_the_slope_towards_the_lower_right() -> None:
    y, x = torch.meshgrid(torch.arange(SHAPE[0]), torch.arange(SHAPE[1]), indexing="ij")
    ramp = images(1)._replace(image=(0.1 * x + 0.2 * y)[None, None].float())
    added = (Emboss((0.5, 0.5))(ramp, generator()).image - ramp.image)[0, 0, 2:-2, 2:-2]
    # Weight times offset of the six neighbours: 4 along each axis.
    torch.testing.assert_close(added, torch.full_like(added, 0.5 * 4 * (0.1 + 0.2)), atol=1e-4, rtol=1e-4)


def test_pooling_takes_mean_largest_least_and_median_of_squares() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    for kind, value in enumerate(((0 + 1 + 6 + 7) / 4, 7.0, 0.0, 1.0)):
        out = pooled(image, 2, kind)[0, 0]
        assert (out[:2, :2] == value).all() and out.shape == (6, 6)
    assert pooled(image, 4, 1)[0, 0, 5, 5] == 35 and pooled(image, 4, 1)[0, 0, 0, 0] == 21
    out = Pool((3, 3))(images(40), generator()).image[:, :, :96, :126]
    blocks = out.unfold(2, 3, 3).unfold(3, 3, 3).flatten(4)
    assert (blocks == blocks[..., :1]).all()


# Corruption


@pytest.mark.parametrize(("salt", "bright"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_salt_and_pepper_replace_their_share(salt: float, bright: float) -> None:
    batch = images(32)
    out = SaltAndPepper((0.1, 0.1), salt)(batch, generator()).image
    changed = out != batch.image
    assert changed.float().mean() == pytest.approx(0.1, abs=0.003)
    assert (out == batch.image.amax((1, 2, 3), keepdim=True))[changed].float().mean() == pytest.approx(bright, abs=0.02)


def test_dropout_sets_a_share_or_cells_to_zero() -> None:
    batch = images(64)._replace(image=torch.ones(64, 1, *SHAPE))
    gone = (Dropout((0.01, 0.1))(batch, generator()).image == 0).float().mean((1, 2, 3))
    assert 0.005 < gone.min() < 0.03 and 0.08 < gone.max() < 0.11
    cells = (Dropout((0.3, 0.3), cell=(0.125, 0.125))(batch, generator()).image == 0).float()
    assert cells.mean() == pytest.approx(0.3, abs=0.03)
    blocks = cells.unfold(2, 12, 12).unfold(3, 16, 16).flatten(4)
    assert (blocks == blocks[..., :1]).all()  # eight cells a side


def test_a_dropped_box_is_one_rectangle_of_the_area_asked_for() -> None:
    batch = images(64)._replace(image=torch.ones(64, 1, *SHAPE))
    gone = BoxDropout((0.02, 0.05))(batch, generator()).image[:, 0] == 0
    for mask in gone:
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == rows * columns
        assert 0.015 < mask.float().mean() < 0.06


def test_noise_stays_within_its_boxes() -> None:
    batch = images(16)
    for count in (1, 3):
        changed = BoxNoise((count, count))(batch, generator()).image != batch.image
        share = changed.float().mean((1, 2, 3))
        assert (share > 0.01).all() and (share < count * 0.035).all()


# Warps: what the image shows, its labels and its landmarks move as one


def peaks(count: int, shape: tuple[int, int] = SHAPE) -> XrayBatch:
    """Images of one Gaussian peak with its landmark, and a disc about it as its label."""
    size = torch.tensor([shape[1], shape[0]])
    landmarks = (torch.rand(count, 1, 2, generator=generator(3)) * 0.4 + 0.3) * size
    image = gaussian_heatmaps(landmarks, torch.ones(count, 1, dtype=torch.bool), shape, 4.0)
    rows, columns = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    distance = torch.hypot(columns - landmarks[..., 0, None], rows - landmarks[..., 1, None])
    labels = (distance < 6).to(torch.uint8).reshape(count, 1, *shape)
    return XrayBatch(image, labels, landmarks, inside_frame(landmarks, shape))


MIRROR = Mirror((0,), (0,), exclusive=True)


@pytest.mark.parametrize(
    "effect", [Crop(0.9), Affine(), Affine((-30.0, 30.0), (-10.0, 10.0), (0.8, 1.2), 0.1), LocalDistortion(), MIRROR, Turn((2,))]
)
def test_a_peak_is_carried_along(effect: Effect) -> None:
    batch = peaks(48)
    out = effect(batch, generator())
    assert out.visible.all() and (out.landmarks - batch.landmarks).abs().max() > 2
    assert (find_peaks(out.image) - out.landmarks).abs().max() < 0.5
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in SHAPE)
    for label, point in zip(out.labels[:, 0].float(), out.landmarks[:, 0], strict=True):
        middle = torch.stack([(label.sum(0) * columns).sum(), (label.sum(1) * rows).sum()]) / label.sum()
        # A disc under a local distortion becomes a little lopsided.
        assert (middle - point).abs().max() < (1.0 if isinstance(effect, LocalDistortion) else 0.6)


def test_an_affine_map_does_what_it_says() -> None:
    batch = peaks(1)
    center = torch.tensor([SHAPE[1] - 1, SHAPE[0] - 1]) / 2
    turned = Affine((90.0, 90.0), (0.0, 0.0), (1.0, 1.0), 0.0)(batch, generator())
    x, y = (batch.landmarks[0, 0] - center).tolist()
    torch.testing.assert_close(turned.landmarks[0, 0] - center, torch.tensor([-y, x]), atol=1e-3, rtol=0)
    grown = Affine((0.0, 0.0), (0.0, 0.0), (1.2, 1.2), 0.0)(batch, generator())
    torch.testing.assert_close(grown.landmarks[0, 0] - center, 1.2 * torch.tensor([x, y]), atol=1e-3, rtol=0)
    assert grown.labels.sum() == pytest.approx(1.44 * float(batch.labels.sum()), rel=0.1)
    shifts = Affine((0.0, 0.0), (0.0, 0.0), (1.0, 1.0), 0.1)(peaks(200), generator()).landmarks - peaks(200).landmarks
    length = shifts.norm(dim=2)
    assert 11 < length.max() <= 12.81 and length.min() < 1.5  # a tenth of 128 pixels


def test_jitter_moves_nothing_as_a_whole() -> None:
    batch = peaks(16)
    out = Jitter((2.0, 2.0))(batch, generator())
    assert not torch.equal(out.image, batch.image) and torch.equal(out.landmarks, batch.landmarks)
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in SHAPE)
    for image, point in zip(out.image[:, 0], out.landmarks[:, 0], strict=True):
        middle = torch.stack([(image.sum(0) * columns).sum(), (image.sum(1) * rows).sum()]) / image.sum()
        assert (middle - point).abs().max() < 0.5


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turns_are_clockwise(quarters: int) -> None:
    batch = peaks(4, (64, 64))
    out = Turn((quarters,))(batch, generator())
    assert torch.equal(out.image, torch.rot90(batch.image, -quarters, (2, 3)))
    assert (find_peaks(out.image) - out.landmarks).abs().max() < 0.25


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_mirror_exchanges_the_names_of_the_sides(exclusive: bool) -> None:
    count = len(HIP.structures)
    mirror = Mirror(mirrored_places(HIP.structures), mirrored_places(HIP.landmarks), exclusive)
    landmarks = torch.stack([torch.arange(14.0), torch.full((14,), 3.0)], 1)[None]
    landmarks[0, 2] = torch.nan
    visible = torch.ones(1, 14, dtype=torch.bool)
    left, right = (HIP.structure_names.index(name) for name in ("left_femur", "right_femur"))
    labels = torch.zeros(1, 1 if exclusive else count, 8, 20, dtype=torch.uint8)
    labels[0, 0 if exclusive else left, 2, 5] = left + 1 if exclusive else 1
    batch = XrayBatch(torch.rand(1, 1, 8, 20), labels, landmarks, visible)
    out = mirror(batch, generator())
    assert out.labels[0, 0 if exclusive else right, 2, 14] == (right + 1 if exclusive else 1) and out.labels.count_nonzero() == 1
    names = list(HIP.landmark_names)
    assert out.landmarks[0, names.index("FH-l")].tolist() == [19 - names.index("FH-r"), 3]
    assert out.landmarks[0, names.index("GSN-r")].isnan().all()  # what was GSN-l
    again = mirror(out, generator())
    for before, after in zip(batch, again, strict=True):
        torch.testing.assert_close(before, after, equal_nan=True)


def test_names_without_a_side_are_their_own_partners() -> None:
    def named(pairs: dict[str, str]) -> list[Landmark]:
        return [Landmark(name, mirror) for name, mirror in pairs.items()]

    assert mirrored_places(named({"left_lung": "right_lung", "sacrum": "sacrum", "right_lung": "left_lung", "tip": "tip"})) == [2, 1, 0, 3]
    assert mirrored_places(named({"FH-l": "FH-r", "odd-l": "odd-l", "FH-r": "FH-l"})) == [2, 1, 0]


# The X-ray room


def test_what_the_collimator_covers_is_neither_labelled_nor_visible() -> None:
    count = 64
    xs = torch.linspace(0, SHAPE[1] - 1, 12)
    landmarks = torch.stack([xs, torch.full_like(xs, 48)], 1).expand(count, 12, 2)
    batch = images(count)._replace(labels=torch.ones(count, 1, *SHAPE, dtype=torch.uint8), landmarks=landmarks)
    batch = batch._replace(visible=torch.ones(count, 12, dtype=torch.bool))
    out = CollimatorEdges(field=(0.4, 0.7))(batch, generator())
    assert 0.1 < out.labels.float().mean() < 0.6 and torch.equal(out.landmarks, landmarks)
    at_landmark = out.labels[:, 0, 48, xs.round().long()].bool()
    assert (at_landmark == out.visible).float().mean() > 0.97  # apart from those on the edge
    open_field = torch.nn.functional.max_pool2d(1 - out.labels.float(), 5, 1, 2) == 0
    assert torch.equal(out.image[open_field], batch.image[open_field])
    covered = torch.nn.functional.max_pool2d(out.labels.float(), 5, 1, 2) == 0
    low, high = batch.image.amin((1, 2, 3), keepdim=True), batch.image.amax((1, 2, 3), keepdim=True)
    assert ((out.image == low) | (out.image == high))[covered].all()


def test_a_side_marker_is_bright_small_and_near_the_border() -> None:
    batch = images(64)
    out = SideMarker()(batch, generator())
    changed = out.image != batch.image
    share = changed.float().mean((1, 2, 3))
    assert (share > 0.001).float().mean() > 0.9 and share.max() < 0.02
    assert (out.image >= batch.image).all() and (out.image <= batch.image.amax((1, 2, 3), keepdim=True) + 1e-6).all()
    assert not changed[:, :, 40:56, 54:74].any()


# Who gets which


def test_each_image_gets_its_own_number_of_different_effects() -> None:
    class Add:
        def __init__(self, value: float) -> None:
            self.value = value

        def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
            return batch._replace(image=batch.image + self.value)

    zeros = images(4000, (8, 8))._replace(image=torch.zeros(4000, 1, 8, 8))
    out = SomeOf((0, 2), [Add(1), Add(10), Add(100)])(zeros, generator()).image[:, 0, 0, 0]
    found = {int(value): int((out == value).sum()) for value in out.unique()}
    assert set(found) == {0, 1, 10, 100, 11, 101, 110}
    assert found[0] == pytest.approx(4000 / 3, rel=0.1)
    assert found[1] + found[10] + found[100] == pytest.approx(4000 / 3, rel=0.1)
    assert found[11] == pytest.approx(4000 / 9, rel=0.2)
    assert set(one_of(Add(1), Add(2))(zeros, generator()).image.unique().tolist()) == {1, 2}
    half = Sometimes(0.5, InOrder([Add(1), Add(1)]))(zeros, generator()).image[:, 0, 0, 0]
    assert set(half.tolist()) == {0, 2} and half.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("exclusive", [True, False])
def test_presets_keep_the_batch_whole_and_follow_the_generator(preset: str, level: str, exclusive: bool) -> None:
    effect = make_randomization(preset, level, HIP, exclusive)
    if level == "none":
        assert effect is None
        return
    assert effect is not None
    shape = (64, 64)
    labels = (
        torch.randint(0, 7, (16, 1, *shape), dtype=torch.uint8) if exclusive else torch.randint(0, 2, (16, 6, *shape), dtype=torch.uint8)
    )
    landmarks = torch.rand(16, 14, 2, generator=generator(1)) * 64
    landmarks[:, 4] = torch.nan
    batch = XrayBatch(images(16, shape).image, labels, landmarks, inside_frame(landmarks, shape))
    before = [tensor.clone() for tensor in batch]
    out, again, other = (effect(batch, generator(seed)) for seed in (1, 1, 2))
    for old, kept, new, same in zip(before, batch, out, again, strict=True):
        assert torch.equal(old.nan_to_num(), kept.nan_to_num())  # the batch itself is not changed
        assert new.shape == old.shape and new.dtype == old.dtype
        torch.testing.assert_close(new, same, equal_nan=True)
    assert not torch.equal(out.image, other.image) and out.image.isfinite().all()
    assert not (out.visible & out.landmarks.isnan().any(2)).any()


def test_the_papers_strong_level_has_eleven_effects() -> None:
    assert len(paper_effects()) == 11


def test_unknown_names_are_told() -> None:
    with pytest.raises(SyntheXError, match=r"preset of randomisation 'paper': expected one of ours, paper-text"):
        make_randomization("paper", "strong", HIP, True)
    with pytest.raises(SyntheXError, match="level of randomisation 'hard'"):
        make_randomization("ours", "hard", HIP, True)
