"""``synthex infer``: masks and landmarks of images or of a data set."""

import argparse
import sys
from pathlib import Path
from typing import Any

from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "infer",
        help="find masks and landmarks in images or in a data set",
        description="Find masks and landmarks, with confidence, in image files (PNG, TIFF, NRRD, NIfTI, DICOM; one frame or "
        "a run) or in all images of a data set.",
        epilog="Examples: synthex infer run/model.pt image.dcm --out found; synthex infer run/model.pt held_out --out predictions; "
        "an ensemble that also looks at the mirror image: synthex infer --flip --out found a.pt b.pt c.pt -- image.dcm",
    )
    parser.add_argument("model", type=Path, help="model file of a training, or the folder of a bundle")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, folders of them, or one data set folder")
    parser.add_argument(
        "--model", action="append", default=[], type=Path, dest="more_models", metavar="MODEL", help="one more for an ensemble"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images at a time (default: 8)")
    parser.add_argument(
        "--threshold", type=float, default=0.9, metavar="NCC", help="confidence above which a landmark counts as found (default: 0.9)"
    )
    parser.add_argument("--flip", action="store_true", help="look at the mirror image too, left and right exchanged back, and average")
    parser.add_argument("--turn", action="store_true", help="look at the image upside down too, and average")
    of_dataset = parser.add_argument_group("for a data set")
    of_dataset.add_argument("--heatmaps", action="store_true", help="store heatmaps and probabilities too")
    of_images = parser.add_argument_group("for image files")
    of_images.add_argument(
        "--polarity",
        default="auto",
        help="bone-bright, bone-dark or auto: as the file says, else the one of which the network is surer (default: auto)",
    )
    of_images.add_argument(
        "--intensity", default="auto", help="log (film-like), linear (detector signal) or auto: as the file says, else log (default: auto)"
    )
    of_images.add_argument("--pixel-spacing", type=float, metavar="MM", help="side of a detector pixel, instead of what the file says")
    of_images.add_argument(
        "--masks", default="png", metavar="FORMATS", help="png, nifti and seg (DICOM), with commas between (default: png)"
    )
    of_images.add_argument(
        "--collimation", default="auto", help="auto: what the collimator covers is found and not looked at; none (default: auto)"
    )
    of_images.add_argument("--no-overlays", action="store_true", help="write masks and landmarks alone")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.datasets.format import HEADER_FILE
    from SyntheXLib.inference.predict import predict_dataset
    from SyntheXLib.inference.predict_images import predict_images

    models, images = _models_and_images(options)
    views = ["plain", *(["flip"] if options.flip else []), *(["turn"] if options.turn else [])]
    datasets = [path for path in images if (path / HEADER_FILE).is_file()]
    if datasets and len(images) > 1:
        raise SyntheXError(f"Expected image files or one data set, found the data set {datasets[0]} among {len(images)} inputs.")
    with progress_bar("infer", "images") as progress:
        if datasets:
            done = predict_dataset(
                models,
                datasets[0],
                options.out,
                batch=options.batch,
                device=options.device,
                threshold=options.threshold,
                heatmaps=options.heatmaps,
                views=views,
                progress=progress,
            )
            message = f"{done.folder}: predictions of {done.images} images" + (" were there before." if done.reused else ".")
            failed: list[tuple[Path, str]] = []
        else:
            spacing = None if options.pixel_spacing is None else (options.pixel_spacing, options.pixel_spacing)
            found = predict_images(
                models,
                images,
                options.out,
                polarity=options.polarity,
                intensity=options.intensity,
                pixel_spacing_mm=spacing,
                device=options.device,
                threshold=options.threshold,
                batch=options.batch,
                overlays=not options.no_overlays,
                views=views,
                masks=[name for name in options.masks.split(",") if name],
                collimation=options.collimation,
                progress=progress,
            )
            for path, odd in found.warnings:
                print(f"warning: {path} is {odd}", file=sys.stderr)
            message, failed = f"{found.folder}: {len(found.images)} files read, {found.frames} frames.", list(found.failed)
    print(message)
    for path, reason in failed:
        print(f"left out: {path}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _models_and_images(options: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """The first operand is a model, as are those of ``--model``; where ``--`` was given, all operands before it are."""
    operands = [options.model, *options.images]
    given = list(options.arguments)
    count = len(given) - given.index("--") - 1 if "--" in given else len(operands) - 1
    cut = max(1, len(operands) - count)
    if cut == len(operands):
        raise SyntheXError("No image to read was given after '--'.")
    return [*operands[:cut], *options.more_models], operands[cut:]
