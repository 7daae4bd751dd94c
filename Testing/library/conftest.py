"""Phantoms with known answers."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, affine, ball_fraction, world_grid

from SyntheXLib.scene.case_files import CaseFiles, itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.scene.specimen import Specimen, make_specimen


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
