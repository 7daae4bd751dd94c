"""Screws, Kirschner wires and tools from surface files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.mesh import Mesh, read_mesh
from SyntheXLib.scene.solids import Cone, Cylinder, Difference, Solid, Union
from SyntheXLib.scene.tools import Tool, ToolPart

# Points of a thread: around the screw, and along one turn.
AROUND, ALONG = 32, 10


def _positive(tool: str, **values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise SyntheXError(f"{name} of the {tool} must be positive, found {value}.")


def _turned(z: np.ndarray, radius: np.ndarray) -> Mesh:
    """Closed surface around the z axis: `radius` (Z, A) mm at heights `z` (Z,) mm and equal angles."""
    levels, around = radius.shape
    angle = 2 * np.pi * np.arange(around) / around
    rings = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(z[:, None], radius.shape)], axis=-1)
    points = np.concatenate([rings.reshape(-1, 3), [[0, 0, z[0]], [0, 0, z[-1]]]])
    here = np.arange(levels * around).reshape(levels, around)
    beside = np.roll(here, -1, axis=1)
    a, b, c, d = here[:-1], beside[:-1], here[1:], beside[1:]
    bottom, top = np.full(around, levels * around), np.full(around, levels * around + 1)
    faces = [
        np.stack(face, axis=-1).reshape(-1, 3) for face in ((a, b, d), (a, d, c), (bottom, beside[0], here[0]), (top, here[-1], beside[-1]))
    ]
    return Mesh(points, np.concatenate(faces), "the screw's thread")


def screw(
    length_mm: float = 40.0,
    diameter_mm: float = 6.5,
    *,
    core_diameter_mm: float | None = None,
    pitch_mm: float = 2.75,
    head_diameter_mm: float = 8.0,
    head_length_mm: float = 5.0,
    cannula_diameter_mm: float = 0.0,
    material: str = "titanium",
    structure: str | None = None,
) -> Tool:
    """A bone screw with a helical thread.

    The tool's frame has its origin at the tip and z towards the head. Landmarks: ``tip`` and ``head`` (the middle of its outer face).

    Parameters
    ----------
    length_mm
        From the tip to below the head; the first diameter of it tapers.
    diameter_mm, core_diameter_mm
        Outside and at the root of the thread; the root is 70 % by default.
    pitch_mm
        From turn to turn.
    head_diameter_mm, head_length_mm
        A round head with a rim of a sixth of its length, and a conical seat below.
    cannula_diameter_mm
        Hole along the axis; 0 for none.
    material
        One of `tools.MATERIALS`.
    structure
        Name of the task's structure whose mask it makes; None for none.
    """
    core = 0.7 * diameter_mm if core_diameter_mm is None else core_diameter_mm
    _positive(
        "screw", length_mm=length_mm, diameter_mm=diameter_mm, core_diameter_mm=core, pitch_mm=pitch_mm,
        head_diameter_mm=head_diameter_mm, head_length_mm=head_length_mm,
    )  # fmt: skip
    if not core < diameter_mm < length_mm:
        raise SyntheXError(f"A screw needs core_diameter_mm < diameter_mm < length_mm, found {core:g}, {diameter_mm:g} and {length_mm:g}.")
    if not 0 <= cannula_diameter_mm < core:
        raise SyntheXError(
            f"cannula_diameter_mm of the screw must be from 0 to below its core of {core:g} mm, found {cannula_diameter_mm:g}."
        )
    z = np.linspace(0, length_mm, int(np.ceil(length_mm / pitch_mm * ALONG)) + 1)
    # A flank rises over a third of the pitch, falls over another, and the root lies flat between turns.
    turn = (z[:, None] / pitch_mm - np.arange(AROUND) / AROUND) % 1
    flank = np.clip(1 - 3 * np.abs(turn - 0.5), 0, 1)
    taper = np.clip(z / diameter_mm, 0.02, 1)[:, None]
    thread = _turned(z, taper * (core + flank * (diameter_mm - core)) / 2)
    seat = head_length_mm / 2
    head = Union((
        Cone(core / 2, head_diameter_mm / 2, length_mm - 0.01, length_mm + seat),
        Cylinder(head_diameter_mm / 2, length_mm + seat, length_mm + head_length_mm),
    ))  # fmt: skip
    solid: Solid = Union((thread, head))
    end = length_mm + head_length_mm
    if cannula_diameter_mm:
        solid = Difference(solid, (Cylinder(cannula_diameter_mm / 2, -1, end + 1),))
    return Tool("screw", (ToolPart("screw", solid, material, structure),), {"tip": np.zeros(3), "head": np.array([0.0, 0.0, end])})


def k_wire(
    length_mm: float = 150.0,
    diameter_mm: float = 2.0,
    *,
    tip_length_mm: float = 5.0,
    material: str = "steel_316l",
    structure: str | None = None,
) -> Tool:
    """A Kirschner wire with a conical tip.

    The tool's frame has its origin at the tip and z along the wire. Landmarks: ``tip`` and ``end``.

    Parameters
    ----------
    length_mm, tip_length_mm
        Of the whole wire and of its tip.
    diameter_mm
        Of the wire.
    material
        One of `tools.MATERIALS`.
    structure
        Name of the task's structure whose mask it makes; None for none.
    """
    _positive("K-wire", length_mm=length_mm, diameter_mm=diameter_mm, tip_length_mm=tip_length_mm)
    if tip_length_mm >= length_mm:
        raise SyntheXError(f"tip_length_mm of the K-wire must be below its length of {length_mm:g} mm, found {tip_length_mm:g}.")
    radius = diameter_mm / 2
    solid = Union((Cone(0, radius, 0, tip_length_mm), Cylinder(radius, tip_length_mm, length_mm)))
    return Tool("k_wire", (ToolPart("k_wire", solid, material, structure),), {"tip": np.zeros(3), "end": np.array([0.0, 0.0, length_mm])})


def stl_tool(
    path: Path,
    material: str,
    *,
    name: str | None = None,
    structure: str | None = None,
    landmarks: Mapping[str, np.ndarray] | None = None,
) -> Tool:
    """A tool whose shape is a closed surface in a file (STL, PLY, OBJ or VTP), in mm.

    Parameters
    ----------
    path
        The file; its frame is the tool's frame.
    material
        One of `tools.MATERIALS`.
    name
        Name of the tool and its one part; by default the file's.
    structure
        Name of the task's structure whose mask it makes; None for none.
    landmarks
        Name to (3,) point in the file's frame, mm.
    """
    name = name or Path(path).stem
    return Tool(name, (ToolPart(name, read_mesh(path), material, structure),), dict(landmarks or {}))
