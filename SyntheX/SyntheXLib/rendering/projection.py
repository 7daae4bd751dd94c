"""What one pass of the ray caster yields, whatever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

# Class limits in HU: air | lung | adipose tissue | soft tissue | bone | metal. The design page's three (-800 and 350 are DeepDRR's, -130 is
# xreg's limit between air and anatomy), and -30, where fat ends by the usual rule of body composition; above 2000 HU there is no bone at a
# clinical CT's resolution.
HU_CUTS = (-800.0, -130.0, -30.0, 350.0, 2000.0)


@dataclass(frozen=True)
class Projection:
    """Line integrals along the ray of every pixel.

    Attributes
    ----------
    cuts
        Upper limits (HU) of all classes but the last, rising; class c holds the values from ``cuts[c - 1]`` (included) to ``cuts[c]``.
    path_length
        (C, H, W) float32, mm inside the CT per class.
    hu_integral
        (C, H, W) float32, HU x mm per class.
    label_bits
        (H, W) unsigned; bit n is set where the ray passes through structure n.
    tool_path
        Material of a tool to (H, W) float32, mm inside tools of that material; the classes above hold no tissue there.
    label_path
        (L, H, W) float32, mm inside each structure, in the order of the bits; None where not asked for.
    primary
        (H, W) float32, the primary beam relative to the open one, where a backend that yields an image alone made it; None where it
        follows from the line integrals.
    """

    cuts: tuple[float, ...]
    path_length: np.ndarray
    hu_integral: np.ndarray
    label_bits: np.ndarray
    tool_path: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_path: np.ndarray | None = None
    primary: np.ndarray | None = None

    def above(self, hu: float) -> tuple[np.ndarray, np.ndarray]:
        """Path length (mm) and HU integral (HU x mm), each (H, W), of all that is at least `hu`, which must be a cut or below every value.

        Raises
        ------
        ValueError
            When `hu` lies inside a class.
        """
        if hu <= -1000:
            first = 0
        elif hu in self.cuts:
            first = self.cuts.index(hu) + 1
        else:
            raise ValueError(f"{hu} HU is not one of the cuts {self.cuts}")
        return self.path_length[first:].sum(0), self.hu_integral[first:].sum(0)
