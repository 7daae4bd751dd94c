"""What CycleGAN and ADDA share: epochs over two unpaired sets, several optimizers, the same checkpoints and progress as a training."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors
from SyntheXLib.networks.device import choose_device
from SyntheXLib.networks.model_file import load_weights
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.training.checkpoints import check_same, read_last_checkpoint, write_checkpoint
from SyntheXLib.training.data import derived_seed
from SyntheXLib.training.domains import open_domains
from SyntheXLib.training.memory import memory_errors
from SyntheXLib.training.provenance import describe_sources
from SyntheXLib.training.report import ProgressCallback, Reporter
from SyntheXLib.training.run_folder import STOP, forget_run, stop_asked
from SyntheXLib.training.torch_state import torch_settings

# What may change between the parts of an interrupted run.
_FREE_ON_RESUME = ("source", "target", "test", "out", "device", "threads", "cache_mib", "resume")


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """Settings that CycleGAN and ADDA share.

    Attributes
    ----------
    source, target
        Data set folders of the two domains, unpaired; labels of the target are not used.
    out
        Folder of the run.
    held_out
        Names of specimens that are left out of both domains.
    test
        Data sets whose specimens are left out of both domains.
    epochs, batch
        Passes over the larger set, and images a step of each domain.
    images_per_epoch
        Images of each domain in an epoch; None takes as many as the larger set has.
    seed
        Decides weights, order and all that is drawn.
    device, threads, cache_mib, resume
        See `TrainingConfig`.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    out: str
    held_out: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    epochs: int
    batch: int
    images_per_epoch: int | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    cache_mib: int = 2048
    resume: bool = True

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        SyntheXError
            When one is out of range.
        """
        for name in ("source", "target", "held_out", "test"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(map(str, [value] if isinstance(value, str | Path) else value)))
        object.__setattr__(self, "out", str(self.out))
        for name in ("source", "target"):
            if not getattr(self, name):
                raise SyntheXError(f"Option '{name}' must name at least one data set folder, found none.")
        self.at_least("epochs", 1)
        self.at_least("batch", 1)
        self.at_least("seed", 0)
        if self.images_per_epoch is not None:
            self.at_least("images_per_epoch", 1)

    def at_least(self, name: str, lowest: float) -> None:
        """Refuse a value below `lowest`, or that is no number."""
        value = getattr(self, name)
        if not (isinstance(value, int | float) and value >= lowest):
            raise SyntheXError(f"Option '{name}' must be at least {lowest}, found {value!r}.")

    def fixed(self) -> dict[str, Any]:
        """What must stay the same when an interrupted run goes on."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {name: value for name, value in values.items() if name not in _FREE_ON_RESUME}


@dataclass(frozen=True)
class AdaptationResult:
    """What an adaptation leaves.

    Attributes
    ----------
    folder
        Of the run.
    model
        File of the last epoch; None when the run was stopped before.
    epochs
        Epochs done.
    rows
        log.csv, one dictionary an epoch.
    stopped
        File of the moment at which the run was stopped; None otherwise.
    """

    folder: Path
    model: Path | None
    epochs: int
    rows: list[dict[str, float]]
    stopped: Path | None = None


