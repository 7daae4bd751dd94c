"""The environment that holds DeepDRR: its states, what the doctor says, and installing it with a fake pip."""

import os
import sys
from pathlib import Path

import pytest

from SyntheXLib.cli import main
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.deepdrr import environment
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="the stand-ins rely on POSIX"), pytest.mark.usefixtures("deepdrr_cache")]


def doctor_line(capsys: pytest.CaptureFixture) -> str:
    capsys.readouterr()
    main(["doctor"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("DeepDRR: "))
    return line.removeprefix("DeepDRR: ")


def test_states(deepdrr_installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert doctor_line(capsys) == "1.2.2 works on Fake GPU; a displacement of one voxel is corrected."
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_CUDA", "none")
        assert environment.state().kind == "no CUDA"
        assert doctor_line(capsys).startswith("No CUDA device was found (cudaErrorNoDevice")
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_IMPORT", "fails")
        assert environment.state().kind == "broken"
        assert doctor_line(capsys) == "Importing deepdrr failed: libEGL.so.1 is missing."
    with monkeypatch.context() as patch:
        for name in ("CUDA_PATH", "CUDA_HOME", "PATH"):
            patch.setenv(name, "")
        assert "nvcc was not found" in environment.state().sentence
    with monkeypatch.context() as patch:
        patch.setenv(environment.VARIABLE, sys.executable)  # has no DeepDRR
        assert environment.state().kind == "broken" and "deepdrr is not installed" in environment.state().sentence
    monkeypatch.delenv(environment.VARIABLE)
    assert environment.state().kind == "no CUDA" and "this machine has no CUDA" in doctor_line(capsys)
    monkeypatch.setattr(environment, "driver_cuda", lambda: (12, 4))
    assert environment.state().kind == "missing" and "--install-deepdrr" in doctor_line(capsys)


def test_without_environment_the_renderer_says_what_to_do(monkeypatch: pytest.MonkeyPatch, hip_phantom: CaseFiles, tmp_path: Path) -> None:
    job = ShardJob(tmp_path / "data", load_task("hip"), (hip_phantom,), ViewSettings(image_size=32), 0, 1, renderer="deepdrr")
    with pytest.raises(SyntheXError, match=r"no CUDA .* use --renderer own\.$"):
        job.header()
    monkeypatch.setattr(environment, "driver_cuda", lambda: (12, 4))
    with pytest.raises(SyntheXError, match="not installed: run 'synthex doctor --install-deepdrr'"):
        make_renderer("deepdrr")


@pytest.mark.parametrize(
    ("cuda", "extra"), [((11, 8), "deepdrr[cuda11x]==1.2.2"), ((12, 4), "deepdrr[cuda12x]==1.2.2"), ((13, 0), "deepdrr[cuda12x]==1.2.2")]
)
def test_cupy_follows_the_driver(cuda: tuple[int, int], extra: str) -> None:
    assert environment.requirements(cuda) == (extra, "numpy<2", "cuda-python<13")


def test_an_old_driver_is_told() -> None:
    with pytest.raises(SyntheXError, match=r"CUDA 11\.2 or later, found 10\.2"):
        environment.requirements((10, 2))


def test_the_python_of_slicer_makes_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 10))
    monkeypatch.setattr(sys, "executable", "/opt/work/bin/python-real")
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "python3.11" else None)
    monkeypatch.delenv("SLICER_HOME", raising=False)
    assert environment.base_python() == Path("/opt/work/bin/python-real")
    monkeypatch.setenv("SLICER_HOME", "/opt/work")
    assert environment.base_python() == Path("/usr/bin/python3.11")


def fake_pip(command: list[object], log: Path, fails: str = "") -> int:
    """Makes what venv and pip would; fails at the named one."""
    if "venv" in command:
        python = environment._python_in(Path(str(command[-1])))
        python.parent.mkdir(parents=True)
        python.write_text("", encoding="utf-8")
    step = "venv" if "venv" in command else "pip"
    with log.open("a", encoding="utf-8") as file:
        file.write(f"ERROR: No matching distribution for {command[-1]}.\n" if step == fails else "fine\n")
    return int(step == fails)


def test_install(monkeypatch: pytest.MonkeyPatch, deepdrr_cache: Path, capsys: pytest.CaptureFixture) -> None:
    commands: list[list[str]] = []
    fails = ""

    def run(command: list[object], log: Path) -> int:
        commands.append([str(part) for part in command])
        if fails == "interrupt":
            raise KeyboardInterrupt
        return fake_pip(command, log, fails)

    monkeypatch.setattr(environment, "run_command", run)
    monkeypatch.setattr(environment, "base_python", lambda: Path(sys.executable))
    assert main(["doctor", "--install-deepdrr", "--yes"]) == 2
    assert "DeepDRR is not installed: this machine has no CUDA" in capsys.readouterr().err and not commands
    monkeypatch.setattr(environment, "driver_cuda", lambda: (12, 4))
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert main(["doctor", "--install-deepdrr"]) == 1 and not commands
    for fails, status, expected in (  # noqa: B007 - `run` reads it
        ("pip", 2, "pip could not install DeepDRR: No matching"),
        ("interrupt", 130, "interrupted"),
    ):
        assert main(["doctor", "--install-deepdrr", "--yes"]) == status
        assert expected in capsys.readouterr().err
        assert [path for path in deepdrr_cache.rglob("*") if path.name != "deepdrr"] == []
    fails = ""
    environment.install(lambda _: None)
    assert environment.environment_python() == environment._python_in(environment.environment_folder())
    assert [path.name for path in (deepdrr_cache / "deepdrr").iterdir()] == ["environment"]
    assert commands[-1][-3:] == ["deepdrr[cuda12x]==1.2.2", "numpy<2", "cuda-python<13"]
    fails = "venv"  # a failure leaves the environment that was there
    with pytest.raises(SyntheXError, match="Cannot make an environment"):
        environment.install(lambda _: None)
    assert [path.name for path in (deepdrr_cache / "deepdrr").iterdir()] == ["environment"]
    assert environment.state().kind == "broken"  # an empty file is no Python


def test_driver_version_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '| NVIDIA-SMI 550.1   Driver Version: 550.1   CUDA Version: 12.4 |'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert environment.driver_cuda() == (12, 4)
    tool.unlink()
    assert environment.driver_cuda() is None or environment.driver_cuda() >= (11, 0)
