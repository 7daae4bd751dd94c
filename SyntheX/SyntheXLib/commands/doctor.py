"""``synthex doctor``: what is installed and what works."""

import argparse
import importlib
import platform
from importlib import metadata
from typing import Any

from SyntheXLib import __version__

# Package on the index, module, and what it is for.
_PACKAGES = (
    ("numpy", "numpy", "everything"),
    ("SimpleITK", "SimpleITK", "reading CTs and images"),
    ("h5py", "h5py", "data sets"),
    ("scikit-image", "skimage", "pictures, contours"),
    ("llvmlite", "llvmlite", "the fast ray caster"),
    ("torch", "torch", "training and inference"),
    ("monai", "monai", "training and inference"),
    ("pytorch-ignite", "ignite", "training"),
    ("tensorboard", "tensorboard", "training logs"),
    ("matplotlib", "matplotlib", "figures of the report"),
)


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "doctor",
        help="tell what is installed and what works",
        description="Tell which packages are installed, whether the compiled ray caster runs, on which devices torch computes, "
        "and whether DeepDRR can be used as a renderer.",
    )
    parser.add_argument(
        "--install-deepdrr", action="store_true", help="make the environment for DeepDRR (GPL-3; some 6 GB) by pip in the user's cache"
    )
    parser.add_argument("--yes", action="store_true", help="install without asking")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.install_deepdrr:
        return _install_deepdrr(options.yes)
    print(f"synthex {__version__}, Python {platform.python_version()}, {platform.platform()}")
    missing = False
    for package, module, purpose in _PACKAGES:
        try:
            version = metadata.version(package)
            importlib.import_module(module)
            state = version
        except metadata.PackageNotFoundError:
            state, missing = "missing", True
        except (ImportError, OSError) as error:
            state, missing = f"broken: {error}", True
        print(f"  {package:15s} {state:15s} {purpose}")
    print(f"ray caster: {_ray_caster()}")
    print(f"CUDA ray caster: {_cuda_ray_caster()}")
    print(f"torch devices: {_torch_devices()}")
    print(f"DeepDRR: {_deepdrr()}")
    if missing:
        print("Install what is missing with: pip install synthex[train]")
    return 1 if missing else 0


def _ray_caster() -> str:
    from SyntheXLib.rendering.renderer import make_renderer

    renderer = make_renderer()
    return f"{renderer.name}" + (" (slow: install llvmlite)" if renderer.name == "reference" else "")


def _cuda_ray_caster() -> str:
    from SyntheXLib.rendering.cuda import cuda_state

    return cuda_state()


def _torch_devices() -> str:
    try:
        import torch
    except (ImportError, OSError):
        return "none, torch is missing"
    devices = [f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return ", ".join([*devices, f"cpu ({torch.get_num_threads()} threads)"])


def _deepdrr() -> str:
    from SyntheXLib.rendering.deepdrr.environment import state

    return state().sentence


def _install_deepdrr(sure: bool) -> int:
    from SyntheXLib.rendering.deepdrr.environment import environment_folder, install, install_plan, state

    install_plan()  # tells what is in the way before anything is asked
    if not sure:
        try:
            answer = input(f"Install DeepDRR (GPL-3) and what it needs, some 6 GB, into {environment_folder()}? [y/N] ")
        except EOFError:  # nobody there to ask
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was installed; --yes installs without asking.")
            return 1
    install()
    found = state()
    print(f"DeepDRR: {found.sentence}")
    return 0 if found.kind == "works" else 1
