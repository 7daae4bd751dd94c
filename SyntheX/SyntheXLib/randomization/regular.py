"""Regular domain randomisation (Gao et al. 2023, `paper-text`): noise, gamma and crop, each drawn anew for every image."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import InOrder, Limits
from SyntheXLib.randomization.intensity import Gamma, Noise
from SyntheXLib.randomization.warps import Crop


@dataclass(frozen=True)
class RegularRandomization:
    """The three effects, applied to every image in this order.

    Attributes
    ----------
    noise
        Lower and upper limit of the standard deviation of Gaussian noise, as a share of the image's intensity range (printed as
        "(0.005, 0.1)"; the released code has 0.005-0.01).
    gamma
        Limits of the exponent on the image scaled to 0 .. 1 by its minimum and maximum.
    crop
        Side of the random square that is cut out and enlarged to the size of the image again, as a share of it. The paper crops and does
        not print what becomes of the size; enlarging keeps it, and a network then sees no other pixel count than in use.
    """

    noise: Limits = (0.005, 0.1)
    gamma: Limits = (0.7, 1.3)
    crop: float = 0.9

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return InOrder((Noise(self.noise), Gamma(self.gamma), Crop(self.crop)))(batch, generator)
