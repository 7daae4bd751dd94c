"""The open beam on a flat detector."""

import numpy as np

from SyntheXLib.physics.geometry import relative_fluence
from SyntheXLib.scene.c_arm import DEVICES


def test_the_open_beam_falls_with_the_cosine_cubed() -> None:
    camera = DEVICES["cios-fusion"].camera(np.eye(4), shape=(32, 32))
    x, y = np.meshgrid(*2 * [(np.arange(32) - 15.5) * 1536 * 0.194 / 32])
    assert np.allclose(relative_fluence(camera.rays()), np.cos(np.arctan(np.hypot(x, y) / 1020)) ** 3)


def test_the_corner_of_a_298_mm_detector_at_1020_mm_gets_0_939_of_the_centre() -> None:
    assert np.isclose(relative_fluence(np.array([149 / 1020, 149 / 1020, 1.0])), 0.939, atol=5e-4)


def test_half_the_distance_gives_four_times_the_photons() -> None:
    # The same point seen from half as far: inverse square on the central ray, here through the cosine law's own geometry.
    near, far = (relative_fluence(np.array([100 / distance, 0, 1.0])) / distance**2 for distance in (500.0, 1000.0))
    assert np.isclose(near / far, 4 * ((1 + 0.1**2) / (1 + 0.2**2)) ** 1.5)
