"""What a training leaves, and when it is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from SyntheXLib.inference.domain import DOMAIN, domain_statistics
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks.model_file import ModelDescription
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import XrayTensors

#: Validation images that are looked at to tell others from them.
_DOMAIN_IMAGES = 32


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes
    ----------
    folder
        Of the run.
    model
        Model file of the last epoch (the one the paper tests); None when the run was stopped before.
    best
        Model file of the epoch with the best validation score; None without validation.
    stopped
        Model file of the weights with which the run was stopped; None when it was not.
    epochs
        Epochs done.
    rows
        log.csv, one dictionary an epoch.
    """

    folder: Path
    model: Path | None
    best: Path | None
    epochs: int
    rows: list[dict[str, float]]
    stopped: Path | None = None


def is_done(rows: Sequence[dict[str, float]], config: TrainingConfig) -> bool:
    """Whether nothing is left to train: all epochs are done, or the validation's score has not risen for those of `patience`."""
    if len(rows) == config.epochs:
        return True
    scores = [row.get("validation_score", -math.inf) for row in rows]
    patience = config.patience
    return patience is not None and len(scores) > patience and max(scores[:-patience]) >= max(scores[-patience:])


def with_domain(
    description: ModelDescription, network: nn.Module, data: XrayTensors, validated_on: Sequence[int], device: torch.device
) -> ModelDescription:
    """The description of a trained network with what its validation images are like, by which `synthex infer` warns of others.

    Parameters
    ----------
    description, network
        Of the trained network, which is left in evaluation mode.
    data, validated_on
        The validation images; the first 32 are looked at, and without any the description stays as it is.
    device
        Where the network is.
    """
    if not validated_on:
        return description
    spacing = (data.pixel_spacing_mm, data.pixel_spacing_mm)
    images = (XrayImage(data.load([place]).image[0, 0].numpy(), "log", spacing) for place in validated_on[:_DOMAIN_IMAGES])
    statistics = domain_statistics(Predictor(network, description, str(device)), images)
    return replace(description, training={**description.training, DOMAIN: statistics})
