"""A small hip phantom as nodes, and X-rays of it whose pose is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.case_writer import CaseNodes
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

ARM = CArm(128, 144, 2.0, 1020.0)  # of the X-rays, as a device: 128x144,2.0,1020
DEVICE = "128x144,2.0,1020"
TRUE = CArmPose(8.0, -6.0, 4.0, 12.0, -9.0, 0.0, 712.0)
_BONES = {
    77: ((-55, 0, 0), (30, 40, 70), (0, 25, 10)),
    78: ((55, 0, 0), (30, 40, 70), (0, -15, 20)),
    29: ((0, -30, 85), (22, 22, 30), (10, 0, 0)),
    26: ((0, -40, 35), (35, 18, 18), (0, 0, 15)),
    75: ((-100, 0, -60), (25, 25, 40), (0, 30, 0)),
    76: ((100, 0, -60), (18, 25, 44), (0, -20, 0)),
}
LANDMARKS = {"FH-l": (-90, 0, -40), "FH-r": (90, 0, -40), "ASIS-l": (-60, 35, 50), "ASIS-r": (60, 35, 50), "IPS-l": (-20, 10, -55)}


@dataclass
class Phantom:
    """Nodes and specimen of the case, and its isocentre."""

    nodes: CaseNodes
    specimen: Specimen
    isocenter: np.ndarray

    def camera(self, pose: CArmPose = TRUE) -> Camera:
        """Where an X-ray is taken."""
        return ARM.camera(pose.world_to_camera(self.isocenter))

    def xray(self, pose: CArmPose = TRUE, seed: int = 0, specimen: Specimen | None = None) -> np.ndarray:
        """(128, 144) log image with noise, bone bright."""
        image = BoneCaster(specimen or self.specimen).image(self.camera(pose))
        signal = np.random.default_rng(seed).poisson(3000 * np.exp(-0.5 - 0.03 * image)) / 3000
        return -np.log(np.maximum(signal, 1e-4)).astype(np.float32)

    def error_mm(self, world_to_camera: Any, pose: CArmPose = TRUE) -> float:
        """Greatest distance, at right angles to the ray, of a landmark from where the true pose has it."""
        points = np.array(list(LANDMARKS.values()), float)
        found, true = (points @ m[:3, :3].T + m[:3, 3] for m in (np.array(world_to_camera, float), self.camera(pose).world_to_camera))
        return float(np.linalg.norm((found / found[:, 2:] - true / true[:, 2:])[:, :2] * true[:, 2:], axis=1).max())


def make_phantom(scene: Any, slicer: Any) -> Phantom:
    """Ellipsoids, no two alike, as bones in a body of water, on a grid of 5 mm."""
    from scipy.spatial.transform import Rotation

    shape = (48, 44, 60)
    matrix = np.diag([-5.0, -5.0, 5.0, 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape[::-1]) - 1) / 2
    index = np.stack(np.meshgrid(*(np.arange(side) for side in shape), indexing="ij"), -1)[..., ::-1]
    grid = index @ matrix[:3, :3].T + matrix[:3, 3]
    hu = np.where(((grid / [150, 100, 400]) ** 2).sum(-1) < 1, 20, -1000).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    for number, (center, axes, turn) in _BONES.items():
        offset = (grid - center) @ Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
        inside = ((offset / axes) ** 2).sum(-1) < 1
        labels[inside] = number
        hu[inside] = np.where(((offset / (np.array(axes) * 0.6)) ** 2).sum(-1) < 1, 400, 900)[inside]
    volume = slicer.util.addVolumeFromArray(hu, matrix, "phantom")
    labelmap = slicer.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    for name, point in LANDMARKS.items():
        markups.AddControlPoint(point, name)
    specimen = SyntheXSimulateLogic().specimen(volume, labelmap, markups, "hip")
    isocenter = specimen.structure_centroid(load_task("hip").poses.isocenter)
    return Phantom(CaseNodes(volume, labelmap, markups), specimen, isocenter)


def place_image(slicer: Any, pixels: np.ndarray, name: str, spacing: float = 2.0) -> Any:
    """A volume of one slice, turned and shifted in the scene, with the pixel size of the detector."""
    matrix = np.diag([-spacing, -spacing, 1.0, 1.0])
    matrix[:3, 3] = 40, -30, 7
    return slicer.util.addVolumeFromArray(pixels[None], matrix, name)
