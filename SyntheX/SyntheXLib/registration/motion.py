"""Rigid motions of what is registered, as six numbers of like weight.

What moves is always the object (patient or bone) in the world, so that one motion serves several views of known geometry; of a single view
the camera's pose follows. The numbers belong to the first camera: rotation vector (degrees) about its axes through a centre, shift of the
centre in its image plane (mm in the object's plane) and along its ray in `DEPTH_MM`, since an image tells depth that much worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Millimetres along the ray that one unit of the sixth number means; an object 700 mm from the source then grows by 0.7 %.
DEPTH_MM = 5.0


@dataclass(frozen=True, eq=False)
class MotionSpace:
    """Motions about a centre, seen by a camera.

    Attributes
    ----------
    center
        (3,) in the world, mm: the isocentre, or the middle of a bone.
    world_to_camera
        (4, 4) of the first view.
    """

    center: np.ndarray
    world_to_camera: np.ndarray

    def motion(self, numbers: np.ndarray) -> np.ndarray:
        """(4, 4) rigid motion of the world (RAS, mm) for six numbers; zeros mean none."""
        from scipy.spatial.transform import Rotation

        numbers = np.asarray(numbers, float)
        camera = self._camera_center
        depth = DEPTH_MM * numbers[5]
        goal = camera * (1 + depth / camera[2]) + [numbers[3], numbers[4], 0.0]
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(numbers[:3], degrees=True).as_matrix()
        turn[:3, 3] = goal - turn[:3, :3] @ camera
        return np.linalg.inv(self.world_to_camera) @ turn @ self.world_to_camera

    def numbers(self, motion: np.ndarray) -> np.ndarray:
        """(6,) numbers of a motion; inverse of `motion`."""
        from scipy.spatial.transform import Rotation

        turn = self.world_to_camera @ motion @ np.linalg.inv(self.world_to_camera)
        camera = self._camera_center
        goal = turn[:3, :3] @ camera + turn[:3, 3]
        depth = goal[2] - camera[2]
        shift = goal[:2] - camera[:2] * (1 + depth / camera[2])
        rotation = Rotation.from_matrix(turn[:3, :3]).as_rotvec(degrees=True)
        return np.concatenate([rotation, shift, [depth / DEPTH_MM]])

    @property
    def _camera_center(self) -> np.ndarray:
        return self.world_to_camera[:3, :3] @ self.center + self.world_to_camera[:3, 3]


def angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    """Angle between the rotations of two (4, 4) rigid transforms, degrees."""
    from scipy.spatial.transform import Rotation

    return float(np.degrees(Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).magnitude()))
