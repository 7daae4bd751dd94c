"""A training from its settings to the model file."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator

from SyntheXLib.datasets.together import XraySource, check_sources
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors
from SyntheXLib.networks.device import choose_device
from SyntheXLib.networks.heatmaps import heatmap_sigma_px
from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.networks.model_file import build_network, load_weights, save_model
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.training.checkpoints import check_same, read_last_checkpoint, write_checkpoint
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import EpochSampler, XrayTensors, derived_seed, make_loader, open_sources
from SyntheXLib.training.engines import make_evaluator, make_trainer
from SyntheXLib.training.inputs import make_randomization
from SyntheXLib.training.pictures import ValidationPictures
from SyntheXLib.training.provenance import describe_model, describe_sources
from SyntheXLib.training.report import ProgressCallback, Reporter
from SyntheXLib.training.run_folder import forget_run
from SyntheXLib.training.schedule import make_optimizer, make_scheduler
from SyntheXLib.training.split import split_named, split_sources
from SyntheXLib.training.start import start_network
from SyntheXLib.training.torch_state import torch_settings
from SyntheXLib.training.validation import ValidationMetrics


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


def train(config: TrainingConfig, progress: ProgressCallback | None = None) -> TrainingResult:
    """Train a network.

    A run that was interrupted goes on from its last whole epoch when it is started again with the same settings; a finished one says so
    and does nothing.

    Parameters
    ----------
    config
        All settings.
    progress
        Called with a `TrainingProgress` after every batch and every epoch; when it returns False, the training stops.

    Raises
    ------
    SyntheXError
        When the data, the settings or the folder do not allow it; see `TrainingConfig`, `XrayTensors` and `check_same`.
    """
    return TrainingRun(config, progress).run()


class TrainingRun:
    """One training.

    Parameters
    ----------
    config, progress
        See `train`.
    sources, validation
        Opened data sets to use in place of those that `config` names.
    """

    def __init__(
        self,
        config: TrainingConfig,
        progress: ProgressCallback | None = None,
        sources: Sequence[XraySource] | None = None,
        validation: Sequence[XraySource] | None = None,
    ) -> None:
        self.config = config
        self.progress = progress
        self.folder = Path(config.out)
        self.device = choose_device(config.device)
        sources = list(sources) if sources is not None else open_sources(config.datasets)
        if validation is None:
            validation = open_sources([config.validation]) if config.validation is not None else []
        check_sources([*sources, *validation])
        self.data = XrayTensors(sources, config.image_size)
        self.fingerprint = describe_sources([*sources, *validation])
        if validation:
            self.validation_data = XrayTensors(validation, config.image_size)
            self.split = split_named(sources, validation)
        else:
            self.validation_data = self.data
            self.split = split_sources(sources, config.validation_fraction, config.seed)
        if self.split.held_out:  # a run of another split must not go on with this one
            self.fingerprint["held out"] = ", ".join(self.split.held_out)
        self.stopped = False

    def run(self) -> TrainingResult:
        """Train until the last epoch, or until the callback stops it."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not self.config.resume:
            forget_run(self.folder)
        checkpoint = read_last_checkpoint(self.folder)
        if checkpoint is not None:
            check_same(checkpoint["config"], self.config.fixed(), self.folder, "option")
            check_same(checkpoint["data"], self.fingerprint, self.folder, "data")
        with torch_settings(self.config.threads, self.device):
            return self._run(checkpoint)

    def _run(self, checkpoint: dict[str, Any] | None) -> TrainingResult:
        self._build()
        self.rows: list[dict[str, float]] = []
        self.best_score = -math.inf
        if checkpoint is not None:
            self._restore(checkpoint)
        if len(self.rows) == self.config.epochs:
            self._write_model(only_if_missing=True)
            print(f"The training in {self.folder} is finished ({self.config.epochs} epochs); nothing to do.", flush=True)
            return self._result()
        with atomic_write(self.folder / "config.json") as temporary:
            temporary.write_text(json.dumps(self.config.to_dict(), indent=2) + "\n", encoding="utf-8")
        self.data.hold_in_memory(self.config.cache_mib)
        if self.validation_data is not self.data:
            self.validation_data.hold_in_memory(self.config.cache_mib)
        self._train()
        if not self.stopped:
            self._write_model()
        return self._result()

    def _build(self) -> None:
        """Network, loss, optimizer and loader."""
        config = self.config
        torch.manual_seed(derived_seed(config.seed, "weights", 0))
        self.network = build_network(self._description(0))
        start_network(self.network, config)
        self.network = self.network.to(self.device)
        if self.device.type in ("cpu", "cuda"):
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sigma = heatmap_sigma_px(self.data.task.heatmap_sigma_mm, self.data.pixel_spacing_mm)
        exclusive = self.data.task.segmentation == "exclusive"
        self.loss = TaskLoss(
            exclusive, config.heatmap_loss, sigma, config.segmentation_weight, config.landmark_weight, config.presence_weight
        )
        self.metrics = ValidationMetrics(exclusive, self.data.pixel_spacing_mm)
        self.optimizer = make_optimizer(self.network.parameters(), config)
        self.sampler = EpochSampler(self.trained_on, config.seed)
        self.scheduler = make_scheduler(self.optimizer, config, math.ceil(len(self.trained_on) / config.batch))
        self.generator = torch.Generator(self.device)
        self.randomization = make_randomization(config)
        self.pictures = ValidationPictures(self.folder, self.data.task, sigma, config.pictures)

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        load_weights(self.network, checkpoint["network"], self.folder)
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.rows = list(checkpoint["rows"])
        self.best_score = checkpoint["best_score"]

    def _train(self) -> None:
        config = self.config
        pin = self.device.type == "cuda"
        loader = make_loader(self.data, self.sampler, config.batch, config.workers, pin)
        trainer = make_trainer(
            self.network,
            self.optimizer,
            self.loss,
            loader,
            config.epochs,
            self.device,
            bfloat16=config.precision == "bfloat16",
            randomization=self._randomize if self.randomization else None,
            longest_gradient=config.clip_gradient,
        )
        evaluator = self._evaluator(pin)
        trainer.state.epoch = len(self.rows)
        trainer.state.iteration = len(self.rows) * len(loader)
        trainer.logger.setLevel(logging.CRITICAL)  # errors come as exceptions; no second telling
        reporter = Reporter(self.folder, config.epochs, len(self.trained_on), self.rows, self.progress)
        if self.split.sentence:
            reporter.say(self.split.sentence)

        @trainer.on(Events.EPOCH_STARTED)
        def begin(engine: Engine) -> None:
            # All randomness of an epoch follows from seed and epoch, so a run that goes on needs no states of generators.
            epoch = engine.state.epoch
            self.sampler.epoch = epoch
            torch.manual_seed(derived_seed(config.seed, "dropout", epoch))
            self.generator.manual_seed(derived_seed(config.seed, "randomization", epoch))
            self.epoch_parts: dict[str, float] = {}
            reporter.begin_epoch()

        @trainer.on(Events.ITERATION_COMPLETED)
        def count(engine: Engine) -> None:
            self.scheduler.step()
            output: Any = engine.state.output
            images, loss = len(output["image"]), float(output["loss"].detach())
            if not math.isfinite(loss):
                raise SyntheXError(
                    f"The training in {self.folder} diverged in epoch {engine.state.epoch}: the loss must be finite, found {loss}; lower "
                    "learning_rate or clip_gradient."
                )
            for name, value in [("total", loss), *((name, float(part)) for name, part in self.loss.parts.items())]:
                self.epoch_parts[name] = self.epoch_parts.get(name, 0.0) + value * images / len(self.trained_on)
            if not reporter.batch_done(images, loss):
                self._stop(engine)

        @trainer.on(Events.EPOCH_COMPLETED)
        def finish(engine: Engine) -> None:
            if self.stopped:
                return
            row = self._row(engine.state.epoch, evaluator, reporter)
            score = row.get("validation_score", math.nan)
            best = score > self.best_score
            if best:
                self.best_score = score
                save_model(self.folder / "best.pt", self.network, self._description(engine.state.epoch))
            self.pictures.write(engine.state.epoch, best)
            write_checkpoint(self.folder, engine.state.epoch, self._state([*self.rows, row]))
            if not reporter.epoch_done(row) and engine.state.epoch < config.epochs:
                self._stop(engine)

        try:
            trainer.run()
        finally:
            reporter.close()

    @property
    def trained_on(self) -> list[int]:
        """Places of the images that are trained on."""
        return self.split.trained_on

    @property
    def validated_on(self) -> list[int]:
        """Places of those that are validated on."""
        return self.split.validated_on

    def _randomize(self, batch: XrayBatch) -> XrayBatch:
        return self.randomization(batch, self.generator) if self.randomization else batch

    def _evaluator(self, pin: bool) -> SupervisedEvaluator | None:
        if not self.validated_on:
            return None
        loader = make_loader(self.validation_data, self.validated_on, self.config.batch, self.config.workers, pin)
        evaluator = make_evaluator(self.network, self.metrics, loader, self.device, bfloat16=self.config.precision == "bfloat16")
        evaluator.logger.setLevel(logging.CRITICAL)

        @evaluator.on(Events.STARTED)
        def begin() -> None:
            self.validation_loss = 0.0
            self.pictures.begin()

        @evaluator.on(Events.ITERATION_COMPLETED)
        def add_loss(engine: Engine) -> None:
            output: Any = engine.state.output
            with torch.no_grad():
                self.validation_loss += float(self.loss(output["pred"], output["label"])) * len(output["image"]) / len(self.validated_on)
            self.pictures.add(output["image"], output["pred"], output["label"])

        return evaluator

    def _row(self, epoch: int, evaluator: SupervisedEvaluator | None, reporter: Reporter) -> dict[str, float]:
        """Row of log.csv; see `report.COLUMNS`."""
        row = {"epoch": float(epoch), "loss": self.epoch_parts["total"], "segmentation_loss": self.epoch_parts["segmentation"]}
        if "landmarks" in self.epoch_parts:
            row["landmark_loss"] = self.epoch_parts["landmarks"]
        row["learning_rate"] = float(self.scheduler.get_last_lr()[0])
        row["images_per_second"] = reporter.images_per_second
        if evaluator is not None:
            evaluator.run()
            row["validation_loss"] = self.validation_loss
            for name, value in evaluator.state.metrics["validation"].items():
                if not math.isnan(value):
                    row[f"validation_{name}"] = value
        row["seconds"] = time.monotonic() - reporter.started
        return row

    def _state(self, rows: list[dict[str, float]]) -> dict[str, Any]:
        return {
            "config": self.config.fixed(),
            "data": self.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rows": rows,
            "best_score": self.best_score,
        }

    def _stop(self, engine: Engine) -> None:
        self.stopped = True
        engine.terminate()

    def _description(self, epoch: int) -> Any:
        return describe_model(self.config, self.data, epoch, len(self.trained_on), self.split.held_out)

    def _write_model(self, only_if_missing: bool = False) -> None:
        path = self.folder / "model.pt"
        if not (only_if_missing and path.is_file()):
            save_model(path, self.network, self._description(self.config.epochs))

    def _result(self) -> TrainingResult:
        model, best = self.folder / "model.pt", self.folder / "best.pt"
        done = len(self.rows) == self.config.epochs
        return TrainingResult(self.folder, model if done else None, best if best.is_file() else None, len(self.rows), self.rows)
