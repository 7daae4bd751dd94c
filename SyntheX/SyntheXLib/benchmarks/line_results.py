"""The numbers of a line of a benchmark: its test folds taken as one and counted in the three ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from SyntheXLib.benchmarks.benchmark import Benchmark, Fold, Line
from SyntheXLib.evaluation.confusion import CONFUSION_MEASURES, summarize_confusion
from SyntheXLib.evaluation.estimates import Headline, headlines
from SyntheXLib.evaluation.evaluate import evaluate_opened
from SyntheXLib.evaluation.folds import FoldsDataset, FoldsPredictions, open_folds, over_folds
from SyntheXLib.evaluation.metrics import CONFIDENCE_THRESHOLD
from SyntheXLib.evaluation.modes import MODES, Mode
from SyntheXLib.evaluation.results import ImageResults, compare
from SyntheXLib.evaluation.study import plain, run_folder
from SyntheXLib.inference.outputs import write_json
from SyntheXLib.inference.predictions import read_description
from SyntheXLib.tasks.task import Task

# Raised when what is kept beside the predictions means something else.
_VERSION = 1


@dataclass(frozen=True)
class LineResult:
    """A line of the table.

    Attributes
    ----------
    line
        What was trained and tested.
    folds
        Folds that are tested, of ``len(line.folds)``.
    images
        Images of these.
    modes
        Mode to measure to number: those of `estimates.headlines`, and for a task that is measured by its pixels ``accuracy``,
        ``sensitivity`` ... of its scored structure. Empty while no fold is tested.
    """

    line: Line
    folds: int
    images: int
    modes: Mapping[Mode, Mapping[str, Headline]]


def line_results(benchmark: Benchmark, out: Path, draws: int) -> list[LineResult]:
    """What has been tested so far, line by line; numbers are kept in ``lines`` of the folder and taken from there while nothing changes.

    Parameters
    ----------
    benchmark
        The benchmark.
    out
        Its folder.
    draws
        Resamples of the intervals of ``strict``.
    """
    return [_line_result(benchmark, line, out, draws) for line in benchmark.lines]


def write_reports(benchmark: Benchmark, out: Path, draws: int) -> list[Path]:
    """Write a report for each image size: the models of all lines that are tested on every fold, side by side, as the paper's Figure 4.

    Returns
    -------
    list of Path
        The reports; one that is made of the same predictions already is left as it is.
    """
    found = []
    for size in dict.fromkeys(line.image_size for line in benchmark.lines):
        lines = [line for line in benchmark.lines if line.image_size == size and len(_tested(benchmark, line, out)) == len(line.folds)]
        if not lines:
            continue
        folder = out / f"report_{size}"
        made_of = {"draws": draws, "lines": {line.title: _identity(benchmark, line.folds, out) for line in lines}}
        record = folder / "made_of.json"
        if not (record.exists() and json.loads(record.read_text(encoding="utf-8")) == made_of):
            opened = {line.title: _open(benchmark, line.folds, out) for line in lines}
            dataset = next(iter(opened.values()))[1]
            evaluate_opened({title: one for title, (one, _) in opened.items()}, dataset, folder, draws=draws)
            write_json(record, made_of)
        found.append(folder / "report.html")
    return found


def scored_structure(task: Task) -> int:
    """Place of the structure whose pixels are counted: the lesion, or the first."""
    return next((place for place, one in enumerate(task.structures) if one.source == "lesion"), 0)


def measures_of(results: ImageResults, draws: int) -> dict[str, Headline]:
    """Headline numbers, and those of the pixels where the task is measured so."""
    found = headlines(results, CONFIDENCE_THRESHOLD, draws)
    if results.task.evaluation.measures == "confusion":
        found |= {name: _confusion(results, name) for name in CONFUSION_MEASURES}
    return found


def _confusion(results: ImageResults, name: str) -> Headline:
    """Mean and SD over the images; in ``paper-text`` the means of both over the folds."""
    place = scored_structure(results.task)
    whole = summarize_confusion(results.counts, results.pixels, results.mode)[place]
    if results.mode != "paper-text":
        return Headline(whole.mean[name], whole.sd[name], None, None, whole.images[name])

    def over(kind: str) -> float | None:
        return over_folds(results, lambda part: getattr(summarize_confusion(part.counts, part.pixels, part.mode)[place], kind)[name])[0]

    return Headline(over("mean"), over("sd"), None, None, whole.images[name])


def _line_result(benchmark: Benchmark, line: Line, out: Path, draws: int) -> LineResult:
    tested = _tested(benchmark, line, out)
    if not tested:
        return LineResult(line, 0, 0, {})
    identity = {"version": _VERSION, "draws": draws, "folds": _identity(benchmark, tested, out)}
    path = out / "lines" / f"{plain(line.title)}.json"
    kept = _kept(path, identity)
    if kept is None:
        predictions, dataset = _open(benchmark, tested, out)
        measured = {mode: measures_of(compare(predictions, dataset, mode=mode), draws) for mode in MODES}
        kept = {
            "images": len(dataset),
            "modes": {mode: {name: asdict(one) for name, one in each.items()} for mode, each in measured.items()},
        }
        write_json(path, {"made_of": identity, **kept})
    modes = {mode: {name: Headline(**one) for name, one in kept["modes"][mode].items()} for mode in MODES}
    return LineResult(line, len(tested), kept["images"], modes)


def _kept(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("made_of") == identity else None


def _tested(benchmark: Benchmark, line: Line, out: Path) -> list[Fold]:
    return [fold for fold in line.folds if _description(benchmark, fold, out) is not None]


def _found(benchmark: Benchmark, fold: Fold, out: Path) -> Path:
    return run_folder(out, fold.run, benchmark.seed) / "found"


def _description(benchmark: Benchmark, fold: Fold, out: Path) -> dict[str, Any] | None:
    return read_description(_found(benchmark, fold, out))


def _identity(benchmark: Benchmark, folds: Sequence[Fold], out: Path) -> dict[str, str]:
    """Checksums of the predictions by fold and training."""
    descriptions = {fold.run.name: _description(benchmark, fold, out) for fold in folds}
    return {name: one["arrays"]["sha256"] for name, one in descriptions.items() if one is not None}


def _open(benchmark: Benchmark, folds: Sequence[Fold], out: Path) -> tuple[FoldsPredictions, FoldsDataset]:
    found = [_found(benchmark, fold, out) for fold in folds]
    return open_folds(found, [out / "sets" / fold.run.test for fold in folds], [fold.name for fold in folds])
