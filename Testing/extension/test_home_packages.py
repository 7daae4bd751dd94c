"""Installing packages into Slicer and removing them again, with a stand-in for pip."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.errors import SyntheXError
from SyntheXLib.installation import PackageState


@pytest.fixture
def packages(slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module under test, with a user who agrees, and nothing remembered."""
    from SyntheXHomeLib import packages

    slicer_gui.app.revisionUserSettings().clear()
    monkeypatch.setattr(slicer_gui.util, "confirmOkCancelDisplay", Mock(return_value=True))
    return packages


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts distributions into a folder on the path, as pip would: name, version, names that it needs."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(name: str, version: str, *needs: str) -> None:
        place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        place.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        (place / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return put


def states(*given: tuple[str, str, str | None]) -> Callable[[], tuple[PackageState, ...]]:
    """Requirement, purpose, version; a problem where there is no version."""
    made = tuple(PackageState(r.partition(">")[0], r, p, "", v, "" if v else "missing") for r, p, v in given)
    return lambda: made


class Pip:
    """Stands in for `slicer.packaging`: notes what it is asked and installs by a function."""

    def __init__(self, effect: Callable[[], None] = lambda: None) -> None:
        self.effect, self.asked, self.constraints = effect, [], ""

    def pip_ensure(self, requirements: list[str], constraints: Path, requester: str) -> None:
        self.asked.append(requirements)
        self.constraints = constraints.read_text(encoding="utf-8")
        assert requester == "SyntheX"
        self.effect()


def use(pip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slicer.packaging", pip)


def fail(error: Exception) -> Callable[[], None]:
    def effect() -> None:
        raise error

    return effect


def test_what_is_missing_is_asked_of_pip_with_what_slicer_brings_held_fast(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip()
    use(pip, monkeypatch)
    monkeypatch.setattr(
        packages, "package_states", states(("h5py>=3", "simulate", None), ("tqdm>=4", "simulate", "4.1"), ("numba>=1", "mc", None))
    )
    assert packages.install("simulate")
    assert pip.asked == [["h5py>=3"]]
    lines = pip.constraints.splitlines()
    assert f"numpy=={np.__version__}" in lines
    assert f"vtk=={metadata.version('vtk')}" in lines
    assert f"scipy=={metadata.version('scipy')}" in lines
    assert any(line.startswith("torch==") for line in lines)
    assert "torchvision<0" in lines  # missing: pip must not bring it


def test_what_slicer_built_without_metadata_cannot_be_installed_beside_it(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    here = packages.installedVersions()
    monkeypatch.setattr(packages, "installedVersions", lambda: {name: v for name, v in here.items() if name not in ("vtk", "torch")})
    assert {"vtk<0", "torch<0"} <= set(packages.constraintLines())


def test_what_slicer_brings_is_never_asked_for_and_torch_neither(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    old = PackageState("numpy", "numpy>=99", "train", "", "2.0", "numpy>=99 is needed")
    monkeypatch.setattr(packages, "package_states", lambda: (old, *states(("torch>=2", "train", None), ("monai>=1", "train", None))()))
    assert packages.missingRequirements(packages.package_states()) == ["monai>=1"]
    with pytest.raises(SyntheXError, match="install PyTorch first"):
        packages.install("train")


def test_a_user_who_declines_and_a_pip_that_fails_are_told_apart(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "package_states", states(("h5py>=3", "simulate", None)))
    use(Pip(fail(RuntimeError("User declined package installation"))), monkeypatch)
    assert packages.install("simulate") is False
    use(Pip(fail(subprocess.CalledProcessError(1, "pip"))), monkeypatch)
    with pytest.raises(SyntheXError, match="pip could not install h5py>=3"):
        packages.install("simulate")


def test_slicer_5_10_asks_by_itself_and_shows_progress(
    packages: ModuleType, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # importing it fails
    monkeypatch.setattr(packages, "package_states", states(("h5py>=3", "simulate", None)))
    dialog, asked, seen = Mock(), slicer_gui.util.confirmOkCancelDisplay, []
    monkeypatch.setattr(slicer_gui.util, "createProgressDialog", Mock(return_value=dialog))
    monkeypatch.setattr(slicer_gui.util, "pip_install", lambda args: seen.append([*args[:2], Path(args[2]).read_text(encoding="utf-8")]))
    assert packages.install("simulate")
    ((requirement, option, constraints),) = seen
    assert (requirement, option) == ("h5py>=3", "--constraint") and "numpy==" in constraints
    assert "h5py>=3" in asked.call_args.args[0]
    dialog.close.assert_called_once_with()
    asked.return_value = False
    assert not packages.install("simulate")
    assert len(seen) == 1


def test_what_was_new_is_removed_again_and_nothing_else(
    packages: ModuleType, site: Callable[..., None], slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    site("Was-There", "1.0")

    def bring() -> None:
        site("new_one", "2.0", "helper-of.new>=1", "other; extra == 'more'")
        site("helper-of-new", "1.0")
        site("shared", "1.0")

    use(Pip(bring), monkeypatch)
    monkeypatch.setattr(packages, "package_states", states(("new-one>=1", "simulate", None)))
    assert packages.install("simulate")
    assert packages.removablePackages() == ["helper-of-new", "new-one", "shared"]
    site("another-extension", "1.0", "shared>=1")
    assert packages.removablePackages() == ["helper-of-new", "new-one"]  # who installed it or not: somebody needs it now
    monkeypatch.setattr(packages, "installedVersions", Mock(side_effect=packages.installedVersions))
    removed: list[str] = []

    def pip_uninstall(names: str) -> None:
        removed.extend(names.split())
        there = {**{name: "1" for name in ("was-there", "shared", "another-extension")}}
        monkeypatch.setattr(packages, "installedVersions", lambda: there)

    monkeypatch.setattr(slicer_gui.util, "pip_uninstall", pip_uninstall)
    asked = slicer_gui.util.confirmOkCancelDisplay
    asked.return_value = False
    assert packages.uninstall() == [] and removed == []
    asked.return_value = True
    assert packages.uninstall() == ["helper-of-new", "new-one"] == removed
    assert json.loads(packages.recall(packages.INSTALLED, ofThisSlicer=True)) == ["shared"]


def test_a_removal_that_pip_refuses_keeps_what_is_still_there(
    packages: ModuleType, site: Callable[..., None], slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Pip(lambda: site("new-one", "2.0")), monkeypatch)
    monkeypatch.setattr(packages, "package_states", states(("new-one>=1", "simulate", None)))
    packages.install("simulate")
    monkeypatch.setattr(slicer_gui.util, "pip_uninstall", Mock(side_effect=subprocess.CalledProcessError(1, "pip")))
    with pytest.raises(SyntheXError, match="restart Slicer and try again"):
        packages.uninstall()
    assert packages.removablePackages() == ["new-one"]


def test_torch_comes_by_the_extension_alone(packages: ModuleType, site: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not packages.hasTorchExtension()
    with pytest.raises(SyntheXError, match="extension PyTorch, which is missing"):
        packages.installTorch()
    logic = Mock()
    logic.installTorch = Mock(side_effect=lambda **_: site("light-the-torch", "0.9") or "torch")
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: logic, __spec__=Mock()))
    assert packages.installTorch()
    logic.installTorch.assert_called_once_with(askConfirmation=True, torchVersionRequirement=">=2.8")
    assert packages.removablePackages() == ["light-the-torch"]
    logic.installTorch = Mock(return_value=None)
    assert not packages.installTorch()
    logic.installTorch = Mock(side_effect=subprocess.CalledProcessError(1, "ltt"))
    with pytest.raises(SyntheXError, match="could not install torch"):
        packages.installTorch()


def test_outside_of_slicer_nothing_is_installed(packages: ModuleType, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicer_gui, "app", None)
    with pytest.raises(SyntheXError, match="pip install 'synthex"):
        packages.install("simulate")
