"""What is installed and what works on this machine: the facts that ``synthex doctor`` prints and the panel of the home module shows."""

from __future__ import annotations

import importlib
import importlib.util
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from SyntheXLib import __version__
from SyntheXLib.cache import CACHE_KINDS, cache_folder, cache_sizes, size_text


@dataclass(frozen=True)
class Package:
    """A requirement as in pyproject.toml, the module that it brings, and what that is for."""

    requirement: str
    module: str
    use: str

    @property
    def name(self) -> str:
        """Name of the distribution."""
        return split_requirement(self.requirement)[0]


@dataclass(frozen=True)
class Purpose:
    """What packages are for together.

    Attributes
    ----------
    key
        Name of the extra in pyproject.toml; ``simulate`` stands for the dependencies without extra.
    title
        What people read.
    needed
        Whether the usual way, simulate, train, infer, needs it.
    packages
        What pip brings.
    """

    key: str
    title: str
    needed: bool
    packages: tuple[Package, ...]


# The list of pyproject.toml with a word on each: Slicer does not install this project with pip, so its metadata is not there to be asked.
PURPOSES: tuple[Purpose, ...] = (
    Purpose(
        "simulate",
        "simulate",
        True,
        (
            Package("numpy>=1.26", "numpy", "everything"),
            Package("SimpleITK>=2.3", "SimpleITK", "reading CTs and images"),
            Package("h5py>=3.10", "h5py", "data sets"),
            Package("scikit-image>=0.22", "skimage", "pictures, contours"),
            Package("scipy>=1.11", "scipy", "filters, geometry"),
            Package("pillow>=10", "PIL", "pictures"),
            Package("llvmlite>=0.44", "llvmlite", "the fast ray caster"),
            Package("tqdm>=4.60", "tqdm", "progress"),
            Package("vtk>=9.2", "vtk", "surfaces"),
            Package("pydicom>=3", "pydicom", "DICOM images, DICOM SEG"),
            Package("cmaes>=0.11", "cmaes", "registration"),
        ),
    ),
    Purpose(
        "train",
        "train and infer",
        True,
        (
            Package("torch>=2.8", "torch", "networks"),
            Package("monai>=1.6", "monai", "networks, losses"),
            Package("pytorch-ignite>=0.5", "ignite", "training"),
            Package("tensorboard>=2.15", "tensorboard", "training logs"),
            Package("matplotlib>=3.8", "matplotlib", "figures of the report"),
        ),
    ),
    Purpose("gpu", "CUDA renderer", False, (Package("warp-lang>=1.15,<2", "warp", "rays on an NVIDIA GPU"),)),
    Purpose("mc", "Monte Carlo scatter", False, (Package("numba>=0.60", "numba", "photons one by one"),)),
    Purpose("cluster", "Slurm cluster", False, (Package("submitit>=1.5", "submitit", "jobs for Slurm"),)),
)

# Slicer builds VTK itself, up to 5.10 SimpleITK too: they may have no metadata. Of another package a module of that name proves nothing.
_BUILT_BY_SLICER = ("vtk", "SimpleITK")


@dataclass(frozen=True)
class PackageState:
    """A package here.

    Attributes
    ----------
    name, requirement, purpose, use
        See `Package` and `Purpose` (its key).
    version
        What is installed, or None.
    problem
        Empty when all is well, else ``missing``, ``too old`` and the like, or ``broken`` and why.
    """

    name: str
    requirement: str
    purpose: str
    use: str
    version: str | None
    problem: str = ""


