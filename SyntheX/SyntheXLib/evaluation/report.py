"""One HTML file that shows an evaluation: nothing outside it is needed, no script, light and dark, fit for paper."""

import html
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from SyntheXLib.evaluation import figures
from SyntheXLib.evaluation.examples import Example, make_examples
from SyntheXLib.evaluation.metrics import SUCCESS_DISTANCES_MM, DiceSummary, ErrorSummary, dice
from SyntheXLib.evaluation.results import ImageResults
from SyntheXLib.evaluation.summary import Summary, number, percent, plus_minus
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.outputs import versions
from SyntheXLib.inference.overlay import HEAT
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.inference.predictions import PredictionFolder

_CIRCLE = '<svg viewBox="0 0 14 14"><circle cx="7" cy="7" r="5" fill="none" stroke="currentColor" stroke-width="1.8"/></svg>'
_CROSS = '<svg viewBox="0 0 14 14"><path d="M2 2 12 12M12 2 2 12" stroke="currentColor" stroke-width="2"/></svg>'


def write_report(path: Path, results: ImageResults, summary: Summary, predictions: "PredictionFolder", dataset: "XrayDataset") -> None:
    """Write the report.

    Parameters
    ----------
    path
        HTML file to make.
    results, summary
        What was found.
    predictions, dataset
        Where it comes from; read for the pictures.

    Raises
    ------
    SyntheXError
        When the file cannot be written.
    """
    task = results.task
    examples = make_examples(results, predictions, dataset, summary.threshold)
    sections = [
        _landmarks(results, summary) if task.landmarks else "",
        _structures(results, summary),
        _examples(examples, task),
        _specimens(summary) if len(summary.specimens) > 1 else "",
        _geometry(results),
        _origin(predictions, dataset),
        _definitions(task, summary),
    ]
    template = Template(Path(__file__).with_name("report_template.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=html.escape(f"{task.title}: evaluation on {dataset.folder.resolve().name}"),
        subtitle=html.escape(f"{summary.images} images · {len(task.structures)} structures · {len(task.landmarks)} landmarks · {_now()}"),
        warnings=_warnings(predictions, dataset, summary),
        cards=_cards(summary),
        body="\n".join(section for section in sections if section),
        tiles=3 if task.landmarks else 2,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], total: bool = False) -> str:
    """HTML table; the first cell of a row may hold markup, all others are text."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = []
    for n, row in enumerate(rows):
        kind = ' class="total"' if total and n == len(rows) - 1 else ""
        lines.append(f"<tr{kind}><td>{row[0]}</td>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _panel(title: str, *content: str) -> str:
    return f'<div class="panel"><h3>{html.escape(title)}</h3>{"".join(content)}</div>'


def _pair(*panels: str) -> str:
    return f'<div class="pair">{"".join(panels)}</div>'


def _swatch(color: tuple[int, int, int]) -> str:
    return f'<i class="swatch" style="background: rgb({color[0]}, {color[1]}, {color[2]})"></i>'


def _warnings(predictions: "PredictionFolder", dataset: "XrayDataset", summary: Summary) -> str:
    found = []
    if _trained_on(predictions.description["model"].get("training", {}), dataset):
        found.append("The model was trained on this very data set: these numbers say how well it remembers, not how well it generalizes.")
    if summary.detector.missing:
        missing = f"{summary.detector.missing} visible landmarks have no prediction"
        found.append(f"{missing}; medians, quantiles and success rates count them as failures.")
    return "".join(f'<div class="warning">{html.escape(text)}</div>' for text in found)


def _trained_on(training: dict[str, Any], dataset: "XrayDataset") -> bool:
    """Whether the model's record names this data set, by checksum or by folder."""
    folders = [Path(one["folder"]).resolve() for one in training.get("datasets", []) if isinstance(one, dict) and "folder" in one]
    return dataset.folder.resolve() in folders or dataset.checksum() in json.dumps(training)


