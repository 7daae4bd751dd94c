"""The command line: help, errors, and the way from CT to data set."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from SyntheXLib.cli import COMMANDS, main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.scene.case_files import CaseFiles

NAMES = [module.__name__.rsplit(".", 1)[1] for module in COMMANDS]


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([], capsys)
    assert all(name in text for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_describes_itself_and_all_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([name], capsys)
    assert len(text.split("\n\n")[1]) > 50  # a description under the usage
    assert "%(" not in text and "None" not in text


def test_help_needs_no_package_but_numpy_and_simpleitk() -> None:
    heavy = ["torch", "h5py", "skimage", "llvmlite", "monai", "scipy", "matplotlib", "tqdm", "vtk"]
    code = f"import sys; from SyntheXLib import cli\nfor name in {heavy}: assert name not in sys.modules, name"
    subprocess.run([sys.executable, "-c", code], check=True)


def case_options(case: CaseFiles) -> list[str]:
    return ["--ct", str(case.ct), "--labels", str(case.labels), "--landmarks", str(case.landmarks)]


def test_simulate_draws_what_is_not_given(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    out = tmp_path / "data"
    options = ["--count", "3", "--image-size", "32", "--workers", "1", "--out", str(out), "--randomize-exposure"]
    given = ["--kvp", "77", "--collimator", "250x200", "--no-grid", "--cathode-side", "left"]
    assert main(["simulate", *case_options(hip_phantom), *options, *given]) == 0
    assert main(["simulate", *case_options(hip_phantom), *options, *given, "--resume"]) == 0
    dataset = XrayDataset(out)
    values = [dataset[i].parameters["exposure"] for i in range(3)]
    assert len({value["open_beam_dose_ugy"] for value in values}) == 3
    assert not any(place.startswith(("kvp", "grid", "collimator", "cathode")) for value in values for place in value)
    exposure = dataset.header.configuration["exposure"]
    assert exposure["kvp"] == 77 and exposure["grid"] is None and exposure["collimator"]["width_mm"] == 250


def test_from_ct_to_data_set_check_and_preview(hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    simulate = ["simulate", *case_options(hip_phantom), "--count", "3", "--image-size", "48", "--workers", "1", "--out", str(out)]
    assert main(simulate) == 0
    assert "3 images rendered" in capsys.readouterr().out
    assert main(simulate) == 2  # without --resume nothing is touched
    assert "add --resume" in capsys.readouterr().err
    assert main([*simulate, "--resume"]) == 0
    assert "0 images rendered" in capsys.readouterr().out
    assert main([*simulate, "--resume", "--seed", "5"]) == 2
    assert "another 'seed' 0, not 5" in capsys.readouterr().err

    assert main(["dataset", "info", str(out)]) == 0
    assert "hip: 6 structures, 14 landmarks" in capsys.readouterr().out
    assert main(["dataset", "check", str(out)]) == 0
    assert main(["dataset", "show", str(out), "--count", "2"]) == 0
    from skimage.io import imread

    assert imread(out / "images.png").shape == (720, 720, 3)
    shard = out / "shards" / "00000.h5"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert main(["dataset", "check", str(out)]) == 1
    assert "0 of 1 shards are whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["simulate", "--count", "1", "--out", "{out}"], "Expected a case: --sample NAME, or --ct FILE"),
        (["simulate", "--ct", "a.nii", "--count", "1", "--out", "{out}"], "one --labels for each --ct"),
        (["simulate", "{case}", "--task", "hop", "--count", "1", "--out", "{out}"], "did you mean 'hip'"),
        (["simulate", "{case}", "--level", "naiv", "--count", "1", "--out", "{out}"], "did you mean 'naive'"),
        (["simulate", "{case}", "--kvp", "900", "--count", "1", "--out", "{out}"], "within 40 to 150 kV, found 900"),
        (["simulate", "{case}", "--anode-angle", "3", "--count", "1", "--out", "{out}"], "within 6 to 20 degrees, found 3"),
        (
            ["simulate", "{case}", "--collimator", "10x", "--count", "1", "--out", "{out}"],
            "--collimator must be WIDTHxHEIGHT or a DIAMETER",
        ),
        (["simulate", "{case}", "--device", "cios", "--count", "1", "--out", "{out}"], "did you mean 'cios-fusion'"),
        (["simulate", "{case}", "--count", "1", "--workers", "0", "--out", "{out}"], "workers must be at least 1"),
        (["simulate", "{case}", "--count", "1", "--renderer", "gpu", "--out", "{out}"], "Unknown renderer 'gpu'"),
        (["dataset", "info", "{out}"], "is not a data set"),
        (["train", "{out}", "--out", "{out}2"], "is not a data set"),
        (["train", "{out}", "--out", "{out}2", "--size", "smal"], "did you mean 'small'"),
        (["train", "{out}", "--out", "{out}2", "--preset", "paper"], "did you mean 'paper-text'"),
        (["infer", "{out}.pt", "{out}.png", "--out", "{out}2"], "{out}"),
        (["evaluate", "{out}", "{out}", "--out", "{out}2"], "{out}"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str], expected: str, hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "missing")
    filled = []
    for argument in arguments:
        filled += case_options(hip_phantom) if argument == "{case}" else [argument.format(out=out)]
    assert main(filled) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"synthex {arguments[0]}: ") and expected.format(out=out) in message
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_the_module_runs_as_a_script() -> None:
    run = subprocess.run([sys.executable, "-m", "SyntheXLib.cli", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("synthex ")


def test_an_interrupt_is_told_and_what_is_finished_stays(
    hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import SyntheXLib.simulation.job as job

    real, calls = job.make_view, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(job, "make_view", interrupted)
    out = tmp_path / "data"
    options = ["--count", "4", "--shard-size", "2", "--image-size", "32", "--workers", "1", "--out", str(out)]
    assert main(["simulate", *case_options(hip_phantom), *options]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert sorted(p.name for p in (out / "shards").iterdir()) == ["00000.h5", "00000.json"]
    assert json.loads((out / "dataset.json").read_text(encoding="utf-8"))["count"] == 4
