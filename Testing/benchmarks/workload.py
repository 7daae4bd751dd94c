"""What everyone renders: the sample chest CT with six labels, seen by a Cios Fusion from five seeded directions."""

from __future__ import annotations

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


def chest(shrink: int = 1, labels: int = len(LABELS)) -> Specimen:
    """The chest with the first `labels` of the labels (repeated beyond six), every `shrink`-th voxel along each axis."""
    sample = fetch_sample("chest")
    # LPS order: the ITK axes are the world's, which RTK wants.
    ct, numbers = (sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS") for path in (sample.ct, sample.labels))
    hu = sitk.GetArrayFromImage(ct)[::shrink, ::shrink, ::shrink]
    segmentation = sitk.GetArrayFromImage(numbers)[::shrink, ::shrink, ::shrink]
    matrix = ijk_to_ras(ct)
    matrix[:3, :3] *= shrink
    parts = list(LABELS.items())
    masks = {f"{n}_{parts[n % 6][0]}": np.isin(segmentation, parts[n % 6][1]) for n in range(labels)}
    return make_specimen("chest", np.maximum(hu, -1000), matrix, masks, list(masks))


def cameras(specimen: Specimen, size: int, count: int = 5) -> list[Camera]:
    """Views within +-45 degrees about each axis (seed 7), source 700 mm from the CT's middle, whole detector on `size` pixels a side."""
    rng = np.random.default_rng(7)
    middle = specimen.ijk_to_ras @ [*(np.array(specimen.hu.shape[::-1]) - 1) / 2, 1]
    device = load_device("cios-fusion")
    poses = [CArmPose(*rng.uniform(-45, 45, 3)) for _ in range(count)]
    return [device.camera(pose.world_to_camera(middle[:3]), shape=(size, size)) for pose in poses]
