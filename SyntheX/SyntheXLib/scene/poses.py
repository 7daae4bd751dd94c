"""Poses of the C-arm: room, angles, and the distribution they are drawn from.

Room. In the standard view (all angles and translations zero) the patient lies with the isocentre in the room's origin, room axes equal to
the patient's RAS axes, the source in front of the patient (+A) and the detector behind, so that the image shows the patient as one faces
him: up is superior, the image's right is the patient's left. Camera axes are x = -R, y = -S, z = -A.

Motion. The patient is turned about the isocentre by LAO/RAO (about S), then CRAN/CAUD (about R), then roll (about A), all right-handed,
about the room's axes, and then shifted. As in fluoroscopy the names say where the detector goes: positive LAO/RAO moves the detector to the
patient's left, positive CRAN/CAUD towards the head.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from SyntheXLib.tasks.task import PoseSettings

# Room (RAS axes, mm) to camera axes in the standard view.
_ROOM_TO_CAMERA = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class CArmPose:
    """Angles (degrees) and shifts (mm) of one view; see the head of this file."""

    lao_rao_deg: float = 0.0
    cran_caud_deg: float = 0.0
    roll_deg: float = 0.0
    translation_lr_mm: float = 0.0
    translation_is_mm: float = 0.0
    translation_ap_mm: float = 0.0
    source_to_isocenter_mm: float = 700.0

    def rotation(self) -> np.ndarray:
        """(3, 3) rotation of the patient in the room."""
        return rotation_about(1, self.roll_deg) @ rotation_about(0, self.cran_caud_deg) @ rotation_about(2, self.lao_rao_deg)

    def world_to_camera(self, isocenter: np.ndarray) -> np.ndarray:
        """(4, 4) world (RAS, mm) to camera (mm), for an isocentre given in world coordinates (3,)."""
        shift = np.array([self.translation_lr_mm, self.translation_ap_mm, self.translation_is_mm])
        rotation = _ROOM_TO_CAMERA @ self.rotation()
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = _ROOM_TO_CAMERA @ shift + [0.0, 0.0, self.source_to_isocenter_mm] - rotation @ np.asarray(isocenter, float)
        return matrix

    def to_dict(self) -> dict[str, float]:
        """Names and numbers, for JSON."""
        return asdict(self)


def sample_pose(settings: PoseSettings, rng: np.random.Generator) -> CArmPose:
    """Draw every number of a pose from the task's distribution of it: uniform in its range, shifts with a normal one added."""
    pose = {field.name: float(rng.uniform(*getattr(settings, field.name))) for field in fields(CArmPose)}
    for axis in ("lr", "is", "ap"):
        pose[f"translation_{axis}_mm"] += float(rng.normal(0.0, getattr(settings, f"translation_{axis}_sd_mm")))
    return CArmPose(**pose)


def shear_about(center: np.ndarray, degrees: float) -> np.ndarray:
    """(4, 4) shear of the world: a point that lies the height S above `center` (3,) (RAS, mm) moves by S tan(angle) towards R."""
    matrix = np.eye(4)
    matrix[0, 2] = np.tan(np.deg2rad(degrees))
    matrix[0, 3] = -matrix[0, 2] * center[2]
    return matrix


def rotation_about(axis: int, degrees: float) -> np.ndarray:
    """(3, 3) right-handed rotation about coordinate axis 0, 1 or 2."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix
