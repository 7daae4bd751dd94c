from dataclasses import replace

import numpy as np
import pytest
from phantoms import OBLIQUE, affine, world_grid

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.lesions import add_lesions, has_lesions
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.scene.texture import smooth_noise
from SyntheXLib.tasks.task import load_task

CHEST = load_task("chest")
assert CHEST.scene.lesions is not None
SETTINGS = CHEST.scene.lesions


@pytest.fixture(scope="module")
def chest() -> Specimen:
    """Two ellipsoids of lung in an oblique body of water, with vessels of 50 HU."""
    shape = (60, 70, 90)
    matrix = affine(shape, (3.5, 3.5, 4.0), OBLIQUE)
    local = (world_grid(shape, matrix) @ OBLIQUE)[..., :3]
    masks = {
        "left_lung": (((local - [-70, 0, 0]) / [55, 80, 100]) ** 2).sum(-1) < 1,
        "right_lung": (((local - [70, 0, 0]) / [55, 80, 100]) ** 2).sum(-1) < 1,
    }
    lung = masks["left_lung"] | masks["right_lung"]
    hu = np.where(lung, -850, 0)
    hu[lung & (np.abs(local[..., 1] % 30) < 4)] = 50
    return make_specimen("chest", hu, matrix, masks, CHEST.structure_names, made=CHEST.made_structures)


def test_lesions_lie_in_the_lungs_are_labelled_and_denser(chest: Specimen) -> None:
    found, record = add_lesions(chest, replace(SETTINGS, count=(6, 6)), np.random.default_rng(1))
    bit = 1 << CHEST.structure_names.index("lesion")
    lesion = (found.labels & bit) != 0
    lung = (chest.labels & 3) != 0
    assert lesion.any() and not np.any(lesion & ~lung)
    assert np.array_equal(found.labels & 3, chest.labels & 3)
    change = found.hu.astype(int) - chest.hu
    assert np.all(change >= 0) and np.all(change[~lung] == 0)
    assert np.median(change[lesion]) > 100
    # What changed but is not labelled is the margin, where less than half of the lesion is.
    assert change[lung & ~lesion].sum() < 0.25 * change[lesion].sum()
    assert len(record) == 6 and not has_lesions(chest, "lesion") and has_lesions(found, "lesion")
    assert sum(one["volume_mm3"] for one in record) >= lesion.sum() * 3.5 * 3.5 * 4 - 1


def test_density_is_that_of_the_kind_and_vessels_stay(chest: Specimen) -> None:
    plain = replace(SETTINGS, count=(1, 1), texture_sd_hu=(0.0, 0.0), edge_mm=(0.0, 0.0), diameter_mm=(70.0, 70.0))
    for share, limits in ((0.0, SETTINGS.ground_glass_hu), (1.0, SETTINGS.consolidation_hu)):
        found, (one,) = add_lesions(chest, replace(plain, consolidation_share=share), np.random.default_rng(5))
        inside = (found.labels & 4) != 0
        assert limits[0] <= one["hu"] <= limits[1] and one["kind"] == ("consolidation" if share else "ground_glass")
        assert np.all(found.hu[inside & (chest.hu == -850)] == round(one["hu"]))
        assert np.all(found.hu[inside & (chest.hu == 50)] == 50)  # a vessel of 50 HU is denser than either
        # An ellipsoid of the volume of a ball of 70 mm is 180 ml; its lung may cut it, and its surface is rough.
        assert 30_000 < one["volume_mm3"] < 300_000


def test_place_follows_the_bias(chest: Specimen) -> None:
    small = replace(SETTINGS, count=(150, 150), diameter_mm=(4.0, 4.0), edge_mm=(0.0, 0.0))

    def centers(peripheral: float, lower: float) -> np.ndarray:
        _, record = add_lesions(chest, replace(small, peripheral=peripheral, lower=lower), np.random.default_rng(0))
        return np.array([one["center_ras_mm"] for one in record])

    def radius(points: np.ndarray) -> float:
        local = points @ OBLIQUE
        return float(np.sqrt(((np.abs(local) - [70, 0, 0]) / [55, 80, 100]) ** 2 @ np.ones(3)).mean())

    anywhere, rim, low = centers(0, 0), centers(1, 0), centers(0, 1)
    assert radius(anywhere) == pytest.approx(0.75, abs=0.06)  # mean radius in a ball: 3/4
    assert radius(rim) > radius(anywhere) + 0.08
    assert np.all(low[:, 1:].mean(0) < anywhere[:, 1:].mean(0) - 8)  # behind, and lower; the standard error is 4 mm


def test_lesions_are_decided_by_the_random_numbers_and_need_lungs(chest: Specimen) -> None:
    one, other = (add_lesions(chest, SETTINGS, np.random.default_rng(9))[0].hu for _ in range(2))
    assert np.array_equal(one, other)
    with pytest.raises(SyntheXError, match="no voxel of left_lung, right_lung"):
        add_lesions(replace(chest, labels=np.zeros_like(chest.labels)), SETTINGS, np.random.default_rng(0))


def test_noise_has_the_grain_it_is_told() -> None:
    """White noise smoothed by a Gaussian of standard deviation g has the autocorrelation exp(-d^2 / 4 g^2)."""
    grain = np.array([1.5, 3.0, 8.0])
    noise = smooth_noise((60, 90, 240), grain, np.random.default_rng(0))
    assert noise.shape == (60, 90, 240) and noise.dtype == np.float32
    assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(1, abs=1e-3)
    for axis, one in enumerate(grain):
        for lag in (int(one), int(2 * one)):
            size = noise.shape[axis] - lag
            found = (noise.take(range(size), axis) * noise.take(range(lag, size + lag), axis)).mean()
            assert found == pytest.approx(np.exp(-(lag**2) / 4 / one**2), abs=0.05)


def test_lesions_that_are_no_structure_are_seen_and_not_labelled(chest: Specimen) -> None:
    found, record = add_lesions(chest, replace(SETTINGS, structure="", count=(3, 3)), np.random.default_rng(1))
    assert len(record) == 3
    assert (found.hu > chest.hu).any()
    assert np.array_equal(found.labels, chest.labels)
    assert not has_lesions(found, "")
