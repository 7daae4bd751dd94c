"""``synthex bundle``: a model as a MONAI bundle."""

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "bundle",
        help="write a model as a MONAI bundle",
        description="Write a model file as a MONAI bundle: weights, TorchScript, and what other programs have to know of them.",
        epilog="Example: synthex bundle run/model.pt --out hip; synthex infer hip image.dcm --out found",
    )
    parser.add_argument("model", type=Path, help="model file of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the bundle, a new folder")
    parser.add_argument("--onnx", action="store_true", help="export to ONNX too (needs the packages onnx and onnxruntime)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.inference.bundle import write_bundle

    folder = write_bundle(options.model, options.out, options.onnx)
    told = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    found = ", ".join(f"{kind} within {difference:.1g} of a channel's range" for kind, difference in told["export_differences"].items())
    print(f"{folder}: MONAI bundle, exports held against the network: {found}.")
    return 0
