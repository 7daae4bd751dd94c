"""Several networks and views: averaged, turned back, and how far they differ; the collimated field; the domain; text in the image."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_network import SIDE, SIGMA, ToyNetwork, as_image, exclusive, toy_description, toy_predictor, toy_task, toy_view

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.burnt_in import find_text, without_text
from SyntheXLib.inference.domain import domain_statistics, domain_warning
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.inference.reading import Answer, combine
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.tasks.task import Task


class Shifted(ToyNetwork):
    """Finds every landmark some pixels further to the right than it is."""

    def __init__(self, task: Task, pixels: int) -> None:
        super().__init__(task)
        self.pixels = pixels

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        output = super().forward(x)
        return NetworkOutput(output.segmentation, output.heatmaps.roll(self.pixels, -1))


def test_one_network_has_no_spread_and_equal_ones_have_none_either():
    task, image = toy_task(), as_image(toy_view(0)[0])
    (alone,) = toy_predictor().predict([image])
    assert alone.landmark_spread is None and alone.structure_spread is None
    twice = Predictor(ToyNetwork(task), toy_description(), "cpu", [(ToyNetwork(task), toy_description())])
    (found,) = twice.predict([image])
    np.testing.assert_array_equal(found.mask, alone.mask)
    np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=1e-4)
    np.testing.assert_allclose(found.landmark_spread, 0, atol=1e-4)
    np.testing.assert_allclose(found.structure_spread, 0, atol=1e-6)


def test_the_spread_is_the_root_mean_square_distance_from_the_mean_place():
    task = toy_task()
    members = [(Shifted(task, pixels), toy_description()) for pixels in (0, 2, 4)]
    ((first, told), *others) = members
    (found,) = Predictor(first, told, "cpu", others).predict([as_image(toy_view(0)[0])])
    np.testing.assert_allclose(found.landmark_spread, np.sqrt(8 / 3), atol=0.05)  # of 0, 2 and 4
    np.testing.assert_allclose(found.landmarks[:, 0], toy_view(0)[2][:, 0] + 2, atol=0.3)


@pytest.mark.parametrize("views", [("plain", "flip"), ("plain", "turn"), ("flip",), ("turn",), ("plain", "flip", "turn")])
def test_views_are_turned_back(views: tuple[str, ...]):
    image, bits, landmarks = toy_view(1)
    (found,) = Predictor(ToyNetwork(toy_task()), toy_description(), "cpu", views=views).predict([as_image(image)])
    np.testing.assert_array_equal(found.mask, exclusive(bits))
    np.testing.assert_allclose(found.landmarks, landmarks, atol=0.02)


def test_left_and_right_are_exchanged_in_the_mirror_image():
    values = toy_task().to_dict()
    for entry, name, mirror in zip(values["structures"], ("left_bone", "right_bone"), ("right_bone", "left_bone"), strict=True):
        entry["name"], entry["mirror"] = name, mirror
    for entry, side, other in zip(values["landmarks"], "lr", "rl", strict=True):
        entry |= {"name": f"P-{side}", "mirror": f"P-{other}", "structures": ["left_bone" if side == "l" else "right_bone"]}
    values["poses"]["isocenter"] = ["left_bone"]
    task = Task.from_dict(values)
    image, bits, landmarks = toy_view(0)
    (plain,) = toy_predictor(task).predict([as_image(image)])
    np.testing.assert_array_equal(plain.mask, exclusive(bits))
    # This network knows the bones by their grey level and not by their side, so in the mirror image it names them as before:
    # turned back, what it calls left is called right.
    (mirrored,) = Predictor(ToyNetwork(task), toy_description(task), "cpu", views=("flip",)).predict([as_image(image)])
    swapped = np.where(exclusive(bits) == 1, 2, np.where(exclusive(bits) == 2, 1, 0))
    np.testing.assert_array_equal(mirrored.mask, swapped)
    np.testing.assert_allclose(mirrored.landmarks, landmarks[::-1], atol=0.02)


def test_networks_that_know_other_things_make_no_ensemble():
    other = toy_task(landmarks=False)
    with pytest.raises(SyntheXError, match="same structures and landmarks"):
        Predictor(ToyNetwork(toy_task()), toy_description(), "cpu", [(ToyNetwork(other), toy_description(other))])
    with pytest.raises(SyntheXError, match="View of an image"):
        Predictor(ToyNetwork(toy_task()), toy_description(), "cpu", views=("upside",))


def test_a_member_that_was_trained_at_another_spacing_is_brought_to_the_grid_of_the_first():
    task = toy_task()
    fine = dataclasses.replace(toy_description(), image_size=(2 * SIDE, 2 * SIDE), pixel_spacing_mm=1.0, heatmap_sigma_px=2 * SIGMA)
    image, _, landmarks = toy_view(0)
    (found,) = Predictor(ToyNetwork(task), toy_description(), "cpu", [(ToyNetwork(task), fine)]).predict([as_image(image)])
    np.testing.assert_allclose(found.landmarks, landmarks, atol=0.6)
    assert found.landmark_spread is not None and (found.landmark_spread < 0.6).all()


def test_heatmaps_count_the_same_whatever_their_scale():
    low, high = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    low[..., 1, 1], high[..., 2, 2] = 0.001, 1000.0
    masks = torch.zeros(1, 2, 4, 4)
    mean = combine([Answer(masks, low, torch.tensor([[0.2]])), Answer(masks, high, None)])
    assert float(mean.heatmaps[0, 0, 1, 1]) == pytest.approx(0.5) == float(mean.heatmaps[0, 0, 2, 2])
    assert mean.presence is not None and float(mean.presence) == pytest.approx(0.2)


def test_nothing_is_found_outside_the_open_field_and_it_does_not_count_for_the_grey_levels():
    image, _, landmarks = toy_view(0)
    field = np.zeros(image.shape, bool)
    field[5:36, 4:24] = True  # the cube and the left half of the bar
    closed = XrayImage(np.where(field, image, 1e-3).astype(np.float32), "linear", (2.0, 2.0), None, field)
    predictor = toy_predictor()
    x = predictor.inputs([closed])[0, 0].numpy()
    assert (x[~field] == 0).all()
    assert x[field].mean() == pytest.approx(0, abs=1e-5) and x[field].std() == pytest.approx(1, abs=1e-5)
    (found,) = predictor.predict([closed], heat=True)
    assert found.heat is not None and not found.mask[~field].any() and not found.heat[~field].any()
    columns, rows = found.landmarks.round().astype(int).T
    assert field[rows, columns].all()
    np.testing.assert_allclose(found.landmarks[0], landmarks[0], atol=0.6)


def test_an_image_unlike_the_validation_is_told_and_others_are_not():
    predictor = toy_predictor()
    statistics = domain_statistics(predictor, [as_image(toy_view(n)[0]) for n in range(12)])
    assert statistics["count"] == 12 and {"dark", "bright", "roughness", "confidence"} <= set(statistics["ranges"])
    (image,) = [as_image(toy_view(5)[0])]
    assert domain_warning(predictor, image, predictor.predict([image])[0]) is None  # a model without statistics
    told = dataclasses.replace(predictor.description, training={"domain": statistics})
    knowing = Predictor(predictor.network, told, "cpu")
    assert domain_warning(knowing, image, knowing.predict([image])[0]) is None
    noisy = as_image((toy_view(5)[0] * np.random.default_rng(0).uniform(0.8, 1.2, image.shape)).astype(np.float32))
    warning = domain_warning(knowing, noisy, knowing.predict([noisy])[0])
    assert warning is not None and "roughness" in warning


def test_burnt_in_text_is_painted_over_and_a_screw_is_not(tmp_path: Path):
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = np.indices((400, 400))
    smooth = (60 + 60 * np.sin(columns / 60) * np.cos(rows / 80)).astype(np.uint8)
    picture = Image.fromarray(smooth.copy())
    draw = ImageDraw.Draw(picture)
    draw.text((250, 40), "PORTABLE 12", font=ImageFont.load_default(size=18), fill=255)
    draw.rectangle((100, 200, 106, 260), fill=255)  # a screw
    image = np.asarray(picture)
    marks = find_text(image)
    letters = image == 255
    letters[150:] = False
    assert (marks & letters).sum() > 0.85 * letters.sum()
    assert not marks[150:].any()
    cleaned = without_text(image)
    assert np.abs(cleaned[:150].astype(int) - smooth[:150])[marks[:150]].max() < 25
    np.testing.assert_array_equal(cleaned[150:], image[150:])
    assert without_text(smooth) is smooth
