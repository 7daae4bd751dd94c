"""Views that are given, not drawn: for images that differ in their appearance alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError


@dataclass(frozen=True)
class GivenView:
    """One view of a specimen.

    Attributes
    ----------
    world_to_camera
        (4, 4) rows, world (RAS, mm) to camera (mm).
    specimen
        Name of the specimen; empty where there is one alone.
    name
        For people, as the file name of the real image.
    """

    world_to_camera: tuple[tuple[float, ...], ...]
    specimen: str = ""
    name: str = ""

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) world to camera."""
        return np.array(self.world_to_camera)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "specimen": self.specimen, "world_to_camera": [list(row) for row in self.world_to_camera]}


def read_views(path: Path | str) -> tuple[GivenView, ...]:
    """Read views from JSON: a list of objects, or an object with such a list as ``views``, or one view alone.

    Each has ``world_to_camera`` and, if wanted, ``specimen`` and ``name``; other keys are left alone, so that a view that SyntheX Simulate
    exports and a pose that ``synthex register`` writes serve as they are.

    Raises
    ------
    SyntheXError
        When the file cannot be read, holds no view, or a matrix is not rigid (rotation and shift; a mirror or a scale is none).
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SyntheXError(f"The views {path} cannot be read: expected JSON ({error}).") from error
    entries = content.get("views", [content]) if isinstance(content, Mapping) else content
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise SyntheXError(f"{path}: expected a list of views, found {type(content).__name__}.")
    return tuple(_view(entry, f"{path}, view {number}") for number, entry in enumerate(entries))


def _view(entry: Any, where: str) -> GivenView:
    if not isinstance(entry, Mapping) or "world_to_camera" not in entry:
        raise SyntheXError(f"{where}: expected an object with 'world_to_camera', found none.")
    try:
        matrix = np.array(entry["world_to_camera"], float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise SyntheXError(f"{where}: 'world_to_camera' must be four rows of four numbers, found {entry['world_to_camera']!r:.80}.")
    rotation = matrix[:3, :3]
    if (
        not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        or np.linalg.det(rotation) < 0
        or not np.allclose(matrix[3], [0, 0, 0, 1])
    ):
        raise SyntheXError(f"{where}: 'world_to_camera' must be a rotation and a shift, found a matrix that scales, shears or mirrors.")
    return GivenView(tuple(tuple(map(float, row)) for row in matrix), str(entry.get("specimen", "")), str(entry.get("name", "")))
