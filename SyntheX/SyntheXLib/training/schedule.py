"""Optimizers and how their learning rate changes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from SyntheXLib.training.config import TrainingConfig

# Of the optimizers, where none is named.
_SCHEDULES = {"sgd": "step", "adamw": "cosine"}


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> Optimizer:
    """SGD with Nesterov momentum (the paper's) or AdamW."""
    parameters = list(parameters)
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return SGD(parameters, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=nesterov)
    # One pass over all weights instead of ten; torch has it for these two.
    fused = parameters[0].device.type in ("cpu", "cuda")
    return AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=fused)


def make_scheduler(optimizer: Optimizer, config: TrainingConfig, steps: int) -> LambdaLR:
    """Scheduler that is stepped with the optimizer; `steps` is how often that is in an epoch."""

    def factor(step: int) -> float:
        return learning_rate_factor(config, step / steps)

    return LambdaLR(optimizer, factor)


def learning_rate_factor(config: TrainingConfig, epochs: float) -> float:
    """Share of the learning rate that holds after `epochs` (whole ones and a fraction).

    Linear rise during `warmup_epochs`; then, step: 0.5 for each `decay_every` whole epochs after `decay_after`, and cosine: half a cosine
    to 0.
    """
    if epochs < config.warmup_epochs:
        return max(epochs / config.warmup_epochs, 0.01)
    if (config.schedule or _SCHEDULES[config.optimizer]) == "step":
        # The small term: 10 epochs counted in steps may come out as 9.9999999.
        return 0.5 ** max(0, (math.floor(epochs + 1e-6) - config.decay_after) // config.decay_every)
    share = (epochs - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def clip_gradient(parameters: Iterable[nn.Parameter], longest: float | None) -> None:
    """Shorten the gradient over all weights to `longest`, if it is longer; None leaves it."""
    if longest is not None:
        torch.nn.utils.clip_grad_norm_(parameters, longest)
