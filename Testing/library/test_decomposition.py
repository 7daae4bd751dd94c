"""Area densities from HU classes against closed forms."""

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import METALS, Decomposition, HounsfieldCalibration, area_density


def classes(**hu_by_class: float) -> tuple[np.ndarray, np.ndarray]:
    """(6, 1) path lengths and HU integrals: 100 mm of the named classes at a HU."""
    path, total = np.zeros((6, 1)), np.zeros((6, 1))
    for name, hu in hu_by_class.items():
        index = ("air", "lung", "adipose", "soft", "bone", "metal").index(name)
        path[index], total[index] = 100.0, 100.0 * hu
    return path, total


def test_area_density_follows_the_hounsfield_scale() -> None:
    length = np.array([100.0])
    assert np.isclose(area_density("water", length, length * 0)[0], 10.0)
    assert np.isclose(area_density("water", length, length * 500)[0], 15.0)
    # Any material taken for what it is not still attenuates as water at the energy at which the scale holds.
    bone = area_density("cortical_bone", length, length * 0)[0]
    assert np.isclose(bone * mass_attenuation("cortical_bone", 70.0), 10 * mass_attenuation("water", 70.0))


@pytest.mark.parametrize(("air", "water"), [(-1000.0, 0.0), (-1024.0, 0.0), (-990.0, 12.0)])
def test_a_calibration_moves_air_and_water_to_where_the_scanner_shows_them(air: float, water: float) -> None:
    calibration = HounsfieldCalibration(air_hu=air, water_hu=water)
    length = np.array([50.0])
    assert np.isclose(area_density("water", length, length * water, calibration)[0], 5.0)
    assert np.isclose(area_density("water", length, length * air, calibration)[0], 0.0)


@pytest.mark.parametrize("energy", [60.0, 70.0, 80.0])
@pytest.mark.parametrize("hu", [350.0, 800.0, 1400.0, 2000.0])
def test_mixed_bone_attenuates_at_the_ct_energy_as_its_hu_says(hu: float, energy: float) -> None:
    found = Decomposition(calibration=HounsfieldCalibration(energy)).area_densities(*classes(bone=hu))
    exponent = sum(mass_attenuation(name, energy) * density[0] for name, density in found.items())
    assert np.isclose(exponent, 10 * (1 + hu / 1000) * mass_attenuation("water", energy), rtol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_bone_is_mixed_from_soft_tissue_and_cortical_bone_by_volume(share: float) -> None:
    soft, bone, water = (mass_attenuation(name, 70.0) for name in ("soft_tissue", "cortical_bone", "water"))
    mixture = (1 - share) * 1.06 * soft + share * 1.92 * bone
    found = Decomposition().area_densities(*classes(bone=1000 * (mixture / water - 1)))
    assert np.isclose(found["cortical_bone"][0], 10 * share * 1.92)
    assert np.isclose(found["soft_tissue"][0], 10 * (1 - share) * 1.06)


def test_the_decomposition_is_linear() -> None:
    path, total = np.random.default_rng(0).uniform(1, 100, (2, 6, 3, 8))
    whole = Decomposition().area_densities(path.sum(1), total.sum(1))
    for name, density in whole.items():
        parts = sum(Decomposition().area_densities(path[:, part], total[:, part])[name] for part in range(3))
        assert np.allclose(parts, density)


@pytest.mark.parametrize("energy", [40.0, 70.0, 100.0])
def test_fat_is_adipose_tissue(energy: float) -> None:
    # ICRU 44: 0.95 g/cm3; its HU at 70 keV from the tables' own coefficients.
    hu = 1000 * (0.95 * mass_attenuation("adipose", 70.0) / mass_attenuation("water", 70.0) - 1)
    assert -130 < hu < -30
    found = Decomposition().area_densities(*classes(adipose=float(hu)))
    exponent = sum(mass_attenuation(name, energy) * density[0] for name, density in found.items())
    assert np.isclose(found["adipose"][0], 9.5) and np.isclose(exponent, 9.5 * mass_attenuation("adipose", energy))


@pytest.mark.parametrize("metal", METALS)
def test_the_metal_is_the_chosen_one(metal: str) -> None:
    found = Decomposition(metal=metal).area_densities(*classes(metal=3000, soft=0))
    assert set(found) == {"air", "lung", "adipose", "soft_tissue", "cortical_bone", metal}
    assert np.isclose(found[metal][0] * mass_attenuation(metal, 70.0), 40 * mass_attenuation("water", 70.0))


def test_impossible_decompositions_are_told() -> None:
    with pytest.raises(SyntheXError, match=r"unknown metal 'titanum'.*did you mean 'titanium'"):
        Decomposition(metal="titanum")
    with pytest.raises(SyntheXError, match="air_hu must be below water_hu"):
        HounsfieldCalibration(air_hu=0, water_hu=0)
    with pytest.raises(SyntheXError, match=r"needs the six HU classes.*found 2 classes"):
        Decomposition().area_densities(np.ones((2, 1)), np.ones((2, 1)))
