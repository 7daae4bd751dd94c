"""The open beam on a flat detector."""

import numpy as np

from SyntheXLib.physics.geometry import relative_fluence
from SyntheXLib.scene.c_arm import DEVICES


def test_the_open_beam_falls_with_the_cosine_cubed() -> None:
    camera = DEVICES["cios-fusion"].camera(np.eye(4), crop_px=50, shape=(24, 32))
    x, y = camera.detector_axes_mm()
    rays = camera.rays()
    cosine = 1 / np.linalg.norm(rays, axis=-1)
    assert np.allclose(relative_fluence(x[None], y[:, None], 1020), cosine**3)


def test_the_corner_of_a_298_mm_detector_at_1020_mm_gets_0_939_of_the_centre() -> None:
    assert np.isclose(relative_fluence(np.array(149.0), np.array(-149.0), 1020), 0.939, atol=5e-4)


def test_detector_axes_are_millimetres_from_the_central_ray() -> None:
    camera = DEVICES["cios-fusion"].camera(np.eye(4))
    x, y = camera.detector_axes_mm()
    assert np.allclose([x[0], x[-1], y[0], y[-1]], np.array([-1, 1, -1, 1]) * 1535 / 2 * 0.194)
    x, y = camera.region(100, 1436, (10, 20)).detector_axes_mm()
    assert np.allclose([x[0], y[0]], [(1436 - 767.5) * 0.194, (100 - 767.5) * 0.194]) and (len(x), len(y)) == (20, 10)
