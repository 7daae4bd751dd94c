"""``synthex dataset import``: data sets of others and real X-rays in our format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from SyntheXLib.datasets.importers.imported import Import
    from SyntheXLib.inference.image_folder import MaskMeaning

LAYOUTS = ("synthex-hdf5", "synthex-folder", "deepfluoro", "images")
# What options a layout takes besides those of all.
_OPTIONS = {
    "synthex-hdf5": ("labels", "specimen", "pixel_spacing", "polarity", "intensity", "imaging_system"),
    "synthex-folder": ("specimen", "pixel_spacing", "polarity", "intensity", "imaging_system"),
    "deepfluoro": ("specimen", "cases", "cases_only"),
    "images": ("specimen", "pixel_spacing", "polarity", "intensity", "imaging_system", "mask_suffix", "masks", "mask_number"),
}


def add_import(actions: Any) -> None:
    """Declare the options."""
    text = "read a data set of others, or real X-rays with masks"
    parser = actions.add_parser(
        "import",
        help=text,
        description=f"{text.capitalize()}. What is not known, as the camera of most, stays unknown.",
        epilog="Examples: synthex dataset import --layout deepfluoro ipcai_2020_full_res_data.h5 --out real --cases cases; "
        "synthex dataset import --layout images xrays --task chest.toml --masks bits --mask-number left_lung=1 --out real",
    )
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="HDF5 file (synthex-hdf5, deepfluoro) or folder (synthex-folder, images)"
    )
    parser.add_argument(
        "--layout",
        required=True,
        choices=LAYOUTS,
        help="synthex-hdf5: NN/projs, NN/segs, NN/lands; synthex-folder: proj, seg, lands; deepfluoro: its full-resolution file; "
        "images: pictures with NAME_mask and perhaps NAME.csv or NAME.mrk.json beside them",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data set to write")
    parser.add_argument("--task", default="hip", help="name of a task, or its TOML file (default: hip)")
    parser.add_argument("--image-size", type=int, metavar="PX", help="pixels a side (default: as in the source, or the task's)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="synthex-hdf5: file with segs and lands (default: SOURCE)")
    parser.add_argument(
        "--specimen",
        action="append",
        metavar="NAME",
        help="synthex-hdf5, deepfluoro: take this one, may be given several times (default: all); "
        "others: name of the one that all images show (default: the folder's, or each image's own)",
    )
    parser.add_argument("--pixel-spacing", type=float, metavar="MM", help="side of a source pixel on the detector, not for deepfluoro")
    parser.add_argument("--polarity", metavar="WORD", help="bone-bright or bone-dark, as a viewer shows the numbers (default: bone-bright)")
    parser.add_argument("--intensity", metavar="WORD", help="log or linear, what the numbers follow (default: log)")
    parser.add_argument("--imaging-system", metavar="NAME", help="device, stored with each image")
    parser.add_argument(
        "--cases", type=Path, metavar="FOLDER", help="deepfluoro: write CT, labels, landmarks and poses of each specimen too"
    )
    parser.add_argument(
        "--cases-only", action="store_true", default=None, help="deepfluoro: write the specimens as cases to --out, and no data set"
    )
    parser.add_argument("--mask-suffix", metavar="TEXT", help="images: end of a mask's name (default: _mask)")
    parser.add_argument(
        "--masks", metavar="WORD", help="images: labels (one number a pixel) or bits (a sum of 1, 2, 4 ...) (default: labels)"
    )
    parser.add_argument(
        "--mask-number",
        action="append",
        metavar="STRUCTURE=N,...",
        help="images: numbers of this structure in the masks, once for each (default: 1, 2, 3 ... in the task's order, 255 for one)",
    )
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from SyntheXLib.tasks.task import load_task

    for name in sorted({name for several in _OPTIONS.values() for name in several} - set(_OPTIONS[options.layout])):
        if getattr(options, name) is not None:
            raise SyntheXError(f"--{name.replace('_', '-')} does not go with --layout {options.layout}.")
    task = load_task(options.task)
    if options.cases_only:
        _write_cases(options, options.out, task)
        return 0
    found = opened(options, task)
    for note in found.notes:
        print(f"note: {note}")
    with progress_bar("import", "images") as progress:
        found.write(options.out, progress)
    print(options.out)
    if options.cases is not None:
        _write_cases(options, options.cases, task)
    return 0


def _write_cases(options: argparse.Namespace, out: Path, task: Any) -> None:
    from SyntheXLib.datasets.importers.deepfluoro import write_cases

    with progress_bar("cases", "specimens") as progress:
        folders = write_cases(options.source, out, task, options.specimen or (), progress)
    for folder in folders:
        print(folder)


def opened(options: argparse.Namespace, task: Any) -> Import:
    """The source, looked through, that the options of ``synthex dataset import`` name.

    Raises
    ------
    SyntheXError
        When it is missing, or not of the layout.
    """
    from SyntheXLib.datasets.importers.deepfluoro import open_deepfluoro
    from SyntheXLib.datasets.importers.synthex_folder import open_synthex_folder
    from SyntheXLib.datasets.importers.synthex_hdf5 import open_synthex_hdf5
    from SyntheXLib.inference.image_folder import open_image_folder
    from SyntheXLib.inference.images import check_meaning

    specimens, size = options.specimen or [], options.image_size
    if options.layout == "deepfluoro":
        return open_deepfluoro(options.source, task, specimens=specimens, image_size=size)
    shared = {
        "image_size": size,
        "pixel_spacing_mm": options.pixel_spacing,
        "polarity": options.polarity or "bone-bright",
        "intensity": options.intensity or "log",
        "imaging_system": options.imaging_system,
    }
    check_meaning(shared["polarity"], shared["intensity"])
    if options.layout == "synthex-hdf5":
        return open_synthex_hdf5(options.source, task, options.labels, specimens=specimens, **shared)
    if len(specimens) > 1:
        raise SyntheXError(f"--layout {options.layout} takes one --specimen, found {len(specimens)}.")
    name = specimens[0] if specimens else None
    if options.layout == "synthex-folder":
        return open_synthex_folder(options.source, task, specimen=name, **shared)
    suffix = "_mask" if options.mask_suffix is None else options.mask_suffix
    return open_image_folder(options.source, task, specimen=name, mask_suffix=suffix, masks=_masks(options), **shared)


def _masks(options: argparse.Namespace) -> MaskMeaning:
    from SyntheXLib.inference.image_folder import MaskMeaning

    numbers = {}
    for text in options.mask_number or ():
        name, equals, several = text.partition("=")
        try:
            numbers[name] = tuple(int(number) for number in several.split(","))
        except ValueError:
            equals = ""
        if not equals:
            raise SyntheXError(f"--mask-number must be STRUCTURE=N or STRUCTURE=N,N ..., found '{text}'.")
    return MaskMeaning(options.masks or "labels", numbers or None)
