"""Anode angle and heel effect against SpekPy's numbers."""

from dataclasses import replace

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.blur import GeometricBlur
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.geometry import heel
from SyntheXLib.physics.scatter import Scatter
from SyntheXLib.physics.spectrum import Spectrum, tube_fluence, tube_spectrum
from SyntheXLib.rendering.levels import Exposure, make_image
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import DEVICES

# SpekPy, 4 mm aluminium, 1 m: anode angle, kVp, uGy/mAs, HVL in mm of aluminium.
ANODES = [(8, 60, 27.39, 2.782), (10, 75, 45.81, 3.384), (14, 90, 69.93, 3.929), (16, 125, 133.6, 5.311), (9, 83, 55.37, 3.805)]
# SpekPy, 90 kVp, 12 degrees, 4 mm aluminium, 1 m: cm towards the cathode, uGy/mAs, HVL in mm of aluminium.
SPEKPY = [(-15, 47.4, 4.74), (-10, 58.7, 4.33), (-5, 64.8, 4.12), (0, 68.4, 3.99), (5, 70.2, 3.90), (10, 70.8, 3.83), (15, 70.5, 3.78)]


def beam_at(centimetres: float, anode_deg: float = 12.0) -> tuple[Spectrum, float]:
    """Spectrum and air kerma (uGy/mAs) in a plane across the central ray at 1 m."""
    energies, photons = tube_fluence(90, 4, 0, anode_deg, np.degrees(np.arctan([centimetres / 100])))
    spectrum = Spectrum(energies, photons[0] / photons[0].sum())
    return spectrum, spectrum.air_kerma_per_photon() * photons[0].sum() / (1 + (centimetres / 100) ** 2)


@pytest.mark.parametrize(("centimetres", "kerma", "hvl"), SPEKPY)
def test_kerma_and_half_value_layer_across_the_beam_are_spekpys(centimetres: float, kerma: float, hvl: float) -> None:
    spectrum, found = beam_at(centimetres)
    assert np.isclose(found, kerma, rtol=0.02)
    assert np.isclose(spectrum.half_value_layer_mm(), hvl, rtol=0.02)


@pytest.mark.parametrize(("anode_deg", "kvp", "kerma", "hvl"), ANODES)
def test_other_anodes_are_spekpys(anode_deg: float, kvp: float, kerma: float, hvl: float) -> None:
    energies, photons = tube_fluence(kvp, 4, 0, anode_deg, np.zeros(1))
    spectrum = tube_spectrum(kvp, 4, 0, anode_deg)
    assert np.isclose(spectrum.air_kerma_per_photon() * photons.sum(), kerma, rtol=0.02)
    assert np.isclose(spectrum.half_value_layer_mm(), hvl, rtol=0.01)
    assert np.allclose(np.interp(spectrum.energy_kev, energies, photons[0] / photons.sum()), spectrum.photons, atol=1e-6)


def test_twelve_degrees_is_the_table_itself() -> None:
    assert np.array_equal(tube_spectrum(87.5, 3, 0.1).photons, tube_spectrum(87.5, 3, 0.1, 12.0).photons)


@pytest.mark.parametrize("side", ["left", "right", "up", "down"])
def test_the_open_beam_falls_towards_the_anode(side: str) -> None:
    size = 48
    nothing = np.zeros((len(HU_CUTS) + 1, size, size), np.float32)
    projection = Projection(HU_CUTS, nothing, nothing, np.zeros((size, size), np.uint16))
    camera = DEVICES["cios-fusion"].camera(np.eye(4), shape=(size, size))
    raw = replace(Detector(), flat_field=False, adc_bits=0, mtf_half_per_mm=0)
    exposure = Exposure(cathode_side=side, detector=raw)
    image = make_image("realistic", projection, camera, exposure)
    even = make_image("realistic", projection, camera, replace(exposure, cathode_side="none"))
    shape = image / even
    at = camera.detector_axes_mm()[0]
    turned = {"left": shape[:, ::-1], "right": shape, "up": shape.T[:, ::-1], "down": shape.T}[side]
    assert np.allclose(turned, turned[:1], rtol=1e-5)  # along one axis only
    beam = tube_spectrum(90, 4)
    signal = beam.photons * beam.energy_kev * Detector().absorption(beam.energy_kev)
    expected = signal @ heel(at, 1020, (90, 4, 0, 12), beam.energy_kev) / signal.sum()
    assert np.allclose(turned[0], expected, rtol=5e-3) and 0.80 < turned[0, 0] < 0.85 and 1 < turned[0, -1] < 1.1
    assert np.all(np.diff(turned[0]) > -2e-3)
    # Divided by the open beam, the signal is even; what stays is the noise of fewer photons.
    flat = replace(exposure, detector=Detector())
    assert np.allclose(make_image("realistic", projection, camera, flat), 1, rtol=1e-4)


def test_heel_in_kerma_is_that_of_the_table() -> None:
    # NIST, air.
    coefficient = np.array([10.0, 15, 20, 30, 40, 50, 60, 80, 100, 150])
    mu_en = np.array([4.742, 1.334, 0.5389, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407, 0.02325, 0.02496])
    at, kerma, _ = np.array(SPEKPY).T
    beam = tube_spectrum(90, 4)
    weight = beam.photons * beam.energy_kev * np.exp(np.interp(np.log(beam.energy_kev), np.log(coefficient), np.log(mu_en)))
    found = weight @ heel(at * 10, 1000, (90, 4, 0, 12), beam.energy_kev) / weight.sum()
    assert np.allclose(found / (1 + (at / 100) ** 2), kerma / 68.4, rtol=0.02)


def test_the_beam_is_harder_towards_the_anode() -> None:
    size = 32
    path = np.zeros((len(HU_CUTS) + 1, size, size), np.float32)
    path[3] = 200.0
    projection = Projection(HU_CUTS, path, np.zeros_like(path), np.zeros((size, size), np.uint16))
    camera = DEVICES["cios-fusion"].camera(np.eye(4), shape=(size, size))
    detector = Detector(adc_bits=0, mtf_half_per_mm=0)
    exposure = Exposure(detector=detector, scatter=Scatter(0), blur=GeometricBlur(focal_spot_mm=0), cathode_side="right")
    image = make_image("realistic", projection, camera, exposure)  # relative to the open beam of each pixel
    density = exposure.decomposition.area_densities(path[:, :1, 0], np.zeros((len(HU_CUTS) + 1, 1)))["soft_tissue"]
    at = camera.detector_axes_mm()[0]
    energies, photons = tube_fluence(90, 4, 0, 12, np.degrees(np.arctan(at / 1020)))
    weight = photons * energies * detector.absorption(energies)
    expected = (weight @ np.exp(-mass_attenuation("soft_tissue", energies) * density)) / weight.sum(1)
    assert np.allclose(image, expected, rtol=0.01)
    assert 1.05 < image[0, 0] / image[0, 16] < 1.10 and 0.97 < image[0, -1] / image[0, 16] < 0.99


def test_impossible_tubes_are_told() -> None:
    with pytest.raises(SyntheXError, match="anode angle must lie within 6 to 20 degrees, found 3"):
        tube_spectrum(90, 4, 0, 3)
    with pytest.raises(SyntheXError, match=r"cathode_side must be one of .*did you mean 'left'"):
        Exposure(cathode_side="lefft")
