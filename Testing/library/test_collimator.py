"""Collimator and lag against closed forms and our Monte Carlo's table."""

from dataclasses import replace

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.blur import GeometricBlur
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.scatter import Scatter
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.levels import Exposure, make_image
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import DEVICES, Camera

PLAIN = Detector(adc_bits=0, mtf_half_per_mm=0, readout_noise_quanta=0, full_scale=10)
BARE = Exposure(scatter=Scatter(0), grid=None, cathode_side="none", blur=GeometricBlur(focal_spot_mm=0.6), detector=PLAIN)


def slab(water_mm: float, size: int = 128) -> tuple[Projection, Camera]:
    path = np.zeros((len(HU_CUTS) + 1, size, size), np.float32)
    path[3] = water_mm  # soft tissue
    return Projection(HU_CUTS, path, np.zeros_like(path), np.zeros((size, size), np.uint16)), DEVICES["cios-fusion"].camera(
        np.eye(4), shape=(size, size)
    )


def test_an_edge_falls_off_over_the_focal_spot_seen_through_the_blades() -> None:
    projection, camera = slab(0, size=1024)
    image = make_image("realistic", projection, camera, replace(BARE, collimator=Collimator(width_mm=120, center_x_mm=10)))
    x = camera.detector_axes_mm()[0]
    penumbra = 0.6 * (1020 / 300 - 1)  # 1.44 mm
    expected = np.clip((60 - np.abs(x - 10)) / penumbra + 0.5, 0, 1)
    assert np.allclose(image, expected, atol=1e-5) and (image[0] == 0).sum() > 500


def test_the_field_has_the_area_that_it_says() -> None:
    projection, camera = slab(0, size=512)
    pixel = np.prod(camera.pixel_spacing_mm)
    for collimator, area in (
        (Collimator(width_mm=100, height_mm=60), 6000),
        (Collimator(width_mm=100, height_mm=60, rotation_deg=30), 6000),
        (Collimator(iris_mm=140, center_y_mm=-20), np.pi * 70**2),
        (Collimator(width_mm=100, height_mm=100, iris_mm=100, leakage=0.0), np.pi * 50**2),
    ):
        image = make_image("realistic", projection, camera, replace(BARE, collimator=collimator))
        assert np.isclose(image.sum(dtype=float) * pixel, area, rtol=2e-3)
        rows, columns = np.nonzero(image)
        x, y = camera.detector_axes_mm()
        assert max(np.abs(x[columns]).max(), np.abs(y[rows]).max()) <= collimator.reach_mm + 0.75
    image = make_image("realistic", projection, camera, replace(BARE, collimator=Collimator(iris_mm=50, leakage=0.002)))
    assert np.isclose(image.min(), 0.002) and np.isclose(image.max(), 1)


@pytest.mark.parametrize(("field_mm", "ratio"), [(50, 0.11), (100, 0.29), (150, 0.54), (200, 0.87), (298, 1.53)])
def test_scatter_shrinks_with_the_field(field_mm: float, ratio: float) -> None:
    # Scatter to primary ratio behind 20 cm of water (90 kV, gap 200 mm) by the field's side: own Monte Carlo, physics.md 4.2.
    projection, camera = slab(200)
    exposure = replace(BARE, collimator=Collimator(width_mm=field_mm, height_mm=field_mm))
    primary, whole = (make_image("realistic", projection, camera, replace(exposure, scatter=Scatter(s))) for s in (0.0, 1.0))
    assert np.isclose((whole / np.maximum(primary, 1e-9))[64, 64] - 1, ratio, rtol=0.1)  # 15 % asked for; within 5.9 % found
    if field_mm <= 200:  # behind the blades scatter alone is left, and falls off
        assert 0 < whole[64, 2] < whole[64, 30] < whole[64, 64] and primary[64, 2] == 0


def test_behind_the_blades_only_readout_noise_is_left() -> None:
    projection, camera = slab(0, size=256)
    detector = replace(PLAIN, readout_noise_quanta=3.0, flat_field=False)
    exposure = replace(BARE, detector=detector, collimator=Collimator(iris_mm=60))
    image = make_image("realistic", projection, camera, exposure, np.random.default_rng(2), detector_spacing_mm=camera.pixel_spacing_mm[0])
    beam = tube_spectrum(90, 4)
    quanta = beam.photons_per_mm2(5.0) * np.prod(camera.pixel_spacing_mm) * (beam.photons @ detector.absorption(beam.energy_kev))
    dark = image[:60]
    assert np.isclose(np.sqrt((dark[dark > 0] ** 2).mean()), 3.0 / quanta, rtol=0.04)  # half of a Gaussian


def test_an_open_collimator_changes_nothing() -> None:
    projection, camera = slab(150)
    images = [make_image("realistic", projection, camera, Exposure(collimator=c), np.random.default_rng(1)) for c in (None, Collimator())]
    assert images[0].tobytes() == images[1].tobytes()


def test_lag_is_exact_on_ramp_and_step() -> None:
    detector, image = Detector(lag=0.25), None
    for frame in range(12):  # a ramp is followed lag / (1 - lag) images late
        image = detector.with_lag(np.full((2, 2), float(frame)), image)
    assert image is not None and np.allclose(image, 11 - (0.25 / 0.75) * (1 - 0.25**11), rtol=1e-6)
    image = np.ones((2, 2))
    for frame in range(1, 6):  # what is gone decays exponentially
        image = detector.with_lag(np.zeros((2, 2)), image)
        assert np.allclose(image, 0.25**frame, rtol=1e-6)
    assert Detector().with_lag(image, np.ones((2, 2))) is image


def test_lag_keeps_a_part_of_the_image_before() -> None:
    (clear, camera), (thick, _) = slab(0), slab(200)
    exposure = replace(BARE, detector=replace(PLAIN, lag=0.1), cathode_side="left")
    first, alone = (make_image("realistic", p, camera, exposure) for p in (clear, thick))
    second = make_image("realistic", thick, camera, exposure, previous=first)
    assert np.allclose(second, 0.9 * alone + 0.1 * first, rtol=1e-4)


def test_impossible_blades_and_lags_are_told() -> None:
    for call, expected in (
        (lambda: Collimator(width_mm=0), "width_mm must be above 0"),
        (lambda: Collimator(leakage=2), "leakage must lie within 0 to 1"),
        (lambda: Detector(lag=1), "lag must lie within 0 to below 1"),
    ):
        with pytest.raises(SyntheXError, match=expected):
            call()
