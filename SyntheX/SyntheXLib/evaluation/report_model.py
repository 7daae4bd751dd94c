"""The report's part on one model: distributions, groups, calibration, examples."""

import html
from collections.abc import Sequence

from SyntheXLib.evaluation import figures
from SyntheXLib.evaluation.examples import Example
from SyntheXLib.evaluation.html_parts import CIRCLE, CROSS, panel, plain, remark, swatch, table
from SyntheXLib.evaluation.metrics import SUCCESS_DISTANCES_MM, DiceSummary, ErrorSummary, dice
from SyntheXLib.evaluation.model_evaluation import ModelEvaluation
from SyntheXLib.evaluation.modes import counted_word
from SyntheXLib.evaluation.summary import SpecimenNumbers, number, percent, plus_minus
from SyntheXLib.inference.overlay import HEAT
from SyntheXLib.tasks.task import Task


def model_part(model: ModelEvaluation, examples: Sequence[Example], title: str) -> str:
    """Everything about one model; `title` is empty when it is the only one."""
    results, summary = model.results, model.summary
    task = results.task
    parts = [f"<h2>{html.escape(title)}</h2>" if title else "<h2>In detail</h2>"]
    if task.landmarks:
        parts.append(panel("Distribution of the errors", _errors(model)))
        parts.append(panel("By landmark, pooled (mm on the detector unless said)", _landmarks(model)))
        parts.append(panel("Spread by landmark", figures.landmark_figure(results)))
    parts.append(panel("Dice by structure, pooled", _structures(model)))
    parts.append(panel("Spread by structure", figures.dice_figure(results, dice(results.counts))))
    if len(summary.specimens) > 1:
        parts.append(panel("By specimen (mm on the detector unless said)", _groups(summary.specimens, "specimen")))
    if summary.imaging_systems:
        parts.append(panel("By imaging system (mm on the detector unless said)", _groups(summary.imaging_systems, "imaging system")))
    parts.append(_calibration(model))
    parts.append(_examples(examples, task))
    return "".join(parts)


def _errors(model: ModelEvaluation) -> str:
    results, summary = model.results, model.summary
    return figures.error_figure(results.errors_detector_mm, results.confidence, summary.threshold, counted_word(summary.mode))


def _error_cells(e: ErrorSummary) -> list[str]:
    rates = [percent(e.success[f"{d:g}"], 0) for d in SUCCESS_DISTANCES_MM]
    own = [str(e.visible), number(e.median), plus_minus(e.mean, e.sd), number(e.p95), *rates]
    return [*own, f"{e.activated} ({percent(e.activated_share, 0)})", plus_minus(e.activated_mean, e.activated_sd)]


def _landmarks(model: ModelEvaluation) -> str:
    summary, task = model.summary, model.results.task
    header = ["landmark", counted_word(summary.mode), "median", "mean ± SD", "95th perc."]
    header += [*(f"≤ {d:g} mm" for d in SUCCESS_DISTANCES_MM), "activated", "mean ± SD of these"]
    of_structure = {s.name: s.color for s in task.structures}
    rows = []
    for landmark in task.landmarks:
        mark = swatch(of_structure[landmark.structures[0]]) if landmark.structures else ""
        rows.append([mark + html.escape(landmark.name), *_error_cells(summary.landmarks[landmark.name])])
    rows.append(["all, at the isocentre", *_error_cells(summary.isocenter)])
    rows.append(["all, on the detector", *_error_cells(summary.detector)])
    return table(header, rows, total=True)


def _dice_cells(one: DiceSummary, released: DiceSummary) -> list[str]:
    own = [plus_minus(one.mean, one.sd, 3), number(one.median, 3), str(one.images), str(one.missed), str(one.false_alarms)]
    return [*own, plus_minus(released.mean, released.sd, 3)]


def _structures(model: ModelEvaluation) -> str:
    summary = model.summary
    released = summary.dice_released_code
    rows = []
    for structure in model.results.task.structures:
        cells = _dice_cells(summary.dice.structures[structure.name], released.structures[structure.name])
        rows.append([swatch(structure.color) + html.escape(plain(structure.name)), *cells])
    rows.append(["all pooled", *_dice_cells(summary.dice.pooled, released.pooled)])
    header = ["structure", "mean ± SD", "median", "images", "missed", "false alarms", "mean ± SD (empty = 1)"]
    return table(header, rows, total=True)


def _groups(groups: dict[str, SpecimenNumbers], kind: str) -> str:
    header = [
        kind,
        "images",
        "mean Dice",
        "surface, mm",
        "visible",
        "median",
        "mean ± SD",
        "mean at isocentre",
        "activated",
        "mean ± SD of these",
    ]
    rows = []
    for name, one in groups.items():
        e = one.errors
        cells = [str(one.images), number(one.dice, 3), number(one.surface_mm), str(e.visible), number(e.median), plus_minus(e.mean, e.sd)]
        cells += [number(one.isocenter.mean), percent(e.activated_share, 0), plus_minus(e.activated_mean, e.activated_sd)]
        rows.append([html.escape(name), *cells])
    return table(header, rows)


def _calibration(model: ModelEvaluation) -> str:
    results, summary = model.results, model.summary
    names = results.task.structure_names
    figure = figures.calibration_figure(summary.calibration, results.pixel_bins, names)
    if figure is None:
        return ""
    notes = []
    if summary.calibration.spearman is not None:
        notes.append(f"Rank correlation of confidence and error (Spearman): {summary.calibration.spearman:.2f}, ideal -1.")
    if summary.mask_calibration_error is not None:
        values = ", ".join(f"{plain(name)} {number(one, 4)}" for name, one in summary.mask_calibration_error.items())
        notes.append(f"Expected calibration error of the masks: {values}.")
    else:
        notes.append("Probabilities of the masks are not stored ('synthex infer --heatmaps' does).")
    return panel("Whether confidence means what it says", figure, '<div class="below">', *map(remark, notes), "</div>")


def _examples(examples: Sequence[Example], task: Task) -> str:
    legend = [swatch(s.color) + html.escape(plain(s.name)) for s in task.structures]
    if task.landmarks:
        legend += [f"{CROSS}predicted landmark (faint: below the threshold)", f"{CIRCLE}true landmark"]
        legend.append(f"{swatch(HEAT)}heatmaps, each as strong as its confidence")
    parts = []
    for example in examples:
        tiles = [("truth", example.truth), ("prediction", example.prediction)]
        if example.heat is not None:
            tiles.append(("heatmaps", example.heat))
        figure = "".join(
            f'<figure><img src="{address}" alt="{html.escape(example.caption)}: {name}"><figcaption>{name}</figcaption></figure>'
            for name, address in tiles
        )
        text = f"<b>{example.kind.capitalize()}</b> · {html.escape(example.caption)}"
        parts.append(f'<div class="example"><p>{text}</p><div class="tiles">{figure}</div></div>')
    rule = "by mean landmark error" if task.landmarks else "by mean Dice"
    items = "".join(f"<span>{item}</span>" for item in legend)
    title = f'<h3>Best, median and worst images <span class="soft">({rule})</span></h3>'
    return f'{title}<div class="legend">{items}</div>{"".join(parts)}'
