"""How a training tells what it does: a progress bar, log.csv, TensorBoard and a callback."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from SyntheXLib.files import atomic_write

COLUMNS = (
    "epoch",
    "loss",
    "segmentation_loss",
    "landmark_loss",
    "learning_rate",
    "validation_loss",
    "validation_dice",
    "validation_landmark_px",
    "validation_landmark_mm",
    "validation_score",
    "images_per_second",
    "seconds",
)


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands.

    Attributes
    ----------
    epoch, epochs
        Current one, from 1, and all.
    images, images_in_all
        Seen so far, over all epochs, and to be seen.
    loss
        Mean over the epoch so far.
    images_per_second
        Of the epoch so far.
    seconds_left
        Estimate from that speed.
    row
        The row of log.csv that was just written, by column; empty within an epoch.
    """

    epoch: int
    epochs: int
    images: int
    images_in_all: int
    loss: float
    images_per_second: float
    seconds_left: float
    row: dict[str, float] = field(default_factory=dict)


ProgressCallback = Callable[[TrainingProgress], bool | None]


class Reporter:
    """Shows and records a training.

    Parameters
    ----------
    folder
        Of the run.
    epochs, images_in_epoch
        What there is to do.
    rows
        Rows of the epochs that are done.
    progress
        Called after every batch and every epoch; what it returns is handed on by `batch_done` and `epoch_done`.
    show
        False, in all processes but the first, counts and does nothing else.
    """

    columns: tuple[str, ...] = COLUMNS  # of log.csv

    def __init__(
        self,
        folder: Path,
        epochs: int,
        images_in_epoch: int,
        rows: list[dict[str, float]],
        progress: ProgressCallback | None,
        show: bool = True,
    ) -> None:
        self.folder = folder
        self.epochs = epochs
        self.images_in_epoch = images_in_epoch
        self.rows = rows
        self.progress = progress if show else None
        self.show = show
        self.show_bar = show and sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs * images_in_epoch, initial=len(rows) * images_in_epoch, unit="img", disable=not self.show_bar, dynamic_ncols=True
        )
        self.writer = self._open_tensorboard(len(rows)) if show else None
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start the clock of an epoch."""
        self.images = 0
        self.loss_sum = 0.0
        self.started = time.monotonic()
        self.bar.set_description(f"Epoch {min(len(self.rows) + 1, self.epochs)}/{self.epochs}", refresh=False)

    @property
    def images_per_second(self) -> float:
        """Speed of the current epoch so far."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def batch_done(self, images: int, loss: float) -> bool:
        """Tell of a batch; False when the callback wants the training to stop."""
        self.images += images
        self.loss_sum += loss * images
        self.bar.update(images)
        self.bar.set_postfix(loss=f"{self.loss_sum / self.images:.4f}", refresh=False)
        return self._tell({})

    def epoch_done(self, row: dict[str, float]) -> bool:
        """Write the row of an epoch everywhere; False when the callback wants the training to stop."""
        self.rows.append(row)
        if not self.show:
            return True
        with atomic_write(self.folder / "log.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in line.items()} for line in self.rows)
        if self.writer is not None:
            for name, value in row.items():
                if name != "epoch":
                    self.writer.add_scalar(name.replace("validation_", "validation/"), value, int(row["epoch"]))
            self.writer.flush()
        self.say(self._sentence(row))
        return self._tell(row)

    def say(self, text: str) -> None:
        """Print a line beside the bar."""
        if self.show_bar:
            self.bar.write(text, file=sys.stderr)
        elif self.show:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Let go of bar and files."""
        self.bar.close()
        if self.writer is not None:
            self.writer.close()

    def _tell(self, row: dict[str, float]) -> bool:
        if self.progress is None:
            return True
        done = len(self.rows) * self.images_in_epoch + (0 if row else self.images)
        in_all = self.epochs * self.images_in_epoch
        speed = self.images_per_second
        state = TrainingProgress(
            epoch=min(len(self.rows) + (0 if row else 1), self.epochs),
            epochs=self.epochs,
            images=done,
            images_in_all=in_all,
            loss=self.loss_sum / max(self.images, 1),
            images_per_second=speed,
            seconds_left=(in_all - done) / max(speed, 1e-9),
            row=row,
        )
        return self.progress(state) is not False

    def _sentence(self, row: dict[str, float]) -> str:
        parts = [f"epoch {row['epoch']:.0f}/{self.epochs}: loss {row['loss']:.4f}"]
        if "validation_dice" in row:
            parts.append(f"validation Dice {row['validation_dice']:.3f}")
        if "validation_landmark_px" in row:
            parts.append(f"landmarks {row['validation_landmark_px']:.2f} px = {row['validation_landmark_mm']:.1f} mm (median)")
        left = (self.epochs - len(self.rows)) * row["seconds"]
        parts.append(f"{row['images_per_second']:.1f} images/s, {left / 60:.1f} min left")
        return ", ".join(parts)

    def _open_tensorboard(self, done: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # tensorboard is optional
            return None
        # Events of epochs that are trained again after an interruption are dropped.
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=done + 1)
