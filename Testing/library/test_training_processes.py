"""Several processes train one network, as ``torchrun`` starts them: here two on this machine, with gloo."""

import subprocess
import sys
from pathlib import Path

import pytest
from toy_training import assert_same_weights, config, log_of, weights_of

from SyntheXLib.training.data import EpochSampler
from SyntheXLib.training.processes import Processes
from SyntheXLib.training.run_folder import find_checkpoints

# Every process keeps its weights, for the test to compare; the second argument is the epoch in which the first process kills itself.
_SCRIPT = """
import os, signal, sys
import torch
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.run import TrainingRun
def kill(state):
    if state.epoch == int(sys.argv[2]) and not state.row:
        os.kill(os.getpid(), signal.SIGKILL)
run = TrainingRun(TrainingConfig.from_dict(eval(sys.argv[1])), kill)
result = run.run()
# Batch statistics are the first process's: the others get them with the next batch.
weights = {name: one.detach() for name, one in run.network.named_parameters()}
torch.save({"weights": weights}, f"{result.folder}/rank{run.processes.rank}.pt")
"""


def launch(toy: Path, out: Path, kill_in: int = 0) -> subprocess.CompletedProcess[str]:
    script = out.parent / "script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    settings = config(toy, out, batch=3, epochs=2, average=0.5, device="cpu", pictures=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    return subprocess.run([*command, repr(settings.to_dict()), str(kill_in)], capture_output=True, text=True, timeout=500, check=False)


def test_processes_share_the_images_out() -> None:
    parts = [EpochSampler(range(7), 3, part, 3) for part in range(3)]
    for sampler in parts:
        sampler.epoch = 2
    drawn = [list(sampler) for sampler in parts]
    assert [len(part) for part in drawn] == [len(sampler) for sampler in parts] == [3, 3, 3]
    assert set().union(*drawn) == set(range(7))
    alone = EpochSampler(range(7), 3)
    alone.epoch = 2
    assert [place for turn in zip(*drawn, strict=True) for place in turn][:7] == list(alone)


def test_one_process_is_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = Processes.from_environment()
    assert alone == Processes(0, 1, 0) and alone.first and alone.mean({"a": 2.0}, alone.device("cpu")) == {"a": 2.0}
    monkeypatch.setenv("RANK", "3"), monkeypatch.setenv("WORLD_SIZE", "4")
    assert not Processes.from_environment().first


@pytest.mark.slow
def test_two_processes_train_one_network_and_go_on_after_a_kill(toy: Path, tmp_path: Path) -> None:
    done = launch(toy, tmp_path / "whole")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("epoch 2/2") == 1  # the first process alone tells
    assert_same_weights(tmp_path / "whole" / "rank0.pt", tmp_path / "whole" / "rank1.pt")
    assert len(log_of(tmp_path / "whole")) == 2 and len(weights_of(tmp_path / "whole" / "model.pt")) > 10
    assert launch(toy, tmp_path / "killed", kill_in=2).returncode != 0
    assert [path.name for path in find_checkpoints(tmp_path / "killed")] == ["checkpoint-00001.pt"]
    again = launch(toy, tmp_path / "killed")
    assert again.returncode == 0, again.stderr[-3000:]
    assert_same_weights(tmp_path / "whole" / "model.pt", tmp_path / "killed" / "model.pt")
    for name in ("loss", "validation_loss", "validation_score"):
        assert [row[name] for row in log_of(tmp_path / "killed")] == [row[name] for row in log_of(tmp_path / "whole")]
