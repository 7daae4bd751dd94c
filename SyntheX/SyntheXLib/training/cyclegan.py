"""CycleGAN (Zhu et al. 2017, arXiv:1703.10593): learn to give images of one domain the look of another, from unpaired sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from SyntheXLib.datasets.format import content_checksum
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.discriminators import (
    ADVERSARIAL_LOSSES,
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
)
from SyntheXLib.networks.translation import ResNetGenerator, blocks_for, translate_any_size
from SyntheXLib.networks.translator_file import Translator, save_translator
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.training.adversarial import AdaptationResult, AdversarialConfig, AdversarialRun, minimize, require_grad
from SyntheXLib.training.image_pool import ImagePool
from SyntheXLib.training.provenance import versions
from SyntheXLib.training.report import ProgressCallback

# The smallest image whose logits have a side of more than one pixel, so that the instance norm before them has something to norm.
SMALLEST_IMAGE = 48


@dataclass(frozen=True, kw_only=True)
class CycleGanConfig(AdversarialConfig):
    """Settings of a CycleGAN; see `AdversarialConfig` for the rest.

    The paper prints the log loss, instance norm and the number of blocks; cycle weight, optimizer and pool are not printed, and are those
    of Zhu et al.

    Attributes
    ----------
    adversarial_loss
        ``"least-squares"`` (ours) or ``"log"`` (the paper's), see `networks.discriminators`.
    cycle_weight
        Factor of the L1 cycle loss of both directions.
    blocks
        Residual blocks of the generators; None takes 6 below 256 pixels, else 9.
    width, discriminator_width
        Channels of the first convolution.
    pool
        Translated images that the discriminators are shown again; 0 shows the latest alone.
    crop
        Side of a random square that is learned from, pixels; None takes whole images.
    learning_rate
        Of Adam (0.5, 0.999); falls linearly to 0 over the last `decay_epochs` epochs.
    decay_epochs
        See `learning_rate`; None takes half of all.
    """

    epochs: int = 200
    batch: int = 1
    adversarial_loss: str = "least-squares"
    cycle_weight: float = 10.0
    blocks: int | None = None
    width: int = 64
    discriminator_width: int = 64
    pool: int = 50
    crop: int | None = None
    learning_rate: float = 2e-4
    decay_epochs: int | None = None

    def __post_init__(self) -> None:
        """Check the values; see `AdversarialConfig`."""
        super().__post_init__()
        if self.adversarial_loss not in ADVERSARIAL_LOSSES:
            known = ", ".join(ADVERSARIAL_LOSSES)
            raise SyntheXError(f"Option 'adversarial_loss' must be one of {known}, found '{self.adversarial_loss}'.")
        for name, lowest in (("cycle_weight", 0), ("width", 1), ("discriminator_width", 1), ("pool", 0), ("learning_rate", 0)):
            self.at_least(name, lowest)
        for name, lowest in (("blocks", 1), ("crop", SMALLEST_IMAGE), ("decay_epochs", 0)):
            if getattr(self, name) is not None:
                self.at_least(name, lowest)


PRESETS: dict[str, dict[str, Any]] = {"ours": {}, "paper-text": {"adversarial_loss": "log"}}


def train_cyclegan(config: CycleGanConfig, progress: ProgressCallback | None = None) -> AdaptationResult:
    """Learn to translate; ``translator.pt`` in the folder of the run turns source images into target images.

    An interrupted run goes on from its last whole epoch.

    Parameters
    ----------
    config
        All settings.
    progress
        Called with a `TrainingProgress` after every batch and every epoch; when it returns False, the run stops.

    Raises
    ------
    SyntheXError
        See `domains.open_domains` and `AdversarialRun.run`.
    """
    return CycleGanRun(config, progress).run()


class CycleGanRun(AdversarialRun):
    """One CycleGAN."""

    config: CycleGanConfig
    file_name = "translator.pt"
    smaller = "a smaller --crop or --width"
    columns = ("loss", "adversarial_loss", "cycle_loss", "discriminator_loss")

    def build(self) -> None:
        """Two generators, two discriminators, two optimizers, two pools."""
        config = self.config
        side = min(self.source.tensors.shape)
        if side < SMALLEST_IMAGE or (config.crop or 0) > side:
            wanted = max(SMALLEST_IMAGE, config.crop or 0)
            raise SyntheXError(f"The images of {self.source.sources[0].folder} must have at least {wanted} pixels a side, found {side}.")
        self.ranges = (self.source.gray_range(), self.target.gray_range())
        blocks = config.blocks or blocks_for(config.crop or side)
        self.modules = {
            "forward": ResNetGenerator(blocks, config.width),
            "back": ResNetGenerator(blocks, config.width),
            "source": PatchDiscriminator(config.discriminator_width),
            "target": PatchDiscriminator(config.discriminator_width),
        }
        self.modules = {name: module.to(self.device) for name, module in self.modules.items()}
        pairs = {"generators": ("forward", "back"), "discriminators": ("source", "target")}
        self.optimizers = {
            name: Adam(chain.from_iterable(self.modules[one].parameters() for one in both), config.learning_rate, betas=(0.5, 0.999))
            for name, both in pairs.items()
        }
        self.pools = {"source": ImagePool(config.pool), "target": ImagePool(config.pool)}

    def rate(self, name: str, iteration: int) -> float:
        """The full one until the last epochs, in which it falls by equal steps, to 0 after the last."""
        decay = self.config.epochs // 2 if self.config.decay_epochs is None else min(self.config.decay_epochs, self.config.epochs)
        left = self.config.epochs - iteration // self.iterations
        return self.config.learning_rate * min(1.0, left / (decay + 1))

    def step(self, source: XrayBatch, target: XrayBatch, iteration: int) -> dict[str, float]:
        """Both generators, then both discriminators."""
        real = {
            "source": self._crop(self.ranges[0].scale(source.image)),
            "target": self._crop(self.ranges[1].scale(target.image)),
        }
        critics: list[nn.Module] = [self.modules["source"], self.modules["target"]]
        require_grad(critics, False)
        made = {"target": self._translate("forward", real["source"]), "source": self._translate("back", real["target"])}
        again = {"source": self._translate("back", made["target"]), "target": self._translate("forward", made["source"])}
        kind = self.config.adversarial_loss
        adversarial = sum((generator_loss(kind, self.modules[name](made[name])) for name in made), torch.zeros((), device=self.device))
        cycle = sum((functional.l1_loss(again[name], real[name]) for name in again), torch.zeros((), device=self.device))
        loss = adversarial + self.config.cycle_weight * cycle
        minimize(self.optimizers["generators"], loss)
        require_grad(critics, True)
        judged = torch.zeros((), device=self.device)
        for name, image in made.items():
            shown = self.pools[name].exchange(image.detach(), self.generator)
            judged = judged + discriminator_loss(kind, self.modules[name](real[name]), self.modules[name](shown))
        minimize(self.optimizers["discriminators"], judged)
        return {
            "loss": float(loss.detach()),
            "adversarial_loss": float(adversarial.detach()),
            "cycle_loss": float(cycle.detach()),
            "discriminator_loss": float(judged.detach()),
        }

    def extra_state(self) -> dict[str, Any]:
        """The pools."""
        return {name: pool.images for name, pool in self.pools.items()}

    def restore_extra(self, state: dict[str, Any]) -> None:
        """Fill the pools."""
        for name, pool in self.pools.items():
            pool.images = [image.to(self.device) for image in state[name]]

    def write(self, path: Path) -> None:
        """Write the generator from source to target."""
        config = asdict(self.config)
        training = {
            "config": config,
            "source": [content_checksum(one.folder) for one in self.source.sources],
            "target": [content_checksum(one.folder) for one in self.target.sources],
            "held_out": list(self.held_out),
            "epochs": len(self.rows),
            "versions": versions(),
        }
        generator = self.modules["forward"]
        assert isinstance(generator, ResNetGenerator)
        spacing = self.source.tensors.pixel_spacing_mm
        save_translator(path, Translator(generator, *self.ranges, spacing, self.held_out, training))

    def _translate(self, name: str, image: Tensor) -> Tensor:
        return translate_any_size(self.modules[name], image)

    def _crop(self, images: Tensor) -> Tensor:
        """A random square of each image."""
        side = self.config.crop
        if side is None:
            return images
        drawn = torch.rand(len(images), 2, generator=self.generator).tolist()
        height, width = images.shape[2:]
        cut = []
        for image, (across, down) in zip(images, drawn, strict=True):
            row, column = int(down * (height - side + 1)), int(across * (width - side + 1))
            cut.append(image[:, row : row + side, column : column + side])
        return torch.stack(cut)