def _cards(summary: Summary) -> str:
    used = sum(one.images > 0 for one in summary.dice.structures.values())
    text = f"mean Dice over {used} structures (truth not empty, {summary.dice.pooled.images} masks)"
    cards = [(number(summary.dice.mean_over_structures, 3), text)]
    if summary.landmarks:
        e = summary.detector
        cards += [
            (number(e.median, 2, " mm"), f"median landmark error on the detector, all {e.visible} visible landmarks"),
            (percent(e.activated_share), f"activated: ncc > {summary.threshold:g} ({e.activated} of {e.visible})"),
            (number(e.activated_mean, 2, " mm"), "mean error on the detector of the activated landmarks"),
        ]
    items = "".join(f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(text)}</span></div>' for value, text in cards)
    return f'<div class="cards">{items}</div>'


def _error_cells(e: ErrorSummary) -> list[str]:
    rates = [percent(e.success[f"{d:g}"], 0) for d in SUCCESS_DISTANCES_MM]
    own = [str(e.visible), number(e.median), plus_minus(e.mean, e.sd), number(e.p95), *rates]
    return [*own, f"{e.activated} ({percent(e.activated_share, 0)})", plus_minus(e.activated_mean, e.activated_sd)]


def _landmarks(results: ImageResults, summary: Summary) -> str:
    header = ["landmark", "visible", "median", "mean ± SD", "95th perc.", *(f"≤ {d:g} mm" for d in SUCCESS_DISTANCES_MM)]
    header += ["activated", "mean ± SD of these"]
    of_structure = {s.name: s.color for s in results.task.structures}
    rows = []
    for landmark in results.task.landmarks:
        mark = _swatch(of_structure[landmark.structures[0]]) if landmark.structures else ""
        rows.append([mark + html.escape(landmark.name), *_error_cells(summary.landmarks[landmark.name])])
    rows.append(["all, at the isocentre", *_error_cells(summary.isocenter)])
    rows.append(["all, on the detector", *_error_cells(summary.detector)])
    at = summary.at_threshold
    readings = [[percent(at.share), f"{at.threshold:g} (given)", str(at.count), number(at.error_mm)]]
    for share, point in summary.at_shares.items():
        told = ["not reached", "–", "–"] if point is None else [number(point.threshold, 3), str(point.count), number(point.error_mm)]
        readings.append([f"{100 * float(share):g} %", *told])
    curve = _table(["activated", "ncc at least", "landmarks", "mean error, mm"], readings)
    notes = [f"Area under the curve: {number(summary.curve.area_mm(), 2, ' mm')}."]
    if summary.absent_auc is not None:
        notes.append(f"Visible against out of frame by confidence, area under the ROC curve: {number(summary.absent_auc, 3)}.")
    remarks = "".join(f'<p class="soft">{html.escape(note)}</p>' for note in notes)
    return (
        "<h2>Landmarks</h2>"
        + _pair(
            _panel("Error when only the most confident are kept", figures.activation_figure(summary.curve, at)),
            _panel("The curve in numbers", curve, f'<div class="below">{remarks}</div>'),
        )
        + _panel("Distribution of the errors", figures.error_figure(results.errors_detector_mm, results.confidence, summary.threshold))
        + _panel("By landmark (mm on the detector unless said)", _table(header, rows, total=True))
        + _panel("Spread by landmark", figures.landmark_figure(results))
    )


def _dice_cells(one: DiceSummary, released: DiceSummary) -> list[str]:
    own = [plus_minus(one.mean, one.sd, 3), number(one.median, 3), str(one.images), str(one.missed), str(one.false_alarms)]
    return [*own, plus_minus(released.mean, released.sd, 3)]


def _structures(results: ImageResults, summary: Summary) -> str:
    header = ["structure", "mean ± SD", "median", "images", "missed", "false alarms", "mean ± SD (empty = 1)"]
    released = summary.dice_released_code
    rows = []
    for structure in results.task.structures:
        one, other = summary.dice.structures[structure.name], released.structures[structure.name]
        rows.append([_swatch(structure.color) + html.escape(structure.name.replace("_", " ")), *_dice_cells(one, other)])
    rows.append(["all pooled", *_dice_cells(summary.dice.pooled, released.pooled)])
    return (
        "<h2>Structures</h2>"
        + _panel("Dice by structure", _table(header, rows, total=True))
        + _panel("Spread by structure", figures.dice_figure(results, dice(results.counts)))
    )


