"""Spheres fitted to surface points."""

import numpy as np

from SyntheXLib.errors import SyntheXError


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Sphere of least squared distance to points (N >= 4, 3), mm: centre (3,) and radius.

    The algebraic fit (linear in centre and radius^2 - |centre|^2) starts Gauss-Newton steps on the geometric distance.
    """
    points = np.asarray(points, dtype=np.float64)
    shift = points.mean(axis=0)
    p = points - shift
    solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(axis=1), rcond=None)[0]
    centre, radius = solution[:3], float(np.sqrt(max(solution[3] + solution[:3] @ solution[:3], 0.0)))
    for _ in range(20):
        away = p - centre
        distance = np.linalg.norm(away, axis=1)
        jacobian = np.c_[away / np.maximum(distance, 1e-9)[:, None], np.ones(len(p))]
        step = np.linalg.lstsq(jacobian, distance - radius, rcond=None)[0]
        centre, radius = centre + step[:3], radius + float(step[3])
        if np.abs(step).max() < 1e-6:
            break
    return centre + shift, radius


def robust_sphere(points: np.ndarray, radii: tuple[float, float], tolerance: float, trials: int = 400) -> tuple[np.ndarray, float]:
    """Sphere through most of the points (N, 3), mm: RANSAC with a fixed seed, then least squares on the inliers.

    Raises
    ------
    SyntheXError
        When no sphere with a radius in `radii` passes within `tolerance` of at least a quarter of the points.
    """
    points = np.asarray(points, dtype=np.float64)
    best: np.ndarray | None = None
    if len(points) >= 10:
        generator = np.random.default_rng(0)
        for _ in range(trials):
            four = points[generator.choice(len(points), 4, replace=False)]
            try:
                centre = np.linalg.solve(2 * (four[1:] - four[0]), (four[1:] ** 2).sum(axis=1) - (four[0] ** 2).sum())
            except np.linalg.LinAlgError:
                continue
            radius = float(np.linalg.norm(four[0] - centre))
            if radii[0] <= radius <= radii[1]:
                inliers = np.abs(np.linalg.norm(points - centre, axis=1) - radius) <= tolerance
                if best is None or inliers.sum() > best.sum():
                    best = inliers
    if best is None or best.sum() < max(10, len(points) / 4):
        raise SyntheXError(f"A sphere of {radii[0]:g} to {radii[1]:g} mm radius was expected in {len(points)} surface points, found none.")
    for _ in range(10):
        centre, radius = fit_sphere(points[best])
        inliers = np.abs(np.linalg.norm(points - centre, axis=1) - radius) <= tolerance
        if np.array_equal(inliers, best):
            break
        best = inliers
    return centre, radius
