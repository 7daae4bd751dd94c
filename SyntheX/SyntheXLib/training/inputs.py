"""What a network is given: batches randomised and normalised. Without MONAI, whose import takes longer than a page of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.normalization import normalize
from SyntheXLib.randomization import presets
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Effect
from SyntheXLib.tasks.task import Task
from SyntheXLib.training.config import TrainingConfig

Randomization = Callable[[XrayBatch], XrayBatch]


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


def make_randomization(config: TrainingConfig, task: Task) -> Effect | None:
    """The randomisation that the settings name; None where they name none."""
    exclusive = task.segmentation == "exclusive"
    return presets.make_randomization(config.randomization_preset, config.randomization, task, exclusive)
