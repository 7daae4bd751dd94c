"""Translated images of before, which a discriminator is shown again so that it does not forget (Shrivastava et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Holds some images.

    Parameters
    ----------
    size
        How many; 0 hands every image on as it is.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) to be judged in place of `images`.

        While the pool is not full, every image is put into it and handed on; then every second, by chance, is exchanged for another.
        """
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image)
            elif self.size and torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=generator))
                self.images[place], image = image, self.images[place]
            shown.append(image)
        return torch.stack(shown)
