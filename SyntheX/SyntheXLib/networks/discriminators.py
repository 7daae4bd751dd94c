"""Networks that tell one domain from the other, and how they and their opponents are judged. All give logits."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from SyntheXLib.errors import SyntheXError

ADVERSARIAL_LOSSES = ("log", "least-squares")


class PatchDiscriminator(nn.Module):
    """The 70x70 PatchGAN of Isola et al. 2017 with instance norm: every output judges a square of 70 pixels of the image.

    Parameters
    ----------
    width
        Channels of the first convolution.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        from monai.networks.nets import PatchDiscriminator as MonaiDiscriminator  # here, since MONAI takes seconds to load

        self.network = MonaiDiscriminator(spatial_dims=2, channels=width, in_channels=1, num_layers_d=3, norm="instance", bias=True)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 1, H / 8 - 2, W / 8 - 2) of (B, 1, H, W)."""
        logits: Tensor = self.network(image)[-1]
        return logits


class MapDiscriminator(nn.Sequential):
    """3x3 convolutions and ReLU without pooling: one logit a pixel (the released ADDA has this on the features of the decoder).

    Parameters
    ----------
    channels
        Of the maps that are judged.
    """

    def __init__(self, channels: int) -> None:
        widths = (channels, 16, 8, 4, 1)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])


def check_adversarial_loss(kind: str) -> None:
    """Refuse a loss that there is not.

    Raises
    ------
    SyntheXError
        Naming those that there are.
    """
    if kind not in ADVERSARIAL_LOSSES:
        raise SyntheXError(f"The adversarial loss must be one of {', '.join(ADVERSARIAL_LOSSES)}, found '{kind}'.")


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises, from its logits of real and of translated images, of any shape.

    ``"log"``: -E[log D(y)] - E[log(1 - D(G(x)))], D = sigmoid of the logits (Gao et al. 2023). ``"least-squares"``:
    (E[(D(y) - 1)^2] + E[D(G(x))^2]) / 2, D = the logits (Mao et al. 2017).
    """
    check_adversarial_loss(kind)
    if kind == "log":
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """What a generator minimises, from the logits of what it made.

    ``"log"``: E[log(1 - D(G(x)))], as the paper prints it; its gradient fades where the discriminator is sure. ``"least-squares"``:
    E[(D(G(x)) - 1)^2].
    """
    check_adversarial_loss(kind)
    return -functional.softplus(fake).mean() if kind == "log" else (fake - 1).square().mean()


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """-mean[s log D + (1 - s) log(1 - D)] over as many source (s = 1) as target samples (s = 0): the discriminator of ADDA in the paper."""
    return (functional.softplus(-source).mean() + functional.softplus(target).mean()) / 2


def confusion_loss(target: Tensor) -> Tensor:
    """-mean log D of target samples: what the task network of ADDA minimises in the paper."""
    return functional.softplus(-target).mean()


def relativistic_loss(better: Tensor, worse: Tensor) -> Tensor:
    """-mean log sigmoid(D(better) - D(worse)) with D the sigmoid of the logits, as in the released ADDA.

    The discriminator takes (source, target), the task network (target, source); both must have as many samples.
    """
    return functional.softplus(torch.sigmoid(worse) - torch.sigmoid(better)).mean()