def _examples(examples: Sequence[Example], task: Task) -> str:
    legend = [_swatch(s.color) + html.escape(s.name.replace("_", " ")) for s in task.structures]
    if task.landmarks:
        legend += [f"{_CROSS}predicted landmark (faint: below the threshold)", f"{_CIRCLE}true landmark"]
        legend.append(f"{_swatch(HEAT)}heatmaps, each as strong as its confidence")
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
    title = f'<h2>Best, median and worst images <span class="soft">({rule})</span></h2>'
    return f'{title}<div class="legend">{items}</div>{"".join(parts)}'


def _specimens(summary: Summary) -> str:
    header = ["specimen", "images", "mean Dice", "visible", "median error", "mean ± SD", "activated", "mean ± SD of these"]
    rows = []
    for name, one in summary.specimens.items():
        e = one.errors
        cells = [str(e.visible), number(e.median), plus_minus(e.mean, e.sd), percent(e.activated_share, 0)]
        cells.append(plus_minus(e.activated_mean, e.activated_sd))
        rows.append([html.escape(name), str(one.images), number(one.dice, 3), *cells])
    return "<h2>Specimens</h2>" + _panel("By specimen (mm on the detector)", _table(header, rows))


def _geometry(results: ImageResults) -> str:
    figure = figures.geometry_figure(results)
    title = "Rotation from the standard AP view" + (", and error with it (median and middle half)" if results.task.landmarks else "")
    return "" if figure is None else "<h2>Views</h2>" + _panel(title, figure)


def _origin(predictions: "PredictionFolder", dataset: "XrayDataset") -> str:
    model, header = predictions.description["model"], dataset.header
    training = {key: value for key, value in model.get("training", {}).items() if isinstance(value, str | int | float)}
    rows, columns = dataset.image_shape
    facts: list[tuple[str, str]] = [
        ("data set", f"{dataset.folder.resolve()} (checksum {dataset.checksum()[:12]})"),
        ("images", f"{header.count} of {rows} × {columns} pixels, {dataset.pixel_spacing_mm:.4g} mm on the detector, seed {header.seed}"),
        ("specimens", ", ".join(str(one.get("name", "?")) for one in header.specimens)),
        ("simulated with", _pairs(header.versions)),
        ("model", f"{model['path']} (checksum {model['sha256'][:12]})"),
        ("network", f"{model['architecture']}, size {model['size']}, trained on {' × '.join(map(str, model['image_size']))} pixels"),
        ("training", _pairs(training) or "not recorded"),
        ("predicted on", f"{predictions.description['device']}, {_pairs(predictions.description['versions'])}"),
        ("evaluated with", _pairs(versions())),
    ]
    lines = "".join(f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in facts)
    return f'<h2>Where the numbers come from</h2><div class="panel"><table class="facts"><tbody>{lines}</tbody></table></div>'


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())


def _definitions(task: Task, summary: Summary) -> str:
    overlap = (
        "One label a pixel: where bones overlap in the truth, the later structure of the task lies on top."
        if task.segmentation == "exclusive"
        else "Structures may overlap; each is compared for itself."
    )
    texts = [
        "Dice of an image counts where the true mask is not empty; 'missed' are images with a true mask and no predicted pixel, "
        "'false alarms' the reverse. The last column follows the released code: both empty counts as 1, a prediction where the truth "
        f"is empty as 0. {overlap}",
    ]
    if task.landmarks:
        texts += [
            "A landmark is visible when its true position lies inside the frame. The prediction is the highest point of its heatmap, "
            "anywhere in the image. Errors are distances on the detector in mm; at the isocentre they are divided by the magnification "
            "there.",
            f"Activated are visible landmarks whose heatmap correlates (ncc) above {summary.threshold:g} with the ideal peak. SD is the "
            "population's. The median, the 95th percentile and the shares are over all visible landmarks, whatever the confidence.",
        ]
    return "<h2>How the numbers are made</h2>" + "".join(f'<p class="soft">{html.escape(text)}</p>' for text in texts)
