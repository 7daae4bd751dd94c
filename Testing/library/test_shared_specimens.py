"""Processes that share specimens, and runs that are killed."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.process_tree import is_alive
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.shared_arrays import ArrayFolder
from SyntheXLib.simulation import local
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.specimen_store import SpecimenStore
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


@pytest.fixture
def job(hip_phantom: CaseFiles, tmp_path: Path) -> ShardJob:
    return ShardJob(tmp_path / "data", HIP, (hip_phantom,), ViewSettings(image_size=32), seed=7, count=60, shard_size=5)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").glob("*.h5"))}


def test_a_specimen_is_read_once_and_mapped_by_all(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    expected = load_specimen(hip_phantom, HIP)
    first = SpecimenStore(tmp_path).get(3, lambda: load_specimen(hip_phantom, HIP))

    def again() -> None:
        raise AssertionError("read twice")

    second = SpecimenStore(tmp_path).get(3, again)  # type: ignore[arg-type]
    for specimen in (first, second):
        assert isinstance(specimen.hu, np.memmap) and isinstance(specimen.labels, np.memmap)
        assert np.array_equal(specimen.hu, expected.hu) and np.array_equal(specimen.labels, expected.labels)
        assert specimen.landmarks.keys() == expected.landmarks.keys() and specimen.warnings == expected.warnings
    assert first.hu.filename == second.hu.filename


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("label_paths", [False, True])
def test_shared_voxels_give_the_same_bytes(hip_phantom: CaseFiles, tmp_path: Path, lateral: bool, label_paths: bool) -> None:
    specimen = load_specimen(hip_phantom, HIP)
    camera = task_camera(HIP.c_arm, CArmPose(lao_rao_deg=80.0 if lateral else 5.0).world_to_camera(np.zeros(3)), 48)
    renderers = [make_renderer(threads=1), *(make_renderer(threads=1, share=ArrayFolder(tmp_path)) for _ in range(2))]
    own, *shared = (renderer.render(Scene(specimen), camera, label_paths=label_paths) for renderer in renderers)
    assert own is not None and own.label_bits.any()
    for projection in shared:
        assert projection is not None
        assert np.array_equal(projection.path_length, own.path_length) and np.array_equal(projection.label_bits, own.label_bits)


def test_nothing_stays_in_the_temporary_folder(job: ShardJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, kept = temporary / f"synthex-specimens-{dead.pid}-abc", temporary / f"synthex-specimens-{os.getpid()}-abc"
    left.mkdir()
    kept.mkdir()
    assert run_local(job, workers=2).complete
    assert list(temporary.iterdir()) == [kept]


def test_a_run_killed_twice_and_resumed_equals_an_undisturbed_one(job: ShardJob, tmp_path: Path) -> None:
    expected = replace(job, folder=tmp_path / "expected")
    run_local(expected, workers=1)
    script = tmp_path / "run.py"
    script.write_text(
        "import pickle, sys\n"
        "from SyntheXLib.simulation.local import run_local\n"
        "if __name__ == '__main__':\n"
        "    run_local(pickle.load(open(sys.argv[1], 'rb')), 2, lambda done, total: print(done, flush=True))\n",
        encoding="utf-8",
    )
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    reached = 0
    for _ in range(2):
        child = subprocess.Popen([sys.executable, str(script), str(tmp_path / "job.pickle")], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = int(child.stdout.readline())
        assert first >= reached
        for line in child.stdout:
            if int(line) >= first + 12:
                break
        child.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        child.wait()
        reached = first
    deadline = time.monotonic() + 20
    while True:  # the workers notice that nobody waits for them, and give their claims up
        if (result := run_local(job, workers=2)).complete or time.monotonic() > deadline:
            break
    assert result.complete and result.rendered < job.count
    assert shards(job.folder) == shards(expected.folder)
    assert (job.folder / "dataset.json").read_bytes() == (expected.folder / "dataset.json").read_bytes()


def test_warnings_are_told_before_the_first_image(job: ShardJob) -> None:
    for workers in (1, 2):
        told: list[str] = []
        run_local(job, workers, lambda done, total, told=told: told.append(str(done)), on_warning=told.append)
        if workers == 1:
            assert (
                told[0] == "0" and told[1].startswith("CT of ct has voxels") and told[2].startswith("Landmarks of ct:") and told[3] == "1"
            )
        else:
            assert told == ["60"]  # nothing to make, nothing to read


def test_too_small_a_disk_is_told_before_anything_is_written(job: ShardJob, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = local.shutil.disk_usage("/")
    monkeypatch.setattr(local.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    with pytest.raises(SyntheXError, match=r"60 images of 32 x 32 px need 0.0 GB, found 0.0 GB free"):
        run_local(job, workers=1)
    assert not job.folder.exists()


def test_a_process_is_alive_until_it_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(os.getpid()) and is_alive(child.pid)
    child.communicate(b"\n")
    assert not is_alive(child.pid)
