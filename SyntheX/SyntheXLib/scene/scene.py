"""What stands in the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.tools import Tool


@dataclass(frozen=True)
class Scene:
    """The patient in the world, and tools that replace what the CT shows where they are.

    Attributes
    ----------
    specimen
        CT, labels and landmarks; its world is the scene's world.
    tools
        Where two overlap, the earlier one wins.
    """

    specimen: Specimen
    tools: tuple[Tool, ...] = ()

    def landmark_array(self, names: Sequence[str]) -> np.ndarray:
        """(L, 3) positions (RAS, mm) of the named landmarks of specimen and tools; NaN where neither has one."""
        points = {**self.specimen.landmarks}
        for tool in self.tools:
            points |= tool.world_landmarks()
        unknown = np.full(3, np.nan)
        return np.array([points.get(name, unknown) for name in names], float).reshape(-1, 3)
