"""What a network is given: batches imaged, randomised and normalised. Without MONAI, whose import takes longer than a page of samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.normalization import normalize
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.presets import make_randomization
from SyntheXLib.tasks.task import Task
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import XrayTensors, derived_seed
from SyntheXLib.training.physics import PhysicsInTheLoop

_IMAGES_AN_EXPOSURE = 4
Randomization = Callable[[XrayBatch], XrayBatch]


class TrainingInputs:
    """Makes what is trained on of what is stored: physics in the loop, where wanted, then the randomisation.

    All randomness of an epoch follows from seed and epoch, so a run that goes on needs no states of generators.

    Parameters
    ----------
    config
        Of the training.
    task
        Of the data.
    device
        Where the batches lie.
    physics
        Makes images of area densities; None where the batches are images.
    part
        Which of several processes this is, each of which draws its own numbers.
    """

    def __init__(
        self, config: TrainingConfig, task: Task, device: torch.device, physics: PhysicsInTheLoop | None = None, part: int = 0
    ) -> None:
        self.seed = config.seed
        self.physics = physics
        self.randomization = make_randomization(config.randomization_preset, config.randomization, task, task.segmentation == "exclusive")
        self.generator = torch.Generator(device)
        self.part = part
        self.seconds = 0.0  # spent here since the epoch began; on a GPU, in starting the work

    def begin_epoch(self, epoch: int) -> None:
        """Set the generator, and draw the exposures, for an epoch, from 1."""
        started = time.perf_counter()
        self.generator.manual_seed(derived_seed(self.seed, "randomization", epoch, self.part))
        if self.physics is not None:
            self.physics.begin_epoch(derived_seed(self.seed, "exposures", epoch))
        self.seconds = time.perf_counter() - started

    def __call__(self, batch: XrayBatch) -> XrayBatch:
        """Log images, randomised."""
        started = time.perf_counter()
        if self.physics is not None:
            batch = self.physics(batch, self.generator)
        if self.randomization is not None:
            batch = self.randomization(batch, self.generator)
        self.seconds += time.perf_counter() - started
        return batch


def make_inputs(config: TrainingConfig, data: XrayTensors, device: torch.device, part: int = 0) -> TrainingInputs:
    """The inputs that the settings name, of the images or area densities of `data`."""
    physics = None
    if config.physics_in_the_loop:
        configuration = data.sources[0].header.configuration  # type: ignore[attr-defined]  # `check_densities` has looked
        # To draw an exposure takes as long as to image one or two views.
        exposures = min(config.exposures, max(1, len(data) // _IMAGES_AN_EXPOSURE))
        physics = PhysicsInTheLoop(data.task, configuration, data.shape, device, exposures, config.attenuation_spread)
    return TrainingInputs(config, data.task, device, physics, part)


def prepare_batch(batch: XrayBatch | SyntheXError, device: torch.device, non_blocking: bool, randomization: Randomization | None) -> Any:
    """Bring a batch to the device, randomise it there, and split it into the network's input and the truth.

    Raises
    ------
    SyntheXError
        When the loader could not read the batch.
    """
    if isinstance(batch, SyntheXError):
        raise batch
    batch = XrayBatch(*(tensor.to(device, non_blocking=non_blocking) for tensor in batch))
    if randomization is not None:
        batch = randomization(batch)
    return normalize(batch.image), Targets(batch.labels, batch.landmarks, batch.visible)
