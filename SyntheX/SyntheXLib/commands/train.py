"""``synthex train``: train a network on data sets."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from SyntheXLib.commands.progress import progress_lines

# Option on the command line, setting of the training, type, and help.
_SETTINGS: tuple[tuple[str, str, type, str], ...] = (
    ("--size", "size", str, "size of the network: small, medium or full"),
    ("--network", "network", str, "transunet, or a network of MONAI as monai:SwinUNETR"),
    ("--network-options", "network_options", str, 'options of the network as JSON, as {"landmark_head": "deep", "presence": true}'),
    ("--pretrained", "pretrained", str, "weights to start from: R50+ViT-B_16.npz, timm's .safetensors, a checkpoint or a model file"),
    ("--epochs", "epochs", int, "how often each image is seen"),
    ("--batch", "batch", int, "images a step"),
    ("--optimizer", "optimizer", str, "adamw or sgd"),
    ("--learning-rate", "learning_rate", float, "learning rate"),
    ("--heatmap-loss", "heatmap_loss", str, "ncc, mse or mse-scaled"),
    ("--landmark-weight", "landmark_weight", float, "weight of the heatmap loss against the Dice loss"),
    ("--validation-fraction", "validation_fraction", float, "share of the images kept for validation where no data set is named for it"),
    ("--randomization", "randomization", str, "domain randomisation: none or regular"),
    ("--image-size", "image_size", int, "pixels a side that images are resized to (default: as they are)"),
    ("--precision", "precision", str, "float32, or bfloat16 on GPUs"),
    ("--seed", "seed", int, "random seed: weights, order, randomisation"),
    ("--device", "device", str, "auto, cpu, cuda, cuda:1 or mps"),
    ("--workers", "workers", int, "processes that read images where they are not held in memory"),
    ("--threads", "threads", int, "CPU threads"),
    ("--pictures", "pictures", int, "validation images drawn after each epoch with what is found, in validation/ of the run; 0 draws none"),
)


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "train",
        help="train a network on data sets",
        description="Train TransUNet with a segmentation and a landmark head. An interrupted training that is started again with the same "
        "command goes on from its last whole epoch; a finished one does nothing.",
        epilog="Example: synthex train data --validation held_out --out run --epochs 20",
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="folders to train on, all of one task")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run: checkpoints, log.csv, models (needed to train)")
    parser.add_argument(
        "--validation",
        metavar="FOLDER",
        help="data set to validate on (default: a share of the images, whole specimens where there are enough, see --validation-fraction)",
    )
    parser.add_argument("--preset", default="ours", help="settings to start from: ours, paper-text or released-code (default: ours)")
    parser.add_argument(
        "--random-start", action="store_true", help="let the size full start from random weights; the model's record says so"
    )
    parser.add_argument("--restart", action="store_true", help="begin anew even if the folder holds an interrupted run")
    parser.add_argument("--progress", type=Path, metavar="FILE", help="write where the training stands to this file, as lines of JSON")
    parser.add_argument(
        "--preview", type=Path, metavar="PNG", help="draw a page of training inputs as the network will see them, and do not train"
    )
    settings = parser.add_argument_group("settings (default: the preset's)")
    for option, _, kind, text in _SETTINGS:
        settings.add_argument(option, type=kind, metavar=kind.__name__.upper(), help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.training.config import TrainingConfig

    given = {name: value for _, name, _, _ in _SETTINGS if (value := getattr(options, name)) is not None}
    if options.validation is not None:
        given["validation"] = options.validation
    if options.random_start:
        given["random_start"] = True
    values = {"preset": options.preset, "datasets": options.datasets, "resume": not options.restart, **given}
    if options.preview is not None:
        from SyntheXLib.training.pictures import write_samples

        write_samples(TrainingConfig.from_dict({**values, "out": str(options.out or options.preview.parent)}), options.preview)
        print(options.preview)
        return 0
    from SyntheXLib.training.run import train

    if options.out is not None:
        values["out"] = str(options.out)
    with progress_lines(options.progress) if options.progress else nullcontext() as progress:
        result = train(TrainingConfig.from_dict(values), progress)
    print(f"{result.epochs} epochs; model of the last: {result.model}" + (f", best: {result.best}" if result.best else ""))
    return 0
