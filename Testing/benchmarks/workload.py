"""What everyone renders: the sample chest CT with six labels, seen by a Cios Fusion from five seeded directions."""

from __future__ import annotations

from functools import cache

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.scene.c_arm import Camera, load_device
from SyntheXLib.scene.case_files import ijk_to_ras
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.specimen import Specimen, make_specimen

# TotalSegmentator numbers of the six labels.
LABELS = {
    "heart": [51],
    "aorta": [52],
    "liver": [5],
    "lungs": [10, 11, 12, 13, 14],
    "spine": list(range(25, 51)),
    "ribs": list(range(92, 117)),
}
# Three materials: air, soft tissue, bone.
CUTS = (-800.0, 350.0)


@cache
def _sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU and TotalSegmentator numbers (K, J, I), and IJK-to-RAS; the ITK axes are the world's, which RTK wants."""
    sample = fetch_sample("chest")
    ct, numbers = (sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS") for path in (sample.ct, sample.labels))
    return np.maximum(sitk.GetArrayFromImage(ct), -1000), sitk.GetArrayFromImage(numbers), ijk_to_ras(ct)


def chest(side: int | None = None, labels: int = len(LABELS)) -> Specimen:
    """The chest with the first `labels` of the labels (repeated beyond six), as it is or on `side` voxels along each axis."""
    hu, numbers, matrix = _sample()
    if side is not None:
        # The nearest voxel; the body keeps its size.
        places = [((np.arange(side) + 0.5) * size / side).astype(int) for size in hu.shape]
        scale = np.diag([*(size / side for size in hu.shape[::-1]), 1.0])
        scale[:3, 3] = (np.diag(scale)[:3] - 1) / 2
        hu, numbers, matrix = hu[np.ix_(*places)], numbers[np.ix_(*places)], matrix @ scale
    parts = list(LABELS.items())
    masks = {f"{n}_{parts[n % 6][0]}": np.isin(numbers, parts[n % 6][1]) for n in range(labels)}
    return make_specimen("chest", hu, matrix, masks, list(masks))


def middle(specimen: Specimen) -> np.ndarray:
    """(3,) centre of the CT, RAS, mm."""
    return (specimen.ijk_to_ras @ [*(np.array(specimen.hu.shape[::-1]) - 1) / 2, 1])[:3]


def cameras(specimen: Specimen, size: int, count: int = 5) -> list[Camera]:
    """Views within +-45 degrees about each axis (seed 7), source 700 mm from the CT's middle, whole detector on `size` pixels a side."""
    rng = np.random.default_rng(7)
    device = load_device("cios-fusion")
    poses = [CArmPose(*rng.uniform(-45, 45, 3)) for _ in range(count)]
    return [device.camera(pose.world_to_camera(middle(specimen)), shape=(size, size)) for pose in poses]
