"""Views that are given, not drawn: for images that differ in their appearance alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.moved_structures import move_structures
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GivenView:
    """One view of a specimen.

    Attributes
    ----------
    world_to_camera
        (4, 4) rows, world (RAS, mm) to camera (mm); of determinant -1 where the picture is as seen from the detector's side.
    specimen
        Name of the specimen; empty where there is one alone.
    name
        For people, as the file name of the real image.
    structures
        Structures that stand elsewhere than in the CT, as the femurs of a patient who was scanned in another posture, each with the (4, 4)
        rows of where its points go in the world (RAS, mm).
    """

    world_to_camera: Rows
    specimen: str = ""
    name: str = ""
    structures: tuple[tuple[str, Rows], ...] = ()

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) world to camera."""
        return np.array(self.world_to_camera)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        moved = {name: [list(row) for row in motion] for name, motion in self.structures}
        return {
            "name": self.name,
            "specimen": self.specimen,
            "world_to_camera": [list(row) for row in self.world_to_camera],
            **({"structures": moved} if moved else {}),
        }

    def patient(self, specimen: Specimen, task: Task) -> Specimen:
        """The specimen as it lies in this view: its structures moved, and with each the landmarks that the task puts on it.

        Raises
        ------
        SyntheXError
            When a structure is unknown or empty.
        """
        return move_structures(specimen, {name: np.array(motion) for name, motion in self.structures}, task)


def read_views(path: Path | str) -> tuple[GivenView, ...]:
    """Read views from JSON: a list of objects, or an object with such a list as ``views``, or one view alone.

    Each has ``world_to_camera`` and, if wanted, ``specimen``, ``name`` and ``structures`` (name to matrix). Other keys are left alone, so
    that a view that SyntheX Simulate exports and a pose that ``synthex register`` writes serve as they are.

    Raises
    ------
    SyntheXError
        When the file cannot be read, holds no view, or a matrix scales or shears.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SyntheXError(f"The views {path} cannot be read: expected JSON ({error}).") from error
    entries = content.get("views", [content]) if isinstance(content, Mapping) else content
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise SyntheXError(f"{path}: expected a list of views, found {type(content).__name__}.")
    return tuple(view_of(entry, f"{path}, view {number}") for number, entry in enumerate(entries))


def view_of(entry: Any, where: str) -> GivenView:
    """One view from plain values, see `read_views`; `where` is for the message of an error."""
    if not isinstance(entry, Mapping) or "world_to_camera" not in entry:
        raise SyntheXError(f"{where}: expected an object with 'world_to_camera', found none.")
    structures = entry.get("structures", {})
    if not isinstance(structures, Mapping):
        raise SyntheXError(f"{where}: 'structures' must be an object of names and matrices, found {structures!r:.80}.")
    return GivenView(
        _rigid(entry["world_to_camera"], "world_to_camera", where),
        str(entry.get("specimen", "")),
        str(entry.get("name", "")),
        tuple((str(name), _rigid(motion, f"structures.{name}", where)) for name, motion in structures.items()),
    )


def _rigid(value: Any, key: str, where: str) -> Rows:
    """The rows of a rotation (perhaps with a mirror) and a shift."""
    try:
        matrix = np.array(value, float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise SyntheXError(f"{where}: '{key}' must be four rows of four numbers, found {value!r:.80}.")
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise SyntheXError(f"{where}: '{key}' must be a rotation and a shift, found a matrix that scales or shears.")
    return tuple(tuple(map(float, row)) for row in matrix)
