"""``synthex dataset``: look at a data set, check it, draw a page of it."""

import argparse
from pathlib import Path
from typing import Any

from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "dataset",
        help="describe, check or draw a data set",
        description="Describe a data set (info), verify every shard against its checksum (check), or draw a page of its images with masks "
        "and landmarks (preview).",
    )
    parser.add_argument("action", choices=("info", "check", "preview"), help="what to do")
    parser.add_argument("folder", type=Path, help="data set folder")
    parser.add_argument("--out", type=Path, metavar="PNG", help="picture that preview writes (default: preview.png in the data set)")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="images on the page of preview (default: 12)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    actions = {"info": _info, "check": _check, "preview": _preview}
    return actions[options.action](options)


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


def _preview(options: argparse.Namespace) -> int:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.evaluation.contact_sheet import write_contact_sheet

    dataset = XrayDataset(options.folder)
    if options.count < 1:
        raise SyntheXError(f"--count must be at least 1, found {options.count}.")
    path = options.out or options.folder / "preview.png"
    write_contact_sheet(dataset, range(min(options.count, len(dataset))), path)
    print(path)
    return 0
