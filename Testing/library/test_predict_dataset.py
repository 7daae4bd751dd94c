"""Predictions of a data set on disk."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from toy_network import (
    SIDE,
    exclusive,
    toy_dataset,
    toy_description,
    toy_task,
    toy_view,
    write_shard,
)

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference import predict
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictions import open_predictions
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks.model_file import build_network, save_model


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

    def fail_late(self: Predictor, images: list[XrayImage], *rest: object, **more: object) -> list:
        if self.network.calls:
            raise SyntheXError("stopped")
        return whole(self, images, *rest, **more)

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
