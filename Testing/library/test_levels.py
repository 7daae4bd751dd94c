"""Realism levels against closed forms."""

import json
from dataclasses import replace

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.blur import GeometricBlur
from SyntheXLib.physics.decomposition import area_density
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.scatter import AntiScatterGrid, Scatter
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.display import log_image, to_uint8
from SyntheXLib.rendering.levels import Exposure, make_image
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import DEVICES, Camera, CArm


def flat(hu: float, millimetres: float, size: int = 4) -> tuple[Projection, Camera]:
    """A projection of one material everywhere."""
    path = np.zeros((len(HU_CUTS) + 1, size, size), np.float32)
    path[np.searchsorted(HU_CUTS, hu, side="right")] = millimetres
    camera = CArm(size, size, 0.5, 1000).camera(np.eye(4))
    return Projection(HU_CUTS, path, path * np.float32(hu), np.zeros((size, size), np.uint16)), camera


def bare(dose: float = 5.0, strength: float = 0.0, grid: AntiScatterGrid | None = None, **detector: float) -> Exposure:
    """No scatter, no heel, no blur, no digits, no readout noise, but what is given."""
    plain = {"mtf_half_per_mm": 0, "readout_noise_quanta": 0, "adc_bits": 0, "full_scale": 10, "light_swank": 1, **detector}
    still = GeometricBlur(focal_spot_mm=0)
    kept = Detector(**plain)  # type: ignore[arg-type]
    return Exposure(open_beam_dose_ugy=dose, cathode_side="none", scatter=Scatter(strength), grid=grid, blur=still, detector=kept)


@pytest.mark.parametrize(("hu", "naive", "heuristic"), [(0, 1000, 130), (-500, 500, 0), (700, 1700, 830), (-1000, 0, 0)])
def test_naive_and_heuristic_attenuate_from_their_thresholds(hu: float, naive: float, heuristic: float) -> None:
    projection, camera = flat(hu, 100.0)
    per_hu = (0.02683 - 2.485e-6) / 1000
    for level, excess in (("naive", naive), ("heuristic", heuristic)):
        assert np.allclose(make_image(level, projection, camera), np.exp(-per_hu * excess * 100), rtol=1e-5)


@pytest.mark.parametrize(("material", "g_cm3"), [("nitinol", 6.45), ("titanium", 4.51), ("steel_316l", 8.0)])
def test_a_rod_attenuates_by_its_chord(material: str, g_cm3: float) -> None:
    projection, camera = flat(-1000.0, 0.0, size=41)
    x, radius = camera.detector_axes_mm()[0] / 10, 1.0  # 0.05 mm a pixel in the rod's plane
    chord = np.broadcast_to(2 * np.sqrt(np.maximum(radius**2 - x**2, 0)), (41, 41)).astype(np.float32)
    with_rod = replace(projection, tool_path={material: chord})
    image = make_image("realistic", with_rod, camera, bare())
    full = tube_spectrum(90, 4)
    for beam, tolerance in ((full.binned(16), 1e-4), (full, 0.04)):  # few bins are worst for metal in the open beam
        weight = beam.photons * beam.energy_kev * Detector().absorption(beam.energy_kev)
        column = [weight @ np.exp(-mass_attenuation(material, beam.energy_kev) * g_cm3 * mm / 10) / weight.sum() for mm in chord[0]]
        assert np.allclose(image, column, rtol=tolerance)
    per_hu = (0.02683 - 2.485e-6) / 1000
    for level, lower in (("naive", -1000), ("heuristic", -130)):
        assert np.allclose(make_image(level, with_rod, camera), np.exp(-per_hu * (8000 - lower) * chord), rtol=1e-5)


def test_tools_of_the_material_that_the_ct_holds_add_up() -> None:
    projection, camera = flat(2500.0, 3.0)  # the CT's metal is titanium
    tool = np.full((4, 4), 2.0, np.float32)
    both = make_image("realistic", replace(projection, tool_path={"titanium": tool, "nitinol": tool}), camera, bare())
    density = float(area_density("titanium", np.array(3.0), np.array(7500.0)))
    beam = tube_spectrum(90, 4)
    weight = beam.photons * beam.energy_kev * Detector().absorption(beam.energy_kev)
    exponent = mass_attenuation("titanium", beam.energy_kev) * (density + 0.902) + mass_attenuation("nitinol", beam.energy_kev) * 1.29
    assert np.allclose(both, weight @ np.exp(-exponent) / weight.sum(), rtol=0.02)
    with pytest.raises(SyntheXError, match=r"No density of 'nitinoll'.*did you mean 'nitinol'"):
        make_image("realistic", replace(projection, tool_path={"nitinoll": tool}), camera)


