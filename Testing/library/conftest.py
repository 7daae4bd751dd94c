"""Phantoms with known answers."""

import gc
import importlib.util
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, affine, ball_fraction, world_grid

from SyntheXLib.rendering.deepdrr import environment, protocol
from SyntheXLib.scene.case_files import CaseFiles, itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.scene.specimen import Specimen, make_specimen

if TYPE_CHECKING:
    from SyntheXLib.training.run import TrainingResult


@pytest.fixture(scope="session")
def ball() -> tuple[Specimen, np.ndarray, float]:
    """A ball of water in air, off centre in an oblique CT, with its label; centre (RAS, mm) and radius (mm)."""
    shape, center, radius = (50, 54, 58), np.array([6.0, -4.0, 3.0]), 30.0
    matrix = affine(shape, (1.5, 1.7, 2.0), OBLIQUE)
    hu = -1000 + 1000 * ball_fraction(shape, matrix, center, radius)
    label = ((world_grid(shape, matrix) - center) ** 2).sum(-1) < radius**2
    return make_specimen("ball", hu, matrix, {"ball": label}, ["ball"], {"centre": center}), center, radius


@pytest.fixture(scope="session")
def box() -> tuple[Specimen, np.ndarray]:
    """A box of water along the axes of an oblique CT, with its label; (2, 3) limits in the CT's centred axes, mm."""
    shape, spacing = (40, 50, 60), (2.0, 1.5, 1.8)
    matrix = affine(shape, spacing, OBLIQUE)
    hu = np.full(shape, -1000.0)
    hu[8:32, 10:42, 15:47] = 0
    limits = (np.array([[15, 10, 8], [47, 42, 32]]) - np.array(shape[::-1]) / 2) * spacing
    return make_specimen("box", hu, matrix, {"box": hu == 0}, ["box"]), limits


@pytest.fixture(scope="session")
def hip_phantom(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """A case on disk for task hip: ellipsoids as bones in a body of water, TotalSegmentator numbers, four landmarks."""
    folder: Path = tmp_path_factory.mktemp("hip_phantom")
    shape = (48, 44, 64)
    matrix = affine(shape, (5.0, 5.0, 5.0))
    grid = world_grid(shape, matrix)
    labels = np.zeros(shape, np.uint8)
    hu = np.where(((grid / [150, 100, 400]) ** 2).sum(-1) < 1, 20.0, -1000.0)
    bones = {
        77: ((-55, 0, 0), (30, 40, 70)),
        78: ((55, 0, 0), (30, 40, 70)),
        29: ((0, -30, 85), (22, 22, 30)),
        26: ((0, -40, 35), (35, 18, 18)),
        75: ((-100, 0, -60), (25, 25, 40)),
        76: ((100, 0, -60), (25, 25, 40)),
    }
    for number, (center, axes) in bones.items():
        inside = (((grid - center) / axes) ** 2).sum(-1) < 1
        labels[inside] = number
        hu[inside] = 700
    labels[0, 0, 0] = 77  # a speck that loading drops
    sitk.WriteImage(itk_image(hu.astype(np.int16), matrix), str(folder / "ct.nii.gz"))
    sitk.WriteImage(itk_image(labels, matrix), str(folder / "labels.nii.gz"))
    points = {"FH-l": (-90, 0, -40), "FH-r": (90, 0, -40), "ASIS-l": (-60, 35, 50), "ASIS-r": (60, 35, 50)}
    write_markups(folder / "points.mrk.json", {name: np.array(point, float) for name, point in points.items()})
    return CaseFiles(folder / "ct.nii.gz", folder / "labels.nii.gz", folder / "points.mrk.json")


@pytest.fixture
def deepdrr_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nobody's cache, no GPU, and a temporary folder that must be empty in the end."""
    folder, temporary = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("SYNTHEX_CACHE", str(folder))
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "driver_cuda", lambda: None)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield folder
    gc.collect()
    assert list(temporary.iterdir()) == []


@pytest.fixture
def deepdrr_stand_in(deepdrr_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The interpreter whose child is the stand-in."""
    monkeypatch.setattr(protocol, "CHILD", Path(__file__).parent / "deepdrr_stand_in.py")
    return Path(sys.executable)


@pytest.fixture(scope="session")
def deepdrr_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the stand-in for the package deepdrr is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    spec = importlib.util.find_spec("numpy")
    assert spec is not None and spec.origin is not None
    paths = [Path(__file__).parent / "fake_deepdrr", Path(__file__).parents[2] / "SyntheX", Path(spec.origin).parents[1]]
    (packages / "fake.pth").write_text("\n".join(map(str, paths)), encoding="utf-8")
    return folder / "bin" / "python"


@pytest.fixture
def deepdrr_installed(deepdrr_cache: Path, deepdrr_python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Chosen as the environment of DeepDRR, with a CUDA compiler beside it."""
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\n", encoding="utf-8")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    monkeypatch.setenv(environment.VARIABLE, str(deepdrr_python))
    return deepdrr_python


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of disks, see `toy_training`."""
    from toy_training import write_toy

    return write_toy(tmp_path_factory.mktemp("toy") / "train", 24)


@pytest.fixture(scope="session")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> "TrainingResult":
    """A whole training on `toy`."""
    from toy_training import config

    from SyntheXLib.training.run import train

    return train(config(toy, tmp_path_factory.mktemp("run") / "whole"))


@pytest.fixture
def toy_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file that loads as the toy network."""
    from toy_network import ToyNetwork, toy_description, toy_task

    from SyntheXLib.networks import model_file

    path = tmp_path / "model.pt"
    path.write_bytes(b"toy")
    monkeypatch.setattr(model_file, "load_model", lambda path, device="cpu": (ToyNetwork(toy_task()), toy_description()))
    return path
