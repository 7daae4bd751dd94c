"""Attenuation and spectra against published numbers."""

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        ("water", 0.2059), ("cortical_bone", 0.3148), ("soft_tissue", 0.2048), ("air", 0.1875),
        ("titanium", 0.7661), ("nitinol", 1.1818), ("steel_316l", 1.2657),
    ],
)  # fmt: skip
def test_mass_attenuation_at_60_kev_is_nists(material: str, expected: float) -> None:
    assert np.isclose(mass_attenuation(material, 60.0), expected, rtol=5e-4)


def test_half_value_layers_of_monochromatic_beams() -> None:
    # AAPM TG-195 case 1: 2.273 mm of aluminium at 30 keV, 15.11 mm at 100 keV.
    for energy, expected in ((30.0, 2.273), (100.0, 15.11)):
        assert np.isclose(Spectrum(np.array([energy]), np.ones(1)).half_value_layer_mm(), expected, rtol=0.01)


# physics.md 3.2: kVp, mm Al, mean keV, HVL mm Al, energy transmission of 20 cm water, and of 2 cm bone (1.92 g/cm3) more.
BEAMS = [(60, 3.5, 37.46, 2.49, 5.29e-3, 8.48e-4), (90, 4.0, 48.74, 3.97, 1.233e-2, 3.73e-3), (120, 4.3, 57.50, 5.46, 1.748e-2, 6.55e-3)]


@pytest.mark.parametrize(("kvp", "aluminium", "mean", "hvl", "water", "bone"), BEAMS)
@pytest.mark.parametrize("bins", [None, 16])
def test_beam_hardening_is_that_of_the_table(
    kvp: float, aluminium: float, mean: float, hvl: float, water: float, bone: float, bins: int | None
) -> None:
    spectrum = tube_spectrum(kvp, aluminium)
    assert np.isclose(spectrum.mean_energy_kev, mean, rtol=0.005)
    assert np.isclose(spectrum.half_value_layer_mm(), hvl, rtol=0.01)
    beam = spectrum.binned(bins) if bins else spectrum
    assert np.isclose(beam.mean_energy_kev, spectrum.mean_energy_kev)
    exponent = mass_attenuation("water", beam.energy_kev) * 20
    energy = beam.photons * beam.energy_kev / beam.mean_energy_kev
    assert np.isclose(energy @ np.exp(-exponent), water, rtol=0.01)
    exponent += mass_attenuation("cortical_bone", beam.energy_kev) * 1.92 * 2
    assert np.isclose(energy @ np.exp(-exponent), bone, rtol=0.01)


@pytest.mark.parametrize(
    ("kvp", "added", "hvl", "photons"), [(50, 10, 3.8, 21759), (70, 21, 6.8, 30174), (90, 30, 9.2, 32362), (120, 40, 11.6, 31077)]
)
def test_photons_per_dose_of_the_iec_qualities(kvp: float, added: float, hvl: float, photons: float) -> None:
    # IEC 62220-1 RQA3, 5, 7, 9: photons a mm2 and uGy; the inherent filtration is 2.5 mm Al.
    spectrum = tube_spectrum(kvp, 2.5 + added)
    assert np.isclose(spectrum.photons_per_mm2(1.0), photons, rtol=0.07)
    assert np.isclose(spectrum.half_value_layer_mm(), hvl, rtol=0.05)


def test_voltages_between_the_tables_lie_between() -> None:
    low, middle, high = (tube_spectrum(kvp).mean_energy_kev for kvp in (80, 80.5, 81))
    assert low < middle < high
    assert tube_spectrum(150).energy_kev.max() <= 150


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: mass_attenuation("watre", 60), "did you mean 'water'"),
        (lambda: mass_attenuation("water", 200), "within 10 to 150 keV"),
        (lambda: tube_spectrum(30), "within 40 to 150 kV"),
        (lambda: tube_spectrum(80, -1), "must not be negative"),
    ],
)
def test_impossible_beams_are_told(call, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        call()