def test_a_primary_image_of_another_backend_takes_the_place_of_ours() -> None:
    projection, camera = slab_and_camera()
    own = make_image("realistic", projection, camera, bare(strength=1.0))
    scatter = own - make_image("realistic", projection, camera, bare(strength=0.0))
    made = np.linspace(0.01, 0.5, 64 * 64, dtype=np.float32).reshape(64, 64)
    image = make_image("realistic", replace(projection, primary=made), camera, bare(strength=1.0))
    assert np.allclose(image - scatter, made, rtol=1e-4)


@pytest.mark.parametrize("level", ["naive", "heuristic"])
def test_poisson_noise_of_the_simple_levels_is_counted(level: str) -> None:
    projection, camera = flat(0.0, 50.0, size=256)
    clean = make_image(level, projection, camera, rng=np.random.default_rng(1))
    assert np.array_equal(clean, make_image(level, projection, camera))  # off by default
    image = make_image(level, projection, camera, rng=np.random.default_rng(1), poisson_photons=2000)
    assert np.allclose(image * 2000, np.rint(image * 2000), atol=1e-3)
    assert np.isclose(image.mean(), clean.mean(), rtol=5 / np.sqrt(2000 * clean.mean()) / 256)
    assert np.isclose(image.var(dtype=float), clean.mean() / 2000, rtol=5 * np.sqrt(2) / 256)
    with pytest.raises(SyntheXError, match="poisson_photons must be above 0"):
        make_image(level, projection, camera, rng=np.random.default_rng(1), poisson_photons=0)


def test_realistic_without_noise_is_the_spectral_integral() -> None:
    projection, camera = flat(40.0, 200.0)
    exposure = replace(bare(), kvp=80, aluminium_mm=3, copper_mm=0.1)
    beam = tube_spectrum(80, 3, 0.1)
    density = area_density("soft_tissue", np.array(200.0), np.array(200.0 * 40))
    weight = beam.photons * beam.energy_kev * exposure.detector.absorption(beam.energy_kev)
    expected = weight @ np.exp(-mass_attenuation("soft_tissue", beam.energy_kev) * density) / weight.sum()
    assert np.allclose(make_image("realistic", projection, camera, exposure), expected, rtol=0.005)  # 16 bins for the spectrum


def test_the_open_beam_is_one_at_every_level() -> None:
    projection, camera = flat(-1000.0, 0.0)
    for level in ("naive", "heuristic", "realistic"):
        assert np.allclose(make_image(level, projection, camera), 1.0, rtol=2e-5)  # half a count of 16 bits


def test_without_flat_fielding_the_open_beam_falls_towards_the_corners() -> None:
    projection, _ = flat(-1000.0, 0.0, size=32)
    camera = DEVICES["cios-fusion"].camera(np.eye(4), shape=(32, 32))
    image = make_image("realistic", projection, camera, bare(flat_field=False))
    corner = 1 / (1 + 2 * (149 * 31 / 32) ** 2 / 1020**2) ** 1.5  # the corner pixel's centre
    assert np.isclose(image[0, 0], corner, rtol=1e-3) and np.isclose(image[15, 15], 1, atol=1e-3)
    assert np.allclose(make_image("realistic", projection, camera, bare()), 1, rtol=1e-6)
    # Flat-fielding leaves the corners their noise: fewer photons.
    projection, _ = flat(-1000.0, 0.0, size=256)
    image = make_image("realistic", projection, camera.resized((256, 256)), bare(0.2), np.random.default_rng(6))
    rim, middle = np.r_[:32, 224:256], np.r_[96:160]
    ratio = image[np.ix_(rim, rim)].std() / image[np.ix_(middle, middle)].std()
    assert np.isclose(ratio, 0.952**-0.5, rtol=4 / np.sqrt(4096))  # the fluence in the corners' middle, 131 mm off along both axes


