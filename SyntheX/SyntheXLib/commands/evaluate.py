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
        description="Compare the predictions of 'synthex infer' with the truth of their data set: landmark errors, activation curve, Dice, "
        "surface distance, calibration; several models side by side, with paired comparison. Writes one self-contained report.html, "
        "and the numbers as JSON and CSV.",
        epilog="Examples: synthex evaluate predictions held_out --out report; synthex evaluate a b held_out --out report; "
        "synthex evaluate --folds --mode paper-text fold_0/found fold_1/found --out report",
    )
    parser.add_argument(
        "predictions", type=Path, nargs="+", metavar="PREDICTIONS", help="folders written by 'synthex infer MODEL DATASET', one a model"
    )
    parser.add_argument("dataset", type=Path, help="the data set that was predicted (with --folds one more folder of predictions)")
    parser.add_argument(
        "--folds",
        action="store_true",
        help="all folders are predictions, one a test fold, each of a data set of its own: they are taken as one model's. paper-text is "
        "the mean over the folds, released-code pools their images",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where report and numbers go")
    parser.add_argument(
        "--mode",
        default="strict",
        help="strict (every visible landmark, exact spacing, specimens first), paper-text or released-code; the last two want predictions "
        "made with 'synthex infer --heatmaps' (default: strict)",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.9, metavar="NCC", help="confidence above which a landmark counts as found (default: 0.9)"
    )
    parser.add_argument("--draws", type=int, default=10_000, metavar="N", help="resamples of the bootstrap intervals (default: 10000)")
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="label map of one of the data set's specimens, whose bones are then drawn among the views (samples are found by themselves)",
    )
    parser.add_argument("--label-names", type=Path, metavar="FILE", help="what its numbers mean: colour table or CSV")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.evaluation.evaluate import evaluate, evaluate_opened
    from SyntheXLib.evaluation.folds import open_folds

    settings = {
        "threshold": options.threshold,
        "mode": options.mode,
        "draws": options.draws,
        "label_maps": options.labels,
        "label_names": options.label_names,
    }
    with progress_bar("evaluate", "images") as progress:
        if options.folds:
            predictions, dataset = open_folds([*options.predictions, options.dataset])
            result = evaluate_opened({"folds": predictions}, dataset, options.out, **settings, progress=progress)
        else:
            result = evaluate(options.predictions, options.dataset, options.out, **settings, progress=progress)
    print(result.text)
    return 0
