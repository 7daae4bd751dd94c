"""Studies: the order of the commands, what is done again, and the table."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from SyntheXLib.cli import main
from SyntheXLib.commands.study import run as run_study
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import study_runs as module
from SyntheXLib.evaluation.study import read_study, steps
from SyntheXLib.evaluation.study_runs import StudyResult, results, run_steps, write_table
from SyntheXLib.scene.case_files import CaseFiles

TEXT = """
seeds = [1, 2]
train = "--size small"

[[sets]]
name = "plain"
command = "simulate --level naive --count 4"
[[sets]]
name = "target"
command = "simulate --count 2"
[[sets]]
name = "translated"
command = "adapt cyclegan {plain} {target}"
[[sets]]
name = "unused"
command = "simulate --count 1"

[[runs]]
name = "plain, regular"
train = ["plain"]
test = "target"
options = "--randomization regular"
[[runs]]
name = "translated"
train = ["translated"]
test = "target"
model = "best.pt"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "study.toml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_sets_come_once_and_before_the_runs_that_need_them(path: Path) -> None:
    out = path.parent / "out"
    found = list(steps(read_study(path), out))
    assert [step.title for step in found] == [
        "set plain",
        "set target",
        *(f"{what} plain, regular, seed {seed}" for seed in (1, 2) for what in ("train", "test", "evaluate")),
        "set translated",
        *(f"{what} translated, seed {seed}" for seed in (1, 2) for what in ("train", "test", "evaluate")),
    ]
    by_title = {step.title: shlex.join(step.command) for step in found}
    run = out / "runs" / "plain__regular" / "seed_2"
    assert by_title["train plain, regular, seed 2"] == (
        f"train {out}/sets/plain --size small --randomization regular --seed 2 --out {run}/run"
    )
    assert by_title["test plain, regular, seed 2"] == f"infer {run}/run/model.pt {out}/sets/target --out {run}/found"
    assert by_title["set translated"] == f"adapt cyclegan {out}/sets/plain {out}/sets/target --out {out}/sets/translated"
    assert "run/best.pt" in by_title["test translated, seed 1"]
    assert by_title["set plain"].endswith("--resume --out " + str(out / "sets" / "plain"))
    only = [step.title for step in steps(read_study(path), out, ["translated"])]
    assert only[:3] == ["set plain", "set target", "set translated"] and "train plain, regular, seed 1" not in only


ADAPTED = """
seeds = [1]
train = "--pretrained {data}/start.pt"

[[sets]]
name = "a"
command = "simulate --ct {data}/ct.nii.gz"
[[sets]]
name = "real"
command = "simulate --count 1"

[[runs]]
name = "plain"
train = ["a"]
test = "a"
[[runs]]
name = "adapted"
train = ["a"]
test = "a"
adapt = "adda {a} --target {real}"
"""


def test_a_network_is_adapted_from_the_training_that_both_runs_share(path: Path) -> None:
    path.write_text(ADAPTED, encoding="utf-8")
    out, data = path.parent / "out", path.parent / "my data"
    study = read_study(path)
    found = list(steps(study, out, data=data))
    assert [step.title.removesuffix(", seed 1") for step in found] == [
        "set a", "train plain", "test plain", "evaluate plain", "set real", "adapt adapted", "test adapted", "evaluate adapted",
    ]  # fmt: skip
    commands = {step.title: step.command for step in found}
    assert commands["set a"][:3] == ("simulate", "--ct", f"{data}/ct.nii.gz")
    assert f"{data}/start.pt" in commands["train plain, seed 1"]
    sets, runs = out / "sets", out / "runs"
    assert shlex.join(commands["adapt adapted, seed 1"]) == (
        f"adapt adda {sets}/a --target {sets}/real --model {runs}/plain/seed_1/run/model.pt --seed 1 --out {runs}/adapted/seed_1/adapted"
    )
    assert commands["test adapted, seed 1"][1] == str(runs / "adapted" / "seed_1" / "adapted" / "model.pt")
    alone = [step.title for step in steps(study, out, ["adapted"], data)]
    assert "train adapted, seed 1" in alone and "test plain, seed 1" not in alone
    with pytest.raises(SyntheXError, match="needs a folder of data from outside, expected --data FOLDER"):
        list(steps(study, out))


def test_data_from_outside_must_be_there_and_may_be_moved(path: Path, synthex: "Synthex") -> None:
    path.write_text(ADAPTED, encoding="utf-8")
    out, data = path.parent / "out", path.parent / "data"
    with pytest.raises(SyntheXError, match="--data must be a folder, found nothing at"):
        main_study(path, out, data)
    data.mkdir()
    main_study(path, out, data)
    assert len(synthex.ran) == 8
    data.rename(path.parent / "elsewhere")
    main_study(path, out, path.parent / "elsewhere")
    assert len(synthex.ran) == 8


def main_study(path: Path, out: Path, data: Path) -> None:
    """The command, its errors raised."""
    run_study(argparse.Namespace(study=path, out=out, data=data, only=[], dry_run=False))


