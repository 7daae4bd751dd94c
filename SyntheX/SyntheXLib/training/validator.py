"""The validation after an epoch: loss, metrics and pictures on images as they are stored."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.training.data import XrayTensors, make_loader
from SyntheXLib.training.engines import make_evaluator
from SyntheXLib.training.pictures import ValidationPictures
from SyntheXLib.training.validation import ValidationMetrics


class Validator:
    """Measures a network.

    Parameters
    ----------
    network
        What is measured: the trained one, or its average.
    data, indices
        Images, and which of them.
    batch, workers
        As in the training.
    device, bfloat16
        Where and in which precision.
    loss, metrics, pictures
        What is computed and drawn.
    """

    def __init__(
        self,
        network: nn.Module,
        data: XrayTensors,
        indices: Sequence[int],
        batch: int,
        workers: int,
        device: torch.device,
        loss: TaskLoss,
        metrics: ValidationMetrics,
        pictures: ValidationPictures,
        *,
        bfloat16: bool = False,
    ) -> None:
        loader = make_loader(data, list(indices), batch, workers, device.type == "cuda")
        self._evaluator = make_evaluator(network, metrics, loader, device, bfloat16=bfloat16)
        self._evaluator.logger.setLevel(logging.CRITICAL)  # errors come as exceptions; no second telling

        @self._evaluator.on(Events.STARTED)
        def begin() -> None:
            self._loss = 0.0
            pictures.begin()

        @self._evaluator.on(Events.ITERATION_COMPLETED)
        def add_loss(engine: Engine) -> None:
            output: Any = engine.state.output
            with torch.no_grad():
                self._loss += float(loss(output["pred"], output["label"])) * len(output["image"]) / len(indices)
            pictures.add(output["image"], output["pred"], output["label"])

    def run(self) -> dict[str, float]:
        """Columns of log.csv (see `report.COLUMNS`) that begin with ``validation_``; what cannot be measured is left out."""
        self._evaluator.run()
        found = {"validation_loss": self._loss}
        for name, value in self._evaluator.state.metrics["validation"].items():
            if not math.isnan(value):
                found[f"validation_{name}"] = value
        return found
