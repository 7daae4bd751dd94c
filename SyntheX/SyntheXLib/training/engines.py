"""The two engines of MONAI, fitted to batches of X-rays: one that learns, one that measures."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.networks.normalization import forward_any_size
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.training.inputs import Randomization, prepare_batch
from SyntheXLib.training.schedule import clip_gradient
from SyntheXLib.training.validation import ValidationMetrics


class MixedPrecision:
    """MONAI inferer that pads and crops, and computes in bfloat16 if wanted (MONAI's own switch knows CUDA alone).

    bfloat16 has the range of float32, so gradients need no scaling.
    """

    def __init__(self, device: torch.device, enabled: bool) -> None:
        self.device = device
        self.enabled = enabled

    def __call__(self, images: Tensor, network: nn.Module) -> NetworkOutput:
        """Run the network."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.enabled):
            return forward_any_size(network, images)


def make_trainer(
    network: nn.Module,
    optimizer: Optimizer,
    loss: TaskLoss,
    loader: DataLoader[XrayBatch],
    epochs: int,
    device: torch.device,
    *,
    bfloat16: bool,
    randomization: Randomization | None,
    longest_gradient: float | None,
    accumulation: int = 1,
) -> SupervisedTrainer:
    """Engine that learns; its caller adds what happens between iterations and epochs."""
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        non_blocking=device.type == "cuda",
        prepare_batch=prepare_batch,
        to_kwargs={"randomization": randomization},
        inferer=MixedPrecision(device, bfloat16),  # type: ignore[arg-type]
        decollate=False,
        optim_set_to_none=True,
        accumulation_steps=accumulation,
    )

    @trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def clip(engine: Engine) -> None:
        if takes_step(engine, accumulation):
            clip_gradient(network.parameters(), longest_gradient)

    return trainer


def takes_step(engine: Engine, accumulation: int) -> bool:
    """Whether the optimizer steps in this iteration: after every `accumulation` of them, and after the last of an epoch."""
    length = engine.state.epoch_length
    assert length is not None  # the loaders know theirs
    place = (engine.state.iteration - 1) % length + 1
    return place % accumulation == 0 or place == length


def make_evaluator(
    network: nn.Module, metrics: ValidationMetrics, loader: DataLoader[XrayBatch], device: torch.device, *, bfloat16: bool
) -> SupervisedEvaluator:
    """Engine that measures on images as they are; results in ``state.metrics``."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=loader,
        network=network,
        non_blocking=device.type == "cuda",
        prepare_batch=prepare_batch,
        to_kwargs={"randomization": None},
        inferer=MixedPrecision(device, bfloat16),  # type: ignore[arg-type]
        decollate=False,
    )
    metrics.attach(evaluator, "validation")
    return evaluator
