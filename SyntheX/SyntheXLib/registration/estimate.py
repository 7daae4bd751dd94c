"""The pose of one X-ray from beginning to end: start, registration, flips, bones, and whether to trust it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.bones import register_bones
from SyntheXLib.registration.geometry import FoundGeometry, OpenGeometry, refine_geometry
from SyntheXLib.registration.intensity import ROUGH, TRUSTED_SIMILARITY, Registration, Uncertainty, register, similarity_at
from SyntheXLib.registration.orientation import reoriented
from SyntheXLib.registration.pnp import pose_from_landmarks
from SyntheXLib.registration.start import AFTER_SEARCH, likely_poses
from SyntheXLib.registration.views import View
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task

# What a pose from at least four landmarks leaves open: clicked ones, and those of a network with some wrong ones among them.
AFTER_LANDMARKS = Uncertainty(4.0, 8.0, 25.0)
AFTER_PREDICTION = Uncertainty(8.0, 12.0, 40.0)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The pose of one X-ray.

    Attributes
    ----------
    camera
        The registered camera; its pixels are those of the image in `orientation`.
    orientation
        How the file held the image, one of `orientation.ORIENTATIONS`.
    registration
        Of the bone that does not move (of all bone where no structure moves on its own).
    bones
        Structure to its (4, 4) motion in the CT's world (RAS, mm).
    bone_similarity
        Structure to the similarity where the image shows it.
    landmarks
        Names of the landmarks that the start came from, those left out as outliers not among them.
    geometry
        What was found of the principal point and the distance, where they were left open.
    """

    camera: Camera
    orientation: str
    registration: Registration
    bones: Mapping[str, np.ndarray] = field(default_factory=dict)
    bone_similarity: Mapping[str, float] = field(default_factory=dict)
    landmarks: tuple[str, ...] = ()
    geometry: FoundGeometry | None = None

    @property
    def trusted(self) -> bool:
        """Whether the similarity is that of registrations that succeed."""
        return self.registration.similarity >= TRUSTED_SIMILARITY


def estimate_pose(
    specimen: Specimen,
    task: Task,
    view: View,
    start: np.ndarray | None = None,
    uncertainty: Uncertainty = ROUGH,
    orientations: Sequence[str] = ("as-stored",),
    movable: Sequence[str] = (),
    polarity: int = 0,
    seed: int = 0,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    caster: BoneCaster | None = None,
    geometry: OpenGeometry | None = None,
) -> Estimate:
    """Find where the C-arm stood.

    Parameters
    ----------
    specimen
        CT with labels and landmarks.
    task
        Where poses are searched without a start.
    view
        The X-ray; only the intrinsics of its camera count.
    start
        (4, 4) world to camera, roughly; None searches the task's poses.
    uncertainty
        Of the start.
    orientations
        How the file may hold the image; of several the most similar wins. The start is that of the image as it was taken.
    movable
        Structures that are registered on their own afterwards.
    polarity
        1 for bone bright, -1 for bone dark, 0 where it is not known.
    seed
        Of the random searches.
    threads
        Cores of the ray caster.
    cancelled
        Asked at every projection; once true, KeyboardInterrupt is raised.
    caster
        Of all bone of the specimen, where there is one already, as for the next image of a sequence.
    geometry
        What is not known of the camera's intrinsics; found after the pose, see `geometry`. None takes them as they are.
    """
    caster = caster or BoneCaster(specimen, threads=threads)
    isocenter = specimen.structure_centroid(task.poses.isocenter)
    tried: list[tuple[Registration, View, str]] = []
    for name in orientations:
        turned = reoriented(view, name)
        if start is not None:
            starts = [start]
        else:
            starts = likely_poses(caster, turned, isocenter, task.poses, 4, polarity, seed, cancelled)
            uncertainty = AFTER_SEARCH
        for pose in starts:
            placed = replace(turned, camera=replace(turned.camera, world_to_camera=pose))
            most = 6 if len(starts) * len(orientations) == 1 else 2
            found = register(caster, [placed], isocenter, None, uncertainty, polarity, most_starts=most, seed=seed, cancelled=cancelled)
            tried.append((found, placed, name))
    best, placed, name = max(tried, key=lambda entry: entry[0].similarity)
    here = placed.moved(best.motion)
    refined = None
    if geometry is not None:
        refined = refine_geometry(caster, here, geometry, isocenter, best.polarity, seed, cancelled)
        here = replace(here, camera=refined.camera)
        best = replace(best, similarity=best.polarity * similarity_at(caster, [here], np.eye(4)))
    if not movable:
        return Estimate(here.camera, name, best, geometry=refined)
    joints = {structure: point for structure in movable if (point := joint(specimen, task, structure)) is not None}
    found_bones = register_bones(specimen, [here], movable, joints, best.polarity, seed, threads, cancelled)
    return Estimate(
        here.moved(found_bones.fixed.motion).camera,
        name,
        replace(found_bones.fixed, starts=best.starts, agreeing=best.agreeing, evaluations=best.evaluations),
        {structure: bone.motion for structure, bone in found_bones.bones.items()},
        {structure: bone.similarity for structure, bone in found_bones.bones.items()},
        geometry=refined,
    )


