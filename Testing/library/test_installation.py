"""What is installed: the list beside pyproject.toml, versions against ranges, and the facts as text and JSON."""

import json
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from SyntheXLib import installation
from SyntheXLib.cache import cache_sizes, empty_cache
from SyntheXLib.cli import main
from SyntheXLib.errors import SyntheXError
from SyntheXLib.installation import PURPOSES, Installation, Package, Purpose, package_states, satisfies, split_requirement

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def facts(*states: installation.PackageState) -> Installation:
    return Installation(
        "0.1.0", "3.12", "Linux", states, "cpu-patch", "none", (), "missing", "not installed.", "/c", {"samples": 0, "deepdrr": 0}
    )


def state(purpose: str, problem: str, version: str | None = "1.0") -> installation.PackageState:
    return installation.PackageState("thing", "thing>=1", purpose, "something", version, problem)


def test_the_list_agrees_with_pyproject() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    expected = {
        "simulate": project["dependencies"],
        **{key: extras[key] for key in extras if key not in ("mrml", "dev", "onnx")},
    }  # not for users
    assert {purpose.key: [package.requirement for package in purpose.packages] for purpose in PURPOSES} == expected


@pytest.mark.parametrize(
    ("version", "requirement", "expected"),
    [
        ("1.15.0", "a>=1.15,<2", True),
        ("1.15", "a>=1.15.0", True),
        ("1.9", "a>=1.15,<2", False),
        ("2.0.0", "a>=1.15,<2", False),
        ("2", "a<2.0", False),
        ("2.13.0+cpu", "a>=2.8", True),
        ("10.0", "a>=9.5", True),
        ("2.0rc1", "a>=2", True),  # by its release numbers
        ("of unknown version", "a>=2", True),
    ],
)
def test_versions_are_held_against_limits(version: str, requirement: str, expected: bool) -> None:
    assert satisfies(version, split_requirement(requirement)[1]) is expected


@pytest.mark.parametrize("requirement", ["a==1", "a>=1; python_version<'3'", "a[b]>=1", ""])
def test_a_requirement_of_another_kind_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="limits by >= and <"):
        split_requirement(requirement)


def test_a_package_is_there_missing_too_old_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_thing.py").write_text("raise ImportError('libthing.so is missing')\n", encoding="utf-8")
    (tmp_path / "broken_thing-1.5.dist-info").mkdir()
    (tmp_path / "broken_thing-1.5.dist-info" / "METADATA").write_text("Name: broken-thing\nVersion: 1.5\n", encoding="utf-8")
    # As Slicer's own VTK: no metadata.
    (tmp_path / "built_thing.py").write_text("__version__ = '9.4'\n", encoding="utf-8")
    packages = [("numpy>=1", "numpy"), ("numpy>=99", "numpy"), ("no-such-thing>=1", "no_such_thing")]
    packages += [("broken-thing>=1", "broken_thing"), ("built-thing>=9", "built_thing"), ("built-thing>=10", "built_thing")]
    listed = Purpose("x", "x", True, tuple(Package(*package, "") for package in packages))
    monkeypatch.setattr(installation, "PURPOSES", (listed,))
    monkeypatch.setattr(installation, "_BUILT_BY_SLICER", ("built-thing",))
    found = [(one.version, one.problem) for one in package_states(try_imports=True)]
    numpy = np.__version__
    assert found == [
        (numpy, ""),
        (numpy, "numpy>=99 is needed"),
        (None, "missing"),
        ("1.5", "broken: libthing.so is missing"),
        ("9.4", ""),
        ("9.4", "built-thing>=10 is needed"),
    ]
    assert package_states()[3].problem == ""  # metadata alone


def test_facts_survive_json() -> None:
    found = facts(state("train", ""), state("gpu", "missing", None))
    assert Installation.from_json(found.to_json()) == found
    with pytest.raises((TypeError, KeyError)):
        Installation.from_json('{"synthex": "1"}')


@pytest.mark.parametrize(("purpose", "complete"), [("simulate", False), ("train", False), ("gpu", True), ("mc", True), ("cluster", True)])
def test_only_what_the_usual_way_needs_counts_as_incomplete(purpose: str, complete: bool) -> None:
    assert facts(state(purpose, "missing", None)).complete is complete


def test_the_doctor_tells_the_facts_as_text_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(state("simulate", ""), state("train", "missing", None))
    monkeypatch.setattr(installation, "examine", lambda: found)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "  thing           1.0             something" in text and "  thing           (missing)       something" in text
    assert "pip install synthex[train]" in text
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["packages"][1]["problem"] == "missing"


def test_the_facts_name_what_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    monkeypatch.setattr("SyntheXLib.rendering.deepdrr.environment.state", lambda: SimpleNamespace(kind="missing", sentence="no."))
    found = installation.examine()
    assert {one.name: one.version for one in found.packages}["torch"] == metadata.version("torch")
    assert found.torch_devices[-1] == f"cpu ({torch.get_num_threads()} threads)"
    assert (found.data_folder, found.deepdrr) == (str(tmp_path), "missing")


def test_the_cache_is_emptied_by_kind_and_what_is_not_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    assert empty_cache() == 0
    files = [tmp_path / name for name in ("samples/pelvis/ct.nii.gz", "deepdrr/environment/bin/python", "mine/thesis.tex", "note.txt")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(100))
    (tmp_path / "deepdrr" / "link").symlink_to(tmp_path / "mine")
    sizes = cache_sizes()
    assert sizes["samples"] == 100 and sizes["deepdrr"] >= 100
    assert empty_cache(["samples"]) == 100
    assert [file.exists() for file in files] == [False, True, True, True]
    empty_cache()
    assert [file.exists() for file in files] == [False, False, True, True]
    with pytest.raises(SyntheXError, match="one of samples, deepdrr was expected, found 'mine'"):
        empty_cache(["mine"])


def test_the_doctor_removes_the_environment_of_deepdrr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    file = tmp_path / "deepdrr" / "environment" / "file"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3_000_000))
    assert main(["doctor", "--remove-deepdrr"]) == 0
    assert capsys.readouterr().out == "removed 3.0 MB\n" and not file.exists()
