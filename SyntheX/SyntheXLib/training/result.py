"""What a training leaves, and when it is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.training.config import TrainingConfig


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
