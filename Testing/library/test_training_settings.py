"""Presets and the learning rates that follow from the settings."""

import json
from pathlib import Path

import pytest
from toy_training import config

from SyntheXLib.training.config import PRESETS, TrainingConfig
from SyntheXLib.training.schedule import learning_rate_factor


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


def test_the_task_that_the_command_names_is_checked(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from SyntheXLib.cli import main

    assert main(["train", "--task", "hip", "--data", str(toy), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip()
    assert said == f"synthex train: Data set {toy} must be of the task 'hip' that --task names, found 'toy'."
    assert not (tmp_path / "run").exists()
