"""A training from its settings to the model file."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from SyntheXLib.datasets.together import XraySource
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors
from SyntheXLib.networks.heatmaps import heatmap_sigma_px
from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.networks.model_file import ModelDescription, build_network, load_model, load_weights, save_model
from SyntheXLib.training.averaging import AveragedWeights
from SyntheXLib.training.checkpoints import check_same, read_last_checkpoint, write_checkpoint
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import derived_seed, make_loader
from SyntheXLib.training.engines import make_trainer, takes_step
from SyntheXLib.training.hard_views import LiveSampler
from SyntheXLib.training.image_losses import image_losses
from SyntheXLib.training.inputs import make_inputs
from SyntheXLib.training.memory import memory_errors
from SyntheXLib.training.pictures import ValidationPictures
from SyntheXLib.training.processes import Processes
from SyntheXLib.training.provenance import describe_model
from SyntheXLib.training.report import ProgressCallback, Reporter
from SyntheXLib.training.result import TrainingResult, is_done, with_domain
from SyntheXLib.training.run_data import RunData
from SyntheXLib.training.run_folder import STOP, forget_run, stop_asked
from SyntheXLib.training.schedule import make_optimizer, make_scheduler
from SyntheXLib.training.start import start_network
from SyntheXLib.training.torch_state import torch_settings
from SyntheXLib.training.validation import ValidationMetrics
from SyntheXLib.training.validator import Validator


def train(config: TrainingConfig, progress: ProgressCallback | None = None) -> TrainingResult:
    """Train a network.

    A run that was interrupted goes on from its last whole epoch when it is started again with the same settings; a finished one says so
    and does nothing.

    Parameters
    ----------
    config
        All settings.
    progress
        Called with a `TrainingProgress` after every batch and every epoch; when it returns False, the training stops, and so it does when
        a file named ``stop`` appears in its folder. Its weights are then in ``stopped.pt``, and the same settings go on with the last whole
        epoch.

    Raises
    ------
    SyntheXError
        When the data, the settings or the folder do not allow it (see `TrainingConfig`, `XrayTensors` and `check_same`), the training
        diverges, or the device has too little memory.
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
        self.processes = Processes.from_environment()
        self.device = self.processes.device(config.device)
        chosen = self.chosen = RunData(config, self.processes, sources, validation)
        self.data, self.validation_data = chosen.trained, chosen.validated
        self.split, self.fingerprint = chosen.split, chosen.fingerprint
        self.stopped = False

    def run(self) -> TrainingResult:
        """Train until the last epoch, or until the callback stops it."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with torch_settings(self.config.threads, self.device), self.processes.joined(self.device):
            if self.processes.first:
                if not self.config.resume:
                    forget_run(self.folder)
                (self.folder / STOP).unlink(missing_ok=True)  # it was meant for the run before
            self.processes.wait()
            checkpoint = read_last_checkpoint(self.folder)
            if checkpoint is not None:
                check_same(checkpoint["config"], self.config.fixed(), self.folder, "option")
                check_same(checkpoint["data"], self.fingerprint, self.folder, "data")
            return self._run(checkpoint)

    def _run(self, checkpoint: dict[str, Any] | None) -> TrainingResult:
        self._build()
        self.rows: list[dict[str, float]] = []
        self.best_score = -math.inf
        if checkpoint is not None:
            self._restore(checkpoint)
        if self.done:
            self._write_model(only_if_missing=True)
            if self.processes.first:
                print(f"The training in {self.folder} is finished ({len(self.rows)} epochs); nothing to do.", flush=True)
            return self._result()
        if self.processes.first:
            with atomic_write(self.folder / "config.json") as temporary:
                temporary.write_text(json.dumps(self.config.to_dict(), indent=2) + "\n", encoding="utf-8")
        self.chosen.hold_in_memory()
        smaller = f"--precision bfloat16, a smaller --image-size, or a smaller --size than {self.config.size}"
        with memory_errors(self.device, self.config.batch, self.data.shape, smaller, self.config.accumulation):
            self._train()
        if not self.stopped:
            self._write_model()
        elif self.processes.first:
            save_model(self.folder / "stopped.pt", self.result_network, self._description(len(self.rows)))
        return self._result()

    def _build(self) -> None:
        """Network, loss, optimizer and loader."""
        config = self.config
        torch.manual_seed(derived_seed(config.seed, "weights", 0))
        network: nn.Module = build_network(self._description(0))
        start_network(network, config)
        self.network = network.to(self.device)
        if self.device.type in ("cpu", "cuda"):
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sigma = heatmap_sigma_px(self.data.task.heatmap_sigma_mm, self.data.pixel_spacing_mm)
        exclusive = self.data.task.segmentation == "exclusive"
        self.loss = TaskLoss(
            exclusive, config.heatmap_loss, sigma, config.segmentation_weight, config.landmark_weight, config.presence_weight
        )
        self.metrics = ValidationMetrics(exclusive, self.data.pixel_spacing_mm)
        self.network = self.processes.synchronized(self.network, self.device)
        self.average = AveragedWeights(self.network, config.average) if config.average else None
        self.optimizer = make_optimizer(self.network.parameters(), config)
        self.sampler = self.chosen.make_sampler()
        steps = math.ceil(math.ceil(len(self.sampler) / config.batch) / config.accumulation)
        self.scheduler = make_scheduler(self.optimizer, config, steps)
        self.inputs = make_inputs(config, self.data, self.device, self.processes.rank)
        self.pictures = ValidationPictures(self.folder, self.data.task, sigma, config.pictures)

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        load_weights(self.network, checkpoint["network"], self.folder)
        if self.average is not None:
            self.average.restore(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        if isinstance(self.sampler, LiveSampler):
            self.sampler.hard_views.restore(checkpoint["hard_views"])
        self.rows = list(checkpoint["rows"])
        self.best_score = checkpoint["best_score"]

    def _train(self) -> None:
        config, processes = self.config, self.processes
        loader = make_loader(self.data, self.sampler, config.batch, self.chosen.workers, self.device.type == "cuda")
        # The last batch of an epoch may be smaller: one more compilation, where sizes left open make the compiler fail.
        trained: Any = torch.compile(self.network, dynamic=False) if config.compile else self.network
        trainer = make_trainer(
            processes.wrapped(trained, self.device),
            self.optimizer,
            self.loss,
            loader,
            config.epochs,
            self.device,
            bfloat16=config.precision == "bfloat16",
            randomization=self.inputs,
            longest_gradient=config.clip_gradient,
            accumulation=config.accumulation,
        )
        validator = self._validator() if processes.first and self.validated_on else None
        trainer.state.epoch = len(self.rows)
        trainer.state.iteration = len(self.rows) * len(loader)
        trainer.logger.setLevel(logging.CRITICAL)  # errors come as exceptions; no second telling
        in_epoch = len(self.sampler) * processes.count
        reporter = Reporter(self.folder, config.epochs, in_epoch, self.rows, self.progress, show=processes.first)
        if self.split.sentence:
            reporter.say(self.split.sentence)

        @trainer.on(Events.EPOCH_STARTED)
        def begin(engine: Engine) -> None:
            # All randomness of an epoch follows from seed and epoch, so a run that goes on needs no states of generators.
            epoch = engine.state.epoch
            self.sampler.epoch = epoch
            torch.manual_seed(derived_seed(config.seed, "dropout", epoch, processes.rank))
            reporter.begin_epoch()
            self.inputs.begin_epoch(epoch)
            self.epoch_parts: dict[str, float] = {}
            self.view_losses: list[float] = []

        @trainer.on(Events.ITERATION_COMPLETED)
        def count(engine: Engine) -> None:
            if takes_step(engine, config.accumulation):
                self.scheduler.step()
                if self.average is not None:
                    self.average.update(self.network)
            output: Any = engine.state.output
            images, loss = len(output["image"]), float(output["loss"].detach())
            if not math.isfinite(loss):
                raise SyntheXError(
                    f"The training in {self.folder} diverged in epoch {engine.state.epoch}: the loss must be finite, found {loss}; lower "
                    "learning_rate or clip_gradient."
                )
            for name, value in [("total", loss), *((name, float(part)) for name, part in self.loss.parts.items())]:
                self.epoch_parts[name] = self.epoch_parts.get(name, 0.0) + value * images / len(self.sampler)
            if isinstance(self.sampler, LiveSampler) and config.live_candidates > 1:
                self.view_losses += image_losses(self.loss, output["pred"], output["label"])
            going_on = reporter.batch_done(images * processes.count, loss) and not (processes.first and stop_asked(self.folder))
            if processes.any(not going_on, self.device):
                self._stop(engine)

        @trainer.on(Events.EPOCH_COMPLETED)
        def finish(engine: Engine) -> None:
            if self.stopped:
                return
            epoch = engine.state.epoch
            if isinstance(self.sampler, LiveSampler) and self.view_losses:
                self.sampler.learn(processes.together(self.sampler.drawn), processes.together(self.view_losses))
            row = processes.from_first(self._row(epoch, validator, reporter))
            best = row.get("validation_score", math.nan) > self.best_score
            if best:
                self.best_score = row["validation_score"]
            if processes.first:
                if best:
                    save_model(self.folder / "best.pt", self.result_network, self._description(epoch))
                self.pictures.write(epoch, best)
                write_checkpoint(self.folder, epoch, self._state([*self.rows, row]))
            going_on = reporter.epoch_done(row)
            if self.done:
                engine.terminate()
            elif processes.any(not going_on, self.device):
                self._stop(engine)

        try:
            trainer.run()
        finally:
            reporter.close()

    @property
    def done(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or the score has not risen for the epochs of `patience`."""
        return is_done(self.rows, self.config)

    @property
    def result_network(self) -> nn.Module:
        """What is validated and saved: the average of the weights, or the weights."""
        return self.average.network if self.average is not None else self.network

    @property
    def trained_on(self) -> list[int]:
        """Places of the images that are trained on."""
        return self.split.trained_on

    @property
    def validated_on(self) -> list[int]:
        """Places of those that are validated on."""
        return self.split.validated_on

    def _validator(self) -> Validator:
        config = self.config
        return Validator(
            self.result_network,
            self.validation_data,
            self.validated_on,
            config.batch,
            config.workers,
            self.device,
            self.loss,
            self.metrics,
            self.pictures,
            bfloat16=config.precision == "bfloat16",
        )

    def _row(self, epoch: int, validator: Validator | None, reporter: Reporter) -> dict[str, float]:
        """Row of log.csv; see `report.COLUMNS`."""
        parts = self.processes.mean(self.epoch_parts, self.device)
        row = {"epoch": float(epoch), "loss": parts["total"], "segmentation_loss": parts["segmentation"]}
        if "landmarks" in parts:
            row["landmark_loss"] = parts["landmarks"]
        row["learning_rate"] = float(self.scheduler.get_last_lr()[0])
        row["images_per_second"] = reporter.images_per_second
        if validator is not None:
            row |= validator.run()
        row["seconds"] = time.monotonic() - reporter.started
        return row

    def _state(self, rows: list[dict[str, float]]) -> dict[str, Any]:
        return {
            "config": self.config.fixed(),
            "data": self.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": self.average.state() if self.average is not None else None,
            "hard_views": self.sampler.hard_views.state() if isinstance(self.sampler, LiveSampler) else None,
            "rows": rows,
            "best_score": self.best_score,
        }

    def _stop(self, engine: Engine) -> None:
        self.stopped = True
        engine.terminate()

    def _description(self, epoch: int) -> Any:
        return describe_model(self.config, self.data, epoch, len(self.trained_on), self.split.held_out)

    def _write_model(self, only_if_missing: bool = False) -> None:
        path, best = self.folder / "model.pt", self.folder / "best.pt"
        if self.processes.first and not (only_if_missing and path.is_file()):
            if best.is_file():
                self._save_result(best, *load_model(best))
            self._save_result(path, self.result_network, self._description(len(self.rows)))
            (self.folder / "stopped.pt").unlink(missing_ok=True)

    def _save_result(self, path: Path, network: nn.Module, description: ModelDescription) -> None:
        save_model(path, network, with_domain(description, network, self.validation_data, self.validated_on, self.device))

    def _result(self) -> TrainingResult:
        model, best, stopped = (self.folder / name for name in ("model.pt", "best.pt", "stopped.pt"))
        return TrainingResult(
            self.folder,
            model if self.done else None,
            best if best.is_file() else None,
            len(self.rows),
            self.rows,
            stopped if stopped.is_file() else None,
        )
