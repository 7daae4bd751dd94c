"""One view of a specimen: pose, image, masks and landmarks, all decided by (seed, index)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.area_densities import stored_paths
from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.decomposition import METALS
from SyntheXLib.rendering.exposure import Exposure, draw_values
from SyntheXLib.rendering.levels import LEVELS, make_image
from SyntheXLib.rendering.material_map import MaterialCaster
from SyntheXLib.rendering.realistic import area_densities
from SyntheXLib.rendering.renderer import Renderer, expose
from SyntheXLib.scene.c_arm import Camera, load_device, task_camera
from SyntheXLib.scene.device_file import Value
from SyntheXLib.scene.drawn_tools import draw_tools
from SyntheXLib.scene.given_views import GivenView
from SyntheXLib.scene.poses import CArmPose, sample_pose, shear_about
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.tool_files import read_tool
from SyntheXLib.scene.tools import Tool
from SyntheXLib.tasks.task import PoseSettings, Task, nearest

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
    exposure_ranges
        Parameters of the exposure that are drawn anew for every image, by place, with their ranges; see `rendering.exposure`. For the
        realistic level; None or none keeps `exposure` as it is.
    poisson_photons
        Photons that a pixel counts of the open beam at the naive and heuristic levels; None leaves out noise there.
    oversample
        Rays along each side of a pixel. The image is made of that many more pixels and binned; a structure has a pixel when half its rays
        hit it. Wires, notches and threads are finer than a pixel.
    tool_files
        Tools that stand in the scene; see `scene.tool_files`.
    scatter_photons
        Photons whose way through each view decides the scatter of the realistic level; None takes the kernels, which are fast. Ten million
        take half a minute a view and leave some 3 % of noise.
    store
        ``image``, ``paths`` (the area densities, of which training makes images anew in every epoch) or ``both``.
    """

    level: str = "realistic"
    exposure: Exposure = field(default_factory=Exposure)
    image_size: int | None = None
    image_dtype: str = "float32"
    exposure_ranges: Mapping[str, tuple[Value, ...]] | None = None
    poisson_photons: float | None = None
    oversample: int = 1
    tool_files: tuple[str, ...] = ()
    scatter_photons: int | None = None
    store: str = names.IMAGE

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SyntheXError(f"Unknown realism level '{self.level}': expected one of {', '.join(LEVELS)}{nearest(self.level, LEVELS)}.")
        if self.image_size is not None and self.image_size < 16:
            raise SyntheXError(f"Image size must be at least 16 px, found {self.image_size}.")
        if self.image_dtype not in ("float32", "float16"):
            raise SyntheXError(f"Image type must be float32 or float16, found '{self.image_dtype}'.")
        if self.exposure_ranges and self.level != "realistic":
            raise SyntheXError(f"The exposure is drawn for the realistic level alone, found level '{self.level}'.")
        if self.poisson_photons is not None and not self.poisson_photons > 0:
            raise SyntheXError(f"poisson_photons must be above 0, found {self.poisson_photons:g}.")
        if not 1 <= self.oversample <= 8:
            raise SyntheXError(f"oversample must be 1 to 8 rays along a pixel's side, found {self.oversample}.")
        if self.scatter_photons is not None:
            if self.scatter_photons < 1 or self.level != "realistic":
                raise SyntheXError(
                    f"Monte Carlo scatter takes a number of photons above 0 and the realistic level, "
                    f"found {self.scatter_photons} and '{self.level}'."
                )
            if importlib.util.find_spec("numba") is None:
                raise SyntheXError("Monte Carlo scatter needs the package numba, which is not installed: pip install 'synthex[mc]'.")
        if self.store not in names.STORES:
            raise SyntheXError(f"What is stored must be one of {', '.join(names.STORES)}, found '{self.store}'.")
        if self.store != names.IMAGE and self.level != "realistic":
            raise SyntheXError(f"Area densities are stored at the realistic level alone, found level '{self.level}'.")
        for path in self.tool_files:
            _tool(path)  # tells what is wrong before anything is rendered

    def describe(self, task: Task, renderer: Renderer) -> dict[str, Any]:
        """The configuration for the data set's header."""
        size = self.image_size or task.c_arm.image_size
        camera = task_camera(task.c_arm, np.eye(4), size)
        own = asdict(self)
        if self.store == names.IMAGE:
            own.pop("store")  # as in data sets from before there was a choice
        return {
            **own,
            "image_size": size,
            "pixel_spacing_mm": camera.pixel_spacing_mm[0],
            "source_to_detector_mm": camera.source_to_detector_mm,
            "renderer": renderer.name,
            **({"materials": self.materials(task)} if self.store != names.IMAGE else {}),
            "tool_files": [{"file": Path(path).name, "text": Path(path).read_text(encoding="utf-8")} for path in self.tool_files],
        }

    def pixel_bytes(self, task: Task) -> int:
        """What image and area densities take on the disk, bytes a pixel."""
        image = np.dtype(self.image_dtype).itemsize if self.store != names.PATHS else 0
        return image + (2 * len(self.materials(task)) if self.store != names.IMAGE else 0)

    def materials(self, task: Task) -> list[str]:
        """Materials whose area densities are stored, in their order: those of the HU classes, and with tools every metal."""
        metals = METALS if self.tool_files or task.scene.tools else (self.exposure.decomposition.metal,)
        return ["air", "lung", "adipose", "soft_tissue", "cortical_bone", *metals]


