"""Realism levels against closed forms."""

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import area_density
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.display import log_image, to_uint8
from SyntheXLib.rendering.levels import Exposure, make_image
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import Camera, CArm


def flat(hu: float, millimetres: float, size: int = 4) -> tuple[Projection, Camera]:
    """A projection of one material everywhere."""
    path = np.zeros((len(HU_CUTS) + 1, size, size), np.float32)
    path[np.searchsorted(HU_CUTS, hu, side="right")] = millimetres
    camera = CArm(size, size, 0.5, 1000).camera(np.eye(4))
    return Projection(HU_CUTS, path, path * np.float32(hu), np.zeros((size, size), np.uint16)), camera


@pytest.mark.parametrize(("hu", "naive", "heuristic"), [(0, 1000, 130), (-500, 500, 0), (700, 1700, 830), (-1000, 0, 0)])
def test_naive_and_heuristic_attenuate_from_their_thresholds(hu: float, naive: float, heuristic: float) -> None:
    projection, camera = flat(hu, 100.0)
    per_hu = (0.02683 - 2.485e-6) / 1000
    for level, excess in (("naive", naive), ("heuristic", heuristic)):
        assert np.allclose(make_image(level, projection, camera), np.exp(-per_hu * excess * 100), rtol=1e-5)


def test_realistic_without_noise_is_the_spectral_integral() -> None:
    projection, camera = flat(40.0, 200.0)
    exposure = Exposure(kvp=80, aluminium_mm=3, copper_mm=0.1)
    beam = tube_spectrum(80, 3, 0.1)
    density = area_density("soft_tissue", np.array(200.0), np.array(200.0 * 40))
    expected = (beam.photons * beam.energy_kev) @ np.exp(-mass_attenuation("soft_tissue", beam.energy_kev) * density) / beam.mean_energy_kev
    assert np.allclose(make_image("realistic", projection, camera, exposure), expected, rtol=0.005)  # 16 bins for the spectrum


def test_the_open_beam_is_one_at_every_level() -> None:
    projection, camera = flat(-1000.0, 0.0)
    for level in ("naive", "heuristic", "realistic"):
        assert np.allclose(make_image(level, projection, camera), 1.0, rtol=1e-6)


@pytest.mark.parametrize("dose", [0.5, 2.0, 8.0])
def test_quantum_noise_falls_with_the_root_of_the_dose(dose: float) -> None:
    projection, camera = flat(-1000.0, 0.0, size=256)
    exposure = Exposure(open_beam_dose_ugy=dose, readout_noise_quanta=0)
    image = make_image("realistic", projection, camera, exposure, np.random.default_rng(3))
    beam = tube_spectrum(90, 4)
    quanta = beam.photons_per_mm2(dose) * 0.25  # pixels of 0.5 mm
    # Energy-integrating: variance = sum E^2 n / (sum E n)^2.
    expected = np.sqrt((beam.photons @ beam.energy_kev**2) / beam.mean_energy_kev**2 / quanta)
    assert np.isclose(image.std(), expected, rtol=4 / np.sqrt(2 * 256**2) + 0.003)
    assert abs(image.mean() - 1) < 5 * expected / 256


def test_readout_noise_adds_up_over_the_detector_pixels_of_an_image_pixel() -> None:
    projection, camera = flat(0.0, 2000.0, size=256)  # nothing comes through
    exposure = Exposure(open_beam_dose_ugy=1.0, readout_noise_quanta=3.0)
    image = make_image("realistic", projection, camera, exposure, np.random.default_rng(3), detector_spacing_mm=0.25)
    quanta = tube_spectrum(90, 4).photons_per_mm2(1.0) * 0.25
    positive = image[image > 0]  # clipped at zero: half of a Gaussian of standard deviation s has mean square s^2
    assert np.isclose(np.sqrt((positive**2).mean()), 3.0 * 2 / quanta, rtol=0.02)


def test_noise_is_decided_by_the_generator() -> None:
    projection, camera = flat(0.0, 100.0, size=32)
    one, same, other = (make_image("realistic", projection, camera, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_log_and_display_show_bone_bright() -> None:
    signal = np.linspace(0, 1, 100).reshape(10, 10)
    assert np.isclose(log_image(signal).max(), 16 * np.log(2)) and np.isclose(log_image(signal)[-1, -1], 0)
    picture = to_uint8(signal)
    assert picture.dtype == np.uint8 and picture[0, 0] == 255 and picture[-1, -1] == 0
    assert to_uint8(np.ones((4, 4))).max() == 0  # a constant image has no contrast to show


def test_unknown_levels_and_exposures_are_told() -> None:
    projection, camera = flat(0.0, 1.0)
    with pytest.raises(SyntheXError, match=r"Unknown realism level 'realist'.*did you mean 'realistic'"):
        make_image("realist", projection, camera)
    with pytest.raises(SyntheXError, match="open_beam_dose_ugy must be above 0"):
        Exposure(open_beam_dose_ugy=0)
