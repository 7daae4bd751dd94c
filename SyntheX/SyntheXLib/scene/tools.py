"""Tools in the beam: bodies of metal with a pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.intervals import Intervals, difference, union
from SyntheXLib.scene.solids import Placed, Solid

# Materials of tools, by their names in the attenuation table of physics/.
MATERIALS = ("nitinol", "titanium", "steel_316l")


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
            raise SyntheXError(f"Unknown material '{self.material}' of the tool part '{self.name}': expected {', '.join(MATERIALS)}.")


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

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> tuple[Intervals, ...]:
        """Intervals of rays in the world inside each part, in their order; no two overlap.

        Parameters
        ----------
        origin
            (3,) RAS mm.
        directions
            (N, 3) RAS; t counts in their length.
        """
        taken, found = Intervals.none(), []
        for part in self.parts:
            body = Placed(part.solid, self.to_world).intersect(origin, directions)
            found.append(difference(body, taken))
            taken = union(taken, body)
        return tuple(found)
