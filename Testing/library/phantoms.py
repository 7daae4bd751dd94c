"""Geometry of the phantoms that the tests share."""

import numpy as np

from SyntheXLib.scene.poses import rotation_about

OBLIQUE = rotation_about(2, 25) @ rotation_about(0, -15) @ rotation_about(1, 10)


def affine(shape: tuple[int, int, int], spacing: float | tuple[float, float, float], rotation: np.ndarray | None = None) -> np.ndarray:
    """IJK-to-RAS of a (K, J, I) array whose middle lies in the world's origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.broadcast_to(spacing, 3)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


def world_grid(shape: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """(K, J, I, 3) world positions of the voxel centres."""
    k, j, i = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return np.stack([i, j, k], -1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]


def ball_fraction(shape: tuple[int, int, int], ijk_to_ras: np.ndarray, center: np.ndarray, radius: float, parts: int = 4) -> np.ndarray:
    """(K, J, I) share of each voxel that lies in a ball, by subdivision."""
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    total = np.zeros(shape)
    grid = world_grid(shape, ijk_to_ras)
    for a in offsets:
        for b in offsets:
            for c in offsets:
                total += ((grid + ijk_to_ras[:3, :3] @ [a, b, c] - center) ** 2).sum(-1) < radius**2
    return total / parts**3
