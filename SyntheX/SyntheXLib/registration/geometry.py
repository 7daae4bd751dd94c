"""Cameras whose principal point or source-to-detector distance is not known: found together with the pose, as far as an image tells them.

It hardly does. A principal point that is d mm off on a detector at f mm is the same, to first order, as the camera turned by d / f about
its source: what is left of it at u mm from the middle is the keystone d u^2 / f^2, 0.3 mm for d = 20, u = 130 and f = 1020. So too a longer
distance is a longer way to the patient: what is left is how perspective changes over the patient's depth. Therefore the change of the
camera is written along that valley, the centre of the patient staying where it is in the image, and a prior holds what is left open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import LEVELS, Level, Uncertainty
from SyntheXLib.registration.motion import MotionSpace
from SyntheXLib.registration.pnp import pose_from_landmarks
from SyntheXLib.registration.search import cma_es, nelder_mead
from SyntheXLib.registration.similarity import GradientSimilarity
from SyntheXLib.registration.views import View, camera_after
from SyntheXLib.scene.c_arm import Camera

# What the registration with the assumed geometry leaves open of the pose, on top of what is compensated.
_AFTER_REGISTRATION = Uncertainty(0.7, 0.7, 8.0)
# Half of this is the similarity that one standard deviation of the prior costs. Learnt on simulated X-rays of the sample pelvis: with 0.002
# nothing moves, with 0.0001 noise and the CT's sampling move the principal point by 7 mm where it is right.
_PRIOR_WEIGHT = 0.0005
_POPULATION, _GENERATIONS = 18, 40


@dataclass(frozen=True)
class OpenGeometry:
    """What is not known of a camera, as standard deviations of a prior about what is assumed.

    Attributes
    ----------
    principal_point_mm
        Of the principal point along columns and rows, mm on the detector; 0 where it is known.
    distance
        Of the source-to-detector distance, as a share of it; 0 where it is known.
    """

    principal_point_mm: float = 10.0
    distance: float = 0.0

    def __post_init__(self) -> None:
        if min(self.principal_point_mm, self.distance) < 0 or self.principal_point_mm + self.distance == 0:
            raise SyntheXError(
                f"An open geometry needs a standard deviation above 0 of the principal point (mm) or the distance (share), found "
                f"{self.principal_point_mm:g} and {self.distance:g}."
            )

    @property
    def deviations(self) -> np.ndarray:
        """(3,) of the numbers that `changed_camera` takes."""
        return np.array([self.principal_point_mm, self.principal_point_mm, self.distance])


@dataclass(frozen=True, eq=False)
class FoundGeometry:
    """A camera with its geometry and pose.

    Attributes
    ----------
    camera
        Pose and intrinsics that were found.
    change
        (3,) principal point along columns and rows (mm on the detector) and logarithm of the distance, against what was assumed.
    similarity
        At the finest level, of the images (intensity) or NaN (landmarks).
    before
        The same with the assumed geometry.
    deviation
        (3,) standard deviations of `change` after the landmarks, the prior included; NaN from intensity.
    inliers
        (N,) bool: landmarks that the camera explains; empty from intensity.
    """

    camera: Camera
    change: np.ndarray
    similarity: float
    before: float
    deviation: np.ndarray
    inliers: np.ndarray


def changed_camera(camera: Camera, center: np.ndarray, change: np.ndarray) -> Camera:
    """The camera with another geometry, turned and moved so that a point keeps its pixel and, about, its magnification.

    Parameters
    ----------
    camera
        What is assumed.
    center
        (3,) RAS mm: the point.
    change
        (3,) shift of the principal point along columns and rows, mm on the detector, and logarithm of the distance's ratio.
    """
    from scipy.spatial.transform import Rotation

    height, width = camera.pixel_spacing_mm
    ratio = float(np.exp(change[2]))
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, :2] *= ratio
    intrinsics[0, 2] += change[0] / width
    intrinsics[1, 2] += change[1] / height
    here = camera.world_to_camera[:3, :3] @ center + camera.world_to_camera[:3, 3]
    pixel = camera.intrinsics @ here / here[2]
    old, new = here / np.linalg.norm(here), np.linalg.inv(intrinsics) @ pixel
    new /= np.linalg.norm(new)
    axis = np.cross(old, new)
    sine = np.linalg.norm(axis)
    turn = np.eye(3) if sine < 1e-15 else Rotation.from_rotvec(axis / sine * np.arctan2(sine, old @ new)).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = new * np.linalg.norm(here) * (ratio - 1)
    return Camera(pose @ camera.world_to_camera, intrinsics, camera.shape, camera.source_to_detector_mm * ratio)


def camera_from_landmarks(
    points: np.ndarray, pixels: np.ndarray, camera: Camera, geometry: OpenGeometry, tolerance_mm: float = 8.0, noise_mm: float = 2.0
) -> FoundGeometry:
    """Pose and geometry from landmarks: RANSAC with the assumed geometry, then least squares over both with the prior.

    Parameters
    ----------
    points
        (N, 3) landmarks in the world (RAS, mm); NaN for unknown ones.
    pixels
        (N, 2) their columns and rows; NaN for unknown ones.
    camera
        Its intrinsics are assumed.
    geometry
        What is not known of them.
    tolerance_mm
        On the detector; a landmark farther off is an outlier.
    noise_mm
        Standard deviation of a landmark in the image, mm on the detector; weighs the landmarks against the prior.

    Raises
    ------
    SyntheXError
        As `pnp.pose_from_landmarks`.
    """
    from scipy.optimize import least_squares

    points, pixels = np.asarray(points, float).reshape(-1, 3), np.asarray(pixels, float).reshape(-1, 2)
    spacing = np.array(camera.pixel_spacing_mm[::-1])
    first = pose_from_landmarks(points, pixels, camera.intrinsics, tolerance_mm / spacing[0])
    placed = replace(camera, world_to_camera=first.world_to_camera)
    inliers, open_numbers = first.inliers, geometry.deviations > 0
    center = points[inliers].mean(0)
    space = MotionSpace(center, placed.world_to_camera)
    scale = geometry.deviations[open_numbers]

    def camera_at(numbers: np.ndarray) -> Camera:
        change = np.zeros(3)
        change[open_numbers] = numbers[6:] * scale
        return changed_camera(camera_after(placed, space.motion(numbers[:6])), center, change)

    numbers = np.zeros(6 + len(scale))
    for _ in range(5):
        chosen = inliers

        def residuals(x: np.ndarray, chosen: np.ndarray = chosen) -> np.ndarray:
            off = camera_at(x).project(points[chosen])[0] - pixels[chosen]
            return np.concatenate([np.nan_to_num(off * spacing / noise_mm, nan=1e3).ravel(), x[6:]])

        result = least_squares(residuals, numbers, method="trf", x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
        numbers = result.x
        off = np.linalg.norm((camera_at(numbers).project(points)[0] - pixels) * spacing, axis=1)
        inliers = np.nan_to_num(off, nan=np.inf) < tolerance_mm
        if inliers.sum() < 4 or np.array_equal(inliers, chosen):
            inliers = chosen
            break
    deviation, change = np.zeros(3), np.zeros(3)
    change[open_numbers] = numbers[6:] * scale
    deviation[open_numbers] = np.sqrt(np.diag(np.linalg.inv(result.jac.T @ result.jac))[6:]) * scale
    return FoundGeometry(camera_at(numbers), change, np.nan, np.nan, deviation, inliers)


def refine_geometry(
    caster: BoneCaster,
    view: View,
    geometry: OpenGeometry,
    center: np.ndarray | None = None,
    polarity: int = 1,
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
    levels: tuple[Level, Level] = (LEVELS[1], LEVELS[2]),
) -> FoundGeometry:
    """Pose and geometry from the image, beginning where a registration with the assumed geometry ended.

    Parameters
    ----------
    caster
        Projects the object.
    view
        The X-ray with its camera as registered.
    geometry
        What is not known of the camera.
    center
        (3,) RAS mm: keeps its place in the image; None takes the middle of the bone.
    polarity
        1 for bone bright, -1 for bone dark.
    seed
        Of the random search.
    cancelled
        Asked at every projection; once true, KeyboardInterrupt is raised.
    levels
        Of CMA-ES and of Nelder-Mead.
    """
    center = caster.center if center is None else np.asarray(center, float)
    open_numbers = geometry.deviations > 0
    scale = geometry.deviations[open_numbers]
    space = MotionSpace(center, view.camera.world_to_camera)

    def change_of(numbers: np.ndarray) -> np.ndarray:
        change = np.zeros(3)
        change[open_numbers] = numbers[6:] * scale
        return change

    def similarity_of(level: Level) -> Callable[[np.ndarray], float]:
        small = view.at(level.longest)
        alike = GradientSimilarity(small.image, small.mask, level.patch)

        def similarity(numbers: np.ndarray) -> float:
            if cancelled is not None and cancelled():
                raise KeyboardInterrupt
            placed = changed_camera(camera_after(small.camera, space.motion(numbers[:6])), center, change_of(numbers))
            image = caster.image(placed, level.plane_step)
            return polarity * alike(image if small.background is None else image + small.background)

        return similarity

    def cost(similarity: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
        return lambda numbers: -similarity(numbers) + _PRIOR_WEIGHT / 2 * float(numbers[6:] @ numbers[6:])

    coarse, fine = (similarity_of(level) for level in levels)
    numbers = np.zeros(6 + len(scale))
    spread = np.concatenate([_AFTER_REGISTRATION.spread(), np.ones(len(scale))])
    rough = cma_es(cost(coarse), numbers, spread, _POPULATION, _GENERATIONS, seed)
    found = nelder_mead(cost(fine), rough.numbers, spread * 0.15, 400, 0.02)
    camera = changed_camera(camera_after(view.camera, space.motion(found.numbers[:6])), center, change_of(found.numbers))
    return FoundGeometry(camera, change_of(found.numbers), fine(found.numbers), fine(numbers), np.full(3, np.nan), np.zeros(0, bool))
