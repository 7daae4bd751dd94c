"""One view of a specimen: pose, image, masks and landmarks, all decided by (seed, index)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.levels import LEVELS, Exposure, make_image
from SyntheXLib.rendering.renderer import Renderer
from SyntheXLib.scene.c_arm import Camera, load_device, task_camera
from SyntheXLib.scene.poses import sample_pose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task, nearest

# Rays a side and points along each with which the coverage is estimated; the HU above which a voxel at the CT's border is anatomy cut off.
_COVERAGE_RAYS, _COVERAGE_POINTS = 24, 100
_ANATOMY_HU = -300


@dataclass(frozen=True)
class ViewSettings:
    """What decides the pixels of a view besides task, specimen, seed and index.

    Attributes
    ----------
    level
        Realism level.
    exposure
        Parameters of the realistic level.
    image_size
        Pixels a side; None takes the task's.
    image_dtype
        ``float32`` or ``float16``, as stored.
    poisson_photons
        Photons that a pixel counts of the open beam at the naive and heuristic levels; None leaves out noise there.
    """

    level: str = "realistic"
    exposure: Exposure = field(default_factory=Exposure)
    image_size: int | None = None
    image_dtype: str = "float32"
    poisson_photons: float | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SyntheXError(f"Unknown realism level '{self.level}': expected one of {', '.join(LEVELS)}{nearest(self.level, LEVELS)}.")
        if self.image_size is not None and self.image_size < 16:
            raise SyntheXError(f"Image size must be at least 16 px, found {self.image_size}.")
        if self.image_dtype not in ("float32", "float16"):
            raise SyntheXError(f"Image type must be float32 or float16, found '{self.image_dtype}'.")
        if self.poisson_photons is not None and not self.poisson_photons > 0:
            raise SyntheXError(f"poisson_photons must be above 0, found {self.poisson_photons:g}.")

    def describe(self, task: Task, renderer: Renderer) -> dict[str, Any]:
        """The configuration for the data set's header."""
        size = self.image_size or task.c_arm.image_size
        camera = task_camera(task.c_arm, np.eye(4), size)
        return {
            **asdict(self),
            "image_size": size,
            "pixel_spacing_mm": camera.pixel_spacing_mm[0],
            "source_to_detector_mm": camera.source_to_detector_mm,
            "renderer": renderer.name,
        }


def make_view(
    specimen: Specimen, isocenter: np.ndarray, task: Task, settings: ViewSettings, renderer: Renderer, seed: int, index: int
) -> dict[str, Any]:
    """Draw and render view `index` of a data set; `isocenter` is (3,) in the world (RAS, mm).

    Returns
    -------
    dict
        The arrays of `datasets.format.SHARD_ARRAYS` without the leading axis, and ``parameters`` as a dictionary.

    Raises
    ------
    SyntheXError
        When no ray of the view hits the CT.
    """
    # Separate streams: the noise must not change when a pose parameter is added.
    pose_rng, noise_rng = (np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, stream))) for stream in range(2))
    pose = sample_pose(task.poses, pose_rng)
    camera = task_camera(task.c_arm, pose.world_to_camera(isocenter), settings.image_size)
    coverage, hit = ct_coverage(specimen, camera)
    if not hit:
        raise SyntheXError(
            f"Image {index}: no ray hits the CT of {specimen.name} at pose {pose}; check isocentre and pose ranges of task '{task.name}'."
        )
    scene = Scene(specimen)
    projection = renderer.render(scene, camera)
    assert projection is not None  # nobody cancels
    device = load_device(task.c_arm.device)
    image = make_image(settings.level, projection, camera, settings.exposure, noise_rng, device.pixel_spacing_mm, settings.poisson_photons)
    pixels, visible = camera.project(scene.landmark_array(task.landmark_names))
    return {
        names.IMAGE: image.astype(settings.image_dtype),
        names.MASK: projection.label_bits,
        names.LANDMARK: pixels.astype(np.float32),
        names.LANDMARK_VISIBLE: visible,
        names.WORLD_TO_CAMERA: camera.world_to_camera,
        names.INTRINSICS: camera.intrinsics,
        names.PARAMETERS: {"specimen": specimen.name, "coverage": coverage, **pose.to_dict()},
    }


def ct_coverage(specimen: Specimen, camera: Camera) -> tuple[float, bool]:
    """Share of the rays that miss anatomy because the CT ends there, and whether any ray hits the CT.

    Anatomy at the CT's border is taken to go on straight outwards: a ray counts when it leaves or enters through such a cut end, or passes
    beyond it. The share is estimated on a coarse grid: 0 where the CT holds all that the view shows, 1 where every ray misses some.
    """
    coarse = camera.resized((_COVERAGE_RAYS, _COVERAGE_RAYS))
    index_from_camera = np.linalg.inv(specimen.ijk_to_ras) @ np.linalg.inv(camera.world_to_camera)
    steps = coarse.rays().reshape(-1, 1, 3) @ index_from_camera[:3, :3].T
    depths = np.linspace(0, camera.source_to_detector_mm, _COVERAGE_POINTS)[:, None]
    ijk = np.rint(index_from_camera[:3, 3] + depths * steps).astype(int)  # (rays, points, 3)
    nearest = ijk.clip(0, np.array(specimen.hu.shape[::-1]) - 1)
    outside = np.any(ijk != nearest, axis=-1)
    anatomy = specimen.hu[nearest[..., 2], nearest[..., 1], nearest[..., 0]] > _ANATOMY_HU
    return float((outside & anatomy).any(1).mean()), bool((~outside).any())
