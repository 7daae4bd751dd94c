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
        epilog="Examples: synthex infer run/model.pt image.dcm --out found; synthex infer run/model.pt held_out --out predictions",
    )
    parser.add_argument("model", type=Path, help="model file of a training")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, folders of them, or one data set folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images at a time (default: 8)")
    parser.add_argument(
        "--threshold", type=float, default=0.9, metavar="NCC", help="confidence above which a landmark counts as found (default: 0.9)"
    )
    of_dataset = parser.add_argument_group("for a data set")
    of_dataset.add_argument("--heatmaps", action="store_true", help="store the heatmaps too")
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
    of_images.add_argument("--no-overlays", action="store_true", help="write masks and landmarks alone")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.datasets.format import HEADER_FILE
    from SyntheXLib.inference.predict import predict_dataset
    from SyntheXLib.inference.predict_images import predict_images

    datasets = [path for path in options.images if (path / HEADER_FILE).is_file()]
    if datasets and len(options.images) > 1:
        raise SyntheXError(f"Expected image files or one data set, found the data set {datasets[0]} among {len(options.images)} inputs.")
    with progress_bar("infer", "images") as progress:
        if datasets:
            done = predict_dataset(
                options.model,
                datasets[0],
                options.out,
                batch=options.batch,
                device=options.device,
                threshold=options.threshold,
                heatmaps=options.heatmaps,
                progress=progress,
            )
            message = f"{done.folder}: predictions of {done.images} images" + (" were there before." if done.reused else ".")
            failed: list[tuple[Path, str]] = []
        else:
            spacing = None if options.pixel_spacing is None else (options.pixel_spacing, options.pixel_spacing)
            found = predict_images(
                options.model,
                options.images,
                options.out,
                polarity=options.polarity,
                intensity=options.intensity,
                pixel_spacing_mm=spacing,
                device=options.device,
                threshold=options.threshold,
                batch=options.batch,
                overlays=not options.no_overlays,
                progress=progress,
            )
            message, failed = f"{found.folder}: {len(found.images)} files read, {found.frames} frames.", list(found.failed)
    print(message)
    for path, reason in failed:
        print(f"left out: {path}: {reason}", file=sys.stderr)
    return 1 if failed else 0
