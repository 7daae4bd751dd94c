"""Data sets on a cluster: the script, the settings, and a real Slurm of one node where it is installed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from local_slurm import LocalSlurm, missing_programs

from SyntheXLib import cli
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.slurm import SlurmSettings, sbatch_script, submit, wait
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").glob("*.h5"))}


def test_the_script_runs_the_command_as_an_array() -> None:
    settings = SlurmSettings(tasks=3, cpus=2, minutes=30, options={"partition": "short", "mem": "8G"})
    lines = sbatch_script(settings, ["synthex", "simulate", "--out", "my data"]).splitlines()
    assert lines[0] == "#!/bin/sh"
    for option in ("array=0-2", "cpus-per-task=2", "time=30", "partition=short", "mem=8G", "requeue"):
        assert f"#SBATCH --{option}" in lines
    assert lines[-1] == "exec synthex simulate --out 'my data' --resume --workers 2 --part \"$SLURM_ARRAY_TASK_ID/3\""


def test_a_dry_run_prints_a_script_that_makes_the_data_set(
    hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = [f"--ct={hip_phantom.ct}", "--labels", str(hip_phantom.labels)]
    arguments = ["simulate", *case, "--count", "6", "--image-size", "32", "--shard-size", "2", "--out", str(tmp_path / "data")]
    assert cli.main([*arguments, "--slurm", "2", "--dry-run", "--cpus-per-task=1", "--workers", "7"]) == 0
    script = tmp_path / "job.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    assert not (tmp_path / "data").exists()
    path = os.pathsep.join(map(str, [Path(cli.__file__).parents[1]]))
    for task in ("1", "0"):  # what sbatch would do, one after the other
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": task, "PYTHONPATH": path}
        subprocess.run(["sh", str(script)], env=environment, check=True, capture_output=True)
    assert cli.main([*arguments[:-1], str(tmp_path / "other"), "--workers", "1"]) == 0
    assert len(shards(tmp_path / "data")) == 3 and shards(tmp_path / "data") == shards(tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--dry-run"], "belong to --slurm TASKS"),
        (["--slurm", "0"], "tasks must be at least 1, found 0"),
        (["--slurm", "2", "--sbatch", "short"], "must be NAME=VALUE, as partition=short, found 'short'"),
        (["--part", "2/2"], "--part must be K/N with K from 0 to N - 1, found '2/2'"),
    ],
)
def test_impossible_options_are_told(
    options: list[str], expected: str, hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels)]
    assert cli.main(["simulate", *case, "--count", "2", "--out", str(tmp_path / "data"), *options]) == 2
    assert expected in capsys.readouterr().err


def test_without_submitit_it_says_what_to_install(job: ShardJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SyntheXError, match=r"pip install 'synthex\[cluster\]', or use --dry-run"):
        submit(job, SlurmSettings())


# With a real Slurm


@pytest.fixture
def job(hip_phantom: CaseFiles, tmp_path: Path) -> ShardJob:
    return ShardJob(tmp_path / "data", HIP, (hip_phantom,), ViewSettings(image_size=64), seed=7, count=120, shard_size=10)


@pytest.fixture(scope="module")
def slurm() -> Iterator[LocalSlurm]:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'synthex[cluster]'")
    if missing := missing_programs():
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}): on Debian, apt-get install slurm-wlm munge")
    with LocalSlurm() as cluster:
        yield cluster


def wait_for(job: ShardJob, images: int) -> None:
    """Until so many images are there."""
    deadline = time.monotonic() + 60
    while len(list((job.folder / "shards").glob("*.json"))) * job.shard_size < images:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["nothing", "task", "node"])
def test_a_cluster_makes_the_same_bytes_whatever_dies(
    job: ShardJob, tmp_path: Path, slurm: LocalSlurm, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    expected = replace(job, folder=tmp_path / "expected")
    run_local(expected, workers=2)
    settings = SlurmSettings(tasks=2, cpus=1, minutes=5)
    tasks = submit(job, settings)
    if killed == "nothing":
        assert wait(job, tasks).complete
    else:
        wait_for(job, 20)
        if killed == "node":
            slurm.kill_node()
            slurm.start_node()
        slurm.run("scancel", "--signal=KILL", "--full", tasks[0].job_id) if killed == "task" else None
        there = {path.stem: path.stat().st_mtime_ns for path in (job.folder / "shards").glob("*.json")}
        for task in tasks:
            slurm.run("scancel", task.job_id.partition("_")[0])
        assert len(there) >= 2
        assert wait(job, submit(job, settings)).complete
        for name, changed in there.items():  # what was finished was not made again
            assert (job.folder / "shards" / f"{name}.json").stat().st_mtime_ns == changed
    assert shards(job.folder) == shards(expected.folder)


@pytest.mark.slow
def test_an_error_of_a_task_reaches_the_caller(job: ShardJob, slurm: LocalSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    far = replace(job, task=replace(HIP, poses=replace(HIP.poses, translation_lr_mm=(5000.0, 5000.0))))
    with pytest.raises(SyntheXError, match="no ray hits the CT of ct"):
        wait(far, submit(far, SlurmSettings(tasks=1, cpus=1, minutes=5)))
