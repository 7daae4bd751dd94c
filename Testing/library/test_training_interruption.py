"""A training that is stopped or killed goes on as if nothing had been."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_training import assert_same_weights, config, log_of, write_toy

from SyntheXLib.errors import SyntheXError
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.run import TrainingResult, train
from SyntheXLib.training.run_folder import find_checkpoints


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
