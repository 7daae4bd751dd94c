"""``synthex dataset``: look at a data set, check it, split, merge, export and import it."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.commands.dataset_import import add_import
from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser("dataset", help="describe, check, show, split, merge, export or import a data set")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Any, text: str, several: bool = False) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.add_argument("folder", type=Path, nargs="+" if several else None, help="data set folder")
        added.set_defaults(run=run)
        return added

    action("info", _info, "say what a data set is")
    action("check", _check, "verify every shard against its checksum")
    show = action("show", _show, "draw a page of images with masks and landmarks, and histograms of the poses")
    show.add_argument("--out", type=Path, metavar="FOLDER", help="where images.png and poses.png go (default: the data set)")
    show.add_argument("--count", type=int, default=12, metavar="N", help="images on the page, spread over the data set (default: 12)")
    split = action("split", _split, "write parts of a data set, no specimen in two of them")
    split.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where part_00, part_01 ... go")
    parts = split.add_mutually_exclusive_group(required=True)
    parts.add_argument("--parts", type=int, metavar="K", help="so many, of about as many images each, for k-fold validation")
    parts.add_argument("--each-specimen", action="store_true", help="one for every specimen, for leave-one-specimen-out")
    merge = action("merge", _merge, "put data sets of one task and image size together", several=True)
    merge.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data set to write")
    export = action("export", _export, "write a data set in a format of others")
    export.add_argument("--format", required=True, choices=("coco", "nifti"), help="coco: 16-bit PNG and annotations.json; nifti")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the files go")
    add_import(actions)


def _info(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.format import read_header, shard_is_valid

    header = read_header(options.folder)
    valid = sum(shard_is_valid(options.folder, shard) for shard in range(header.shard_count))
    configuration = header.configuration
    size = configuration["image_size"]
    print(f"task         {header.task.name}: {len(header.task.structures)} structures, {len(header.task.landmarks)} landmarks")
    print(f"images       {header.count}, {size} x {size} px of {configuration['pixel_spacing_mm']:.3f} mm")
    print(f"shards       {valid} of {header.shard_count} are there")
    print(f"specimens    {', '.join(specimen['name'] for specimen in header.specimens)}")
    print(f"level        {configuration['level']}")
    print(f"seed         {header.seed}")
    print(f"renderer     {configuration['renderer']}")
    print(f"made with    {', '.join(f'{name} {version}' for name, version in header.versions.items())}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.format import check_shard, read_header

    header = read_header(options.folder)
    bad = 0
    for shard in range(header.shard_count):
        try:
            check_shard(options.folder, shard, checksum=True)
        except SyntheXError as error:
            print(error)
            bad += 1
    print(f"{header.shard_count - bad} of {header.shard_count} shards are whole.")
    return 1 if bad else 0


def _show(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.evaluation.contact_sheet import write_contact_sheet
    from SyntheXLib.evaluation.pose_figure import write_pose_figure

    dataset = XrayDataset(options.folder)
    if options.count < 1:
        raise SyntheXError(f"--count must be at least 1, found {options.count}.")
    folder = options.out or options.folder
    count = min(options.count, len(dataset))
    write_contact_sheet(dataset, [index * len(dataset) // count for index in range(count)], folder / "images.png")
    print(folder / "images.png")
    if not any(np.isfinite(dataset[index].world_to_camera).all() for index in range(len(dataset))):
        print("No image has a known camera: there are no views to show.")
        return 0
    write_pose_figure(dataset, folder / "poses.png")
    print(folder / "poses.png")
    return 0


def _split(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.derived import split_dataset

    with progress_bar("split", "images") as progress:
        folders = split_dataset(options.folder, options.out, None if options.each_specimen else options.parts, progress)
    for folder in folders:
        print(folder)
    return 0


def _merge(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.derived import merge_datasets

    with progress_bar("merge", "images") as progress:
        merge_datasets(options.folder, options.out, progress)
    print(options.out)
    return 0


def _export(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.export import export_coco, export_nifti
    from SyntheXLib.datasets.reader import XrayDataset

    export = {"coco": export_coco, "nifti": export_nifti}[options.format]
    with progress_bar("export", "images") as progress:
        export(XrayDataset(options.folder), options.out, progress)
    print(options.out)
    return 0
