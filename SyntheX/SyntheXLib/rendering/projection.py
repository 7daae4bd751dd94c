"""What one pass of the ray caster yields, whatever made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Class limits in HU: air | lung and fat-like partial volume | soft tissue | bone | metal. The first three are the design page's
# (-800 and 350 are DeepDRR's, -130 is xreg's limit between air and anatomy); above 2000 HU there is no bone at a clinical CT's resolution.
HU_CUTS = (-800.0, -130.0, 350.0, 2000.0)


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
    """

    cuts: tuple[float, ...]
    path_length: np.ndarray
    hu_integral: np.ndarray
    label_bits: np.ndarray

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
