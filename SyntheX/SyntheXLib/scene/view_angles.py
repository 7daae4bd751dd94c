"""Angles of the C-arm from directions in space: of a camera that somebody turned, and as DICOM counts them."""

from __future__ import annotations

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.poses import CArmPose

# A view straight along S: there LAO/RAO and roll turn about one axis.
_GIMBAL = 1e-6


def angles_of_view(direction: np.ndarray, up: np.ndarray) -> tuple[float, float, float]:
    """LAO/RAO, CRAN/CAUD and roll (degrees, see `scene.poses`) of a view.

    Parameters
    ----------
    direction
        (3,) from the source to the detector, RAS, of any length.
    up
        (3,) what is up in the image, RAS; its part along `direction` is left out.
    """
    z = np.asarray(direction, float) / np.linalg.norm(direction)
    y = -np.asarray(up, float)
    y = y - (y @ z) * z
    y /= np.linalg.norm(y)
    standard = CArmPose().world_to_camera(np.zeros(3))[:3, :3]
    turn = standard.T @ np.stack([np.cross(y, z), y, z])  # = roll about A @ CRAN/CAUD about R @ LAO/RAO about S
    cran = np.arcsin(np.clip(-turn[1, 2], -1, 1))
    if np.cos(cran) < _GIMBAL:
        lao, roll = np.arctan2(-turn[0, 1], turn[0, 0]), 0.0
    else:
        lao, roll = np.arctan2(turn[1, 0], turn[1, 1]), np.arctan2(turn[0, 2], turn[2, 2])
    return float(np.rad2deg(lao)), float(np.rad2deg(cran)), float(np.rad2deg(roll))


def pose_of_camera(world_to_camera: np.ndarray, isocenter: np.ndarray) -> CArmPose:
    """The pose (see `scene.poses`) whose `CArmPose.world_to_camera` about an isocentre (3,) (RAS, mm) is a given one.

    Depth is told by the distance from the source alone: the shift along AP, which does the same, is none.

    Raises
    ------
    SyntheXError
        When the camera sees its picture from the detector's side (determinant -1), which no pose does, or has the isocentre behind it.
    """
    rotation = world_to_camera[:3, :3]
    right, down, depth = rotation @ np.asarray(isocenter, float) + world_to_camera[:3, 3]
    if np.linalg.det(rotation) < 0 or depth <= 0:
        raise SyntheXError(
            "Camera: expected a picture as seen from the source, with the isocentre in front of it, "
            f"found determinant {np.linalg.det(rotation):.0f} and a depth of {depth:.0f} mm."
        )
    return CArmPose(*angles_of_view(rotation[2], -rotation[1]), float(-right), float(-down), 0.0, float(depth))


def positioner_angles(world_to_camera: np.ndarray) -> tuple[float, float]:
    """Positioner Primary and Secondary Angle (degrees) as DICOM defines them (PS3.3 C.8.7.5) for a (4, 4) world (RAS) to camera.

    DICOM's zero has the detector in front of the patient; positive is towards the left (primary, -180 to 180) and the head (secondary,
    -90 to 90). The standard view of `scene.poses`, whose detector is behind the patient, has the primary angle 180.
    """
    right, anterior, superior = world_to_camera[2, :3]  # from the source to the detector
    return float(np.rad2deg(np.arctan2(-right, anterior + 0.0))), float(np.rad2deg(np.arcsin(np.clip(superior, -1, 1))))


def rotation_from_standard_view(world_to_camera: np.ndarray) -> np.ndarray:
    """Angle (N,) in degrees of the rotation that carries the standard view onto each camera (N, 4, 4), from the trace of its matrix.

    NaN for an unknown one. A camera of determinant -1, seen from the detector's side, is compared by its picture: as if source and
    detector had changed places.
    """
    standard = CArmPose().world_to_camera(np.zeros(3))[:3, :3]
    rotation = world_to_camera[:, :3, :3].copy()
    rotation[:, 2] *= np.sign((np.cross(rotation[:, 0], rotation[:, 1]) * rotation[:, 2]).sum(1, keepdims=True))
    cosine = (np.einsum("nij,ij->n", rotation, standard) - 1) / 2
    return np.degrees(np.arccos(cosine.clip(-1, 1)))
