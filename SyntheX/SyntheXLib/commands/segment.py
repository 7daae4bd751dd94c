"""``synthex segment``: a label map of a CT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "segment",
        help="make the label map of a CT",
        description="Segment a CT: by TotalSegmentator, a program of its own that must be installed, or by a network, TorchScript or MONAI "
        "bundle. The label map lies on the CT's grid; the names of its labels are written beside it, as --label-names reads them.",
        epilog="Examples: synthex segment --ct ct.nii.gz --out seg.nii.gz --totalsegmentator --fast; "
        "synthex segment --ct ct.nii.gz --out seg.nii.gz --model bones.ts",
    )
    parser.add_argument("--ct", type=Path, required=True, metavar="FILE", help="CT: NIfTI, NRRD, or folder of a DICOM series")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="label map to write (.nii.gz, .nii, .nrrd, .mha)")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--totalsegmentator", action="store_true", help="by TotalSegmentator 2, its open task 'total'")
    way.add_argument("--model", type=Path, metavar="FILE", help="by a TorchScript file or the folder of a MONAI bundle")
    parser.add_argument("--task", default="hip", help="task whose structures are wanted: a name or its TOML file (default: hip)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--fast", action="store_true", help="TotalSegmentator's network for 3 mm voxels instead of that for 1.5 mm")
    of_model = parser.add_argument_group("for a model that does not tell itself")
    of_model.add_argument("--orientation", metavar="AXES", help="where its three axes lead to, such as RAS or LPS (default: RAS)")
    of_model.add_argument("--spacing", type=float, metavar="MM", help="voxel size that it takes (default: the CT's)")
    of_model.add_argument(
        "--hu-range",
        type=float,
        nargs=2,
        metavar="HU",
        help="HU that become the ends of its value range, else 0 and 1 (default: -1000 2000)",
    )
    of_model.add_argument("--window", type=int, metavar="VOXELS", help="side of the sliding window (default: 96)")
    of_model.add_argument(
        "--channels", type=Path, metavar="FILE", help="names of its output channels: colour table or CSV; 0 is the background"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.scene.case_files import read_image
    from SyntheXLib.segmentation.label_map import names_file, write_label_map
    from SyntheXLib.segmentation.totalsegmentator import segment_by_totalsegmentator
    from SyntheXLib.tasks.task import load_task

    task = load_task(options.task)
    names_file(options.out)  # a wrong ending is told before the work
    model_options = (options.orientation, options.spacing, options.hu_range, options.window, options.channels)
    if options.totalsegmentator and any(option is not None for option in model_options):
        raise SyntheXError(
            "--orientation, --spacing, --hu-range, --window and --channels are for --model: expected none with --totalsegmentator."
        )
    if options.model and options.fast:
        raise SyntheXError("--fast is for --totalsegmentator: expected no such option with --model.")
    ct = read_image(options.ct, "CT")
    with progress_bar("segment", "steps") as progress:
        if options.totalsegmentator:
            labels, names = segment_by_totalsegmentator(ct, task, options.fast, options.device, progress, say=_say)
        else:
            from SyntheXLib.segmentation.model import ModelOptions, load_model

            model = load_model(
                options.model, ModelOptions(options.orientation, options.spacing, options.hu_range, options.window, options.channels)
            )
            labels, names = model.segment(ct, options.device, progress), model.names
    table = write_label_map(options.out, labels, names, task)
    print(f"{options.out}: {_found(labels, names)}; names in {table.name}.")
    return 0


def _say(line: str) -> None:
    """Print a line without tearing the bar."""
    from tqdm import tqdm

    tqdm.write(f"TotalSegmentator: {line}", file=sys.stderr)


def _found(labels: Any, names: dict[int, str]) -> str:
    """What is in the label map."""
    import numpy as np
    import SimpleITK as sitk

    there = [names[number] for number in np.unique(sitk.GetArrayViewFromImage(labels)).tolist() if number in names]
    return f"{len(there)} of {len(names)} structures" + (f" ({', '.join(there)})" if len(there) <= 12 else "")
