"""Pictures of what was found."""

from pathlib import Path

import numpy as np
from toy_network import toy_task

from SyntheXLib.inference.overlay import Layers, compose, write_label_png
from SyntheXLib.rendering.display import to_gray


def test_an_overlay_has_everything_in_its_place():
    task = toy_task()
    gray = np.full((20, 30), 100, np.uint8)
    masks = np.zeros((2, 20, 30), bool)
    masks[1, 4:16, 4:14] = True
    points = np.array([[24.0, 5.0], [np.nan, np.nan]])
    truth = np.array([[24.0, 14.0], [np.nan, np.nan]])
    heat = np.zeros((20, 30))
    heat[17:, 20:] = 1.0
    picture = compose(gray, task, Layers(masks, points, np.array([True, True]), truth, heat), side=600).astype(int)
    assert picture.shape == (400, 600, 3)

    def at(column: float, row: float) -> np.ndarray:
        return picture[round((row + 0.5) * 20), round((column + 0.5) * 20)]

    assert at(9, 10)[2] > 110 and at(9, 10)[0] < 90  # the bar's blue over grey
    assert at(25.5, 18.5)[1] > 200 > at(25.5, 18.5)[0]  # heat
    assert at(24, 5)[0] > 200 > at(24, 5)[2]  # the cross of the cube's landmark is light red
    assert (picture[round(14.5 * 20) + 4, round(24.5 * 20)] == 100).all()  # inside the circle nothing is drawn ...
    around = picture[round(14.5 * 20) - 12 : round(14.5 * 20) + 13, round(24.5 * 20)]
    assert around.max() > 240 and around.min() < 60  # ... its white line has a dark rim
    assert (at(24, 9.5) > 130).all()  # the line from truth to prediction
    assert (at(1, 18) == 100).all() and (at(17, 10) == 100).all()


def test_label_pictures_keep_their_numbers(tmp_path: Path):
    from PIL import Image

    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    write_label_png(tmp_path / "x.png", labels, toy_task())
    picture = Image.open(tmp_path / "x.png")
    np.testing.assert_array_equal(np.asarray(picture), labels)
    assert picture.convert("RGB").getpixel((1, 0)) == (200, 30, 30)


def test_grey_runs_from_black_to_white_and_a_flat_image_does_not_fail():
    gray = to_gray(np.linspace(0, 1, 1000).reshape(25, 40))
    assert gray.min() == 0 and gray.max() == 255 and (np.diff(gray.ravel().astype(int)) >= 0).all()
    assert to_gray(np.ones((4, 4))).max() == 0
