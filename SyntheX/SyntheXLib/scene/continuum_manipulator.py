"""The continuum manipulator: a notched nitinol tube that cables bend.

Kinematics of the planar model that the SyntheX paper simulates (Gao et al. 2020 and its xreg-based code; Otake et al. 2014 have the same
five variables): a cubic spline through five control angles gives the bend at each of 27 notches. Sizes are those commonly given for the
device (two nested tubes, 6 mm outside and 4 mm inside, 35 mm flexible of 70 mm); those of the notches are not published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.solids import Box, Copies, Cylinder, Difference, Placed, Solid, Sphere, Union
from SyntheXLib.scene.tools import Tool, ToolPart

NOTCHES = 27
CONTROL_POINTS = 5
# Place of the control points in notches, 26 (k + 1) / 6.
CONTROL_SPACING = 26 / 6
# Links reach this far beyond their joints, mm: bending (up to 5 degrees a notch) opens no slit where the tube goes on beside a notch.
OVERLAP = 0.15
# Sides on which notches open in turn: axis (0 = x, 1 = y) and direction.
SIDES_ONE_PLANE = ((0, 1), (0, -1))
SIDES_TWO_PLANES = ((0, 1), (0, -1), (1, 1), (1, -1))


@dataclass(frozen=True)
class ManipulatorShape:
    """Sizes of the device, mm.

    Attributes
    ----------
    outer_diameter, lumen_diameter
        Of the tube.
    flexible_length
        From the first joint to the tip; 27 links share it.
    notch_depth, notch_width
        Of a notch, across and along the tube.
    joint_offset
        By how much the links lie beside the centreline, left and right in turn.
    drill_diameter, burr_diameter
        Of the drill's flexible shaft and of its head, whose end lies two burr diameters beyond the tip.
    """

    outer_diameter: float = 6.0
    lumen_diameter: float = 4.0
    flexible_length: float = 35.0
    notch_depth: float = 3.9
    notch_width: float = 0.45
    joint_offset: float = 0.03
    drill_diameter: float = 3.0
    burr_diameter: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0 and (value > 0 or name in ("notch_depth", "notch_width", "joint_offset"))):
                raise SyntheXError(f"{name} of the continuum manipulator must be a length in mm, found {value}.")
        for small, large in (
            ("lumen_diameter", "outer_diameter"), ("notch_depth", "outer_diameter"), ("drill_diameter", "lumen_diameter"),
        ):  # fmt: skip
            if getattr(self, small) >= getattr(self, large):
                raise SyntheXError(
                    f"{small} of the continuum manipulator must be below its {large} of {getattr(self, large):g} mm, "
                    f"found {getattr(self, small):g} mm."
                )
        if self.notch_width >= self.pitch:
            raise SyntheXError(
                f"notch_width of the continuum manipulator must be below the {self.pitch:.3g} mm from notch to notch, "
                f"found {self.notch_width:g} mm."
            )

    @property
    def pitch(self) -> float:
        """From joint to joint, mm."""
        return self.flexible_length / NOTCHES


def sample_control_angles(rng: np.random.Generator, sd_deg: float = 2.5) -> np.ndarray:
    """Control angles (5,) in degrees from the paper's prior, N(0, 2.5 degrees)."""
    return rng.normal(0.0, sd_deg, CONTROL_POINTS)


def _spline_weights() -> np.ndarray:
    """(27, 5): bend at notch 1 ... 27 from the control angles, by the natural cubic spline through them that goes on straight beyond."""
    # Second derivatives of the spline (unit knot spacing) at the five knots; natural: 0 at the ends.
    curvature = np.zeros((CONTROL_POINTS, CONTROL_POINTS))
    differences = np.diff(np.eye(CONTROL_POINTS), 2, axis=0)
    system = 4 * np.eye(3) + np.eye(3, k=1) + np.eye(3, k=-1)
    curvature[1:-1] = np.linalg.solve(system, 6 * differences)
    place = np.arange(1, NOTCHES + 1) / CONTROL_SPACING - 1
    within = np.clip(place, 0, CONTROL_POINTS - 1)
    knot = np.minimum(within.astype(int), CONTROL_POINTS - 2)
    right = (within - knot)[:, None]
    left, value = 1 - right, np.eye(CONTROL_POINTS)
    weights = left * value[knot] + right * value[knot + 1]
    weights += ((left**3 - left) * curvature[knot] + (right**3 - right) * curvature[knot + 1]) / 6
    slope = value[knot + 1] - value[knot]
    slope += ((1 - 3 * left**2) * curvature[knot] + (3 * right**2 - 1) * curvature[knot + 1]) / 6
    return weights + (place - within)[:, None] * slope


def notch_angles(control_angles_deg: np.ndarray) -> np.ndarray:
    """Bend at each notch from the base to the tip: control angles (..., 5) to (..., 27), degrees."""
    control = np.asarray(control_angles_deg, float)
    if control.shape[-1:] != (CONTROL_POINTS,) or not np.isfinite(control).all():
        raise SyntheXError(f"The continuum manipulator has {CONTROL_POINTS} control angles in degrees, found {control_angles_deg}.")
    return control @ _spline_weights().T


