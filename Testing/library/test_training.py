"""Training on a toy data set: it learns, goes on after being killed as if nothing had been, and says what is wrong."""

import csv
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from SyntheXLib.datasets.format import DatasetHeader, write_header
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.datasets.writer import write_shard
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.tasks.task import Task, load_task
from SyntheXLib.training import run as run_module
from SyntheXLib.training.checkpoints import find_checkpoints
from SyntheXLib.training.config import PRESETS, TrainingConfig
from SyntheXLib.training.data import EpochSampler, XrayTensors, make_loader, split
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.run import TrainingResult, TrainingRun, train
from SyntheXLib.training.schedule import learning_rate_factor
from SyntheXLib.training.validation import ValidationMetrics, hard_dice

SIZE = 32


def toy_task(**changes: object) -> Task:
    values = load_task("hip").to_dict()
    structures = [{key: value for key, value in one.items() if key != "bit"} for one in values["structures"][:2]]
    landmarks = values["landmarks"][2:4]
    poses = {**values["poses"], "isocenter": ["left_hemipelvis"]}
    return Task.from_dict({**values, "name": "toy", "structures": structures, "landmarks": landmarks, "poses": poses, **changes})


def toy_sample(number: int, seed: int, task: Task) -> dict:
    """A large and a small disk in a square of tissue; the landmarks are their centres."""
    random = np.random.default_rng([seed, number])
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centers = random.uniform(6, SIZE - 7, (2, 2))
    absorbed, bits = np.full((SIZE, SIZE), 0.3), np.zeros((SIZE, SIZE), np.uint16)
    for bit, (radius, (column, row)) in enumerate(zip((6, 3), centers, strict=True)):
        inside = np.hypot(columns - column, rows - row) < radius
        absorbed = absorbed + inside
        bits |= np.where(inside, 1 << bit, 0).astype(np.uint16)
    return {
        "image": (np.exp(-absorbed) * (1 + random.normal(0, 0.02, absorbed.shape))).astype(np.float32),
        "mask": bits,
        "landmark": centers.astype(np.float32)[: len(task.landmarks)],
        "landmark_visible": np.ones(len(task.landmarks), bool),
        "world_to_camera": np.eye(4),
        "intrinsics": np.eye(3),
        "parameters": {"specimen": "toy", "source_to_isocenter_mm": 700.0},
    }


def write_toy(folder: Path, count: int, seed: int = 0, task: Task | None = None, spoil: dict | None = None, spacing: float = 2.0) -> Path:
    """A data set of `count` images; `spoil` replaces values of image 1."""
    task = task or toy_task()
    configuration = {"image_size": SIZE, "pixel_spacing_mm": spacing, "source_to_detector_mm": 1020.0}
    write_header(folder, DatasetHeader(task, (), configuration, seed, count, shard_size=10))
    for shard in range(math.ceil(count / 10)):
        samples = [toy_sample(number, seed, task) for number in range(10 * shard, min(10 * shard + 10, count))]
        if spoil and shard == 0:
            samples[1].update(spoil)
        write_shard(folder, shard, 10 * shard, samples, 0.0)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "train", 24)


def config(toy: Path, out: Path, **changes: object) -> TrainingConfig:
    values = {"epochs": 3, "batch": 6, "validation_fraction": 0.25, "threads": 1, "seed": 5}
    return TrainingConfig.from_dict({"datasets": (str(toy),), "out": str(out), **values, **changes})


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(config(toy, tmp_path_factory.mktemp("run") / "whole"))


# What a run leaves


