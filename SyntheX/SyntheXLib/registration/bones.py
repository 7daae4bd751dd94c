"""Bones that stand otherwise in the X-ray than in the CT: each is registered as a rigid body of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import LEVELS, Level, Registration, Uncertainty, register
from SyntheXLib.registration.views import View, camera_after
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task

# What the first registration, of all bone as in the CT, leaves open for the fixed part, and what a joint may have turned for the others.
_FIXED = Uncertainty(2.0, 3.0, 10.0)
_JOINT = Uncertainty(8.0, 4.0, 8.0)
_LEVELS = (Level(128, 16, 1, 20, 30, 1.0), replace(LEVELS[-1], shrink=0.1))
# Pixels so near to the bone's shadow count, as a share of the image's longer side.
_NEAR = 0.05
# A bone is registered where its shadow takes at least this share of a view.
_SHOWN = 0.01


@dataclass(frozen=True, eq=False)
class BonePoses:
    """A pose of the camera and of every bone that moves.

    Attributes
    ----------
    fixed
        Registration of what does not move; its motion leads from the views' cameras to the pose.
    bones
        Structure to its registration, for those that a view shows; motions of the CT's world (RAS, mm) seen from the registered cameras, as
        `moved_structures.move_structure` takes them.
    """

    fixed: Registration
    bones: Mapping[str, Registration]


def movable_structures(task: Task, specimen: Specimen) -> tuple[str, ...]:
    """Structures of a specimen that move in joints: the femurs of task hip."""
    return tuple(name for bit, name in enumerate(specimen.structures) if name.endswith("femur") and ((specimen.labels >> bit) & 1).any())


def register_bones(
    specimen: Specimen,
    views: Sequence[View],
    movable: Sequence[str],
    joints: Mapping[str, np.ndarray],
    polarity: int = 1,
    seed: int = 0,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> BonePoses:
    """Refine the camera on the bone that does not move, then find each bone that does; twice, since each is the other's background.

    Parameters
    ----------
    specimen
        CT with labels.
    views
        X-rays whose cameras stand where registration of the whole CT found them.
    movable
        Structures that move.
    joints
        Structure to (3,) RAS mm: what it turns about, as the femoral head; by default its middle.
    polarity
        1 where bone is bright, -1 where it is dark.
    seed
        Of the random search.
    threads
        Cores of the ray caster.
    cancelled
        Asked at every projection; once true, KeyboardInterrupt is raised.
    """
    fixed_part = BoneCaster(specimen, without=movable, threads=threads)
    parts = {name: BoneCaster(specimen, [name], threads=threads) for name in movable}
    camera_motion, motions = np.eye(4), {name: np.eye(4) for name in movable}
    bones: dict[str, Registration] = {}
    for turn in range(2):
        behind = [
            replace(view, background=np.sum([_image(parts[name], view, camera_motion @ motions[name]) for name in movable], 0))
            for view in views
        ]
        # With the bones where they are in the camera, not in the CT: the camera moves, they stay.
        fixed = register(
            fixed_part, behind, None, camera_motion, _FIXED, polarity, LEVELS[1:], most_starts=2, seed=seed + turn, cancelled=cancelled
        )
        for name in movable:
            motions[name] = np.linalg.inv(fixed.motion) @ camera_motion @ motions[name]
        camera_motion = fixed.motion
        for name in movable:
            shadow_there = [(_image(parts[name], view, camera_motion @ motions[name]) > 0) & view.mask for view in views]
            if max(shadow.mean() for shadow in shadow_there) < _SHOWN:
                continue
            found = _one(views, camera_motion, fixed_part, parts, motions, name, joints, polarity, seed + turn, cancelled)
            motions[name], bones[name] = found.motion, found
    return BonePoses(fixed, bones)


def _one(
    views: Sequence[View],
    camera_motion: np.ndarray,
    fixed_part: BoneCaster,
    parts: Mapping[str, BoneCaster],
    motions: Mapping[str, np.ndarray],
    name: str,
    joints: Mapping[str, np.ndarray],
    polarity: int,
    seed: int,
    cancelled: Callable[[], bool] | None,
) -> Registration:
    """One bone in front of all the others, where the image shows it."""
    from scipy import ndimage

    placed = []
    for view in views:
        here = view.moved(camera_motion)
        others = _image(fixed_part, here, np.eye(4))
        for other, part in parts.items():
            if other != name:
                others = others + _image(part, here, motions[other])
        shadow = _image(parts[name], here, motions[name]) > 0
        reach = max(1, round(_NEAR * max(view.image.shape)))
        near = ndimage.distance_transform_edt(~shadow) <= reach if shadow.any() else np.ones_like(shadow)
        placed.append(replace(here, background=others, mask=view.mask & near))
    return register(
        parts[name], placed, joints.get(name), motions[name], _JOINT, polarity, _LEVELS, most_starts=2, seed=seed, cancelled=cancelled
    )


def _image(caster: BoneCaster, view: View, motion: np.ndarray) -> np.ndarray:
    return caster.image(camera_after(view.camera, motion))
