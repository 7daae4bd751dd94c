"""Pose of a camera from landmarks known in the CT and found in the image (perspective n points), with outliers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from SyntheXLib.errors import SyntheXError

# Triples of landmarks that are tried: all of them up to this number (all of 14 landmarks are 364), else so many drawn with a fixed seed.
_TRIPLES = 500


@dataclass(frozen=True, eq=False)
class PnpPose:
    """A pose from landmarks.

    Attributes
    ----------
    world_to_camera
        (4, 4) rigid, world (RAS, mm) to camera (mm).
    inliers
        (N,) bool: which landmarks the pose explains.
    errors_px
        (N,) distance between found and projected landmark, px; NaN where one is unknown.
    """

    world_to_camera: np.ndarray
    inliers: np.ndarray
    errors_px: np.ndarray


def pose_from_landmarks(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray, tolerance_px: float = 10.0) -> PnpPose:
    """Pose that explains most of the landmarks: RANSAC over triples of them, then least squares on those it explains.

    Parameters
    ----------
    points
        (N, 3) landmarks in the world (RAS, mm); NaN for unknown ones.
    pixels
        (N, 2) their columns and rows in the image; NaN for unknown ones.
    intrinsics
        (3, 3) of the camera, px.
    tolerance_px
        A landmark is explained when it is projected so near to where it was found.

    Raises
    ------
    SyntheXError
        When fewer than four landmarks are known on both sides, or no pose explains four of them.
    """
    points, pixels = np.asarray(points, float).reshape(-1, 3), np.asarray(pixels, float).reshape(-1, 2)
    known = np.isfinite(points).all(1) & np.isfinite(pixels).all(1)
    if known.sum() < 4:
        raise SyntheXError(f"A pose from landmarks needs at least 4 that are known in CT and image, found {known.sum()}.")
    world, found = points[known], pixels[known]
    homogeneous = np.column_stack([found, np.ones(len(found))]) @ np.linalg.inv(intrinsics).T
    rays = homogeneous / np.linalg.norm(homogeneous, axis=1, keepdims=True)
    best, least = None, np.inf
    for triple in _triples(len(world)):
        for pose in three_point_poses(world[triple], rays[triple]):
            # A truncated sum of squares: as many inliers as can be, and among equals the closest.
            loss = np.minimum(_errors(pose, world, found, intrinsics), tolerance_px) ** 2
            if loss.sum() < least:
                best, least = pose, float(loss.sum())
    inliers = np.zeros(len(world), bool) if best is None else _errors(best, world, found, intrinsics) < tolerance_px
    if best is None or inliers.sum() < 4:
        raise SyntheXError(f"No pose explains 4 of {len(world)} landmarks within {tolerance_px:g} px: are names and intrinsics right?")
    for _ in range(5):
        best = _refined(best, world[inliers], found[inliers], intrinsics)
        again = _errors(best, world, found, intrinsics) < tolerance_px
        if again.sum() < 4 or np.array_equal(again, inliers):
            break
        inliers = again
    errors, whole = np.full(len(points), np.nan), np.zeros(len(points), bool)
    errors[known], whole[known] = _errors(best, world, found, intrinsics), inliers
    return PnpPose(best, whole, errors)


def three_point_poses(points: np.ndarray, rays: np.ndarray) -> list[np.ndarray]:
    """Up to four poses (4, 4) that put three world points (3, 3) on three unit rays (3, 3) of the camera.

    Grunert's solution, coefficients as in Haralick et al., "Review and analysis of solutions of the three point perspective pose
    estimation problem", Int. J. Comput. Vision 13 (1994), equation 9.
    """
    a2, b2, c2 = (float(((points[i] - points[j]) ** 2).sum()) for i, j in ((1, 2), (0, 2), (0, 1)))
    if min(a2, b2, c2) < 1e-9:
        return []
    alpha, beta, gamma = (float(rays[i] @ rays[j]) for i, j in ((1, 2), (0, 2), (0, 1)))  # cosines
    d, s, c, a = (a2 - c2) / b2, (a2 + c2) / b2, c2 / b2, a2 / b2
    quartic = [
        (d - 1) ** 2 - 4 * c * alpha**2,
        4 * (d * (1 - d) * beta - (1 - s) * alpha * gamma + 2 * c * alpha**2 * beta),
        2 * (d**2 - 1 + 2 * d**2 * beta**2 + 2 * (1 - c) * alpha**2 - 4 * s * alpha * beta * gamma + 2 * (1 - a) * gamma**2),
        4 * (-d * (1 + d) * beta + 2 * a * gamma**2 * beta - (1 - s) * alpha * gamma),
        (1 + d) ** 2 - 4 * a * gamma**2,
    ]
    poses = []
    for root in np.roots(quartic):
        # A double root is found as a pair with a small imaginary part.
        v = root.real
        bottom = 2 * (gamma - v * alpha)
        square = 1 + v**2 - 2 * v * beta
        if abs(root.imag) > 1e-3 or v <= 0 or abs(bottom) < 1e-9 or square <= 0:
            continue
        u = ((d - 1) * v**2 - 2 * d * beta * v + 1 + d) / bottom
        if u <= 0:
            continue
        first = np.sqrt(b2 / square)
        poses.append(rigid_transform(points, rays * np.array([first, u * first, v * first])[:, None]))
    return poses


def rigid_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(4, 4) rotation and translation that brings points (N, 3) closest to others (N, 3), in the sense of least squares (Kabsch)."""
    from scipy.spatial.transform import Rotation

    middle, goal = source.mean(0), target.mean(0)
    with np.errstate(all="ignore"):
        rotation = Rotation.align_vectors(target - goal, source - middle)[0].as_matrix()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, goal - rotation @ middle
    return pose


def _triples(count: int) -> Iterator[list[int]]:
    if comb(count, 3) <= _TRIPLES:
        yield from (list(triple) for triple in combinations(range(count), 3))
        return
    rng = np.random.default_rng(0)
    for _ in range(_TRIPLES):
        yield rng.choice(count, 3, replace=False).tolist()


def _errors(pose: np.ndarray, points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(N,) px; infinite for a point that is not in front of the source."""
    camera = points @ pose[:3, :3].T + pose[:3, 3]
    front = camera[:, 2] > 0
    projected = (camera @ intrinsics.T)[:, :2] / np.where(front, camera[:, 2], 1)[:, None]
    return np.where(front, np.linalg.norm(projected - pixels, axis=1), np.inf)


def _refined(pose: np.ndarray, points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    middle = points.mean(0)
    centre = pose[:3, :3] @ middle + pose[:3, 3]

    def posed(x: np.ndarray) -> np.ndarray:
        moved = np.eye(4)
        moved[:3, :3] = Rotation.from_rotvec(x[:3]).as_matrix() @ pose[:3, :3]
        moved[:3, 3] = centre + x[3:] * centre[2] - moved[:3, :3] @ middle
        return moved

    def residuals(x: np.ndarray) -> np.ndarray:
        moved = posed(x)
        camera = points @ moved[:3, :3].T + moved[:3, 3]
        depth = np.maximum(camera[:, 2:], 1e-3 * centre[2])
        return ((camera @ intrinsics.T)[:, :2] / depth - pixels).ravel()

    return posed(least_squares(residuals, np.zeros(6), method="trf", xtol=1e-12, ftol=1e-12, gtol=1e-12).x)
