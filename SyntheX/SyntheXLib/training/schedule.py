"""Optimizers and how their learning rate changes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from SyntheXLib.training.config import TrainingConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> Optimizer:
    """SGD with Nesterov momentum (the paper's) or AdamW."""
    parameters = list(parameters)
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return SGD(parameters, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=nesterov)
    # One pass over all weights instead of ten; torch has it for these two.
    fused = parameters[0].device.type in ("cpu", "cuda")
    return AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=fused)


def make_scheduler(optimizer: Optimizer, config: TrainingConfig, iterations: int) -> LambdaLR:
    """Scheduler that is stepped after every iteration; `iterations` is their number in an epoch."""

    def factor(step: int) -> float:
        return learning_rate_factor(config, step / iterations)

    return LambdaLR(optimizer, factor)


def learning_rate_factor(config: TrainingConfig, epochs: float) -> float:
    """Share of the learning rate that holds after `epochs` (whole ones and a fraction).

    SGD: 0.5 for each `decay_every` whole epochs after `decay_after`. AdamW: linear rise during `warmup_epochs`, then half a cosine to 0.
    """
    if config.optimizer == "sgd":
        # The small term: 10 epochs counted in iterations may come out as 9.9999999.
        return 0.5 ** max(0, (math.floor(epochs + 1e-6) - config.decay_after) // config.decay_every)
    if epochs < config.warmup_epochs:
        return max(epochs / config.warmup_epochs, 0.01)
    share = (epochs - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def clip_gradient(parameters: Iterable[nn.Parameter], longest: float | None) -> None:
    """Shorten the gradient over all weights to `longest`, if it is longer; None leaves it."""
    if longest is not None:
        torch.nn.utils.clip_grad_norm_(parameters, longest)
