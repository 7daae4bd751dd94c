"""Predictions of image files: pictures and points, and back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from toy_network import SPACING, exclusive, toy_task, toy_view, write_image

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predict_images import predict_images, read_image_predictions
from SyntheXLib.inference.predictions import open_predictions


def test_image_files_get_masks_overlays_and_landmarks_and_bad_ones_are_listed(tmp_path: Path, toy_model: Path):
    from PIL import Image

    image, bits, landmarks = toy_view(1, 80)
    log = (255 * -np.log(image) / 3).round().astype(np.uint8)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    good = [write_image(tmp_path / "one" / "view.png", log), write_image(tmp_path / "two" / "view.png", log)]
    (tmp_path / "bad.png").write_text("no picture", encoding="utf-8")
    far = write_image(tmp_path / "far.nrrd", log, (500.0, 500.0))
    made = predict_images(toy_model, [good[0], tmp_path / "bad.png", far, good[1]], tmp_path / "out", device="cpu")
    assert [p.parent.name for p in made.images] == ["one", "two"]
    assert [path.name for path, _ in made.failed] == ["bad.png", "far.nrrd"]
    assert "not an image" in made.failed[0][1] and "check the pixel spacing" in made.failed[1][1]
    names = {p.name for p in (tmp_path / "out").iterdir()}
    pictures = {"view_labels.png", "view_overlay.png", "view_2_labels.png", "view_2_overlay.png"}
    assert names == pictures | {"landmarks.csv", "predictions.json"}
    labels = Image.open(tmp_path / "out" / "view_labels.png")
    assert labels.mode == "P" and labels.size == (80, 80) and labels.getpalette()[3:9] == [200, 30, 30, 30, 30, 200]
    a, b = np.asarray(labels) == 2, bits == 2
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.75
    assert Image.open(tmp_path / "out" / "view_overlay.png").size == (1024, 1024)
    with (tmp_path / "out" / "landmarks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and float(rows[0]["column"]) == pytest.approx(landmarks[0, 0], abs=0.75)
    description = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert description["kind"] == "images" and [Path(f["file"]).name for f in description["failed"]] == ["bad.png", "far.nrrd"]
    with pytest.raises(SyntheXError, match="of image files"):
        open_predictions(tmp_path / "out")


def test_multilabel_masks_are_written_one_by_one(tmp_path: Path):
    from PIL import Image

    from SyntheXLib.inference.outputs import write_masks

    bits = np.array([[0, 1], [2, 3]], np.uint16)
    paths = write_masks(tmp_path, "x", bits, toy_task("multilabel"))
    assert [p.name for p in paths] == ["x_cube.png", "x_bar.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(paths[0])), [[0, 255], [0, 255]])
    np.testing.assert_array_equal(np.asarray(Image.open(paths[1])), [[0, 0], [255, 255]])


@pytest.mark.parametrize("inverted", [False, True])
def test_the_network_is_asked_which_way_round_a_picture_is(tmp_path: Path, toy_model: Path, inverted: bool):
    image, bits, _ = toy_view(1)
    log = (255 * -np.log(image) / 2).round().astype(np.uint8)
    path = write_image(tmp_path / "view.png", 255 - log if inverted else log)
    predict_images(toy_model, [path], tmp_path / "out", device="cpu")
    description = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert description["images"][0]["polarity"] == ("bone-dark" if inverted else "bone-bright")
    _, (prediction,) = read_image_predictions(tmp_path / "out")
    np.testing.assert_array_equal(prediction.mask, exclusive(bits))


def test_the_frames_of_a_run_come_back_as_they_were_predicted(tmp_path: Path, toy_model: Path):
    views = [toy_view(number) for number in range(5)]
    path = write_image(tmp_path / "run.nrrd", np.stack([image for image, _, _ in views]), (SPACING, SPACING, 1.0))
    seen: list[tuple[int, int]] = []
    made = predict_images(
        toy_model,
        [path],
        tmp_path / "out",
        polarity="bone-dark",
        intensity="linear",
        device="cpu",
        batch=2,
        overlays=False,
        progress=lambda *step: seen.append(step),
    )
    assert made.frames == 5 and seen[0] == (1, 5) and seen[-1] == (5, 5)
    assert not list((tmp_path / "out").glob("*overlay*"))
    task, predictions = read_image_predictions(tmp_path / "out")
    assert task == toy_task()
    for prediction, (_, bits, landmarks) in zip(predictions, views, strict=True):
        np.testing.assert_array_equal(prediction.mask, exclusive(bits))
        np.testing.assert_allclose(prediction.landmarks, landmarks, atol=0.05)
        assert prediction.confidence.min() > 0.99


def test_masks_that_overlap_come_back_too(tmp_path: Path):
    from SyntheXLib.inference.outputs import read_masks, write_masks

    bits = np.array([[0, 1], [2, 3]], np.uint16)
    paths = write_masks(tmp_path, "x", bits, toy_task("multilabel"))
    np.testing.assert_array_equal(read_masks(paths, toy_task("multilabel")), bits)


def test_predictions_of_a_data_set_or_with_a_file_left_out_are_not_those_of_images(tmp_path: Path, toy_model: Path):
    with pytest.raises(SyntheXError, match="no complete predictions of image files"):
        read_image_predictions(tmp_path)
    (tmp_path / "bad.png").write_text("no picture", encoding="utf-8")
    predict_images(toy_model, [tmp_path / "bad.png"], tmp_path / "out", device="cpu")
    with pytest.raises(SyntheXError, match="not an image"):
        read_image_predictions(tmp_path / "out")
