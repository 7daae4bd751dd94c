"""Scatter kernels against our Monte Carlo's scatter-to-primary ratios (a public table of the project's) and what must hold of any."""

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.scatter import AntiScatterGrid, Scatter, _table, equivalent_kvp, kernels, scatter_signal
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum

SIZE, FIELD, DISTANCE = 96, 298.0, 1020.0


def positions(size: int = SIZE, side: float = FIELD) -> np.ndarray:
    return (np.arange(size) - (size - 1) / 2) * side / size


def slab(thickness_mm: float, beam: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Transmission (H, W) of a water slab in the cone beam by the detector's own weights, and the open beam."""
    energy = beam.energy_kev * beam.photons * (1 - np.exp(-0.2165 * mass_attenuation("caesium_iodide", beam.energy_kev)))
    central = energy @ np.exp(-mass_attenuation("water", beam.energy_kev) * thickness_mm / 10) / energy.sum()
    secant = np.sqrt(1 + (positions()[:, None] ** 2 + positions()[None] ** 2) / DISTANCE**2)
    return central**secant, secant**-3


def ratio(thickness_mm: float, gap_mm: float = 200.0, field_mm: float = FIELD, beam: tuple[float, ...] = (90, 4.0)) -> float:
    spectrum = tube_spectrum(*beam)
    through, incident = slab(thickness_mm, spectrum)
    scatter = scatter_signal(through, incident, positions(), positions(), kernels(equivalent_kvp(spectrum), gap_mm), field_mm)
    return float((scatter / (through * incident))[SIZE // 2, SIZE // 2])


@pytest.mark.parametrize(
    ("beam", "expected"),
    [
        ((70, 3.0, 0.1), (0.30, 0.67, 1.06, 1.53, 1.97, 2.56)),
        ((90, 4.0), (0.29, 0.67, 1.08, 1.56, 2.11, 2.44)),
        ((120, 4.3), (0.29, 0.67, 1.09, 1.65, 2.19, 2.90)),
    ],
)
def test_scatter_to_primary_ratio_of_water_slabs(beam: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = [ratio(thickness, beam=beam) for thickness in (50, 100, 150, 200, 250, 300)]
    assert np.allclose(found, expected, rtol=0.10)  # 15 % asked for; within 8.2 % found


def test_the_tables_own_beams_keep_their_voltage_and_copper_counts_as_more() -> None:
    for kvp, aluminium in ((60, 3.5), (90, 4.0), (120, 4.3)):
        assert np.isclose(equivalent_kvp(tube_spectrum(kvp, aluminium)), kvp)
    assert 75 < equivalent_kvp(tube_spectrum(70, 3, 0.1)) < 85


def test_scatter_to_primary_ratio_falls_with_the_air_gap() -> None:
    found = [ratio(200, gap) for gap in (50, 100, 200, 300, 400)]
    assert np.allclose(found, (3.23, 2.57, 1.53, 1.00, 0.71), rtol=0.10)
    assert np.all(np.diff([ratio(200, gap) for gap in range(50, 401, 25)]) < 0)


def test_scatter_to_primary_ratio_grows_with_the_field() -> None:
    # Half of what a field of 50 mm scatters to its middle is the forward peak. 15 % asked for; within 7.4 % found (100 mm).
    assert np.allclose([ratio(200, field_mm=field) for field in (50, 100, 150, 200, 298)], (0.11, 0.29, 0.54, 0.87, 1.53), rtol=0.10)


@pytest.mark.parametrize("gap", [50.0, 200.0, 400.0])
@pytest.mark.parametrize("kvp", [60.0, 90.0, 120.0])
def test_three_gaussians_fall_off_as_they_should(kvp: float, gap: float) -> None:
    table = kernels(kvp, gap)
    assert table.sigma_mm.shape == table.weight.shape == (7, 3)
    assert np.all(np.diff(table.sigma_mm, axis=1) > 0) and np.all(table.weight > 0)
    assert np.allclose(table.weight.sum(1), 1, atol=0.06)  # up to 5 % of the fitted tail lie beyond the 1500 mm that the emission counts
    # Thicker objects have less of a forward peak, and it widens with the gap.
    assert np.all(np.diff(table.weight[:, 0]) < 0) and 0.005 < table.weight[-1, 0] < table.weight[0, 0] < 0.08
    assert np.all((table.sigma_mm[:, 0] > 0.06 * gap) & (table.sigma_mm[:, 0] < 0.2 * gap))


def test_the_emission_is_the_tables_at_every_slab() -> None:
    voltages, gaps, columns = _table()
    for row, kvp in enumerate(voltages):
        for column, gap in enumerate(gaps):
            found = kernels(float(kvp), float(gap)).emitted(columns["primary"][row, column])
            assert np.allclose(found, columns["scatter"][row, column], rtol=0.03)


def test_a_point_spreads_its_emission_over_the_plane() -> None:
    # A pinhole of one cell in a wide view: the sum over the detector is what the cell emits, by the fit's scale.
    size, side = 100, 4000.0
    at = positions(size, side)
    through, incident = np.full((size, size), 0.0113), np.zeros((size, size))
    incident[50, 50] = 1.0
    table = kernels(90.0, 200.0)
    scatter = scatter_signal(through, incident, at, at, table, side)
    # The 40 mm cells sample two Gaussians of more than 100 mm, and a narrow one that has 2 % of the energy.
    assert np.isclose(scatter.sum(), table.emitted(np.array(0.0113)), rtol=0.03)


def test_scatter_is_never_negative_and_keeps_the_objects_symmetry() -> None:
    radius = np.hypot(positions()[:, None], positions()[None])
    through = np.where(radius < 80, 0.005, 1.0)
    scatter = scatter_signal(through, np.ones_like(through), positions(), positions(), kernels(75.0, 130.0), FIELD)
    assert scatter.min() >= 0 and scatter.max() > 0
    for turned in (scatter[::-1], scatter[:, ::-1], scatter.T):
        assert np.allclose(scatter, turned, rtol=1e-5)
    assert scatter[SIZE // 2, SIZE // 2] > 2 * scatter[0, 0]


def test_the_open_beam_does_not_scatter() -> None:
    ones = np.ones((SIZE, SIZE))
    assert not scatter_signal(ones, ones, positions(), positions(), kernels(90.0, 200.0), FIELD).any()


@pytest.mark.parametrize("part", [slice(24, 72), slice(0, 48), slice(40, 41)])
def test_a_part_of_the_view_gets_the_whole_fields_scatter(part: slice) -> None:
    through, incident = np.full((SIZE, SIZE), 0.0113), np.ones((SIZE, SIZE))
    at, table = positions(), kernels(90.0, 200.0)
    whole = scatter_signal(through, incident, at, at, table, FIELD)
    if part.stop - part.start == 1:
        with pytest.raises(SyntheXError, match="at least 2 x 2 pixels"):
            scatter_signal(through[part, part], incident[part, part], at[part], at[part], table, FIELD)
        return
    found = scatter_signal(through[part, part], incident[part, part], at[part], at[part], table, FIELD)
    assert np.allclose(found, whole[part, part], rtol=0.01)


def test_a_view_beyond_the_field_is_lit_only_inside() -> None:
    at = positions(SIZE, 2 * FIELD)
    through, incident = np.full((SIZE, SIZE), 0.0113), np.ones((SIZE, SIZE))
    table = kernels(90.0, 200.0)
    wide = scatter_signal(through, incident, at, at, table, FIELD)
    narrow = scatter_signal(through, incident, positions(), positions(), table, FIELD)
    assert np.isclose(wide[SIZE // 2, SIZE // 2], narrow[SIZE // 2, SIZE // 2], rtol=0.01)
    assert wide[0, 0] < 0.15 * wide[SIZE // 2, SIZE // 2]


def test_impossible_scatter_is_told() -> None:
    for call, expected in (
        (lambda: Scatter(air_gap_mm=20), "air_gap_mm must lie within 50 to 400 mm, found 20"),
        (lambda: Scatter(strength=-1), "strength must not be negative"),
        (lambda: AntiScatterGrid(primary_transmission=0), "primary_transmission must be above 0"),
    ):
        with pytest.raises(SyntheXError, match=expected):
            call()