def test_the_network_learns_the_toy(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy", 60)
    result = train(config(toy, tmp_path / "run", epochs=20, batch=10, randomization="none", learning_rate=3e-3, validation_fraction=0.2))
    first, last = result.rows[0], result.rows[-1]
    assert last["loss"] < 0.5 * first["loss"]
    assert last["validation_dice"] > 0.6
    assert last["validation_landmark_px"] < 3
    assert last["validation_landmark_mm"] == pytest.approx(2 * last["validation_landmark_px"])


def test_a_run_leaves_model_best_log_settings_and_two_checkpoints(finished: TrainingResult, toy: Path) -> None:
    folder = finished.folder
    assert finished.epochs == 3
    assert (finished.model, finished.best) == (folder / "model.pt", folder / "best.pt")
    assert [path.name for path in find_checkpoints(folder)] == ["checkpoint-00002.pt", "checkpoint-00003.pt"]
    assert [row["epoch"] for row in log_of(folder)] == ["1", "2", "3"]
    assert all(float(row["images_per_second"]) > 0 and row["validation_dice"] for row in log_of(folder))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["epochs"] == 3
    assert list((folder / "tensorboard").glob("events*"))
    assert not list(folder.glob("*.part*"))
    network, description = load_model(folder / "model.pt")
    assert network.classes == 3
    assert description.image_size == (SIZE, SIZE)
    assert description.pixel_spacing_mm == 2
    assert description.heatmap_sigma_px == pytest.approx(3.87 / 2)
    assert (description.source_to_detector_mm, description.source_to_isocenter_mm) == (1020, 700)
    assert description.training["epoch"] == 3
    assert description.training["images"] == 18
    assert description.training["config"]["seed"] == 5
    assert len(description.training["datasets"][0]["checksum"]) == 64
    assert description.training["start"] == "random"


def test_the_best_model_is_that_of_the_epoch_with_the_highest_score(finished: TrainingResult) -> None:
    best = max(finished.rows, key=lambda row: row["validation_score"])
    assert load_model(finished.folder / "best.pt")[1].training["epoch"] == best["epoch"]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    train(config(toy, tmp_path / "same"))
    assert_same_weights(finished.folder / "model.pt", tmp_path / "same" / "model.pt")
    train(config(toy, tmp_path / "other", seed=6))
    with pytest.raises(AssertionError):
        assert_same_weights(finished.folder / "model.pt", tmp_path / "other" / "model.pt")


def test_workers_and_memory_do_not_change_the_result(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    train(config(toy, tmp_path / "read", cache_mib=0, workers=2))
    assert_same_weights(finished.folder / "model.pt", tmp_path / "read" / "model.pt")


def test_a_training_leaves_the_generators_of_its_process_alone(toy: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train(config(toy, tmp_path, epochs=1))
    assert torch.equal(torch.rand(1), expected)


def test_without_validation_there_is_no_best_model(toy: Path, tmp_path: Path) -> None:
    result = train(config(toy, tmp_path, epochs=1, validation_fraction=0))
    assert result.best is None
    assert "validation_dice" not in result.rows[0]
    assert load_model(tmp_path / "model.pt")[1].training["images"] == 24


def test_a_data_set_of_its_own_can_be_validated_on(toy: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "validation", 8, seed=9)
    result = train(config(toy, tmp_path / "run", epochs=1, validation=str(other)))
    assert load_model(result.folder / "model.pt")[1].training["images"] == 24
    assert 0 <= result.rows[0]["validation_dice"] <= 1


@pytest.mark.parametrize(
    "changes", [{"optimizer": "sgd", "learning_rate": 0.01}, {"heatmap_loss": "mse-scaled"}, {"precision": "bfloat16"}]
)
def test_other_ways_to_train_run(toy: Path, tmp_path: Path, changes: dict) -> None:
    result = train(config(toy, tmp_path, epochs=1, **changes))
    assert math.isfinite(result.rows[0]["loss"])


class Relabelled(XrayDataset):
    """A data set read under another task, with as many landmarks as that one has."""

    def __init__(self, folder: Path, task: Task) -> None:
        super().__init__(folder)
        self.other = task

    @property
    def task(self) -> Task:
        return self.other

    def __getitem__(self, index: int) -> Sample:
        sample, count = super().__getitem__(index), len(self.other.landmarks)
        return dataclasses.replace(sample, landmarks=sample.landmarks[:count], visible=sample.visible[:count])


def test_tasks_with_overlapping_masks_and_without_landmarks_run(toy: Path, tmp_path: Path) -> None:
    source = Relabelled(toy, toy_task(segmentation="multilabel", landmarks=[]))
    result = TrainingRun(config(toy, tmp_path, epochs=1), sources=[source]).run()
    assert "validation_landmark_px" not in result.rows[0]
    assert result.rows[0]["validation_score"] == result.rows[0]["validation_dice"]


# Interruption


def test_a_stopped_run_goes_on_to_the_weights_of_an_uninterrupted_one(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    def stop_in_the_second_epoch(state: TrainingProgress) -> bool:
        return not (state.epoch == 2 and state.images >= 18 + 6)

    stopped = train(config(toy, tmp_path), stop_in_the_second_epoch)
    assert (stopped.model, stopped.epochs) == (None, 1)
    assert not (tmp_path / "model.pt").exists()
    went_on = train(config(toy, tmp_path))
    assert_same_weights(finished.folder / "model.pt", went_on.folder / "model.pt")
    times = {"images_per_second", "seconds"}
    for ours, theirs in zip(log_of(finished.folder), log_of(tmp_path), strict=True):
        assert {k: v for k, v in ours.items() if k not in times} == {k: v for k, v in theirs.items() if k not in times}


_KILLED = """
import os, signal, sys
from SyntheXLib.training import run
from SyntheXLib.training.config import TrainingConfig
def kill(state):
    if state.epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
run.train(TrainingConfig.from_dict(eval(sys.argv[1])), kill)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path)
    done = subprocess.run([sys.executable, "-c", _KILLED, repr(settings.to_dict())], check=False, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(find_checkpoints(tmp_path)) == 2
    train(settings)
    assert_same_weights(finished.folder / "model.pt", tmp_path / "model.pt")


def test_a_finished_run_says_so_and_does_nothing(finished: TrainingResult, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished.folder / "model.pt").stat().st_mtime_ns, (finished.folder / "log.csv").stat().st_mtime_ns
    again = train(config(toy, finished.folder))
    assert "is finished (3 epochs)" in capsys.readouterr().out
    assert again.rows == finished.rows
    assert before == ((finished.folder / "model.pt").stat().st_mtime_ns, (finished.folder / "log.csv").stat().st_mtime_ns)


def test_a_run_killed_before_its_last_file_writes_it_the_next_time(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    (tmp_path / "run" / "model.pt").unlink()
    train(config(toy, tmp_path / "run"))
    assert_same_weights(finished.folder / "model.pt", tmp_path / "run" / "model.pt")


def test_a_damaged_last_checkpoint_sends_the_run_back_to_the_one_before(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    (tmp_path / "run" / "checkpoint-00003.pt").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "run" / "model.pt").unlink()
    train(config(toy, tmp_path / "run"))
    assert_same_weights(finished.folder / "model.pt", tmp_path / "run" / "model.pt")


def test_a_moved_data_set_and_other_workers_do_not_hinder(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy, tmp_path / "moved")
    shutil.copytree(finished.folder, tmp_path / "run")
    assert train(config(tmp_path / "moved", tmp_path / "run", workers=1, threads=2)).epochs == 3


def test_other_settings_or_data_are_refused_in_one_sentence(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="option 'batch' was 6, now it is 5"):
        train(config(toy, finished.folder, batch=5))
    other = write_toy(tmp_path / "other", 24, seed=1)
    with pytest.raises(SyntheXError, match="data 'data set 1' was '24 images"):
        train(config(other, finished.folder))


def test_a_run_can_begin_anew(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    result = train(config(toy, tmp_path / "run", batch=5, epochs=1, resume=False))
    assert result.epochs == 1
    assert len(log_of(tmp_path / "run")) == 1
    assert [path.name for path in find_checkpoints(tmp_path / "run")] == ["checkpoint-00001.pt"]
    assert (tmp_path / "run" / "notes.txt").exists()


def test_progress_counts_images_up_to_the_end(toy: Path, tmp_path: Path) -> None:
    states: list[TrainingProgress] = []
    train(config(toy, tmp_path, epochs=2), lambda state: states.append(state) or True)
    assert [state.images for state in states] == [6, 12, 18, 18, 24, 30, 36, 36]
    assert [bool(state.row) for state in states] == [False, False, False, True] * 2
    assert {state.images_in_all for state in states} == {36}
    assert states[-1].seconds_left == 0
    assert all(math.isfinite(state.loss) and state.images_per_second > 0 for state in states)


# Bad input


def test_a_data_set_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="at least one image, found 0"):
        train(config(write_toy(tmp_path / "empty", 0), tmp_path / "run"))


def test_data_sets_of_two_tasks_are_refused(toy: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", 4, task=toy_task(name="another"))
    with pytest.raises(SyntheXError, match="same task, found 'toy' and 'another'"):
        train(config(toy, tmp_path / "run", datasets=(str(toy), str(other))))
    with pytest.raises(SyntheXError, match="same task"):
        train(config(toy, tmp_path / "run", validation=str(other)))


def test_data_sets_of_two_spacings_are_refused(toy: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", 4, spacing=3.0)
    with pytest.raises(SyntheXError, match=r"pixel spacing, found .* at 2 mm and .* at 3 mm"):
        train(config(toy, tmp_path / "run", datasets=(str(toy), str(other))))


@pytest.mark.parametrize("changes", [{}, {"cache_mib": 0, "workers": 1}])
def test_a_pixel_that_is_no_number_is_refused_with_its_image(tmp_path: Path, changes: dict) -> None:
    image = np.ones((SIZE, SIZE), np.float32)
    image[3, 4] = np.nan
    toy = write_toy(tmp_path / "toy", 10, spoil={"image": image})
    with pytest.raises(SyntheXError, match=r"^Image 1 of .*toy must hold finite numbers alone, found 1 pixels"):
        train(config(toy, tmp_path / "run", epochs=1, **changes))


def test_a_training_that_diverges_is_told(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="diverged in epoch 1"):
        train(config(toy, tmp_path, optimizer="sgd", learning_rate=1e30, clip_gradient=None, epochs=1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lerning_rate": 1}, r"Unknown option 'lerning_rate' of the training \(did you mean 'learning_rate'\?\)"),
        ({"optimizer": "adam"}, r"'optimizer' must be one of sgd, adamw, found 'adam' \(did you mean 'adamw'\?\)"),
        ({"size": "smal"}, "did you mean 'small'"),
        ({"randomization": "strong"}, "none, regular, found 'strong'"),
        ({"epochs": 0}, "'epochs' must be at least 1, found 0"),
        ({"epochs": 2.5}, "'epochs' of the training must be of type int, found 2.5"),
        ({"epochs": True}, "type int, found True"),
        ({"learning_rate": float("nan")}, "'learning_rate' must be above 0, found nan"),
        ({"learning_rate": "fast"}, "type float, found 'fast'"),
        ({"validation_fraction": 1.0}, "below 1, found 1.0"),
        ({"datasets": ()}, "at least one data set folder, found none"),
        ({"preset": "paper"}, "paper-text"),
        ({"device": "tpu"}, "Device 'tpu' is not available"),
        ({"segmentation_weight": 0, "landmark_weight": 0}, "must not both be 0"),
        ({"validation_fraction": 0.99}, "leaves no image to train on"),
        ({"datasets": ("nowhere",)}, "nowhere is not a data set"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(toy: Path, tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(SyntheXError, match=sentence):
        train(config(toy, tmp_path, **change))


def test_a_missing_option_is_named() -> None:
    with pytest.raises(SyntheXError, match="Option 'out' of the training is missing"):
        TrainingConfig.from_dict({"datasets": ["x"]})


# Settings and schedules


def test_presets_say_what_the_paper_and_the_code_say() -> None:
    paper = TrainingConfig.from_dict({"preset": "paper-text", "datasets": ["x"], "out": "y", "seed": 3})
    assert (paper.optimizer, paper.learning_rate, paper.momentum, paper.weight_decay, paper.batch) == ("sgd", 0.1, 0.9, 1e-5, 5)
    assert (paper.heatmap_loss, paper.segmentation_weight, paper.landmark_weight, paper.epochs) == ("mse", 1, 1, 20)
    assert (paper.size, paper.randomization, paper.seed) == ("full", "regular", 3)
    assert [learning_rate_factor(paper, epoch) for epoch in (0, 9.99, 10, 19.99, 20)] == [1, 1, 0.5, 0.5, 0.25]
    code = TrainingConfig.from_dict({"preset": "released-code", "datasets": ["x"], "out": "y"})
    # reference/training.md 1.2, scaled-up hip: halved at epochs 4, 6, ... 18, the last rate 3.9e-4.
    rates = [learning_rate_factor(code, epoch) for epoch in range(20)]
    assert [epoch for epoch in range(1, 20) if rates[epoch] < rates[epoch - 1]] == list(range(4, 20, 2))
    assert 0.1 * rates[-1] == pytest.approx(3.9e-4, rel=0.01)
    assert set(PRESETS) == {"ours", "paper-text", "released-code"}


def test_adamw_warms_up_and_ends_at_zero() -> None:
    settings = TrainingConfig(("x",), "y", epochs=10, warmup_epochs=1)
    factors = [learning_rate_factor(settings, epoch) for epoch in (0.25, 0.5, 1, 5.5, 10)]
    assert factors == pytest.approx([0.25, 0.5, 1, 0.5, 0])
    assert 0 < learning_rate_factor(settings, 0) <= 0.01


def test_settings_survive_json(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path, clip_gradient=None, image_size=64)
    assert TrainingConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


# Data


def test_every_epoch_has_its_own_order_of_all_images() -> None:
    sampler = EpochSampler(range(50), seed=1)
    orders = []
    for epoch in (1, 2, 1):
        sampler.epoch = epoch
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))


def test_the_order_of_the_images_changes_from_epoch_to_epoch_in_a_run(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    load = XrayTensors.load
    monkeypatch.setattr(XrayTensors, "load", lambda self, indices: seen.extend(indices) or load(self, indices))
    monkeypatch.setattr(XrayTensors, "hold_in_memory", lambda self, limit: False)
    train(config(toy, tmp_path, epochs=2, validation_fraction=0))
    assert sorted(seen[:24]) == sorted(seen[24:]) == list(range(24))
    assert seen[:24] != seen[24:]


def test_the_split_is_drawn_once_and_keeps_images_apart() -> None:
    train_part, held_out = split(100, 0.1, seed=3)
    assert len(held_out) == 10
    assert sorted(train_part + held_out) == list(range(100))
    assert split(100, 0.1, seed=3) == (train_part, held_out)
    assert split(100, 0.1, seed=4) != (train_part, held_out)
    assert split(5, 0.01, seed=0)[1] != []


def test_samples_become_tensors(toy: Path) -> None:
    source = XrayDataset(toy)
    data = XrayTensors([source, source])
    batch = data.load([3, 27])
    sample = source[3]
    assert len(data) == 48
    torch.testing.assert_close(batch.image[0, 0], torch.from_numpy(-np.log(sample.image)))
    assert torch.equal(batch.image[0], batch.image[1])
    expected = np.where(sample.mask & 2, 2, np.where(sample.mask & 1, 1, 0))
    assert batch.labels.dtype == torch.uint8
    assert np.array_equal(batch.labels[0, 0].numpy(), expected)
    assert np.array_equal(batch.landmarks[0].numpy(), sample.landmarks)
    data.hold_in_memory(1000)
    for held, read in zip(data.load([3, 27]), batch, strict=True):
        assert torch.equal(held, read)


def test_another_image_size_carries_labels_and_landmarks_along(toy: Path) -> None:
    source = XrayDataset(toy)
    data = XrayTensors([source], image_size=2 * SIZE)
    batch = data.load([0])
    assert batch.image.shape == (1, 1, 2 * SIZE, 2 * SIZE)
    assert data.pixel_spacing_mm == 1
    for n in range(2):
        mask = torch.from_numpy((source[0].mask >> n & 1).astype(np.float32))
        row, column = (mask > 0).nonzero().float().mean(0)
        torch.testing.assert_close(2 * (torch.stack([column, row]) + 0.5) - 0.5, batch.landmarks[0, n], rtol=0, atol=1.0)
    row, column = (batch.labels[0, 0] == 2).nonzero().float().mean(0)
    torch.testing.assert_close(torch.stack([column, row]), batch.landmarks[0, 1], rtol=0, atol=1.0)


def test_large_data_sets_are_not_held_in_memory(toy: Path) -> None:
    data = XrayTensors([XrayDataset(toy)])
    assert not data.hold_in_memory(0)
    assert data.hold_in_memory(1)
    assert make_loader(data, range(3), 2, workers=4, pin=False).num_workers == 0


# Metrics


def test_hard_dice_is_that_of_the_most_likely_label_and_nothing_where_there_is_nothing() -> None:
    labels = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    labels[..., :2, :] = 1
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1, :1] = 5
    logits[:, 0, 1:] = 5
    dice = hard_dice(logits, labels, exclusive=True)
    assert dice[0, 0].item() == pytest.approx(2 * 4 / (4 + 8))
    assert dice[0, 1].isnan()


def test_validation_metrics_pool_images_and_take_the_median_of_visible_landmarks() -> None:
    metrics = ValidationMetrics(exclusive=True, pixel_spacing_mm=2.0)
    labels = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    labels[..., :4] = 1
    good = 10 * torch.nn.functional.one_hot(labels[:, 0].long(), 2).permute(0, 3, 1, 2).float()
    maps = torch.full((1, 4, 16, 16), -1.0)
    for n, column in enumerate((5, 6, 7, 9)):
        maps[0, n, 8, column] = 1
    truth = torch.tensor([[[5.0, 8.0]] * 3 + [[math.nan, math.nan]]])
    visible = torch.tensor([[True, True, True, False]])
    for logits in (good, -good):
        metrics.update((*NetworkOutput(logits, maps), *Targets(labels, truth, visible)))
    result = metrics.compute()
    assert result["dice"] == pytest.approx(0.5)
    assert result["landmark_px"] == pytest.approx(1)
    assert result["landmark_mm"] == pytest.approx(2)
    assert result["score"] == pytest.approx((0.5 + np.mean([1, 1 - 2 / 20, 1 - 4 / 20])) / 2)


def test_an_opened_data_set_can_be_handed_over(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = XrayDataset(toy)
    monkeypatch.setattr(run_module, "open_sources", lambda folders: pytest.fail("must not be opened"))
    assert TrainingRun(config(toy, tmp_path, epochs=1), sources=[source]).run().epochs == 1
