"""Images a second of `synthex train` against the bare network's step, and where the time goes; ``make bench-training``.

The sample pelvis, task hip, small network. After every step of the training the same network takes a bare step, on a batch that is ready,
so that both see the same machine: forward, loss, backward and optimizer alone. Everything else that a training does (reading, physics
in the loop, randomisation, progress, log) is what makes the difference. The validation, once an epoch, is shown for itself. Where others
use the machine too, --cpu-time with --threads 1 tells what the work costs, whoever else is at work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.networks.losses import TaskLoss
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.rendering.cpu import available_cores
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task
from SyntheXLib.training import run as run_module
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.engines import MixedPrecision
from SyntheXLib.training.inputs import prepare_batch
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.run import TrainingRun
from SyntheXLib.training.schedule import clip_gradient, make_optimizer

_clock = time.perf_counter
# Name of the row and the settings that differ from the defaults; the last line of all is the first's.
RUNS: dict[str, dict[str, Any]] = {
    "regular": {},
    "strong": {"randomization": "strong"},
    "physics, regular": {"physics_in_the_loop": True},
    "none": {"randomization": "none"},
}


class BareStep:
    """The network's own step, on a batch that is ready."""

    def __init__(self, run: TrainingRun) -> None:
        config = run.config
        torch.manual_seed(0)
        self.device = run.device
        self.network = run_module.build_network(run._description(0)).to(run.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.optimizer = make_optimizer(self.network.parameters(), config)
        sigma = run._description(0).heatmap_sigma_px
        exclusive = run.data.task.segmentation == "exclusive"
        self.loss = TaskLoss(exclusive, config.heatmap_loss, sigma, config.segmentation_weight, config.landmark_weight)
        self.infer = MixedPrecision(run.device, config.precision == "bfloat16")
        self.longest = config.clip_gradient
        self.batch = prepare_batch(run.validation_data.load(run.trained_on[: config.batch]), run.device, False, None)

    def __call__(self) -> float:
        """Take one; seconds."""
        started = now(self.device)
        images, targets = self.batch
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.infer(images, self.network), targets).backward()
        clip_gradient(self.network.parameters(), self.longest)
        self.optimizer.step()
        return now(self.device) - started


def now(device: torch.device) -> float:
    """Time at which all work that was given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return _clock()


def measure(config: TrainingConfig) -> dict[str, float]:
    """Milliseconds an image: of a bare step, of the training's step and its parts (medians over batches), and of the validation."""
    run = TrainingRun(config)
    bare = BareStep(run)
    parts: dict[str, list[float]] = defaultdict(list)
    clock: dict[str, float] = {}
    make_trainer, make_inputs = run_module.make_trainer, run_module.make_inputs

    def timed_inputs(*arguments: Any) -> Any:
        inputs = make_inputs(*arguments)
        begin_epoch = inputs.begin_epoch

        def begin(epoch: int) -> None:
            started = now(run.device)
            begin_epoch(epoch)
            parts["exposures"].append(now(run.device) - started)

        class Timed:
            begin_epoch = staticmethod(begin)

            def __call__(self, batch: XrayBatch) -> XrayBatch:
                started = now(run.device)
                batch = inputs(batch)
                parts["inputs"].append(now(run.device) - started)
                return batch

        return Timed()

    def timed_trainer(*arguments: Any, **named: Any) -> Any:
        trainer = make_trainer(*arguments, **named)
        trainer.on(Events.GET_BATCH_STARTED)(lambda: clock.update(reading=now(run.device)))
        trainer.on(Events.GET_BATCH_COMPLETED)(lambda: parts["loader"].append(now(run.device) - clock["reading"]))
        trainer.on(Events.EPOCH_STARTED)(lambda: clock.pop("step", None))
        return trainer

    def step_done(state: TrainingProgress) -> bool:
        if state.row:
            parts["validation"].append(now(run.device) - clock["step"])
            return True
        in_epoch = state.images - (state.epoch - 1) * len(run.trained_on)
        if in_epoch % config.batch == 0:  # whole batches alone
            if "step" in clock:
                parts["step"].append(now(run.device) - clock["step"])
            parts["bare"].append(bare())
        clock["step"] = now(run.device)
        return True

    run_module.make_trainer, run_module.make_inputs = timed_trainer, timed_inputs
    try:
        run.progress = step_done
        run.run()
    finally:
        run_module.make_trainer, run_module.make_inputs = make_trainer, make_inputs
    found = {name: 1e3 * statistics.median(values) / config.batch for name, values in parts.items()}
    # Drawn once an epoch, spread over its images.
    found["exposures"] = 1e3 * statistics.median(parts["exposures"]) / len(run.trained_on)
    found["validation"] = 1e3 * statistics.median(parts["validation"]) / len(run.validated_on)
    found["step"] += found["exposures"]
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="images (default: 200)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each training (default: 2)")
    parser.add_argument("--size", default="small", help="network (default: small)")
    parser.add_argument("--image-size", type=int, default=192, help="pixels a side (default: 192)")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the processor in place of the clock's")
    options = parser.parse_args()
    if options.cpu_time:
        global _clock
        _clock = time.process_time
    case = fetch_sample("pelvis").files
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = ViewSettings(image_size=options.image_size, store="both")
        run_local(ShardJob(Path(folder) / "data", load_task("hip"), (case,), settings, seed=1, count=options.count))
        print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}; {options.size}, {options.image_size} px, batch {options.batch}")
        titles = ("step", "loader", "inputs", "network", "rest", "of bare", "validation")
        print(f"{'ms an image':<18}" + "".join(f"{title:>11}" for title in titles), flush=True)
        for name, changes in RUNS.items():
            common = {"size": options.size, "batch": options.batch, "threads": options.threads, "epochs": options.epochs, "pictures": 0}
            common |= {"device": options.device, "precision": options.precision, "datasets": (f"{folder}/data",)}
            found = measure(TrainingConfig.from_dict({**common, "out": f"{folder}/{name}", **changes}))
            inputs = found["inputs"] + found["exposures"]
            rates[name] = 100 * found["bare"] / found["step"]
            rest = found["step"] - found["loader"] - inputs - found["bare"]
            columns = [found["step"], found["loader"], inputs, found["bare"], rest]
            numbers = "".join(f"{value:11.2f}" for value in columns)
            print(f"{name:<18}{numbers}{rates[name]:9.0f} %{found['validation']:11.2f}", flush=True)
    print(f"of the bare step: {rates['regular']:.0f} %")


if __name__ == "__main__":
    main()