class Synthex:
    """In place of the command: notes what is run and writes a report where one is asked for."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails = ""

    def __call__(self, command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "SyntheXLib.cli"]
        text = " ".join(command[3:])
        self.ran.append(text)
        folder = Path(command[command.index("--out") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        if command[3] == "evaluate":
            (folder / "structures.csv").write_text("index,structure,dice_strict\n0,a,0.5\n0,b,\n1,a,0.7\n", encoding="utf-8")
            (folder / "landmarks.csv").write_text("index,error_detector_mm\n0,1\n0,2\n1,9\n1,\n", encoding="utf-8")
        return subprocess.CompletedProcess(command, 1 if self.fails and self.fails in text else 0)


@pytest.fixture
def synthex(monkeypatch: pytest.MonkeyPatch) -> Synthex:
    stand_in = Synthex()
    monkeypatch.setattr(module.subprocess, "run", stand_in)
    return stand_in


def test_what_failed_is_done_again_and_what_is_finished_is_not(path: Path, synthex: Synthex) -> None:
    out, study = path.parent / "out", read_study(path)
    synthex.fails = "plain__regular/seed_2/run"
    with pytest.raises(SyntheXError, match="step 'train plain, regular, seed 2' failed"):
        run_steps(list(steps(study, out)), lambda line: None, out)
    assert len(synthex.ran) == 6 and [one.seed for one in results(study, out)] == [1]
    synthex.fails, synthex.ran = "", []
    told: list[str] = []
    run_steps(list(steps(study, out)), told.append, out)
    assert len(synthex.ran) == 10 and told[0].startswith("[1/10] train plain, regular, seed 2") and "min left" in told[1]
    run_steps(list(steps(study, out)), told.append, out)
    assert len(synthex.ran) == 10
    assert results(study, out) == [StudyResult(run.name, seed, pytest.approx(0.6), 2.0, 4.0) for run in study.runs for seed in (1, 2)]


def test_a_step_that_was_another_is_not_taken_for_this_one(path: Path, synthex: Synthex) -> None:
    out = path.parent / "out"
    run_steps(list(steps(read_study(path), out)), lambda line: None, out)
    path.write_text(TEXT.replace("--count 4", "--count 5"), encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"plain was made by another command, expected: .*--count 5.*found: .*--count 4"):
        run_steps(list(steps(read_study(path), out)), lambda line: None, out)
    moved = path.parent / "moved"
    out.rename(moved)  # a study may be moved
    path.write_text(TEXT, encoding="utf-8")
    synthex.ran = []
    run_steps(list(steps(read_study(path), moved)), lambda line: None, moved)
    assert synthex.ran == []


def test_the_table_has_means_and_intervals_over_the_seeds(tmp_path: Path) -> None:
    found = [StudyResult("a", seed, dice, 2.0, 3.0) for seed, dice in ((1, 0.8), (2, 0.82), (3, 0.84))]
    found.append(StudyResult("b", 1, 0.5, float("nan"), float("nan")))
    text = write_table(found, tmp_path)
    # Student's t for two degrees of freedom: 4.30 x 0.02 / sqrt(3) = 0.0497.
    assert "| a | 3 | 0.820 ± 0.050 | 2.00 ± 0.00 | 3.00 ± 0.00 |" in text
    assert "| b | 1 | 0.500 | nan | nan |" in text
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
    assert len((tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'train = ["plain"]',
            'train = ["plane"]',
            r"run 'plain, regular' names the set 'plane', which is not there \(did you mean 'plain'",
        ),
        ('name = "unused"', 'name = "plain"', "two sets have the name 'plain'"),
        ("options =", "option =", r"line 22: unknown key 'runs\[0\].option'"),
        ("seeds = [1, 2]", "", "key 'seeds' is missing"),
        ('"simulate --count 2"', '"adapt {translated}"', "need each other in a circle"),
        ('name = "unused"', 'name = "data"', "a set must not be called 'data'"),
    ],
)
def test_what_is_wrong_in_a_study_is_told(path: Path, old: str, new: str, expected: str) -> None:
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SyntheXError, match=expected):
        list(steps(read_study(path), path.parent))


def test_the_studies_of_the_documentation_can_be_read() -> None:
    files = sorted((Path(__file__).parents[2] / "Docs" / "studies").glob("*.toml"))
    assert files
    for file in files:
        assert list(steps(read_study(file), Path("out"), data=Path("data")))


@pytest.mark.slow
def test_a_small_study_runs_from_nothing(hip_phantom: CaseFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case = f"--ct {hip_phantom.ct} --labels {hip_phantom.labels} --landmarks {hip_phantom.landmarks} --image-size 32 --workers 1"
    file = tmp_path / "study.toml"
    file.write_text(
        f'seeds = [1]\ntrain = "--size small --epochs 1 --pictures 0"\n'
        f'[[sets]]\nname = "a"\ncommand = "simulate {case} --count 8 --level naive"\n'
        f'[[sets]]\nname = "b"\ncommand = "simulate {case} --count 4 --seed 9"\n'
        '[[runs]]\nname = "naive"\ntrain = ["a"]\ntest = "b"\n',
        encoding="utf-8",
    )
    assert main(["study", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "| naive | 1 | 0." in capfd.readouterr().out
    assert main(["study", str(file), "--out", str(tmp_path / "out")]) == 0
