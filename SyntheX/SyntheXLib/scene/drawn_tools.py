"""The tools that a task draws for an image: which there are, how they are shaped, where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from SyntheXLib.scene.continuum_manipulator import sample_control_angles
from SyntheXLib.scene.poses import rotation_about
from SyntheXLib.scene.tool_files import tool_from_dict
from SyntheXLib.scene.tools import Tool
from SyntheXLib.tasks.settings import ToolSettings

# Key of the random stream of the data set's bends, beside those of its images.
_SHAPES = 1_000_001


def check_tools(settings: Sequence[ToolSettings]) -> None:
    """Build every tool at both ends of its ranges, so that an impossible size is told before anything is rendered.

    Raises
    ------
    SyntheXError
        When a parameter has the wrong type or an end is impossible.
    """
    for end in (0, 1):
        ends = [replace(one, probability=1.0, ranges={name: (v[end], v[end]) for name, v in one.ranges.items()}) for one in settings]
        draw_tools(ends, np.zeros(3), np.random.default_rng(0), 0)


def draw_tools(
    settings: Sequence[ToolSettings], isocenter: np.ndarray, rng: np.random.Generator, seed: int
) -> tuple[tuple[Tool, ...], list[dict[str, Any]]]:
    """Draw the tools of one image.

    Parameters
    ----------
    settings
        The task's tools.
    isocenter
        (3,) RAS, mm: where they stand, but for their offset.
    rng
        The image's own.
    seed
        Of the data set; decides the bends that its images share.

    Returns
    -------
    tools : tuple of Tool
        Those that the image shows.
    record : list of dict
        Of each, what was drawn, for JSON: kind, parameters, shape (number of the bend) and pose (4 x 4, tool to RAS, mm).
    """
    tools, record = [], []
    for place, one in enumerate(settings):
        # Every tool has a stream of its own: what one draws does not move another.
        own = np.random.default_rng(rng.integers(2**63))
        if own.random() >= one.probability:
            continue
        values: dict[str, Any] = {"kind": one.kind, **one.parameters}
        values |= {name: float(own.uniform(*limits)) for name, limits in one.ranges.items()}
        drawn: dict[str, Any] = {}
        if one.kind == "continuum_manipulator":
            if one.shapes:
                drawn["shape"] = int(own.integers(one.shapes))
                bend = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SHAPES, place, drawn["shape"])))
            else:
                bend = own
            values["control_angles_deg"] = sample_control_angles(bend, one.control_angle_sd_deg).tolist()
            values["drill"] = bool(own.random() < one.drill_probability)
        elif one.structure:
            values["structure"] = one.structure
        pose = np.eye(4)
        angles = [float(own.uniform(*limits)) for limits in (one.rotation_s_deg, one.rotation_r_deg, one.rotation_a_deg)]
        pose[:3, :3] = rotation_about(1, angles[2]) @ rotation_about(0, angles[1]) @ rotation_about(2, angles[0])
        pose[:3, 3] = isocenter + own.uniform(-1, 1, 3) * one.offset_mm
        tools.append(tool_from_dict({**values, "to_world": pose.tolist()}, f"tool {place + 1} of the task ({one.kind})"))
        record.append({**values, **drawn, "to_world": pose.tolist()})
    return tuple(tools), record