class AdversarialRun(ABC):
    """One adaptation; a subclass says what is learned in a step and what file comes out."""

    file_name: str
    columns: tuple[str, ...]
    smaller: str  # options to try where the device's memory does not hold one image

    def __init__(self, config: AdversarialConfig, progress: ProgressCallback | None = None) -> None:
        self.config = config
        self.progress = progress
        self.folder = Path(config.out)
        self.device = choose_device(config.device)
        self.source, self.target, self.held_out = open_domains(config.source, config.target, config.held_out, config.test)
        self.fingerprint = {**describe_sources([*self.source.sources, *self.target.sources]), "held out": ", ".join(self.held_out)}
        count = config.images_per_epoch or max(len(self.source.places), len(self.target.places))
        self.iterations = math.ceil(count / config.batch)
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.generator = torch.Generator()
        self.rows: list[dict[str, float]] = []

    @abstractmethod
    def build(self) -> None:
        """Fill `modules` and `optimizers`; torch's generator is seeded."""

    @abstractmethod
    def rate(self, name: str, iteration: int) -> float:
        """Learning rate of an optimizer in an iteration, counted from 0 over all epochs."""

    @abstractmethod
    def step(self, source: XrayBatch, target: XrayBatch, iteration: int) -> dict[str, float]:
        """Learn from a batch of each domain; the parts of the loss by their column, ``loss`` among them."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write what was learned."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before an epoch, from 1; nothing by default."""
        del epoch

    def prepare(self, batch: XrayBatch) -> XrayBatch:
        """What a batch of either domain, on the device, is made into; itself by default."""
        return batch

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beyond modules and optimizers."""
        return {}

    def restore_extra(self, state: dict[str, Any]) -> None:
        """Take `extra_state` back; nothing by default."""
        del state

    def run(self) -> AdaptationResult:
        """Learn until the last epoch, or until the callback or a file named ``stop`` stops it; go on where an interrupted run was.

        What it had learned when it was stopped is in ``stopped.pt``; it goes on with the last whole epoch.

        Raises
        ------
        SyntheXError
            When the folder holds a run of other settings, the disk is full, the device's memory too small, or the loss not finite.
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        result, stopped = self.folder / self.file_name, self.folder / "stopped.pt"
        if not self.config.resume:
            forget_run(self.folder)
        (self.folder / STOP).unlink(missing_ok=True)  # it was meant for the run before
        checkpoint = read_last_checkpoint(self.folder)
        if checkpoint is not None:
            check_same(checkpoint["config"], self.config.fixed(), self.folder, "option")
            check_same(checkpoint["data"], self.fingerprint, self.folder, "data")
        with torch_settings(self.config.threads, self.device):
            torch.manual_seed(derived_seed(self.config.seed, "weights", 0))
            for domain in (self.source, self.target):
                domain.tensors.hold_in_memory(self.config.cache_mib)
            self.build()
            if checkpoint is not None:
                self._restore(checkpoint)
            done = len(self.rows) == self.config.epochs
            if done:
                print(f"The adaptation in {self.folder} is finished ({self.config.epochs} epochs); nothing to do.", flush=True)
            else:
                with atomic_write(self.folder / "config.json") as temporary:
                    temporary.write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
                with memory_errors(self.device, self.config.batch, self.source.tensors.shape, self.smaller):
                    done = self._learn()
            if done and not (checkpoint is not None and result.is_file() and len(checkpoint["rows"]) == self.config.epochs):
                self.write(result)
            if done:
                stopped.unlink(missing_ok=True)
            else:
                self.write(stopped)
        return AdaptationResult(self.folder, result if done else None, len(self.rows), self.rows, None if done else stopped)

    def _learn(self) -> bool:
        """Whether it came to the last epoch."""
        reporter = _Reporter(self.folder, self.config.epochs, self.iterations * self.config.batch, self.rows, self.progress)
        reporter.columns = ("epoch", *self.columns, "learning_rate", "images_per_second", "seconds")
        if self.held_out:
            reporter.say(f"held out of both domains: {', '.join(self.held_out)}")
        try:
            while len(self.rows) < self.config.epochs:
                row = self._epoch(len(self.rows) + 1, reporter)
                if row is None:
                    return False
                write_checkpoint(self.folder, int(row["epoch"]), self._state([*self.rows, row]))
                if not reporter.epoch_done(row) and len(self.rows) < self.config.epochs:
                    return False
        finally:
            reporter.close()
        return True

    def _epoch(self, epoch: int, reporter: Reporter) -> dict[str, float] | None:
        """Row of an epoch; None when it was stopped."""
        config = self.config
        # All randomness of an epoch follows from seed and epoch, so a run that goes on needs no states of generators.
        torch.manual_seed(derived_seed(config.seed, "dropout", epoch))
        self.generator.manual_seed(derived_seed(config.seed, "drawing", epoch))
        self.begin_epoch(epoch)
        count = self.iterations * config.batch
        orders = [domain.order(count, config.seed, name, epoch) for name, domain in (("source", self.source), ("target", self.target))]
        sums: dict[str, list[float]] = {}
        reporter.begin_epoch()
        for module in self.modules.values():
            module.train()
        for n in range(self.iterations):
            iteration = (epoch - 1) * self.iterations + n
            for name, optimizer in self.optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = self.rate(name, iteration)
            part = slice(n * config.batch, (n + 1) * config.batch)
            batches = [
                self._load(domain.tensors.load(order[part])) for domain, order in zip((self.source, self.target), orders, strict=True)
            ]
            parts = self.step(batches[0], batches[1], iteration)
            for name, value in parts.items():
                if not math.isfinite(value):
                    where = f"The adaptation in {self.folder} diverged in epoch {epoch}"
                    raise SyntheXError(f"{where}: the {name} must be finite, found {value}; lower the learning rate.")
                sums.setdefault(name, []).append(value)
            if not reporter.batch_done(config.batch, parts.get("loss", 0.0)) or stop_asked(self.folder):
                return None
        row = {"epoch": float(epoch), "loss": 0.0, **{name: sum(values) / len(values) for name, values in sums.items()}}
        row["learning_rate"] = self.rate(next(iter(self.optimizers)), epoch * self.iterations - 1)
        row["images_per_second"] = reporter.images_per_second
        row["seconds"] = time.monotonic() - reporter.started
        return row

    def _load(self, batch: XrayBatch) -> XrayBatch:
        return self.prepare(XrayBatch(*(tensor.to(self.device) for tensor in batch)))

    def _state(self, rows: list[dict[str, float]]) -> dict[str, Any]:
        return {
            "config": self.config.fixed(),
            "data": self.fingerprint,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "extra": self.extra_state(),
            "rows": rows,
        }

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        for name, module in self.modules.items():
            load_weights(module, checkpoint["modules"][name], self.folder)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(checkpoint["optimizers"][name])
        self.restore_extra(checkpoint["extra"])
        self.rows = list(checkpoint["rows"])


class _Reporter(Reporter):
    """Reporter of other columns."""

    columns: tuple[str, ...] = ()


def require_grad(modules: list[nn.Module], wanted: bool) -> None:
    """Let the parameters of modules take gradients, or not."""
    for module in modules:
        module.requires_grad_(wanted)


def minimize(optimizer: Optimizer, loss: Tensor) -> None:
    """One step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
