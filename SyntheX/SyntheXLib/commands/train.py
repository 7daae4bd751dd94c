"""``synthex train``: train a network on data sets."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.progress import progress_lines
from SyntheXLib.errors import SyntheXError
from SyntheXLib.randomization.names import LEVELS, PRESETS

if TYPE_CHECKING:
    from SyntheXLib.training.report import TrainingProgress

# By group: option on the command line, setting of the training, type (bool: a switch), and help.
_SETTINGS: dict[str, tuple[tuple[str, str, type, str], ...]] = {
    "network and loss": (
        ("--size", "size", str, "size of the network: small, medium or full"),
        ("--network", "network", str, "transunet, or a network of MONAI as monai:SwinUNETR"),
        ("--network-options", "network_options", str, 'options of the network as JSON, as {"landmark_head": "deep", "presence": true}'),
        ("--pretrained", "pretrained", str, "weights to start from: R50+ViT-B_16.npz, timm's .safetensors, a checkpoint or a model file"),
        ("--random-start", "random_start", bool, "let the size full start from random weights; the model's record says so"),
        ("--heatmap-loss", "heatmap_loss", str, "ncc, mse or mse-scaled"),
        ("--landmark-weight", "landmark_weight", float, "weight of the heatmap loss against the Dice loss"),
    ),
    "data": (
        (
            "--validation-fraction",
            "validation_fraction",
            float,
            "share of the images kept for validation, unless a data set is named for it",
        ),
        ("--fold", "fold", str, "K/N: validate on part K of N parts of the specimens, train on the others; N = specimens leaves one out"),
        ("--live", "live", str, "TOML file of a task and cases that are rendered while the network learns, in place of data sets"),
        ("--live-images", "live_images", int, "views that are rendered for an epoch"),
        ("--live-candidates", "live_candidates", int, "views of which one is rendered, hard ones likelier; 1: none is preferred"),
        ("--image-size", "image_size", int, "pixels a side that images are resized to (default: as they are)"),
        ("--randomization", "randomization", str, f"domain randomisation: {', '.join(LEVELS)}"),
        ("--randomization-preset", "randomization_preset", str, f"whose effects these are: {', '.join(PRESETS)}"),
        ("--physics-in-the-loop", "physics_in_the_loop", bool, "image stored area densities anew in every epoch (simulate --store paths)"),
        ("--exposures", "exposures", int, "exposures that are drawn for that in each epoch, from the ranges of the data's device"),
        ("--attenuation-spread", "attenuation_spread", float, "spread of a log-normal factor on each material's density there"),
    ),
    "optimisation": (
        ("--epochs", "epochs", int, "how often each image is seen"),
        ("--batch", "batch", int, "images at a time, in each process"),
        ("--accumulation", "accumulation", int, "batches whose gradients are added up for a step"),
        ("--optimizer", "optimizer", str, "adamw, or sgd with Nesterov momentum"),
        ("--learning-rate", "learning_rate", float, "learning rate"),
        ("--schedule", "schedule", str, "of the learning rate: cosine or step (default: cosine for adamw, step for sgd)"),
        ("--warmup-epochs", "warmup_epochs", float, "epochs in which the learning rate rises"),
        ("--weight-decay", "weight_decay", float, "weight decay"),
        ("--clip-gradient", "clip_gradient", float, "longest gradient"),
        ("--average", "average", float, "moving average of the weights, which is then validated and saved, such as 0.999; 0: none"),
        ("--patience", "patience", int, "stop after so many epochs without a better validation score"),
        ("--seed", "seed", int, "random seed: weights, order, randomisation"),
    ),
    "running": (
        ("--precision", "precision", str, "float32, or bfloat16 on GPUs"),
        ("--compile", "compile", bool, "compile the network first: faster steps on GPUs"),
        ("--device", "device", str, "auto, cpu, cuda, cuda:1 or mps"),
        ("--workers", "workers", int, "processes that read images where they are not held in memory"),
        ("--threads", "threads", int, "CPU threads"),
        ("--pictures", "pictures", int, "validation images drawn after each epoch with what is found, in validation/ of the run; 0: none"),
    ),
}


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "train",
        help="train a network on data sets",
        description="Train TransUNet with a segmentation and a landmark head. An interrupted training that is started again with the same "
        "command goes on from its last whole epoch; a finished one does nothing. Ctrl-C, or a file named 'stop' in the folder of the run, "
        "stops it and saves the weights as stopped.pt. On several GPUs: torchrun --nproc-per-node N -m SyntheXLib.cli train ...",
        epilog="Example: synthex train data --validation held_out --out run --epochs 20",
    )
    parser.add_argument(
        "datasets", nargs="*", metavar="DATASET", help="folders to train on, all of one task; one given twice is seen twice an epoch"
    )
    parser.add_argument("--data", action="append", default=[], metavar="DATASET", help="the same, given by name; may be repeated")
    parser.add_argument("--task", metavar="TASK", help="refuse data sets of another task: a name, or a TOML file of yours")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run: checkpoints, log.csv, models (needed to train)")
    parser.add_argument(
        "--validation",
        metavar="FOLDER",
        help="data set to validate on (default: a share of the images, whole specimens where there are enough, see --validation-fraction)",
    )
    parser.add_argument("--preset", help="settings to start from: ours, paper-text or released-code (default: ours)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings to start from: JSON, as config.json of a run, or TOML")
    parser.add_argument("--restart", action="store_true", help="begin anew even if the folder holds an interrupted run")
    parser.add_argument("--progress", type=Path, metavar="FILE", help="write where the training stands to this file, as lines of JSON")
    parser.add_argument(
        "--preview", type=Path, metavar="PNG", help="draw a page of training inputs as the network will see them, and do not train"
    )
    for title, settings in _SETTINGS.items():
        group = parser.add_argument_group(title, "Default: the preset's." if title == "network and loss" else None)
        for option, _, kind, text in settings:
            if kind is bool:
                group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=text)
            else:
                group.add_argument(option, type=kind, metavar=kind.__name__.upper(), help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.training.config import TrainingConfig

    values = settings_of(options)
    if options.task is not None:
        _check_task(options.task, values.get("datasets", []))
    if options.preview is not None:
        from SyntheXLib.training.pictures import write_samples

        write_samples(TrainingConfig.from_dict({"out": str(options.preview.parent), **values}), options.preview)
        print(options.preview)
        return 0
    from SyntheXLib.training.run import train

    with progress_lines(options.progress) if options.progress else nullcontext() as progress, stop_on_signal(progress) as going_on:
        result = train(TrainingConfig.from_dict(values), going_on)
    if result.stopped and not result.model:
        print(f"Stopped after {result.epochs} whole epochs; model of that moment: {result.stopped}")
        if going_on.signalled:
            raise KeyboardInterrupt
        return 0
    print(f"{result.epochs} epochs; model of the last: {result.model}" + (f", best: {result.best}" if result.best else ""))
    return 0


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Settings by name: those of the file, and over them what is given."""
    from SyntheXLib.training.config import read_settings

    values: dict[str, Any] = read_settings(options.config) if options.config is not None else {}
    if options.preset is not None:
        values["preset"] = options.preset
    folders = [*options.datasets, *options.data]
    if folders or "datasets" not in values:
        values["datasets"] = folders
    for settings in _SETTINGS.values():
        values |= {name: value for _, name, _, _ in settings if (value := getattr(options, name)) is not None}
    values |= {name: str(value) for name in ("out", "validation") if (value := getattr(options, name)) is not None}
    return {**values, "resume": not options.restart}


