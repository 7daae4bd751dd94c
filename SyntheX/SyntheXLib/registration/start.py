"""Where to begin without landmarks: a coarse search over the poses that a task draws from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import LEVELS, Uncertainty, similarity_at
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.views import View
from SyntheXLib.scene.poses import sample_pose
from SyntheXLib.tasks.task import PoseSettings

# Poses looked at, and how far apart in rotation (degrees) those must be that are handed on.
_POSES = 1500
_APART_DEG = 15.0
# What such a start leaves open.
AFTER_SEARCH = Uncertainty(12.0, 25.0, 40.0)


def likely_poses(
    caster: BoneCaster,
    view: View,
    isocenter: np.ndarray,
    poses: PoseSettings,
    count: int = 4,
    polarity: int = 0,
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
) -> list[np.ndarray]:
    """The poses, (4, 4) world to camera, of a task's distribution that look most like the X-ray, the best first.

    Parameters
    ----------
    caster
        Projects the object.
    view
        The X-ray; where its camera stands does not matter.
    isocenter
        (3,) RAS mm that the poses turn about.
    poses
        The distribution.
    count
        Poses wanted, each well apart from the others.
    polarity
        1 for bone bright, -1 for bone dark, 0 where it is not known.
    seed
        Of the poses.
    cancelled
        Asked at every projection; once true, KeyboardInterrupt is raised.
    """
    rng = np.random.default_rng(seed)
    coarse = view.at(LEVELS[0].longest)
    scored = []
    for _ in range(_POSES):
        if cancelled is not None and cancelled():
            raise KeyboardInterrupt
        pose = sample_pose(poses, rng).world_to_camera(isocenter)
        placed = replace(coarse, camera=replace(coarse.camera, world_to_camera=pose))
        value = similarity_at(caster, [placed], np.eye(4), LEVELS[0])
        scored.append((polarity * value if polarity else abs(value), pose))
    chosen: list[np.ndarray] = []
    for _, pose in sorted(scored, key=lambda entry: -entry[0]):
        if all(angle_deg(pose, other) > _APART_DEG for other in chosen):
            chosen.append(pose)
        if len(chosen) == count:
            break
    return chosen
