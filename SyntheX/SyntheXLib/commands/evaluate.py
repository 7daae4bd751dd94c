"""``synthex evaluate``: compare predictions with the truth and write a report."""

import argparse
from pathlib import Path
from typing import Any

from SyntheXLib.commands.progress import progress_bar


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "evaluate",
        help="compare predictions with the truth and write a report",
        description="Compare the predictions of 'synthex infer' with the truth of their data set: Dice, landmark errors, activation curve. "
        "Writes one self-contained report.html, and the numbers as JSON and CSV.",
    )
    parser.add_argument("predictions", type=Path, help="folder written by 'synthex infer MODEL DATASET'")
    parser.add_argument("dataset", type=Path, help="the data set that was predicted")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where report and numbers go")
    parser.add_argument(
        "--threshold", type=float, default=0.9, metavar="NCC", help="confidence above which a landmark counts as found (default: 0.9)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.evaluation.evaluate import evaluate

    with progress_bar("evaluate", "images") as progress:
        result = evaluate(options.predictions, options.dataset, options.out, threshold=options.threshold, progress=progress)
    print(result.text)
    return 0