def _check_task(task: str, folders: Sequence[str]) -> None:
    from SyntheXLib.datasets.format import read_header
    from SyntheXLib.tasks.task import load_task

    wanted = load_task(task).name
    for folder in folders:
        found = read_header(Path(folder)).task.name
        if found != wanted:
            raise SyntheXError(f"Data set {folder} must be of the task '{wanted}' that --task names, found '{found}'.")


class GoingOn:
    """Callback of a training that says no once a signal has come."""

    def __init__(self, progress: Callable[[TrainingProgress], None] | None) -> None:
        self.signalled = False
        self._begun = False
        self._progress = progress

    def __call__(self, state: TrainingProgress) -> bool:
        """Tell `progress`; False after a signal."""
        self._begun = True
        if self._progress is not None:
            self._progress(state)
        return not self.signalled

    def signal(self, number: int, frame: Any) -> None:
        """Ask for an end after the batch, at once where none has been trained or it is asked for again."""
        if self.signalled or not self._begun:
            raise KeyboardInterrupt
        self.signalled = True


@contextmanager
def stop_on_signal(progress: Callable[[TrainingProgress], None] | None) -> Iterator[GoingOn]:
    """Let Ctrl-C and a polite kill end a training in order, so that it still saves."""
    going_on = GoingOn(progress)
    before = {number: signal.signal(number, going_on.signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield going_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
