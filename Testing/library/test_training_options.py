"""What a run can do besides training: accumulate, average, stop early, stop when asked, tell of too little memory, read its settings."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import assert_same_weights, config, log_of, weights_of

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.training.averaging import AveragedWeights
from SyntheXLib.training.checkpoints import read_last_checkpoint
from SyntheXLib.training.config import TrainingConfig, read_settings
from SyntheXLib.training.engines import make_trainer
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.run import TrainingResult, train
from SyntheXLib.training.schedule import learning_rate_factor


class Pixelwise(nn.Module):
    """A network whose images do not know of each other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.both = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, images: torch.Tensor) -> NetworkOutput:
        maps = self.both(images)
        return NetworkOutput(maps[:, :2], maps[:, 2:])


def gradient_steps(batch: int, accumulation: int, longest: float | None = None) -> nn.Module:
    """The network after one epoch of SGD over six images."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((6, 1, 16, 16), generator=generator)
    labels = (images > 0.5).to(torch.uint8)
    whole = XrayBatch(images, labels, torch.full((6, 1, 2), 7.0), torch.ones(6, 1, dtype=torch.bool))
    loader = [XrayBatch(*(part[first : first + batch] for part in whole)) for first in range(0, 6, batch)]
    network = Pixelwise()
    trainer = make_trainer(
        network,
        torch.optim.SGD(network.parameters(), 0.5),
        TaskLoss(True, "ncc", 2.0),
        loader,  # type: ignore[arg-type]
        1,
        torch.device("cpu"),
        bfloat16=False,
        randomization=None,
        longest_gradient=longest,
        accumulation=accumulation,
    )
    trainer.run()
    return network


@pytest.mark.parametrize("longest", [None, 0.01])
def test_accumulated_batches_step_as_one_large_batch(longest: float | None) -> None:
    large, accumulated, single = (gradient_steps(*sizes, longest) for sizes in ((6, 1), (2, 3), (2, 1)))
    start = Pixelwise()
    torch.testing.assert_close(accumulated.state_dict(), large.state_dict(), rtol=0, atol=1e-6)
    moved = (large.both.weight - start.both.weight).norm()  # type: ignore[union-attr, operator]
    assert moved > 1e-3
    if longest is not None:
        assert moved <= 0.5 * longest + 1e-6
    assert (single.both.weight - large.both.weight).norm() > 1e-4  # type: ignore[union-attr, operator]


def test_the_average_of_the_weights_follows_its_formula() -> None:
    network = nn.BatchNorm1d(1)
    average = AveragedWeights(network, 0.5)
    expected = 1.0
    for step, value in enumerate([3.0, -1.0, 2.0, 5.0, 0.5, 7.0, 1.0, 2.0, 3.0], 1):
        network.weight.data.fill_(value)
        network.num_batches_tracked.fill_(step)  # type: ignore[union-attr, operator]
        average.update(network)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    assert float(average.network.weight) == pytest.approx(expected, rel=1e-6)  # type: ignore[arg-type]
    assert int(average.network.num_batches_tracked) == 9  # type: ignore[arg-type]
    other = AveragedWeights(nn.BatchNorm1d(1), 0.5)
    other.restore(average.state())
    assert other.steps == 9 and float(other.network.weight) == float(average.network.weight)  # type: ignore[arg-type]


def test_an_averaged_accumulated_run_goes_on_as_if_nothing_had_been(toy: Path, tmp_path: Path) -> None:
    options = {"average": 0.9, "accumulation": 2, "optimizer": "sgd", "learning_rate": 0.01, "epochs": 2, "schedule": "cosine"}
    whole = train(config(toy, tmp_path / "whole", **options))
    train(config(toy, tmp_path / "run", **options), lambda state: state.epoch < 2)
    train(config(toy, tmp_path / "run", **options))
    assert_same_weights(tmp_path / "whole" / "model.pt", tmp_path / "run" / "model.pt")
    checkpoint = read_last_checkpoint(whole.folder)
    assert checkpoint is not None and checkpoint["average"]["steps"] == 4  # three batches an epoch, two a step
    saved = weights_of(tmp_path / "whole" / "model.pt")
    assert all(torch.equal(saved[name], value) for name, value in checkpoint["average"]["weights"].items())
    assert any(not torch.equal(saved[name], value) for name, value in checkpoint["network"].items())


def test_schedules_go_with_either_optimizer() -> None:
    base = TrainingConfig(("x",), "y", epochs=10, warmup_epochs=1, decay_every=4, decay_after=2)
    step = base.with_changes(optimizer="adamw", schedule="step")
    assert [learning_rate_factor(step, epoch) for epoch in (0.5, 1, 5.9, 6, 9.9)] == [0.5, 1, 1, 0.5, 0.5]
    cosine = base.with_changes(optimizer="sgd", schedule="cosine")
    assert learning_rate_factor(cosine, 5.5) == pytest.approx(0.5) and learning_rate_factor(cosine, 10) == pytest.approx(0)


def test_a_run_that_gets_no_better_stops_early(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(toy, tmp_path, epochs=30, patience=2, learning_rate=1e-12, randomization="none")
    result = train(settings)
    scores = [row["validation_score"] for row in result.rows]
    assert 3 <= result.epochs < 30 and max(scores[:-2]) >= max(scores[-2:])
    assert result.model is not None and load_model(result.model)[1].training["epoch"] == result.epochs
    train(settings)
    assert f"is finished ({result.epochs} epochs)" in capsys.readouterr().out
    with pytest.raises(SyntheXError, match="'patience' needs a validation"):
        config(toy, tmp_path, patience=2, validation_fraction=0.0)


def test_a_file_named_stop_stops_and_saves(finished: TrainingResult, toy: Path, tmp_path: Path) -> None:
    def ask(state: TrainingProgress) -> None:
        if state.epoch == 2 and not state.row:
            (tmp_path / "stop").touch()

    stopped = train(config(toy, tmp_path), ask)
    assert (stopped.epochs, stopped.model) == (1, None) and stopped.stopped is not None
    network, description = load_model(stopped.stopped)
    assert description.training["epoch"] == 1
    went_on = train(config(toy, tmp_path))
    assert not (tmp_path / "stop").exists() and went_on.stopped is None
    assert_same_weights(finished.folder / "model.pt", tmp_path / "model.pt")
    assert any(not torch.equal(value, weights_of(tmp_path / "model.pt")[name]) for name, value in network.state_dict().items())


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
def test_a_polite_kill_still_saves(toy: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "SyntheXLib.cli", "train", str(toy), "--out", str(tmp_path), "--epochs", "5000", "--batch", "6"]
    child = subprocess.Popen([*command, "--threads", "1", "--pictures", "0"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while not (tmp_path / "log.csv").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    printed, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert said.strip().endswith("synthex train: interrupted; what is finished stays.")
    assert f"model of that moment: {tmp_path / 'stopped.pt'}" in printed
    load_model(tmp_path / "stopped.pt")


@pytest.mark.parametrize(
    ("batch", "error", "sentence"),
    [
        (6, torch.OutOfMemoryError("CUDA out of memory"), r"batch of 6 images of 32 x 32 px: try --batch 3, with --accumulation 2"),
        (1, RuntimeError("DefaultCPUAllocator: can't allocate memory"), "try --precision bfloat16, a smaller --image-size"),
    ],
)
def test_too_little_memory_names_the_batch_to_try(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, error: Exception, sentence: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TaskLoss, "forward", fail)
    with pytest.raises(SyntheXError, match=sentence):
        train(config(toy, tmp_path, batch=batch))


def test_other_errors_of_torch_are_not_taken_for_it(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(TaskLoss, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train(config(toy, tmp_path))


def test_settings_come_from_a_file_and_are_overridden(finished: TrainingResult, tmp_path: Path) -> None:
    from SyntheXLib.cli import main

    run = tmp_path / "run"
    arguments = ["train", "--config", str(finished.folder / "config.json"), "--out", str(run), "--epochs", "1", "--compile"]
    assert main([*arguments, "--no-compile", "--average", "0.5"]) == 0
    used = json.loads((run / "config.json").read_text(encoding="utf-8"))
    theirs = json.loads((finished.folder / "config.json").read_text(encoding="utf-8"))
    assert {name for name in used if used[name] != theirs[name]} == {"out", "epochs", "average"}
    assert len(log_of(run)) == 1
    (tmp_path / "settings.toml").write_text('preset = "paper-text"\nbatch = 2\n', encoding="utf-8")
    assert read_settings(tmp_path / "settings.toml") == {"preset": "paper-text", "batch": 2}
    (tmp_path / "bad.json").write_text("[1", encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"bad.json must hold settings as JSON or TOML"):
        read_settings(tmp_path / "bad.json")


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(toy: Path, tmp_path: Path) -> None:
    plain, compiled = (train(config(toy, tmp_path / str(flag), epochs=1, compile=flag)) for flag in (False, True))
    assert compiled.rows[0]["loss"] == pytest.approx(plain.rows[0]["loss"], rel=1e-3)
    assert weights_of(tmp_path / "True" / "model.pt").keys() == weights_of(tmp_path / "False" / "model.pt").keys()
    assert not math.isnan(compiled.rows[0]["validation_loss"])


@pytest.mark.slow
def test_a_compiled_network_learns_what_it_learns_uncompiled(toy: Path, tmp_path: Path) -> None:
    """A minute or more of compiling; its files are those of any other run, and one goes on as the other."""
    options = {"epochs": 2, "randomization": "none", "image_size": 96, "validation_fraction": 0.5}
    plain = train(config(toy, tmp_path / "plain", **options))
    train(config(toy, tmp_path / "run", compile=True, **options), lambda state: state.epoch == 1)
    compiled = train(config(toy, tmp_path / "run", compile=True, **options))
    for ours, theirs in zip(compiled.rows, plain.rows, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
        assert ours["validation_dice"] == pytest.approx(theirs["validation_dice"], abs=0.02)
    assert weights_of(tmp_path / "run" / "model.pt").keys() == weights_of(tmp_path / "plain" / "model.pt").keys()