@dataclass(frozen=True)
class Installation:
    """All that is known.

    Attributes
    ----------
    synthex, python, platform
        Versions, and the operating system.
    packages
        See `package_states`.
    ray_caster, cuda_ray_caster
        A line on each.
    torch_devices
        Names of the devices that torch computes on; the first is the one that ``auto`` takes. Empty without torch.
    deepdrr, deepdrr_sentence
        ``missing``, ``no CUDA``, ``broken`` or ``works``, and a sentence.
    data_folder, data_sizes
        The cache, and bytes by kind (see `CACHE_KINDS`).
    """

    synthex: str
    python: str
    platform: str
    packages: tuple[PackageState, ...]
    ray_caster: str
    cuda_ray_caster: str
    torch_devices: tuple[str, ...]
    deepdrr: str
    deepdrr_sentence: str
    data_folder: str
    data_sizes: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether all is there that the usual way needs."""
        needed = {purpose.key for purpose in PURPOSES if purpose.needed}
        return not any(state.problem for state in self.packages if state.purpose in needed)

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Installation:
        """What `to_json` gave.

        Raises
        ------
        ValueError, TypeError
            When it is something else.
        """
        values = json.loads(text)
        packages = tuple(PackageState(**state) for state in values.pop("packages"))
        return Installation(**(values | {"packages": packages, "torch_devices": tuple(values["torch_devices"])}))


def examine() -> Installation:
    """Import, start and try what there is. That takes seconds, and what was imported stays so: a panel lets a child process do it."""
    from SyntheXLib.rendering.deepdrr.environment import state

    deepdrr = state()
    return Installation(
        synthex=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=package_states(try_imports=True),
        ray_caster=_ray_caster(),
        cuda_ray_caster=_cuda_ray_caster(),
        torch_devices=_torch_devices(),
        deepdrr=deepdrr.kind,
        deepdrr_sentence=deepdrr.sentence,
        data_folder=str(cache_folder()),
        data_sizes=cache_sizes(),
    )


def report(found: Installation) -> str:
    """The facts as lines for people."""
    lines = [f"synthex {found.synthex}, Python {found.python}, {found.platform}"]
    for purpose in PURPOSES:
        lines.append(f"{purpose.title}{'' if purpose.needed else ' (optional)'}:")
        for state in found.packages:
            if state.purpose == purpose.key:
                told = " ".join(part for part in (state.version, state.problem and f"({state.problem})") if part)
                lines.append(f"  {state.name:15s} {told:15s} {state.use}")
    lines.append(f"ray caster: {found.ray_caster}")
    lines.append(f"CUDA ray caster: {found.cuda_ray_caster}")
    lines.append(f"torch devices: {', '.join(found.torch_devices) or 'none, torch is missing'}")
    lines.append(f"DeepDRR: {found.deepdrr_sentence}")
    sizes = ", ".join(f"{CACHE_KINDS[kind]} {size_text(size)}" for kind, size in found.data_sizes.items() if size)
    lines.append(f"data folder: {found.data_folder} ({sizes or 'empty'})")
    return "\n".join(lines)


def package_states(try_imports: bool = False) -> tuple[PackageState, ...]:
    """Every package of `PURPOSES`, by its metadata; with `try_imports` it is imported too, which finds broken ones."""
    return tuple(_package_state(package, purpose.key, try_imports) for purpose in PURPOSES for package in purpose.packages)


def installed_version(name: str, module: str) -> str | None:
    """Version of a package; None when it is missing.

    What Slicer builds itself may have no metadata: then the module itself is asked.
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    if name not in _BUILT_BY_SLICER or importlib.util.find_spec(module) is None:
        return None
    try:
        return str(getattr(importlib.import_module(module), "__version__", "of unknown version"))
    except (ImportError, OSError):
        return None


def split_requirement(requirement: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Name and limits of a requirement: ``warp-lang>=1.15,<2`` gives warp-lang and ((">=", "1.15"), ("<", "2")).

    Raises
    ------
    ValueError
        When it is anything else than a name and limits by >= and <.
    """
    found = re.fullmatch(r"([A-Za-z0-9._-]+)((?:(?:>=|<)[0-9.]+,?)*)", requirement)
    if found is None:
        raise ValueError(f"Requirement: a name and limits by >= and < were expected, found '{requirement}'.")
    return found[1], tuple(re.findall(r"(>=|<)([0-9.]+)", found[2]))


def satisfies(version: str, limits: Sequence[tuple[str, str]]) -> bool:
    """Whether a version lies within limits; an unreadable one does.

    By its release numbers: the package `packaging`, which knows the rest, may itself be missing here.
    """
    numbers = _release(version)
    return not numbers or all((numbers >= _release(limit)) == (sign == ">=") for sign, limit in limits)


def _release(version: str) -> tuple[int, ...]:
    """Release numbers without trailing zeros, so that 2.0 and 2 are the same."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _package_state(package: Package, purpose: str, try_import: bool) -> PackageState:
    name, limits = split_requirement(package.requirement)
    version, problem = installed_version(name, package.module), ""
    if version is None:
        problem = "missing"
    elif not satisfies(version, limits):
        problem = f"{package.requirement} is needed"
    elif try_import:
        try:
            importlib.import_module(package.module)
        except (ImportError, OSError) as error:
            problem = f"broken: {error}"
    return PackageState(name, package.requirement, purpose, package.use, version, problem)


def _ray_caster() -> str:
    from SyntheXLib.rendering.renderer import make_renderer

    renderer = make_renderer()
    return f"{renderer.name}" + (" (slow: install llvmlite)" if renderer.name == "reference" else "")


def _cuda_ray_caster() -> str:
    from SyntheXLib.rendering.cuda import cuda_state

    return cuda_state()


def _torch_devices() -> tuple[str, ...]:
    torch: Any
    try:
        import torch
    except (ImportError, OSError):
        return ()
    devices = [f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, f"cpu ({torch.get_num_threads()} threads)")
