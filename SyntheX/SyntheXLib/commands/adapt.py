"""``synthex adapt``: close the gap between simulated and real images with unlabelled images of the target."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.progress import progress_bar, progress_lines
from SyntheXLib.commands.train import stop_on_signal
from SyntheXLib.errors import SyntheXError
from SyntheXLib.randomization.names import PRESETS as RANDOMIZATIONS

if TYPE_CHECKING:
    from SyntheXLib.training.adversarial import AdaptationResult
    from SyntheXLib.training.report import ProgressCallback

# Option on the command line, setting, type, and help; those of both methods first.
_Setting = tuple[str, str, type, str]
_SHARED: tuple[_Setting, ...] = (
    ("--epochs", "epochs", int, "passes over the larger of the two sets"),
    ("--batch", "batch", int, "images of each domain a step"),
    ("--images-per-epoch", "images_per_epoch", int, "images of each domain in an epoch (default: those of the larger set)"),
    ("--learning-rate", "learning_rate", float, "learning rate"),
    ("--seed", "seed", int, "random seed"),
    ("--device", "device", str, "auto, cpu, cuda, cuda:1 or mps"),
    ("--threads", "threads", int, "CPU threads"),
)
_CYCLEGAN: tuple[_Setting, ...] = (
    ("--adversarial-loss", "adversarial_loss", str, "least-squares or log"),
    ("--cycle-weight", "cycle_weight", float, "lambda, the factor of the cycle loss"),
    ("--blocks", "blocks", int, "residual blocks (default: 6 below 256 pixels, else 9)"),
    ("--width", "width", int, "channels of the generators' first convolution"),
    ("--discriminator-width", "discriminator_width", int, "channels of the discriminators' first convolution"),
    ("--pool", "pool", int, "translated images shown to the discriminators again"),
    ("--crop", "crop", int, "side of the random squares that are learned from (default: whole images)"),
    ("--decay-epochs", "decay_epochs", int, "last epochs, in which the rate falls to 0 (default: half of all)"),
)
_ADDA: tuple[_Setting, ...] = (
    ("--adversarial-weight", "adversarial_weight", float, "factor of the adversarial loss"),
    ("--heatmap-loss", "heatmap_loss", str, "ncc, mse or mse-scaled: the one that the model was trained with (default: mse)"),
    ("--reconstruction-weight", "reconstruction_weight", float, "factor of the loss of the image rebuilt from the prediction"),
    ("--discriminator-rate", "discriminator_rate", float, "learning rate of the discriminator"),
    ("--randomization", "randomization", str, "domain randomisation of both domains: none, regular or strong"),
    ("--randomization-preset", "randomization_preset", str, f"whose effects these are: {', '.join(RANDOMIZATIONS)}"),
)


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "adapt",
        help="adapt images (CycleGAN) or a network (ADDA) to unlabelled images of another domain",
        description="Adapt to a target domain, of which images alone are needed. Specimens that are held out are in neither domain. An "
        "interrupted run that is started again goes on from its last whole epoch; Ctrl-C, or a file named 'stop' in its folder, stops it "
        "and saves what it has learned as stopped.pt.",
        epilog="Example: synthex adapt cyclegan simulated --target real --test real_test --out gan, "
        "then synthex adapt translate gan/translator.pt simulated --out translated",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    cyclegan = actions.add_parser("cyclegan", help="learn to give source images the look of the target: writes translator.pt")
    _domains(cyclegan, _CYCLEGAN, _cyclegan)
    adda = actions.add_parser("adda", help="adapt a trained network to the target: writes model.pt")
    adda.add_argument("--model", required=True, metavar="FILE", help="model to start from, trained on the source")
    _domains(adda, _ADDA, _adda)
    translate = actions.add_parser("translate", help="write a data set translated by a CycleGAN, with all of its labels")
    translate.add_argument("translator", type=Path, help="translator.pt of a CycleGAN")
    translate.add_argument("dataset", type=Path, help="data set folder of its source domain")
    translate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data set to write")
    translate.add_argument("--include-held-out", action="store_true", help="also translate the specimens that were held out")
    translate.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps")
    translate.set_defaults(run=_translate)


def _domains(parser: argparse.ArgumentParser, settings: tuple[_Setting, ...], run: Any) -> None:
    parser.add_argument("source", nargs="+", help="data set folders of the source domain")
    parser.add_argument("--target", nargs="+", required=True, metavar="FOLDER", help="data set folders of the target; labels are not used")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the run")
    parser.add_argument("--held-out", nargs="+", default=[], metavar="SPECIMEN", help="specimens that are left out of both domains")
    parser.add_argument("--test", nargs="+", default=[], metavar="FOLDER", help="data sets whose specimens are left out of both domains")
    parser.add_argument("--preset", default="ours" if settings is _CYCLEGAN else "paper-text", help="settings to start from")
    parser.add_argument("--restart", action="store_true", help="begin anew even if the folder holds an interrupted run")
    parser.add_argument("--progress", type=Path, metavar="FILE", help="write where it stands to this file, as lines of JSON")
    group = parser.add_argument_group("settings (default: the preset's)")
    for option, _, kind, text in (*_SHARED, *settings):
        group.add_argument(option, type=kind, metavar=kind.__name__.upper(), help=text)
    parser.set_defaults(run=run)


def _values(options: argparse.Namespace, presets: dict[str, dict[str, Any]], settings: tuple[_Setting, ...]) -> dict[str, Any]:
    if options.preset not in presets:
        raise SyntheXError(f"The preset must be one of {', '.join(presets)}, found '{options.preset}'.")
    given = {name: value for _, name, _, _ in (*_SHARED, *settings) if (value := getattr(options, name)) is not None}
    paths = {name: getattr(options, name) for name in ("source", "target", "out", "held_out", "test")}
    return {**presets[options.preset], **paths, "resume": not options.restart, **given}


def _cyclegan(options: argparse.Namespace) -> int:
    from SyntheXLib.training.cyclegan import PRESETS, CycleGanConfig, train_cyclegan

    config = CycleGanConfig(**_values(options, PRESETS, _CYCLEGAN))
    return _run(options, "translator", lambda progress: train_cyclegan(config, progress))


def _adda(options: argparse.Namespace) -> int:
    from SyntheXLib.training.adda import PRESETS, AddaConfig, train_adda

    config = AddaConfig(model=options.model, **_values(options, PRESETS, _ADDA))
    return _run(options, "model", lambda progress: train_adda(config, progress))


def _run(options: argparse.Namespace, what: str, learn: Callable[[ProgressCallback], AdaptationResult]) -> int:
    with progress_lines(options.progress) if options.progress else nullcontext() as progress, stop_on_signal(progress) as going_on:
        result = learn(going_on)
    if result.stopped is not None:
        print(f"Stopped after {result.epochs} whole epochs; {what} of that moment: {result.stopped}")
        if going_on.signalled:
            raise KeyboardInterrupt
        return 0
    print(f"{result.epochs} epochs; {what}: {result.model}")
    return 0


def _translate(options: argparse.Namespace) -> int:
    from SyntheXLib.training.translated import translate_dataset

    with progress_bar("translate", "images") as progress:
        translate_dataset(options.dataset, options.translator, options.out, options.device, options.include_held_out, progress)
    print(options.out)
    return 0