@pytest.mark.parametrize("dose", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("swank", [1.0, 0.8])
def test_quantum_noise_falls_with_the_root_of_the_dose(dose: float, swank: float) -> None:
    projection, camera = flat(-1000.0, 0.0, size=256)
    exposure = bare(dose, light_swank=swank)
    image = make_image("realistic", projection, camera, exposure, np.random.default_rng(3))
    beam = tube_spectrum(90, 4)
    absorbed = beam.photons * exposure.detector.absorption(beam.energy_kev)
    quanta = beam.photons_per_mm2(dose) * 0.25  # pixels of 0.5 mm
    # Energy-integrating: variance = sum E^2 n / (sum E n)^2. Flat-fielded pixels at the border have 1 % more of it.
    expected = np.sqrt((absorbed @ beam.energy_kev**2) / (absorbed @ beam.energy_kev) ** 2 / quanta / swank)
    assert np.isclose(image.std(), expected, rtol=4 / np.sqrt(2 * 256**2) + 0.007)
    assert abs(image.mean() - 1) < 5 * expected / 256


def test_readout_noise_adds_up_over_the_detector_pixels_of_an_image_pixel() -> None:
    projection, camera = flat(0.0, 2000.0, size=256)  # nothing comes through
    exposure = bare(1.0, readout_noise_quanta=3.0)
    image = make_image("realistic", projection, camera, exposure, np.random.default_rng(3), detector_spacing_mm=0.25)
    beam = tube_spectrum(90, 4)
    quanta = beam.photons_per_mm2(1.0) * 0.25 * (beam.photons @ exposure.detector.absorption(beam.energy_kev))
    positive = image[image > 0]  # clipped at zero: half of a Gaussian of standard deviation s has mean square s^2
    assert np.isclose(np.sqrt((positive**2).mean()), 3.0 * 2 / quanta, rtol=0.025)


def slab_and_camera() -> tuple[Projection, Camera]:
    """20 cm of water over the whole detector."""
    projection, _ = flat(0.0, 200.0, size=64)
    return projection, DEVICES["cios-fusion"].camera(np.eye(4), shape=(64, 64))


def test_scatter_behind_twenty_centimetres_is_some_one_and_a_half_times_the_primary() -> None:
    projection, camera = slab_and_camera()
    primary, whole = (make_image("realistic", projection, camera, bare(strength=strength)) for strength in (0.0, 1.0))
    assert np.isclose((whole / primary - 1)[32, 32], 1.53, rtol=0.15)
    twice = make_image("realistic", projection, camera, bare(strength=2.0))
    assert np.allclose(twice - primary, 2 * (whole - primary), rtol=1e-4)


def test_a_grid_lets_through_what_it_says() -> None:
    projection, camera = slab_and_camera()
    primary, whole = (make_image("realistic", projection, camera, bare(strength=strength)) for strength in (0.0, 1.0))
    behind = make_image("realistic", projection, camera, bare(strength=1.0, grid=AntiScatterGrid(0.7, 0.13)))
    assert np.allclose(behind - primary, (whole - primary) * 0.13 / 0.7, rtol=1e-4)  # relative to the open beam behind the grid
    # The grid takes photons: the open beam is as noisy as at 0.7 of the dose.
    projection, camera = flat(-1000.0, 0.0, size=128)
    noise = [
        make_image("realistic", projection, camera, exposure, np.random.default_rng(1)).std()
        for exposure in (bare(1.0, grid=AntiScatterGrid(0.7, 0.13)), bare(0.7))
    ]
    assert np.isclose(*noise, rtol=1e-3)


def test_the_bucky_factor_is_one_over_what_the_grid_lets_through() -> None:
    projection, camera = slab_and_camera()
    grid = AntiScatterGrid(0.7, 0.13)
    primary, whole, behind = (
        make_image("realistic", projection, camera, bare(strength=strength, grid=kept))[32, 32]
        for strength, kept in ((0.0, None), (1.0, None), (1.0, grid))
    )
    ratio = whole / primary - 1  # scatter to primary
    bucky = whole / (behind * 0.7)  # the image is relative to the open beam behind the grid
    assert ratio > 1 and np.isclose(bucky, (1 + ratio) / (0.7 + 0.13 * ratio), rtol=1e-5)


def test_scatter_brings_its_own_noise() -> None:
    projection, camera = slab_and_camera()
    clear, foggy = (make_image("realistic", projection, camera, bare(strength=strength)) for strength in (0.0, 1.0))
    noise = [
        np.subtract(make_image("realistic", projection, camera, bare(strength=strength), np.random.default_rng(4)), clean)[
            16:48, 16:48
        ].std()
        for strength, clean in ((0.0, clear), (1.0, foggy))
    ]
    # Variances add up, less for the scatter as its photons are softer: 51 keV to the primary's 60.
    ratio = float((foggy / clear - 1)[16:48, 16:48].mean())
    assert np.sqrt(1 + 0.75 * ratio) < noise[1] / noise[0] < np.sqrt(1 + ratio)


def test_the_detector_saturates_and_counts() -> None:
    projection, camera = flat(0.0, 30.0)
    image = make_image("realistic", projection, camera, bare(full_scale=0.25, adc_bits=8, flat_field=False))
    assert np.allclose(image, 0.25, rtol=1e-6)
    image = make_image("realistic", projection, camera, bare(full_scale=1.0, adc_bits=8, flat_field=False))
    assert np.allclose(image * 255, np.rint(image * 255), atol=1e-4) and 0.3 < image.mean() < 1


def test_noise_is_decided_by_the_generator() -> None:
    projection, camera = flat(0.0, 100.0, size=32)
    one, same, other = (make_image("realistic", projection, camera, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_every_parameter_can_be_written_to_a_header() -> None:
    written = json.loads(json.dumps(Exposure(grid=AntiScatterGrid()).to_dict()))
    assert written["decomposition"]["calibration"] == {"energy_kev": 70.0, "air_hu": -1000.0, "water_hu": 0.0}
    assert written["grid"]["primary_transmission"] == 0.7 and written["scatter"]["air_gap_mm"] == 200
    assert written["blur"]["focal_spot_mm"] == 0.6 and written["detector"]["adc_bits"] == 16


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