def view_pose(settings: PoseSettings, seed: int, index: int) -> CArmPose:
    """The pose of view `index` of a data set, without rendering it."""
    return sample_pose(settings, _stream(seed, index, 0))


def _stream(seed: int, index: int, number: int) -> np.random.Generator:
    """Random numbers of a view; streams are separate, so that the noise does not change when a pose parameter is added."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, number)))


def make_view(
    specimen: Specimen,
    isocenter: np.ndarray,
    task: Task,
    settings: ViewSettings,
    renderer: Renderer,
    seed: int,
    index: int,
    materials: MaterialCaster | None = None,
    given: GivenView | None = None,
) -> dict[str, Any]:
    """Draw and render view `index` of a data set; `isocenter` is (3,) in the world (RAS, mm).

    `materials` decomposes the specimen by a map, at the realistic level; None does so by the HU. `given` is a view in place of a drawn one.

    Returns
    -------
    dict
        The arrays of `datasets.format.SHARD_ARRAYS` without the leading axis, and ``parameters`` as a dictionary.

    Raises
    ------
    SyntheXError
        When no ray of the view hits the CT.
    """
    noise_rng, exposure_rng, tool_rng, patient_rng = (_stream(seed, index, number) for number in (1, 2, 4, 5))
    isocenter = isocenter + patient_rng.uniform(-1, 1, 3) * task.poses.isocenter_spread_mm
    shear_deg = float(patient_rng.uniform(*task.scene.shear_deg))
    if given is None:
        pose = view_pose(task.poses, seed, index)
        world_to_camera = pose.world_to_camera(isocenter)
        view_record: dict[str, Any] = {**pose.to_dict()}
    else:
        world_to_camera = given.matrix
        depth = world_to_camera[2] @ [*isocenter, 1.0]
        view_record = {"view": given.name, "source_to_isocenter_mm": float(depth)}
    camera = task_camera(task.c_arm, world_to_camera, settings.image_size)
    if shear_deg:
        # What is sheared is the patient: the camera gets the CT's world sheared, so the voxels stay where they are.
        camera = replace(camera, world_to_camera=camera.world_to_camera @ shear_about(isocenter, shear_deg))
    coverage, hit = ct_coverage(specimen, camera)
    if not hit:
        raise SyntheXError(
            f"Image {index}: no ray hits the CT of {specimen.name} at pose {view_record}; "
            f"check isocentre and pose ranges of task '{task.name}'."
        )
    tools, tool_record = draw_tools(task.scene.tools, isocenter, tool_rng, seed)
    scene = Scene(specimen, (*(_tool(path) for path in settings.tool_files), *tools))
    fine = camera.resized((camera.shape[0] * settings.oversample, camera.shape[1] * settings.oversample))
    drawn = draw_values(settings.exposure_ranges or {}, exposure_rng)
    exposure = settings.exposure.with_values(drawn)
    expose(renderer, exposure)
    projection = renderer.render(scene, fine)
    assert projection is not None  # nobody cancels
    device = load_device(task.c_arm.device)
    areas = materials.area_densities(scene, fine) if materials and settings.level == "realistic" else None
    content: dict[str, Any] = {}
    if settings.store != names.PATHS:
        image = make_image(
            settings.level,
            projection,
            fine,
            exposure,
            noise_rng,
            device.pixel_spacing_mm,
            settings.poisson_photons,
            materials=areas,
            scatter=_scatter(scene, fine, exposure, settings.scatter_photons, seed, index) if settings.scatter_photons else None,
        )
        content[names.IMAGE] = binned(image, settings.oversample).astype(settings.image_dtype)
    if settings.store != names.IMAGE:
        found = area_densities(projection, exposure, areas)
        content[names.PATHS] = stored_paths(
            {name: binned(one, settings.oversample) for name, one in found.items()}, settings.materials(task)
        )
    pixels, visible = camera.project(scene.landmark_array(task.landmark_names))
    return {
        **content,
        names.MASK: binned_bits(projection.label_bits, settings.oversample, len(specimen.structures)),
        names.LANDMARK: pixels.astype(np.float32),
        names.LANDMARK_VISIBLE: visible,
        names.WORLD_TO_CAMERA: camera.world_to_camera,
        names.INTRINSICS: camera.intrinsics,
        names.PARAMETERS: {
            "specimen": specimen.name,
            "coverage": coverage,
            "isocenter_ras_mm": isocenter.tolist(),
            **view_record,
            **({"shear_deg": shear_deg} if shear_deg else {}),
            **({"tools": tool_record} if task.scene.tools else {}),
            **({"exposure": drawn} if drawn else {}),
        },
    }


def _scatter(scene: Scene, camera: Camera, exposure: Exposure, photons: int, seed: int, index: int) -> tuple[np.ndarray, float]:
    from SyntheXLib.rendering.monte_carlo_scatter import scatter_by_monte_carlo

    # A stream of its own, as noise and pose have; the views of a data set are spread over processes, so that one thread is enough.
    own = int(np.random.SeedSequence(seed, spawn_key=(index, 3)).generate_state(1)[0])
    found = scatter_by_monte_carlo(
        scene.specimen,
        camera,
        exposure.spectrum,
        exposure.detector,
        photons,
        own,
        exposure.scatter.field_mm,
        exposure.decomposition,
        threads=1,
        tools=scene.tools,
    )
    assert found is not None  # nobody cancels
    return found


@lru_cache(maxsize=16)
def _tool(path: str) -> Tool:
    return read_tool(Path(path))


def binned(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean of every `factor` x `factor` pixels of an (H, W) image."""
    if factor == 1:
        return image
    height, width = (side // factor for side in image.shape)
    return image.reshape(height, factor, width, factor).mean((1, 3), dtype=np.float32)


def binned_bits(bits: np.ndarray, factor: int, count: int) -> np.ndarray:
    """An (H, W) bit field of `count` bits in which a bit is set when it is in at least half of `factor` x `factor` pixels."""
    if factor == 1:
        return bits
    whole = np.zeros([side // factor for side in bits.shape], bits.dtype)
    for bit in range(count):
        whole |= (binned((bits >> bit) & 1, factor) >= 0.5).astype(bits.dtype) << bits.dtype.type(bit)
    return whole


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
