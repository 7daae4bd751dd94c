"""The open field of an image is found, and no body is taken for a collimator."""

import numpy as np
import pytest

from SyntheXLib.inference.collimation import corners_of, find_collimation
from SyntheXLib.physics.collimator import Collimator

SIDE, MM, SCATTER = 300, 1.0, 0.01


def patient(shape: tuple[int, int] = (SIDE, SIDE), seed: int = 1) -> np.ndarray:
    """Signal behind a body with bones in front of open beam, with noise: a wide trunk across, dark bars in it."""
    rows, columns = np.indices(shape) / max(shape)
    signal = np.ones(shape)
    signal *= np.exp(-2.5 * np.sqrt(np.clip(1 - ((columns - 0.5) / 0.47) ** 2, 0, None)))
    for place in (0.3, 0.55, 0.7):
        signal *= np.exp(-0.7 * np.exp(-(((rows - place - 0.2 * (columns - 0.5)) / 0.03) ** 2)))
    return signal * np.random.default_rng(seed).normal(1, 0.02, shape)


def opening(collimator: Collimator, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return collimator.opening((columns - (shape[1] - 1) / 2) * MM, (rows - (shape[0] - 1) / 2) * MM, 2.0)


FIELDS = {
    "iris": Collimator(iris_mm=270),
    "iris off the middle": Collimator(iris_mm=280, center_x_mm=20, center_y_mm=-15),
    "blades": Collimator(width_mm=180, height_mm=220),
    "turned blades": Collimator(width_mm=190, height_mm=200, rotation_deg=12),
    "two blades": Collimator(width_mm=160),
    "blades off the middle": Collimator(width_mm=200, height_mm=400, center_x_mm=40),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("shown", ["log", "inverted log", "black shutter"])
def test_the_open_field_is_found(name: str, shown: str):
    share = opening(FIELDS[name])
    log = -np.log(patient() * share + SCATTER)
    image = {"log": log, "inverted log": log.max() - log, "black shutter": np.where(share > 0.5, log, log[share > 0.5].min() - 0.3)}[shown]
    found = find_collimation(image)
    assert found is not None
    assert found.kind == ("round" if "iris" in name else "polygon")
    field, truth = found.field(image.shape), share > 0.5
    assert np.count_nonzero(field & ~truth) / truth.sum() < 0.01
    assert np.count_nonzero(truth & ~field) / truth.sum() < 0.06


def test_the_field_comes_back_in_the_pixels_of_a_large_wide_image():
    shape = (500, 900)
    collimator = Collimator(width_mm=640, height_mm=380, rotation_deg=5)
    share = opening(collimator, shape)
    found = find_collimation(-np.log(patient(shape) * share + SCATTER))
    assert found is not None
    truth = share > 0.5
    assert np.count_nonzero(found.field(shape) != truth) / truth.sum() < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_an_open_image_has_no_collimation(seed: int):
    signal = patient(seed=seed)
    assert find_collimation(-np.log(signal)) is None
    assert find_collimation(signal) is None
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    limb = np.exp(-2 * np.sqrt(np.clip(1 - ((columns - 0.5 - 0.1 * np.sin(5 * rows)) / 0.2) ** 2, 0, None)))  # between open beam
    assert find_collimation(-np.log(limb)) is None
    assert find_collimation(np.random.default_rng(seed).normal(size=(SIDE, SIDE))) is None


def test_images_without_room_or_contrast_have_none():
    assert find_collimation(np.zeros((8, 8))) is None
    assert find_collimation(np.full((64, 64), 3.0)) is None


@pytest.mark.parametrize("tolerance", [0.05, 0.3, 1.5])
def test_corners_are_those_of_scikit_image(tolerance: float):
    from skimage.measure import approximate_polygon

    angles = np.sort(np.random.default_rng(3).uniform(0, 2 * np.pi, 60))
    line = np.column_stack([4 * np.cos(angles), 3 * np.sin(angles)])
    for one in (line, np.concatenate([line, line[:1]])):  # open and closed
        np.testing.assert_array_equal(corners_of(one, tolerance), approximate_polygon(one, tolerance))