def estimate_from_landmarks(
    specimen: Specimen,
    task: Task,
    view: View,
    pixels: Mapping[str, np.ndarray],
    tolerance_mm: float = 8.0,
    uncertainty: Uncertainty = AFTER_LANDMARKS,
    search: bool = True,
    **more: Any,
) -> Estimate:
    """As `estimate_pose`, from named landmarks in the image; where these lead nowhere, by a search of the task's poses.

    Parameters
    ----------
    specimen, task, view, uncertainty
        As in `estimate_pose`.
    pixels, tolerance_mm
        As in `start_from_landmarks`.
    search
        Whether the task's poses are searched where no pose explains four landmarks, or the pose that the landmarks lead to is not to be
        trusted; the more similar of both is taken.
    more
        Further parameters of `estimate_pose`.

    Raises
    ------
    SyntheXError
        As `start_from_landmarks`, without a search.
    """
    first = None
    try:
        start, used = start_from_landmarks(specimen, pixels, view.camera, tolerance_mm)
    except SyntheXError:
        if not search:
            raise
    else:
        first = replace(estimate_pose(specimen, task, view, start, uncertainty, **more), landmarks=used)
        if first.trusted or not search:
            return first
    second = estimate_pose(specimen, task, view, **more)
    return second if first is None or second.registration.similarity > first.registration.similarity else first


def joint(specimen: Specimen, task: Task, structure: str) -> np.ndarray | None:
    """(3,) RAS mm: the first landmark that lies on a structure, as the femoral head; None where none is known."""
    for landmark in task.landmarks:
        point = specimen.landmarks.get(landmark.name)
        if structure in landmark.structures and point is not None and np.isfinite(point).all():
            return np.asarray(point)
    return None


def start_from_landmarks(
    specimen: Specimen, pixels: Mapping[str, np.ndarray], camera: Camera, tolerance_mm: float = 8.0
) -> tuple[np.ndarray, tuple[str, ...]]:
    """World to camera (4, 4) from named landmarks in the image, and the names of those that it explains.

    Parameters
    ----------
    specimen
        Its landmarks are matched by name.
    pixels
        Name to (2,) column and row.
    camera
        Its intrinsics.
    tolerance_mm
        On the detector; a landmark farther off is an outlier.

    Raises
    ------
    SyntheXError
        As `pnp.pose_from_landmarks`.
    """
    names = [name for name in pixels if name in specimen.landmarks]
    found = pose_from_landmarks(
        specimen.landmark_array(names),
        np.array([pixels[name] for name in names], float).reshape(-1, 2),
        camera.intrinsics,
        tolerance_mm / camera.pixel_spacing_mm[1],
    )
    return found.world_to_camera, tuple(name for name, inside in zip(names, found.inliers, strict=True) if inside)
