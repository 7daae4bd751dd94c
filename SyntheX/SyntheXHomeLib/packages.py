"""The one place where SyntheX installs Python packages into Slicer, and removes them again.

Asked for by the user, never at import; what Slicer brings is never replaced, torch comes by the PyTorch extension alone, and what was
installed is remembered, so that it can be undone.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.settings import recall, remember
from SyntheXLib.errors import SyntheXError
from SyntheXLib.installation import PURPOSES, PackageState, package_states

INSTALLED = "SyntheX/InstalledPackages"
# Part of every Slicer, as distribution and module: its own files rely on just these versions.
BUNDLED = {"numpy": "numpy", "scipy": "scipy", "SimpleITK": "SimpleITK", "vtk": "vtk", "pydicom": "pydicom", "pillow": "PIL"}
# The PyTorch extension chooses the builds that fit the graphics card.
TORCH = ("torch", "torchvision")


def missingRequirements(states: Iterable[PackageState]) -> list[str]:
    """What pip has to bring: what is missing or too old of these packages, but for torch and what Slicer brings."""
    wanted = (state for state in states if state.problem and state.name not in TORCH)
    return [state.requirement for state in wanted if not (state.name in BUNDLED and state.version)]


def install(purpose: str) -> bool:
    """Ask, and let pip install what a purpose lacks.

    Parameters
    ----------
    purpose
        Key of `PURPOSES`.

    Returns
    -------
    bool
        False when the user declined.

    Raises
    ------
    SyntheXError
        When torch has to be installed before, pip fails, or this is no Slicer.
    """
    if getattr(slicer, "app", None) is None:
        raise SyntheXError("Packages are installed from Slicer's window; outside of it use pip install 'synthex[train]'.")
    (title,) = (one.title for one in PURPOSES if one.key == purpose)
    states = [state for state in package_states() if state.purpose == purpose]
    if any(state.name in TORCH and state.problem for state in states):
        raise SyntheXError(f"The packages to {title} need torch: install PyTorch first.")
    requirements = missingRequirements(states)
    if not requirements:
        return True
    with tempfile.TemporaryDirectory(prefix="SyntheX-") as folder, _remembered():
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(constraintLines()) + "\n", encoding="utf-8")
        try:
            return _pip(requirements, constraints)
        except subprocess.CalledProcessError as error:
            raise SyntheXError(f"pip could not install {', '.join(requirements)}; Slicer's Python console and log say why.") from error


def constraintLines() -> list[str]:
    """Lines for pip's constraints: what Slicer brings stays at its version, and torch too.

    What is there without metadata, as Slicer's own VTK, pip would take for missing and install beside it; no version of it is allowed, so
    that pip says no instead. The same holds for torch where it is missing.
    """
    versions = installedVersions()
    lines = []
    for name in (*BUNDLED, *TORCH):
        version = versions.get(_canonical(name))
        if version:
            lines.append(f"{name}=={version}")
        elif name in TORCH or importlib.util.find_spec(BUNDLED[name]) is not None:
            lines.append(f"{name}<0")
    return lines


def hasTorchExtension() -> bool:
    """Whether the PyTorch extension is there."""
    return importlib.util.find_spec("PyTorchUtils") is not None


def installTorchExtension() -> None:
    """Let Slicer install the PyTorch extension; it asks, and asks for the restart that this needs.

    Raises
    ------
    SyntheXError
        When Slicer cannot.
    """
    manager = slicer.app.extensionsManagerModel()
    if not manager.installExtensionFromServer("PyTorch"):
        raise SyntheXError("The extension PyTorch was not installed: look for it in the Extensions Manager, or see Slicer's log.")


def installTorch() -> bool:
    """Let the PyTorch extension install torch for this graphics card; it asks.

    Returns
    -------
    bool
        False when the user declined.

    Raises
    ------
    SyntheXError
        When the extension is missing or fails.
    """
    if not hasTorchExtension():
        raise SyntheXError("torch is installed by the extension PyTorch, which is missing: install that first.")
    requirement = next(package.requirement for purpose in PURPOSES for package in purpose.packages if package.name == "torch")
    utilities: Any = importlib.import_module("PyTorchUtils")
    with _remembered():
        try:
            torch = utilities.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=requirement.removeprefix("torch")
            )
        except (subprocess.CalledProcessError, ImportError, RuntimeError, ValueError, OSError) as error:
            raise SyntheXError(f"The extension PyTorch could not install torch ({error}); Slicer's log says more.") from error
    return torch is not None


def removablePackages() -> list[str]:
    """Packages that SyntheX installed, that are still there, and that no other package came to need."""
    recorded = _recorded()
    if not recorded:  # the usual case, and the rest takes its time
        return []
    there = recorded & set(installedVersions())
    needs = {_canonical(dist.metadata["Name"]): _needed(dist) for dist in metadata.distributions() if dist.metadata["Name"]}
    while True:
        kept = {name for name in there for other, needed in needs.items() if other not in there and name in needed}
        if not kept:
            return sorted(there)
        there -= kept


def uninstall() -> list[str]:
    """Ask, and let pip remove `removablePackages`; returns those that it removed.

    Raises
    ------
    SyntheXError
        When pip fails.
    """
    names = removablePackages()
    text = _("Remove {count} Python packages that SyntheX installed?").format(count=len(names))
    if not names or not slicer.util.confirmOkCancelDisplay(text, _("SyntheX"), detailedText="\n".join(names)):
        return []
    try:
        slicer.util.pip_uninstall(" ".join(names))
    except subprocess.CalledProcessError as error:
        raise SyntheXError("pip could not remove all packages, for some may be in use: restart Slicer and try again.") from error
    finally:
        left = installedVersions()
        _record(_recorded() & set(left))
    return [name for name in names if name not in left]


def installedVersions() -> dict[str, str]:
    """Version of every installed distribution, by its canonical name."""
    importlib.invalidate_caches()  # pip ran in another process
    return {_canonical(dist.metadata["Name"]): dist.version for dist in metadata.distributions() if dist.metadata["Name"]}


def _pip(requirements: Sequence[str], constraints: Path) -> bool:
    try:
        packaging = importlib.import_module("slicer.packaging")  # Slicer 5.12 and later
    except ModuleNotFoundError:
        return _pipOfSlicer510(requirements, constraints)
    try:
        packaging.pip_ensure(list(requirements), constraints=constraints, requester="SyntheX")
    except RuntimeError:  # how it tells that the user declined
        return False
    return True


def _pipOfSlicer510(requirements: Sequence[str], constraints: Path) -> bool:
    text = _("SyntheX needs {packages}. They are downloaded and installed into Slicer's Python. Continue?")
    if not slicer.util.confirmOkCancelDisplay(text.format(packages=", ".join(requirements)), _("Install Python packages")):
        return False
    dialog = slicer.util.createProgressDialog(labelText=_("Installing Python packages ..."), maximum=0)
    try:
        slicer.util.pip_install([*requirements, "--constraint", str(constraints)])
    finally:
        dialog.close()
    return True


@contextmanager
def _remembered() -> Iterator[None]:
    """Remember what is installed inside and was not there before."""
    before = installedVersions()
    try:
        yield
    finally:
        _record(_recorded() | (set(installedVersions()) - set(before)))


def _recorded() -> set[str]:
    return set(json.loads(recall(INSTALLED, ofThisSlicer=True) or "[]"))


def _record(names: set[str]) -> None:
    remember(INSTALLED, json.dumps(sorted(names)), ofThisSlicer=True)


def _needed(dist: metadata.Distribution) -> set[str]:
    """Canonical names of what a distribution requires, without its extras."""
    lines = [line for line in dist.requires or [] if "extra ==" not in line]
    return {_canonical(found[0]) for line in lines if (found := re.match(r"[A-Za-z0-9._-]+", line))}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
