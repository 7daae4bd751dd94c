"""Images from files, the way to the network's grid and back, and predictions on disk; with a network whose answer is known."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.nn import functional

from SyntheXLib.datasets.format import DatasetHeader, shard_path, sidecar_path, write_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.inference import predict
from SyntheXLib.inference.grid import network_grid
from SyntheXLib.inference.images import XrayImage, find_images, read_image, stem
from SyntheXLib.inference.overlay import Layers, compose, to_gray, write_label_png
from SyntheXLib.inference.predictions import open_predictions
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks import model_file
from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.tasks.task import Task

SIDE, SPACING, SIGMA = 40, 2.0, 2.0


def toy_task(segmentation: str = "exclusive", landmarks: bool = True) -> Task:
    structures = [
        {"name": "cube", "mirror": "cube", "color": [200, 30, 30]},
        {"name": "bar", "mirror": "bar", "color": [30, 30, 200]},
    ]
    points = [
        {"name": "C", "mirror": "C", "structures": ["cube"]},
        {"name": "B", "mirror": "B", "structures": ["bar"]},
    ]
    values = {
        "name": "toy",
        "title": "Toy",
        "segmentation": segmentation,
        "heatmap_sigma_mm": SIGMA * SPACING,
        "c_arm": {"image_size": SIDE},
        "poses": {"isocenter": ["cube"]},
        "structures": structures,
        "landmarks": points if landmarks else [],
    }
    return Task.from_dict(values)


def toy_view(index: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear image (bone dark), bit field and landmarks (the centres) of two boxes that move with the index; `side` scales everything."""
    scale = side / SIDE
    bits = np.zeros((side, side), np.uint16)
    boxes = [(10 + index % 3, 18 + index % 3, 10, 16), (22, 32, 14 + index % 4, 30 + index % 4)]
    landmarks = np.zeros((2, 2), np.float32)
    for bit, (top, bottom, left, right) in enumerate(boxes):
        rows, columns = slice(round(top * scale), round(bottom * scale)), slice(round(left * scale), round(right * scale))
        bits[rows, columns] |= 1 << bit
        landmarks[bit] = (columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2
    attenuation = (bits & 1).astype(np.float32) + (bits >> 1 & 1) * 2.0
    return np.exp(-attenuation).astype(np.float32), bits, landmarks


def toy_dataset(folder: Path, count: int = 5, task: Task | None = None, seed: int = 0) -> XrayDataset:
    """A data set of toy views, turned by 10 degrees times the index; the second landmark of image 1 is out of frame."""
    task = task or toy_task()
    configuration = {"image_size": SIDE, "pixel_spacing_mm": SPACING, "source_to_detector_mm": 1000.0}
    header = DatasetHeader(task, ({"name": "phantom"},), configuration, seed, count, shard_size=3)
    write_header(folder, header)
    samples = []
    for index in range(count):
        image, bits, landmarks = toy_view(index)
        visible = np.array([True, index != 1])
        if index == 1:
            landmarks[1] = 99, 99
        number = len(task.landmarks)
        samples.append(
            {
                "image": image,
                "mask": bits,
                "landmark": landmarks[:number],
                "landmark_visible": visible[:number],
                "world_to_camera": CArmPose(lao_rao_deg=10.0 * index).world_to_camera(np.zeros(3)),
                "intrinsics": np.eye(3),
                "parameters": {"specimen": "phantom", "coverage": 0.25, "source_to_isocenter_mm": 500.0},
            }
        )
    for shard in range(header.shard_count):
        write_shard(folder, shard, samples[3 * shard : 3 * shard + 3])
    return XrayDataset(folder)


def write_shard(folder: Path, shard: int, samples: list[dict]) -> None:
    path = shard_path(folder, shard)
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name in samples[0]:
            values = [sample[name] if name != "parameters" else json.dumps(sample[name]) for sample in samples]
            file[name] = values if name == "parameters" else np.stack(values)
    sidecar_path(folder, shard).write_text(json.dumps({"bytes": path.stat().st_size, "sha256": sha256(path)}), encoding="utf-8")


class ToyNetwork(torch.nn.Module):
    """Knows toy views: grey level 0, 1/2 and 1 of the range are nothing, cube and bar; landmarks are their centres."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.calls = 0

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        assert x.shape[1] == 1 and x.shape[2] % 16 == 0 and x.shape[3] % 16 == 0
        assert abs(float(x.mean())) < 1.0
        self.calls += 1
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        labels = torch.round(2 * (x - low) / (high - low)).long()[:, 0]
        masks = torch.stack([(labels == n).float() for n in range(3)], dim=1)
        # Between nothing and bar lies the grey of the cube: what is one pixel thin is an edge, not a cube.
        inner = -functional.max_pool2d(-masks, 3, 1, 1)
        masks[:, 1] = functional.max_pool2d(inner, 3, 1, 1)[:, 1]
        rows, columns = torch.arange(x.shape[2]).float(), torch.arange(x.shape[3]).float()
        maps = []
        for n in range(len(self.task.landmarks)):
            weight = inner[:, n + 1]
            total = weight.sum((1, 2))
            row, column = (weight * rows[:, None]).sum((1, 2)) / total, (weight * columns).sum((1, 2)) / total
            distance = (rows[:, None] - row[:, None, None]) ** 2 + (columns - column[:, None, None]) ** 2
            maps.append(torch.exp(-0.5 * distance / SIGMA**2))
        heatmaps = torch.stack(maps, dim=1) if maps else masks[:, :0]
        segmentation = masks if self.task.segmentation == "exclusive" else masks[:, 1:]
        return NetworkOutput(20 * segmentation - 10, heatmaps)


def toy_description(task: Task | None = None) -> ModelDescription:
    return ModelDescription("small", (SIDE, SIDE), SPACING, (task or toy_task()).to_dict(), SIGMA, training={"epoch": 3})


def toy_predictor(task: Task | None = None) -> Predictor:
    task = task or toy_task()
    return Predictor(ToyNetwork(task), toy_description(task), "cpu")


@pytest.fixture
def toy_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file that loads as the toy network."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"toy")
    monkeypatch.setattr(model_file, "load_model", lambda path, device="cpu": (ToyNetwork(toy_task()), toy_description()))
    return path


# Images from files.


def write(path: Path, values: np.ndarray, spacing: tuple[float, ...] | None = None, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(values, isVector=vector)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def test_a_log_image_is_turned_bone_bright(tmp_path: Path):
    values = np.array([[0, 100], [200, 255]], np.uint8)
    path = write(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_image(path, "bone-bright", "log").pixels, values)
    np.testing.assert_array_equal(read_image(path, "bone-dark", "log").pixels, 255.0 - values)


def test_a_linear_image_becomes_a_signal_of_at_most_one_with_bone_dark(tmp_path: Path):
    values = np.array([[1000, 250], [500, 0]], np.uint16)
    image = read_image(write(tmp_path / "a.tiff", values), "bone-dark", "linear")
    np.testing.assert_allclose(image.pixels, [[1, 0.25], [0.5, 0.5 / 1000]], rtol=1e-6)  # 0 is raised to half a grey level
    np.testing.assert_allclose(image.bone_bright(), -np.log(image.pixels), rtol=1e-5)


def test_an_inverted_linear_image_is_inverted_on_its_whole_bits(tmp_path: Path):
    values = np.array([[0, 1023], [3095, 4000]], np.uint16)  # twelve bits: signal = 4095 - value
    image = read_image(write(tmp_path / "a.png", values), "bone-bright", "linear")
    np.testing.assert_allclose(image.pixels, np.array([[4095, 3072], [1000, 95]]) / 4095, rtol=1e-6)


def test_spacing_is_known_from_medical_formats_and_unknown_from_pictures(tmp_path: Path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for name in ("a.nrrd", "a.nii.gz", "a.mha", "a.dcm"):
        image = read_image(write(tmp_path / name, values, (0.5, 0.25)))
        assert image.shape == (3, 4)
        assert image.pixel_spacing_mm == pytest.approx((0.25, 0.5)), name
    for name in ("a.png", "a.tif"):
        assert read_image(write(tmp_path / name, values, (0.5, 0.25))).pixel_spacing_mm is None
    assert read_image(write(tmp_path / "b.nrrd", values)).pixel_spacing_mm is None  # ITK's 1 mm of a file that says nothing
    assert read_image(tmp_path / "a.png", pixel_spacing_mm=(0.2, 0.3)).pixel_spacing_mm == (0.2, 0.3)


def test_a_single_slice_and_a_grey_picture_in_three_channels_are_read(tmp_path: Path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.nii", values[None])).pixels, values)
    np.testing.assert_array_equal(read_image(write(tmp_path / "b.png", np.stack([values] * 3, -1), vector=True)).pixels, values)
    large = np.stack([np.arange(400).astype(np.uint8).reshape(20, 20)] * 3, -1)
    large[0, 0] = 1, 2, 3  # a small coloured mark
    np.testing.assert_array_equal(read_image(write(tmp_path / "c.png", large, vector=True)).pixels, large[..., 0])


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    holes = grey.astype(np.float32)
    holes[0, 0] = np.nan
    cases = {
        "3 frames": write(tmp_path / "frames.nrrd", np.stack([grey] * 3)),
        "in colour": write(tmp_path / "colour.png", np.stack([grey, grey, grey + 1], -1), vector=True),
        "same value 7 everywhere": write(tmp_path / "flat.png", np.full((3, 4), 7, np.uint8)),
        "not finite": write(tmp_path / "holes.nrrd", holes),
        "not an image": tmp_path / "text.png",
        "does not exist": tmp_path / "missing.png",
    }
    for message, path in cases.items():
        with pytest.raises(SyntheXError, match=message) as error:
            read_image(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(SyntheXError, match="none below 0"):
        read_image(write(tmp_path / "negative.nrrd", grey.astype(np.float32) - 1), "bone-dark", "linear")
    with pytest.raises(SyntheXError, match="Polarity"):
        read_image(cases["3 frames"], polarity="dark")
    with pytest.raises(SyntheXError, match="Intensity"):
        read_image(cases["3 frames"], intensity="LOG")


def test_images_are_found_in_folders_and_their_stems_are_whole(tmp_path: Path):
    for name in ("b.png", "a.nii.gz", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [p.name for p in find_images([tmp_path, "x.dcm"])] == ["a.nii.gz", "b.png", "x.dcm"]
    assert stem(Path("a/b.nii.gz")) == "b" and stem(Path("IM0001")) == "IM0001" and stem(Path("a.b.png")) == "a.b"
    with pytest.raises(SyntheXError, match="no image file"):
        find_images([tmp_path / "notes.txt", tmp_path / "empty"] if (tmp_path / "empty").mkdir() else [tmp_path / "empty"])


# Grid.


def test_an_image_of_known_spacing_gets_the_pixels_of_the_training():
    assert network_grid((400, 600), (0.5, 0.25), (360, 360), 1.0).inner == (200, 150)
    assert network_grid((360, 360), (0.774, 0.774), (360, 360), 0.774).inner == (360, 360)


def test_an_image_of_unknown_spacing_is_fitted_into_the_training_size():
    assert network_grid((1536, 1536), None, (360, 360), 0.774).inner == (360, 360)
    assert network_grid((1000, 500), None, (360, 360), 0.774).inner == (360, 180)
    assert network_grid((90, 120), None, (360, 360), 0.774).inner == (270, 360)


def test_an_implausible_spacing_is_refused():
    for spacing in ((10.0, 10.0), (0.001, 0.001)):
        with pytest.raises(SyntheXError, match="check the pixel spacing"):
            network_grid((360, 360), spacing, (360, 360), 0.774)


def test_points_go_back_with_the_edges_of_the_image_in_place():
    grid = network_grid((400, 600), (0.5, 0.25), (360, 360), 1.0)
    corners = np.array([[-0.5, -0.5], [149.5, 199.5], [0.0, 0.0]])
    # The first pixel of the inner grid covers columns 0-3 and rows 0-1, so its centre is (1.5, 0.5).
    np.testing.assert_allclose(grid.restore_points(corners), [[-0.5, -0.5], [599.5, 399.5], [1.5, 0.5]])


def test_resampling_averages_the_pixels_that_fall_together_and_keeps_edges():
    values = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    grid = network_grid((64, 64), (1.0, 1.0), (32, 32), 2.0)
    small = grid.resample(values)
    assert small.shape == (1, 1, 32, 32)
    # A plane keeps its value at every place: inner (1, 1) lies at (2.5, 2.5).
    assert float(small[0, 0, 5, 7]) == pytest.approx(10.5 * 64 + 14.5, rel=1e-5)


# Predictor.


def as_image(linear: np.ndarray, spacing: float | None = SPACING) -> XrayImage:
    return XrayImage(linear, "linear", None if spacing is None else (spacing, spacing))


def exclusive(bits: np.ndarray) -> np.ndarray:
    return np.where(bits & 2, 2, bits)


def test_images_of_the_training_size_come_back_pixel_for_pixel_in_their_order():
    predictor = toy_predictor()
    views = [toy_view(n) for n in range(5)]
    found = predictor.predict([as_image(image) for image, _, _ in views], batch=2, heatmaps=True)
    for prediction, (_, bits, landmarks) in zip(found, views, strict=True):
        np.testing.assert_array_equal(prediction.mask, exclusive(bits))
        np.testing.assert_allclose(prediction.landmarks, landmarks, atol=0.05)
        assert (prediction.confidence > 0.99).all()
        assert prediction.mask.dtype == np.uint16 and prediction.heat.dtype == np.uint8
        assert prediction.heat.max() >= 240  # a peak between two pixels is a little below 255
        assert prediction.heatmaps is not None and prediction.heatmaps.shape == (2, SIDE, SIDE)


@pytest.mark.parametrize(("side", "spacing"), [(80, SPACING / 2), (80, None), (120, SPACING / 3), (30, SPACING * 4 / 3)])
def test_other_sizes_come_back_in_their_own_pixels(side: int, spacing: float | None):
    image, bits, landmarks = toy_view(0, side)
    (prediction,) = toy_predictor().predict([as_image(image, spacing)])
    assert prediction.mask.shape == (side, side) == prediction.heat.shape
    assert np.abs(prediction.landmarks - landmarks).max() < 0.5 * max(1, side / SIDE)
    for bit, least in ((1, 0.9), (2, 0.75)):  # the toy network takes the bar's blurred edge for background
        a, b = prediction.mask == bit, bits == bit
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > least


def test_images_of_mixed_sizes_keep_their_order():
    predictor = toy_predictor()
    found = predictor.predict([as_image(toy_view(0, side)[0], None) for side in (80, 40, 80, 30)])
    assert [p.mask.shape[0] for p in found] == [80, 40, 80, 30]
    assert predictor.network.calls == 3


def test_a_wide_image_is_not_squeezed():
    image, _, landmarks = toy_view(0)
    wide = np.ones((SIDE, 70), np.float32)
    wide[:, 20:60] = image
    (prediction,) = toy_predictor().predict([as_image(wide)])
    np.testing.assert_allclose(prediction.landmarks, landmarks + [20, 0], atol=0.05)


def test_a_log_image_and_its_signal_give_the_same():
    image, bits, _ = toy_view(2)
    log = XrayImage(-3 * np.log(image) + 7, "log", (SPACING, SPACING))
    np.testing.assert_array_equal(toy_predictor().predict([log])[0].mask, exclusive(bits))


def test_a_multilabel_network_sets_bits_for_themselves():
    class Both(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            segmentation = torch.full((x.shape[0], 2, *x.shape[2:]), -5.0)
            segmentation[:, 0, 8:] = 5.0
            segmentation[:, 1, 28:] = 5.0
            return NetworkOutput(segmentation, torch.zeros(x.shape[0], 0, *x.shape[2:]))

    task = toy_task("multilabel", landmarks=False)
    (prediction,) = Predictor(Both(), toy_description(task)).predict([as_image(toy_view(0)[0])])
    # The network sees 48 x 48: four rows of padding above.
    np.testing.assert_array_equal(prediction.mask[:, 0], [0] * 4 + [1] * 20 + [3] * 16)
    assert prediction.landmarks.shape == (0, 2) and prediction.confidence.shape == (0,) and not prediction.heat.any()


def test_a_diverged_network_is_refused():
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            return NetworkOutput(torch.full((x.shape[0], 3, *x.shape[2:]), torch.nan), torch.zeros(x.shape[0], 2, *x.shape[2:]))

    with pytest.raises(SyntheXError, match="not finite"):
        Predictor(Broken(), toy_description()).predict([as_image(toy_view(0)[0])])


# A data set.


def test_predictions_of_a_data_set_hold_every_image(tmp_path: Path, toy_model: Path):
    dataset = toy_dataset(tmp_path / "data")
    seen = []
    arguments = (toy_model, tmp_path / "data", tmp_path / "out")
    made = predict.predict_dataset(*arguments, batch=2, device="cpu", progress=lambda n, of: seen.append((n, of)))
    assert (made.images, made.reused) == (5, False) and seen == [(2, 5), (4, 5), (5, 5)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["landmarks.csv", "predictions.h5", "predictions.json"]
    with h5py.File(tmp_path / "out" / "predictions.h5") as file:
        assert {name: file[name].shape for name in file} == {
            "mask": (5, SIDE, SIDE),
            "heat": (5, SIDE, SIDE),
            "landmark": (5, 2, 2),
            "confidence": (5, 2),
            "index": (5,),
        }
        for n in range(5):
            np.testing.assert_array_equal(file["mask"][n], exclusive(dataset[n].mask))
        np.testing.assert_allclose(file["landmark"][0], toy_view(0)[2], atol=0.05)
    with (tmp_path / "out" / "landmarks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and [r["landmark"] for r in rows[:2]] == ["C", "B"] and {r["activated"] for r in rows} == {"1"}
    description = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert description["dataset"]["checksum"] == dataset.checksum() and description["model"]["training"] == {"epoch": 3}
    assert open_predictions(tmp_path / "out").task == toy_task()


def test_heatmaps_are_stored_when_asked_for(tmp_path: Path, toy_model: Path):
    toy_dataset(tmp_path / "data")
    predict.predict_dataset(toy_model, tmp_path / "data", tmp_path / "out", device="cpu", heatmaps=True)
    with h5py.File(tmp_path / "out" / "predictions.h5") as file:
        assert file["heatmap"].shape == (5, 2, SIDE, SIDE) and file["heatmap"].dtype == np.float16
        row, column = np.unravel_index(file["heatmap"][0, 0].argmax(), (SIDE, SIDE))
        assert np.abs(np.array([column, row]) - toy_view(0)[2][0]).max() <= 0.5


def test_whole_predictions_are_not_made_again(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch):
    toy_dataset(tmp_path / "data")
    arguments = (toy_model, tmp_path / "data", tmp_path / "out")
    predict.predict_dataset(*arguments, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "load", lambda *_: pytest.fail("the network was loaded"))
        assert predict.predict_dataset(*arguments, device="cpu").reused
    assert not predict.predict_dataset(*arguments, device="cpu", force=True).reused
    assert not predict.predict_dataset(*arguments, device="cpu", threshold=0.5).reused
    assert not predict.predict_dataset(*arguments, device="cpu", threshold=0.5, heatmaps=True).reused
    toy_model.write_bytes(b"another toy")
    assert not predict.predict_dataset(*arguments, device="cpu").reused
    with (tmp_path / "out" / "predictions.h5").open("r+b") as file:
        file.write(b"x")
    assert not predict.predict_dataset(*arguments, device="cpu").reused
    (tmp_path / "out" / "landmarks.csv").unlink()
    assert not predict.predict_dataset(*arguments, device="cpu").reused
    assert predict.predict_dataset(*arguments, device="cpu").reused


def test_a_data_set_made_again_with_other_pixels_is_predicted_again(tmp_path: Path, toy_model: Path):
    toy_dataset(tmp_path / "data")
    arguments = (toy_model, tmp_path / "data", tmp_path / "out")
    predict.predict_dataset(*arguments, device="cpu")
    image, bits, landmarks = toy_view(3)
    poses = {"world_to_camera": np.eye(4), "intrinsics": np.eye(3), "parameters": {}}
    sample = {"image": image, "mask": bits, "landmark": landmarks, "landmark_visible": np.ones(2, bool), **poses}
    write_shard(tmp_path / "data", 1, [sample, sample])
    assert not predict.predict_dataset(*arguments, device="cpu").reused


def test_a_run_that_fails_leaves_nothing_half_written(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch):
    toy_dataset(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".predictions.1.part.h5").write_bytes(b"of a run that was killed")
    whole = Predictor.predict

    def fail_late(self: Predictor, images: list[XrayImage], *rest: object) -> list:
        if self.network.calls:
            raise SyntheXError("stopped")
        return whole(self, images, *rest)

    monkeypatch.setattr(Predictor, "predict", fail_late)
    with pytest.raises(SyntheXError, match="stopped"):
        predict.predict_dataset(toy_model, tmp_path / "data", tmp_path / "out", batch=2, device="cpu")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_of_another_task_is_refused(tmp_path: Path, toy_model: Path):
    toy_dataset(tmp_path / "data", task=toy_task(landmarks=False))
    with pytest.raises(SyntheXError, match="2 landmarks"):
        predict.predict_dataset(toy_model, tmp_path / "data", tmp_path / "out", device="cpu")
    with pytest.raises(SyntheXError, match="does not exist"):
        predict.predict_dataset(tmp_path / "none.pt", tmp_path / "data", tmp_path / "out", device="cpu")
    with pytest.raises(SyntheXError, match="batch"):
        predict.predict_dataset(toy_model, tmp_path / "data", tmp_path / "out", batch=0)
    assert not (tmp_path / "out").exists()


def test_a_real_network_predicts_a_data_set(tmp_path: Path):
    toy_dataset(tmp_path / "data", count=2)
    torch.manual_seed(0)
    save_model(tmp_path / "model.pt", build_network(toy_description()), toy_description())
    predict.predict_dataset(tmp_path / "model.pt", tmp_path / "data", tmp_path / "out", device="cpu")
    found = open_predictions(tmp_path / "out")
    assert len(found) == 2 and np.isfinite(found.landmarks).all() and (np.abs(found.confidence) <= 1 + 1e-5).all()
    masks = list(found.masks())
    assert masks[0].shape == (SIDE, SIDE) and set(np.unique(masks)) <= {0, 1, 2}
    assert found.landmarks.min() >= -0.5 and found.landmarks.max() <= SIDE - 0.5


# Image files.


def test_image_files_get_masks_overlays_and_landmarks_and_bad_ones_are_listed(tmp_path: Path, toy_model: Path):
    from PIL import Image

    image, bits, landmarks = toy_view(1, 80)
    log = (255 * -np.log(image) / 3).round().astype(np.uint8)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    good = [write(tmp_path / "one" / "view.png", log), write(tmp_path / "two" / "view.png", log)]
    (tmp_path / "bad.png").write_text("no picture", encoding="utf-8")
    far = write(tmp_path / "far.nrrd", log, (500.0, 500.0))
    made = predict.predict_images(toy_model, [good[0], tmp_path / "bad.png", far, good[1]], tmp_path / "out", device="cpu")
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


# Pictures.


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


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(SyntheXError, match="not available"):
        Predictor(torch.nn.Identity(), SimpleNamespace(task=toy_task().to_dict()), "cuda:77")


def test_heat_for_pictures_does_not_depend_on_the_scale_of_the_heatmaps():
    class Scaled(ToyNetwork):
        def forward(self, x: torch.Tensor) -> NetworkOutput:
            output = super().forward(x)
            return output._replace(heatmaps=0.02 * output.heatmaps - 5)

    images = [as_image(toy_view(0)[0])]
    plain = toy_predictor().predict(images)[0]
    scaled = Predictor(Scaled(toy_task()), toy_description()).predict(images)[0]
    np.testing.assert_allclose(scaled.heat.astype(int), plain.heat, atol=1)
    assert plain.heat.max() >= 240 and np.median(plain.heat) == 0
