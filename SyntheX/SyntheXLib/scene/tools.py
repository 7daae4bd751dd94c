"""Tools in the beam: bodies of metal with a pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.intervals import Intervals, difference, union
from SyntheXLib.scene.solids import Placed, Solid
from SyntheXLib.tasks.task import nearest

# Materials of tools, by their names in the attenuation table of physics/.
MATERIALS = ("nitinol", "titanium", "steel_316l")


def pose_along(origin: np.ndarray, axis: np.ndarray, roll_deg: float = 0.0) -> np.ndarray:
    """Pose of a tool from where it lies and where it points.

    Parameters
    ----------
    origin
        (3,) place of the tool's origin, RAS mm.
    axis
        (3,) direction of the tool's z in the world; its length does not matter.
    roll_deg
        Turn about that axis. At 0 the tool's x lies as near as it can to the world's axis (R, A or S) that `axis` is farthest from.

    Returns
    -------
    numpy.ndarray
        (4, 4) rigid, tool's frame to world RAS, mm.
    """
    z = np.asarray(axis, float)
    length = np.linalg.norm(z)
    if z.shape != (3,) or not (np.isfinite(length) and length > 0):
        raise SyntheXError(f"The axis of a tool must be a direction of three numbers, not all 0, found {np.asarray(axis).tolist()}.")
    z = z / length
    x = np.eye(3)[np.argmin(np.abs(z))]
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    roll = np.deg2rad(roll_deg)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x, z], axis=1)
    pose[:3, 3] = origin
    return pose


@dataclass(frozen=True)
class ToolPart:
    """A body of one material.

    Attributes
    ----------
    name
        What it is, for example ``"drill"``.
    solid
        Its shape in the tool's frame, mm.
    material
        One of `MATERIALS`.
    structure
        Name of the task's structure whose mask it makes; None for none.
    """

    name: str
    solid: Solid
    material: str
    structure: str | None = None

    def __post_init__(self) -> None:
        if self.material not in MATERIALS:
            raise SyntheXError(
                f"Unknown material '{self.material}' of the tool part '{self.name}': expected one of {', '.join(MATERIALS)}"
                f"{nearest(self.material, MATERIALS)}."
            )


@dataclass(frozen=True, eq=False)
class Tool:
    """A rigid body of parts.

    Attributes
    ----------
    name
        What it is.
    parts
        Where two overlap, the earlier wins.
    landmarks
        Name to (3,) point in the tool's frame, mm.
    to_world
        (4, 4) rigid, tool's frame to world RAS, mm.
    """

    name: str
    parts: tuple[ToolPart, ...]
    landmarks: Mapping[str, np.ndarray] = field(default_factory=dict)
    to_world: np.ndarray = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        matrix = np.asarray(self.to_world, float)
        if matrix.shape != (4, 4) or not np.allclose(matrix[3], [0, 0, 0, 1]):
            raise SyntheXError(f"The pose of the tool '{self.name}' must be a 4 x 4 matrix with last row 0 0 0 1, found {matrix.tolist()}.")
        rotation = matrix[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise SyntheXError(f"The pose of the tool '{self.name}' must be rigid (a rotation and a shift), found {matrix.tolist()}.")

    def placed(self, to_world: np.ndarray) -> Tool:
        """The same tool at another pose, (4, 4) rigid, tool's frame to world RAS, mm."""
        return replace(self, to_world=np.asarray(to_world, float))

    def world_landmarks(self) -> dict[str, np.ndarray]:
        """Landmarks in the world: name to (3,) RAS mm."""
        return {name: self.to_world[:3, :3] @ point + self.to_world[:3, 3] for name, point in self.landmarks.items()}

    def bodies(self) -> tuple[Placed, ...]:
        """The parts' solids where they stand in the world, in their order."""
        return tuple(Placed(part.solid, np.asarray(self.to_world, float)) for part in self.parts)

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> tuple[Intervals, ...]:
        """Intervals of rays in the world inside each part, in their order; no two overlap.

        Parameters
        ----------
        origin
            (3,) RAS mm.
        directions
            (N, 3) RAS; t counts in their length.
        """
        origin, directions = np.asarray(origin, float), np.asarray(directions, float)
        taken, found = Intervals.none(), []
        for solid in self.bodies():
            body = solid.intersect(origin, directions)
            found.append(difference(body, taken))
            taken = union(taken, body)
        return tuple(found)
