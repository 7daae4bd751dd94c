"""Training on a toy data set: it learns, and leaves what it should."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_network import write_image
from toy_training import SIZE, assert_same_weights, config, log_of, toy_task, write_toy

from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.tasks.task import Task
from SyntheXLib.training import run_data as run_module
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.run import TrainingResult, TrainingRun, train
from SyntheXLib.training.run_folder import find_checkpoints


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


def test_the_models_know_their_validation_images_and_infer_warns_of_others(finished: TrainingResult, tmp_path: Path) -> None:
    from toy_training import toy_sample

    from SyntheXLib.inference.predict_images import predict_images

    absorbed = -np.log(toy_sample(0, 99, toy_task())["image"])
    for name, image in (("like", absorbed), ("inverted", absorbed.max() - absorbed)):
        write_image(tmp_path / f"{name}.nrrd", image.astype(np.float32), (2.0, 2.0))
    for model in (finished.model, finished.best):
        assert load_model(model)[1].training["domain"]["count"] == 6
        files = [tmp_path / "like.nrrd", tmp_path / "inverted.nrrd"]
        found = predict_images(model, files, tmp_path / "out", polarity="bone-bright", device="cpu")
        ((path, why),) = found.warnings
        assert path == tmp_path / "inverted.nrrd" and "the bright end of the grey levels" in why


def test_a_training_without_validation_knows_no_domain(toy: Path, tmp_path: Path) -> None:
    result = train(config(toy, tmp_path / "run", epochs=1, validation_fraction=0.0))
    assert result.model is not None and "domain" not in load_model(result.model)[1].training


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


def test_progress_counts_images_up_to_the_end(toy: Path, tmp_path: Path) -> None:
    states: list[TrainingProgress] = []
    train(config(toy, tmp_path, epochs=2), lambda state: states.append(state) or True)
    assert [state.images for state in states] == [6, 12, 18, 18, 24, 30, 36, 36]
    assert [bool(state.row) for state in states] == [False, False, False, True] * 2
    assert {state.images_in_all for state in states} == {36}
    assert states[-1].seconds_left == 0
    assert all(math.isfinite(state.loss) and state.images_per_second > 0 for state in states)


def test_an_opened_data_set_can_be_handed_over(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = XrayDataset(toy)
    monkeypatch.setattr(run_module, "open_sources", lambda folders: pytest.fail("must not be opened"))
    assert TrainingRun(config(toy, tmp_path, epochs=1), sources=[source]).run().epochs == 1
