"""The Monte Carlo against closed forms, its own tables, the published values of AAPM TG-195 and the project's table of water slabs."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.monte_carlo.simulation import Screen, Tally, Voxels, simulate
from SyntheXLib.physics.monte_carlo.tables import _stored, energy_grid, materials, transport_tables
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum

numba = pytest.importorskip("numba", reason="the Monte Carlo needs numba (extra mc)")

ELECTRON_KEV, KEV_ANGSTROM, AVOGADRO_BARN, ELECTRON_RADIUS2 = 510.99895, 12.39842, 0.602214, 0.0794079


def mono(energy_kev: float) -> Spectrum:
    return Spectrum(np.array([energy_kev]), np.array([1.0]))


def slab(mixture: str, density: float, size_mm: tuple[float, float, float], front_mm: float) -> Voxels:
    """A single voxel whose front face lies so far from the source."""
    matrix = np.diag([*size_mm, 1.0])
    matrix[2, 3] = front_mm + size_mm[2] / 2
    return Voxels([{mixture: 1.0}], np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), density, np.float32), matrix)


def run(*arguments: object, **options: object) -> Tally:
    tally = simulate(*arguments, **options)  # type: ignore[arg-type]
    assert tally is not None
    return tally


# Tables and sampling


def free_electron(cosine: np.ndarray, energy: float) -> np.ndarray:
    """Klein and Nishina, barn per steradian and electron."""
    left = 1 / (1 + energy / ELECTRON_KEV * (1 - cosine))
    return ELECTRON_RADIUS2 / 2 * left**2 * (left + 1 / left - 1 + cosine**2)


def function(name: str, kind: int, cosine: np.ndarray, energy: float) -> np.ndarray:
    """S (0) or F^2 (1) of a material per gram at a scattering angle."""
    stored = _stored()
    transfer = energy / KEV_ANGSTROM * np.sqrt((1 - cosine) / 2)
    return np.interp(transfer, stored["momentum_transfer"], stored["functions"][materials().index(name), kind])


@pytest.mark.parametrize("energy", [30.0, 60.0, 100.0, 150.0])
def test_the_cross_sections_are_the_integrals_of_what_is_sampled(energy: float) -> None:
    cosine, stored = np.linspace(-1, 1, 20001), _stored()
    k = energy / ELECTRON_KEV
    whole = 2 * np.pi * np.trapezoid(free_electron(cosine, energy), cosine)
    logarithm = np.log(1 + 2 * k)
    closed = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - logarithm / k) + logarithm / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    assert np.isclose(whole, 2 * np.pi * ELECTRON_RADIUS2 * closed, rtol=1e-5)
    for row, name in enumerate(materials()[:7]):  # air to aluminium
        _, compton, rayleigh = stored["sections"][row, :, round(energy) - 1]
        bound = np.trapezoid(free_electron(cosine, energy) * function(name, 0, cosine, energy), cosine)
        thomson = ELECTRON_RADIUS2 / 2 * (1 + cosine**2)
        coherent = np.trapezoid(thomson * function(name, 1, cosine, energy), cosine)
        assert np.isclose(2 * np.pi * AVOGADRO_BARN * bound, compton, rtol=0.005)
        assert np.isclose(2 * np.pi * AVOGADRO_BARN * coherent, rayleigh, rtol=0.01)


def test_the_totals_are_the_attenuation_coefficients() -> None:
    energies = energy_grid()
    clinical = (energies >= 10) & (energies <= 150)
    for name in set(materials()) - {"average_soft_tissue"}:
        total = transport_tables([{name: 1.0}]).total[0] * 10
        # Only beside an edge do the two ways to interpolate, sum and parts, differ.
        assert np.mean(np.isclose(total[clinical], mass_attenuation(name, energies[clinical]), rtol=0.002)) > 0.98


@pytest.fixture(scope="module")
def draw() -> Callable[[int, np.ndarray, float, float, int], tuple[np.ndarray, np.ndarray]]:
    from SyntheXLib.physics.monte_carlo.transport import compton, rayleigh

    @numba.njit
    def draw(kind, row, greatest, energy, count):  # type: ignore[no-untyped-def]
        random.seed(5)
        cosines, energies = np.empty(count), np.full(count, energy)
        for index in range(count):
            if kind == 0:
                energies[index], cosines[index] = compton(row, greatest, energy)
            else:
                cosines[index] = rayleigh(row, greatest, energy)
        return cosines, energies

    return draw


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("name", "energy"), [("water", 30.0), ("water", 90.0), ("cortical_bone", 60.0)])
def test_angles_are_drawn_as_the_tables_say(draw: Callable, kind: int, name: str, energy: float) -> None:
    count, tables = 200_000, transport_tables([{name: 1.0}])
    cosines, energies = draw(kind, (tables.incoherent, tables.coherent)[kind][0], tables.greatest_transfer, energy, count)
    fine = np.linspace(-1, 1, 200_001)
    law = free_electron(fine, energy) if kind == 0 else 1 + fine**2
    cumulative = np.append(0, np.cumsum(np.diff(fine) * (law * function(name, kind, fine, energy))[1:]))
    cumulative /= cumulative[-1]
    edges = np.interp(np.linspace(0, 1, 41), cumulative, fine)  # bins of equal chance
    observed = np.histogram(cosines, edges)[0]
    chi_square = float(((observed - count / 40) ** 2 / (count / 40)).sum())
    assert chi_square < 39 + 3.5 * np.sqrt(2 * 39)
    if kind == 0:
        assert np.allclose(energies, energy / (1 + energy / ELECTRON_KEV * (1 - cosines)))
    else:
        assert np.all(energies == energy)


# Transport


@pytest.mark.parametrize("thickness", [50.0, 200.0])
def test_the_primary_beam_falls_exponentially(thickness: float) -> None:
    screen = Screen(1000.0, (0.0,) * 4, (-1.0, 1.0, -1.0, 1.0))
    photons = 200_000
    tally = run(slab("water", 1.0, (400, 400, thickness), 500), mono(60), screen, photons, 1, air_density=0)
    expected = float(np.exp(-mass_attenuation("water", 60.0) * thickness / 10))
    assert abs(tally.image[0, 0, 0] / 60 - expected) < 3.5 * np.sqrt(expected / photons)


def test_energy_is_conserved() -> None:
    voxels = slab("cortical_bone", 1.92, (300, 300, 100), 500)
    tally = run(voxels, tube_spectrum(90), Screen(1000.0, (-100, 100, -100, 100), (-500, 500, -500, 500)), 60_000, 2)
    assert np.isclose(tally.imparted_kev.sum() + tally.left_kev, tally.emitted_kev, rtol=1e-12)
    assert tally.imparted_kev[1] > 0.7 * tally.emitted_kev and 0 < tally.imparted_kev[0] < 0.02 * tally.emitted_kev


def test_the_number_of_threads_changes_no_digit_and_the_seed_does() -> None:
    voxels, screen = (
        slab("water", 1.0, (300, 300, 100), 700),
        Screen(1020.0, (-149, 149, -149, 149), (-149, 149, -149, 149), (4, 4), Detector()),
    )
    one, two, other = (run(voxels, tube_spectrum(90), screen, 90_000, seed, threads=n) for seed, n in ((3, 1), (3, 2), (4, 2)))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.imparted_kev, two.imparted_kev)
    assert not np.array_equal(one.image, other.image)


def test_one_voxel_and_many_turned_ones_are_the_same_object() -> None:
    # Woodcock tracking sees no borders: the same random numbers lead through one turned voxel and through 24 x 24 x 24.
    shape = (24, 24, 24)
    matrix = affine(shape, 10.0, OBLIQUE)
    matrix[2, 3] += 700
    fine = Voxels([{"water": 1.0}], np.zeros(shape, np.uint8), np.full(shape, 0.3, np.float32), matrix)
    turned = affine((1, 1, 1), 240.0, OBLIQUE)
    turned[2, 3] += 700
    coarse = Voxels([{"water": 1.0}], np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), 0.3, np.float32), turned)
    screen = Screen(1020.0, (-60, 60, -60, 60), (-100, 100, -100, 100))
    a, b = (run(voxels, mono(50), screen, 100_000, 6) for voxels in (fine, coarse))
    assert np.allclose(a.image, b.image, rtol=1e-4) and np.allclose(a.imparted_kev, b.imparted_kev, rtol=1e-4)


# AAPM TG-195 (Sechopoulos et al., Med. Phys. 42, 2015). The report's tungsten spectra are not at hand. In their place stands our tube of
# the same voltage, with the aluminium that gives the half-value layer that the report states; what else is compared then is not put in.


def of_half_value(kvp: float, half_value_mm: float) -> Spectrum:
    """Our tungsten spectrum filtered to a half-value layer in mm of aluminium."""
    thickness = np.linspace(2, 5, 61)
    layers = [tube_spectrum(kvp, float(filtration)).half_value_layer_mm() for filtration in thickness]
    spectrum = tube_spectrum(kvp, float(np.interp(half_value_mm, layers, thickness)))
    assert np.isclose(spectrum.half_value_layer_mm(), half_value_mm, rtol=1e-4)
    return spectrum


def test_kerma_behind_the_half_and_quarter_value_layers_of_tg195_at_100_kv() -> None:
    spectrum = of_half_value(100, 3.950)
    sheets = [
        Spectrum(spectrum.energy_kev, spectrum.photons * np.exp(-mass_attenuation("aluminium", spectrum.energy_kev) * 0.2699 * thickness))
        for thickness in (0, 3.950, 9.840)
    ]
    open_beam, half, quarter = (sheet.air_kerma_per_photon() for sheet in sheets)
    assert np.isclose(half / open_beam, 0.49972, rtol=0.002)  # put in
    assert np.isclose(quarter / open_beam, 0.24972, rtol=0.01)  # found: 0.24975


@pytest.mark.parametrize(("energy", "half_value"), [(30.0, 2.273), (100.0, 15.11)])
def test_half_value_layers_of_tg195_case_1(energy: float, half_value: float) -> None:
    assert np.isclose(mono(energy).half_value_layer_mm(), half_value, rtol=0.003)


@pytest.mark.parametrize(("layers", "published"), [(1, 0.49895), (2, 0.24899)])
def test_air_kerma_behind_the_half_and_quarter_value_layers_of_100_kev(layers: int, published: float) -> None:
    # Mono-energetic and narrow: the ratio of air kerma is that of photons. What scatters into the small detector is counted as well.
    screen = Screen(1000.0, (0.0,) * 4, (-5.0, 5.0, -5.0, 5.0))
    tally = run(slab("aluminium", 2.699, (200, 200, layers * 15.11), 100), mono(100), screen, 400_000, 8, air_density=0)
    statistics = np.sqrt(published * (1 - published) / tally.photons)
    assert abs(tally.image.sum() / 100 - published) < 3.5 * statistics + 0.001
    closed = float(np.exp(-mass_attenuation("aluminium", 100.0) * 2.699 * layers * 1.511))
    assert np.isclose(closed, published, atol=0.0005)


# eV a photon in the box, and in nine cubes: 56.4 keV, and 120 kV (half-value layer 5.010 mm).
CASE_2 = {
    "mono": (33171.4, (27.01, 27.00, 36.67, 27.01, 27.01, 72.86, 53.35, 23.83, 14.60)),
    "120 kV": (33126.0, (24.97, 24.95, 33.52, 24.96, 24.97, 72.70, 49.99, 21.73, 13.48)),
}


def tg195_case_2(photons: int, beam: str, seed: int = 1, aside_mm: float = 0.0) -> Tally:
    """Radiography: a box of soft tissue, 390 x 390 x 200 mm of 1.03 g/cm3, 1550 mm from the source, in air.

    The source may stand aside: box and field lie on the other side of the central ray then.
    """
    region = np.ones((40, 78, 78), np.uint8)  # 5 mm
    places = [(0, -150, 100), (0, 150, 100), (0, 0, 100), (-150, 0, 100), (150, 0, 100)] + [(0, 0, depth) for depth in (40, 70, 130, 160)]
    for number, (x, y, depth) in enumerate(places, 2):  # cubes of 30 mm
        i, j, k = ((x + 195) // 5, (y + 195) // 5, depth // 5)
        region[k - 3 : k + 3, j - 3 : j + 3, i - 3 : i + 3] = number
    matrix = np.diag([5.0, 5.0, 5.0, 1.0])
    matrix[:3, 3] = [aside_mm - 192.5, -192.5, 1552.5]
    voxels = Voxels(
        [{"average_soft_tissue": 1.0}], np.zeros(region.shape, np.uint8), np.full(region.shape, 1.03, np.float32), matrix, region
    )
    field = (aside_mm - 195.0, aside_mm + 195.0, -195.0, 195.0)
    return run(voxels, mono(56.4) if beam == "mono" else of_half_value(120, 5.010), Screen(1800.0, field, field), photons, seed)


def test_the_120_kv_of_tg195_has_the_mean_energy_of_its_mono_energetic_twin() -> None:
    assert np.isclose(of_half_value(120, 5.010).mean_energy_kev, 56.4, rtol=0.005)


@pytest.mark.parametrize("beam", CASE_2)
def test_energy_imparted_in_tg195_case_2_within_the_statistics(beam: str) -> None:
    tally, (total, cubes) = tg195_case_2(800_000, beam), CASE_2[beam]
    assert np.isclose(1000 * tally.imparted_kev[1:].sum(), total, rtol=0.01)  # statistics 0.1 %
    found, error = 1000 * tally.imparted_kev[2:11], 1000 * tally.imparted_error[2:11]
    assert np.all(np.abs(found - cubes) < 3.5 * error)  # 2 to 6 % each
    assert np.all(error < 0.07 * np.array(cubes))


@pytest.mark.parametrize(("beam", "published"), [("mono", 30883.8), ("120 kV", 30923.1)])
def test_energy_imparted_in_the_tomosynthesis_view_of_tg195_case_2(beam: str, published: float) -> None:
    # 15 degrees: the source 1800 mm x tan 15 degrees aside, above the same field. Statistics 0.1 %.
    tally = tg195_case_2(600_000, beam, aside_mm=1800 * np.tan(np.deg2rad(15)))
    assert np.isclose(1000 * tally.imparted_kev[1:].sum(), published, rtol=0.005)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("beam", CASE_2)
def test_energy_imparted_in_tg195_case_2(beam: str) -> None:
    tally, (total, cubes) = tg195_case_2(80_000_000, beam), CASE_2[beam]
    assert np.isclose(1000 * tally.imparted_kev[1:].sum(), total, rtol=0.01)
    # Found at 56.4 keV: total -0.07 %, cubes -1.6 (the deepest) to +0.9 %; at 120 kV with 6 million photons: total +0.13 %.
    found, error = 1000 * tally.imparted_kev[2:11], 1000 * tally.imparted_error[2:11]
    assert np.all(3 * error < 0.02 * np.array(cubes))
    assert np.allclose(found, cubes, rtol=0.02)


# Scatter


CELLS, MIDDLE, FIELD = 12, slice(4, 8), 149.0
WEIGHTED = Detector(scintillator_mm=0.2165 / 4.51 / 0.75 * 10)  # the CsI of the project's table


def scatter_to_primary(thickness: float, photons: int, seed: int = 5) -> tuple[float, float]:
    """Over the middle 100 x 100 mm behind water, 90 kV, 4 mm aluminium, gap 200 mm; and its standard error.

    The scatter is that of an even surface fitted to the whole field, whose statistics are better than the middle's; the primary is the
    closed form. The project's table does not say over what it averages; at the very centre the ratio is 2 (100 mm) to 3 % (200 mm) higher.
    """
    spectrum, side = tube_spectrum(90, 4.0), (-FIELD, FIELD, -FIELD, FIELD)
    screen = Screen(1020.0, side, side, (CELLS, CELLS), WEIGHTED)
    tally = run(slab("water", 1.0, (400, 300, thickness), 820 - thickness), spectrum, screen, photons, seed, air_density=0)
    place = (np.arange(CELLS) - (CELLS - 1) / 2) * 2 * FIELD / CELLS
    xx, yy = (axis**2 for axis in np.meshgrid(place, place))
    secant = np.sqrt(1 + (xx + yy) / 1020**2)[..., None]
    share = spectrum.photons * spectrum.energy_kev * WEIGHTED.absorption(spectrum.energy_kev)
    attenuation = mass_attenuation("water", spectrum.energy_kev) * thickness / 10
    through = (share * np.exp(-attenuation * secant)).sum(-1) / secant[..., 0] ** 3
    primary = (through * screen.open_photons_per_mm2() * (2 * FIELD / CELLS) ** 2)[MIDDLE, MIDDLE].mean()
    assert np.isclose(tally.image[0, MIDDLE, MIDDLE].mean(), primary, rtol=0.01 + 10 / np.sqrt(primary * photons / 60))
    surface = np.stack([np.ones_like(xx), xx, yy, xx * xx, yy * yy, xx * yy], axis=-1) / FIELD ** np.array([0, 2, 2, 4, 4, 4])
    weights = surface[MIDDLE, MIDDLE].mean((0, 1)) @ np.linalg.pinv(surface.reshape(-1, 6))
    scatter = tally.image[1:].sum(0).ravel()
    error = np.sqrt(weights**2 @ (tally.image_error[1:] ** 2).sum(0).ravel())
    return float(weights @ scatter / primary), float(error / primary)


def test_scatter_to_primary_ratio_of_a_water_slab() -> None:
    found, error = scatter_to_primary(100, 1_000_000)
    assert error < 0.01 * found
    assert abs(found - 0.67) < 0.03 * 0.67 + 2 * error


@pytest.mark.slow
@pytest.mark.parametrize(("thickness", "expected"), [(50, 0.29), (100, 0.67), (150, 1.08), (200, 1.56)])
def test_scatter_to_primary_ratio_of_water_slabs(thickness: float, expected: float) -> None:
    found, error = scatter_to_primary(thickness, 10_000_000)
    assert error < 0.01 * found
    assert np.isclose(found, expected, rtol=0.03, atol=0.005)  # the table has two decimals and statistics of 2 to 3 %


def test_scatter_behind_the_box_of_tg195_case_2() -> None:
    # No published number: an independent Monte Carlo of the project's found 3.51, of which 21 % once Compton and 6.8 % once Rayleigh.
    field = (-195.0, 195.0, -195.0, 195.0)
    box = slab("average_soft_tissue", 1.03, (390, 390, 200), 1550)
    image = run(box, mono(56.4), Screen(1800.0, field, (-45.0, 45.0, -45.0, 45.0)), 800_000, 12).image[:, 0, 0]
    scatter = image[1:].sum()
    assert np.isclose(scatter / image[0], 3.51, rtol=0.06)  # statistics 2 %
    assert np.isclose(image[1] / scatter, 0.21, atol=0.02) and np.isclose(image[2] / scatter, 0.068, atol=0.01)


def test_impossible_input_is_told() -> None:
    with pytest.raises(SyntheXError, match="unknown material 'watr', expected one of air, water"):
        transport_tables([{"watr": 1.0}])
    with pytest.raises(SyntheXError, match="photons must be at least 1"):
        simulate(slab("water", 1.0, (1, 1, 1), 500), mono(60), Screen(1000.0, (0.0,) * 4, (-1, 1, -1, 1)), 0, 1)
    voxels = slab("water", 1.0, (1, 1, 1), 500)
    with pytest.raises(SyntheXError, match="material 1, but there are 1 mixtures"):
        Voxels(voxels.mixtures, voxels.material + np.uint8(1), voxels.density, voxels.index_to_camera)