def link_poses(control_angles_deg: np.ndarray, second_plane_deg: np.ndarray | None = None, pitch: float = 35 / NOTCHES) -> np.ndarray:
    """Where the links stand: joint and direction of each.

    Parameters
    ----------
    control_angles_deg
        (5,) degrees, bending towards x.
    second_plane_deg
        (5,) degrees, bending towards y; None for none.
    pitch
        Length of a link, mm.

    Returns
    -------
    numpy.ndarray
        (28, 4, 4) in the tool's frame, mm: link i has its joint at the origin of its frame and runs along its z; the last frame is the
        tip, its origin the end of the centreline. In one plane link i is turned by phi_i, the sum of the bends so far, and joint i lies
        at joint i - 1 plus pitch x (sin phi_i, cos phi_i).
    """
    bends = np.deg2rad(notch_angles(control_angles_deg))
    seconds = np.deg2rad(notch_angles(second_plane_deg)) if second_plane_deg is not None else np.zeros(NOTCHES)
    poses = np.tile(np.eye(4), (NOTCHES + 1, 1, 1))
    pose = np.eye(4)
    for link, (bend, second) in enumerate(zip(bends, seconds, strict=True)):
        c, s, c2, s2 = np.cos(bend), np.sin(bend), np.cos(second), np.sin(second)
        pose[:3, :3] = pose[:3, :3] @ [[c, 0, s], [0, 1, 0], [-s, 0, c]] @ [[1, 0, 0], [0, c2, s2], [0, -s2, c2]]
        poses[link] = pose
        pose[:3, 3] += pitch * pose[:3, 2]
    poses[NOTCHES] = pose
    return poses


def _notch(shape: ManipulatorShape, side: tuple[int, int], start: float, end: float) -> Box:
    """What a notch takes away between two places along z: from the tube's surface inwards on one side."""
    axis, sign = side
    radius = shape.outer_diameter / 2
    # The box ends beyond the tube.
    low, high = np.array([-radius - 1, -radius - 1, start]), np.array([radius + 1, radius + 1, end])
    if sign > 0:
        low[axis] = radius - shape.notch_depth
    else:
        high[axis] = shape.notch_depth - radius
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _tube(shape: ManipulatorShape, start: float, end: float, notches: tuple[Box, ...]) -> Solid:
    lumen = Cylinder(shape.lumen_diameter / 2, start - 1, end + 1)
    return Difference(Cylinder(shape.outer_diameter / 2, start, end), (lumen, *notches))


def continuum_manipulator(
    control_angles_deg: np.ndarray,
    *,
    drill: bool = False,
    shaft_length_mm: float = 35.0,
    second_plane_deg: np.ndarray | None = None,
    shape: ManipulatorShape | None = None,
) -> Tool:
    """The continuum manipulator, bent.

    The tool's frame has its origin at the first joint, z towards the tip and x in the bending plane; the shaft runs to -z. The 27 links are
    the structure ``continuum_manipulator``; landmarks ``cm_start`` and ``cm_end`` are the ends of their centreline.

    Parameters
    ----------
    control_angles_deg
        (5,) bend at five places along the tube, degrees a notch, see `sample_control_angles`.
    drill
        Whether a drill goes through the lumen.
    shaft_length_mm
        Length of the rigid tube behind the first joint, mm.
    second_plane_deg
        (5,) bend out of the plane, towards y: a device that bends both ways, its notches open to x, -x, y, -y in turn. None: to x and -x.
    shape
        Sizes; by default those of the device.

    Returns
    -------
    Tool
        Parts ``continuum_manipulator``, ``shaft`` and, if asked for, ``drill``; pose: the identity.
    """
    shape = shape or ManipulatorShape()
    if not (np.isfinite(shaft_length_mm) and shaft_length_mm > 0):
        raise SyntheXError(f"shaft_length_mm of the continuum manipulator must be positive, found {shaft_length_mm}.")
    poses = link_poses(control_angles_deg, second_plane_deg, shape.pitch)
    sides = SIDES_ONE_PLANE if second_plane_deg is None else SIDES_TWO_PLANES
    half, pitch = shape.notch_width / 2, shape.pitch
    # A notch lies around each joint, half of it in either link.
    offset = np.tile(np.eye(4), (NOTCHES, 1, 1))
    offset[:, 0, 3] = shape.joint_offset * (-1.0) ** np.arange(NOTCHES)
    places = poses[:-1] @ offset

    def link(number: int, last: bool = False) -> Solid:
        notches = [_notch(shape, sides[number % len(sides)], -1, half)]
        if not last:
            notches.append(_notch(shape, sides[(number + 1) % len(sides)], pitch - half, pitch + 1))
        return _tube(shape, -OVERLAP, pitch + (0 if last else OVERLAP), tuple(notches))

    # Links whose notches open to the same sides are alike, but for the last.
    links: list[Solid] = [Copies(link(number), places[number : -1 : len(sides)]) for number in range(len(sides))]
    links.append(Placed(link(NOTCHES - 1, last=True), places[-1]))
    parts = [
        ToolPart("continuum_manipulator", Union(tuple(links)), "nitinol", "continuum_manipulator"),
        ToolPart("shaft", _tube(shape, -shaft_length_mm, 0, (_notch(shape, sides[0], -half, 1),)), "nitinol"),
    ]
    if drill:
        radius, burr = shape.drill_diameter / 2, shape.burr_diameter / 2
        pieces: list[Solid] = [Cylinder(radius, -shaft_length_mm, 0)]
        pieces.append(Copies(Cylinder(radius, -OVERLAP, pitch + OVERLAP), poses[:-1]))
        head = Union((Cylinder(radius, 0, burr), Cylinder(burr, burr, 3 * burr), Sphere(burr, (0, 0, 3 * burr))))
        parts.append(ToolPart("drill", Union((*pieces, Placed(head, poses[-1]))), "steel_316l"))
    landmarks = {"cm_start": poses[0, :3, 3], "cm_end": poses[-1, :3, 3]}
    return Tool("continuum_manipulator", tuple(parts), landmarks)
