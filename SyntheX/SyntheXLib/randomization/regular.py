"""Regular domain randomisation (Gao et al. 2023, `paper-text`): noise, gamma and crop, each drawn anew for every image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.geometry import warp_affine


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

    noise: tuple[float, float] = (0.005, 0.1)
    gamma: tuple[float, float] = (0.7, 1.3)
    crop: float = 0.9

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """Randomise a batch on the device it lies on.

        Parameters
        ----------
        batch
            Log images with their truth; not changed.
        generator
            On the device of the batch; decides everything.
        """
        count = len(batch.image)
        low, high = _range(batch.image)
        deviation = self._uniform(count, self.noise, generator)[:, None, None, None] * (high - low)
        noise = torch.randn(batch.image.shape, generator=generator, device=batch.image.device, dtype=batch.image.dtype)
        image = change_gamma(batch.image + deviation * noise, self._uniform(count, self.gamma, generator))
        room = 1 - self.crop
        shift = self._uniform((count, 2), (-room, room), generator)
        return warp_affine(batch._replace(image=image), crop_maps(self.crop, shift))

    @staticmethod
    def _uniform(shape: int | tuple[int, ...], limits: tuple[float, float], generator: torch.Generator) -> Tensor:
        return limits[0] + (limits[1] - limits[0]) * torch.rand(shape, generator=generator, device=generator.device)


def change_gamma(image: Tensor, gamma: Tensor) -> Tensor:
    """Raise images (B, 1, H, W), scaled to 0 .. 1 by minimum and maximum, to the power `gamma` (B,), and scale them back."""
    low, high = _range(image)
    span = (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    return low + span * ((image - low) / span).clamp(0, 1) ** gamma[:, None, None, None]


def crop_maps(side: float, shift: Tensor) -> Tensor:
    """Affine maps (B, 2, 3) for `warp_affine` that enlarge a window of `side` (share of the image) whose centre lies at `shift`.

    `shift` is (B, 2), (x, y), in the frame where the edges of the image are -1 and 1; within +-(1 - side) the window stays inside.
    """
    maps = torch.zeros(len(shift), 2, 3, device=shift.device, dtype=shift.dtype)
    maps[:, 0, 0] = maps[:, 1, 1] = side
    maps[:, :, 2] = shift
    return maps


def _range(image: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of each image, (B, 1, 1, 1)."""
    return image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
