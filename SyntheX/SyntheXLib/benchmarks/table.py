"""Our table beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from SyntheXLib.benchmarks.benchmark import Benchmark
from SyntheXLib.benchmarks.line_results import LineResult, scored_structure
from SyntheXLib.benchmarks.paper_numbers import PaperNumber, paper_number, paper_numbers
from SyntheXLib.evaluation.estimates import Headline
from SyntheXLib.evaluation.modes import MODES, Mode
from SyntheXLib.evaluation.summary import MEANS, headline_text, percent
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.outputs import write_csv

PAPER = "Gao et al. 2023"
_NONE = "–"


def write_table(benchmark: Benchmark, results: Sequence[LineResult], out: Path) -> str:
    """Write ``table.md``, a table for each way of counting with the paper's numbers beside ours, and ``table.csv`` with every number.

    Returns
    -------
    str
        ``table.md``.
    """
    text = table_text(benchmark, results)
    with atomic_write(out / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    rows = [
        [r.line.training, r.line.randomization, r.line.image_size, r.folds, r.images, mode, name, *_cells(one)]
        for r in results
        for mode, each in r.modes.items()
        for name, one in each.items()
    ]
    header = ["training", "randomization", "image_size", "folds", "images", "mode", "measure", "value", "sd", "low", "high", "count"]
    write_csv(out / "table.csv", header, rows)
    return text


def table_text(benchmark: Benchmark, results: Sequence[LineResult]) -> str:
    """The tables as Markdown."""
    notes: dict[str, str] = {}
    parts = [_mode_table(benchmark, results, mode, notes) for mode in MODES[::-1]]
    told = [f"Paper: {PAPER}, {note} {sign}." for note, sign in notes.items()]
    unfinished = sum(r.folds < len(r.line.folds) for r in results)
    if unfinished:
        told.insert(0, f"{unfinished} of {len(results)} lines are not tested on all of their folds yet.")
    return "\n\n".join([*parts, "\n".join(told)]).strip() + "\n"


def _mode_table(benchmark: Benchmark, results: Sequence[LineResult], mode: Mode, notes: dict[str, str]) -> str:
    pixels = benchmark.task.evaluation.measures == "confusion"
    landmarks = bool(benchmark.task.landmarks)
    ours = ["error, mm", "found, %", "Dice"] if landmarks else ["Dice"]
    theirs = ["paper: error, mm", "paper: Dice"] if landmarks else ["paper: Dice"]
    if pixels:
        name = benchmark.task.structure_names[scored_structure(benchmark.task)]
        ours, theirs = [f"accuracy ({name})", "sensitivity", "specificity", "F1", f"Dice ({name})"], ["paper: accuracy"]
    head = ["training set", "randomisation", "px", "folds", "images", *ours, *theirs]
    rows: list[list[object]] = []
    for result in results:
        line = result.line
        found = result.modes.get(mode, {})
        number = paper_number(benchmark.name, line.training, line.randomization, line.image_size)
        folds = f"{result.folds} of {len(line.folds)}"
        own = _own(benchmark, found, mode) if found else [_NONE] * len(ours)
        rows.append([line.training, line.randomization, line.image_size, folds, result.images, *own, *_paper(number, theirs, notes)])
    shown = {id(paper_number(benchmark.name, r.line.training, r.line.randomization, r.line.image_size)) for r in results}
    for number in paper_numbers(benchmark.name):
        if id(number) not in shown:
            start: list[object] = [number.training, number.randomization or _NONE, number.image_size, _NONE, _NONE]
            rows.append([*start, *[_NONE] * len(ours), *_paper(number, theirs, notes)])
    whole: list[Sequence[object]] = [head, ["---"] * len(head), *rows]
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in whole]
    return f"{MEANS[mode]}:\n\n" + "\n".join(lines)


def _own(benchmark: Benchmark, found: Mapping[str, Headline], mode: Mode) -> list[str]:
    task = benchmark.task
    if task.evaluation.measures == "confusion":
        name = task.structure_names[scored_structure(task)]
        shares = [percent(found[key].value, 2) for key in ("accuracy", "sensitivity", "specificity", "f1")]
        return [*shares, headline_text(found[f"dice:{name}"], 3)]
    dice = headline_text(found["dice"], 2)
    if not task.landmarks:
        return [dice]
    # The paper's errors are those of the landmarks that are found; strictly all that are visible count.
    error = found["error_mm" if mode == "strict" else "activated_error_mm"]
    return [headline_text(error), percent(found["activated_share"].value), dice]


def _paper(number: PaperNumber | None, columns: Sequence[str], notes: dict[str, str]) -> list[str]:
    if number is None:
        return [_NONE] * len(columns)
    sentence = f"'{number.source}'" + (f"; {number.note}" if number.note else "")
    sign = notes.setdefault(sentence, f"[{len(notes) + 1}]")
    cells = {"paper: error, mm": number.error_mm, "paper: Dice": number.dice, "paper: accuracy": number.accuracy}
    return [f"{cells[column]} {sign}" if cells[column] else _NONE for column in columns]


def _cells(one: Headline) -> list[object]:
    return ["" if value is None else f"{value:.6g}" for value in (one.value, one.sd, one.low, one.high)] + [one.count]
