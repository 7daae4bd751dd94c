"""One HTML file that shows an evaluation: nothing outside it is needed, no script, light and dark, fit for paper."""

import base64
import html
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from SyntheXLib.evaluation import figures
from SyntheXLib.evaluation.bone_mesh import BoneMesh
from SyntheXLib.evaluation.examples import EACH, make_examples
from SyntheXLib.evaluation.html_parts import distinct_ids, panel, remark
from SyntheXLib.evaluation.model_evaluation import ModelEvaluation
from SyntheXLib.evaluation.modes import counted_word
from SyntheXLib.evaluation.paired import PairedDifference
from SyntheXLib.evaluation.report_model import model_part
from SyntheXLib.evaluation.report_overview import overview
from SyntheXLib.evaluation.summary import Summary, number, percent
from SyntheXLib.evaluation.views_figure import VIEWS_SIZE, views_figure
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.outputs import versions
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset
    from SyntheXLib.inference.predictions import PredictionFolder


def write_report(
    path: Path,
    models: Sequence[ModelEvaluation],
    comparisons: Sequence[PairedDifference],
    dataset: "XrayDataset",
    mesh: tuple[str, BoneMesh] | None = None,
) -> None:
    """Write the report.

    Parameters
    ----------
    path
        HTML file to make.
    models, comparisons
        What was found.
    dataset
        The truth; read for the pictures.
    mesh
        A specimen's bones for the picture of the views, see `bone_mesh.bone_mesh`.

    Raises
    ------
    SyntheXError
        When the file cannot be written.
    """
    first = models[0]
    task, summary = first.results.task, first.summary
    each = EACH if len(models) == 1 else 1
    sections = [overview(models, comparisons, task)]
    for model in models:
        examples = make_examples(model.results, model.predictions, dataset, model.summary.threshold, each)
        part = model_part(model, examples, model.name if len(models) > 1 else "")
        sections.append(distinct_ids(part, f"m{len(sections)}-"))
    sections += [_geometry(first, mesh, len(models) > 1), _origin(models, dataset), _definitions(task, summary)]
    template = Template(Path(__file__).with_name("report_template.html").read_text(encoding="utf-8"))
    told = [f"{summary.images} images", f"{len(task.structures)} structures", f"{len(task.landmarks)} landmarks"]
    told += [f"{len(models)} models"] * (len(models) > 1) + [f"mode {summary.mode}", _now()]
    page = template.substitute(
        title=html.escape(f"{task.title}: evaluation on {dataset.folder.resolve().name}"),
        subtitle=html.escape(" · ".join(told)),
        warnings=_warnings(models, dataset),
        cards=_cards(summary) if len(models) == 1 else "",
        body="\n".join(section for section in sections if section),
        tiles=3 if task.landmarks else 2,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _warnings(models: Sequence[ModelEvaluation], dataset: "XrayDataset") -> str:
    found = []
    for model in models:
        whose = f"{model.name}: " if len(models) > 1 else ""
        if _trained_on(model.predictions.description["model"].get("training", {}), dataset):
            found.append(
                f"{whose}The model was trained on this very data set: these numbers say how well it remembers, not how well it generalizes."
            )
        if model.summary.detector.missing:
            missing = f"{model.summary.detector.missing} {counted_word(model.summary.mode)} landmarks have no prediction"
            found.append(f"{whose}{missing}; medians, quantiles and success rates count them as failures.")
        found += [whose + note for note in model.summary.notes]
    if models[0].summary.mode == "strict" and len(set(models[0].results.specimen)) < 2:
        found.append("All images are of one specimen: the intervals hold the spread between its images, not that between patients.")
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
            (number(e.median, 2, " mm"), f"median landmark error on the detector, all {e.visible} {counted_word(summary.mode)} landmarks"),
            (percent(e.activated_share), f"activated: ncc > {summary.threshold:g} ({e.activated} of {e.visible})"),
            (number(e.activated_mean, 2, " mm"), "mean error on the detector of the activated landmarks"),
        ]
    items = "".join(f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(text)}</span></div>' for value, text in cards)
    return f'<div class="cards">{items}</div>'


def _geometry(model: ModelEvaluation, mesh: tuple[str, BoneMesh] | None, several: bool) -> str:
    results = model.results
    figure = figures.geometry_figure(results)
    if figure is None:
        return ""
    whose = f", {model.name}" if several else ""
    title = "Rotation from the standard AP view" + (
        f", and error with it (median and middle half{whose})" if results.task.landmarks else ""
    )
    parts = ["<h2>Views</h2>", panel(title, figure)]
    picture = views_figure(results, mesh)
    if picture is not None:
        told = "about their specimens' mean isocentres" + (f", with the bones of {mesh[0]}" if mesh else "")
        width, height = VIEWS_SIZE
        address = f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}"
        image = f'<svg class="views" viewBox="0 0 {width} {height}" role="img" aria-label="X-ray sources and principal rays in 3D">'
        image += f'<image href="{address}" width="{width}" height="{height}"/></svg>'
        parts.append(panel(f"X-ray sources (dots) and principal rays (lines) {told}", image))
    return "".join(parts)


def _origin(models: Sequence[ModelEvaluation], dataset: "XrayDataset") -> str:
    header = dataset.header
    rows, columns = dataset.image_shape
    facts: list[tuple[str, str]] = [
        ("data set", f"{dataset.folder.resolve()} (checksum {dataset.checksum()[:12]})"),
        ("images", f"{header.count} of {rows} × {columns} pixels, {dataset.pixel_spacing_mm:.4g} mm on the detector, seed {header.seed}"),
        ("specimens", ", ".join(str(one.get("name", "?")) for one in header.specimens)),
        ("simulated with", _pairs(header.versions)),
    ]
    for model in models:
        facts += _model_facts(model.predictions, model.name if len(models) > 1 else "")
    facts.append(("evaluated with", _pairs(versions())))
    lines = "".join(f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in facts)
    return f'<h2>Where the numbers come from</h2><div class="panel"><table class="facts"><tbody>{lines}</tbody></table></div>'


def _model_facts(predictions: "PredictionFolder", name: str) -> list[tuple[str, str]]:
    model = predictions.description["model"]
    training = {key: value for key, value in model.get("training", {}).items() if isinstance(value, str | int | float)}
    return [
        (f"model {name}".strip(), f"{model['path']} (checksum {model['sha256'][:12]})"),
        ("network", f"{model['architecture']}, size {model['size']}, trained on {' × '.join(map(str, model['image_size']))} pixels"),
        ("training", _pairs(training) or "not recorded"),
        ("predicted on", f"{predictions.description['device']}, {_pairs(predictions.description['versions'])}"),
    ]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())


_MODE_TEXTS = {
    "strict": "Mode strict: each landmark whose true position lies inside the frame counts, in millimetres of the exact pixel spacing. The "
    "prediction is the highest point of its heatmap, anywhere in the image. Means are taken within each specimen and then over the "
    "specimens; their 95 % intervals resample specimens, then the images within (bootstrap). The Dice of an image counts where the true "
    "mask is not empty. ± is the pooled SD.",
    "paper-text": "Mode paper-text: the prediction is the highest pixel of the heatmap, anywhere; all landmarks of known position "
    "count, inside the frame or not; a pixel belongs to a structure from a probability of 0.5; an image where both masks are empty has the "
    "Dice 1. Means and SDs are those of the test folds, averaged.",
    "released-code": "Mode released-code: the prediction is the highest pixel of the heatmap inside the predicted structure, "
    "none where that is empty (for a tool: anywhere, and both ends count only when 15 to 200 mm apart); millimetres follow from 0.194 mm "
    "times a whole reduction; both masks empty is a Dice of 1, Dice is rounded to 0.01. Means and SDs are pooled over landmarks and "
    "images, intervals are 1.96 SD / √n, as if all were independent.",
}


def _definitions(task: Task, summary: Summary) -> str:
    overlap = (
        "One label a pixel: where bones overlap in the truth, the later structure of the task lies on top."
        if task.segmentation == "exclusive"
        else "Structures may overlap; each is compared for itself."
    )
    texts = [
        _MODE_TEXTS[summary.mode],
        "In the pooled Dice table an image counts where the true mask is not empty; 'missed' are images with a true mask and no predicted "
        "pixel, 'false alarms' the reverse. The last column follows the released code: both empty counts as 1, a prediction where the "
        f"truth is empty as 0. {overlap}",
        "The surface distance is the mean distance from each pixel of either outline to the nearest of the other one, mm on the detector, "
        "where both masks have an outline; the edge of the image is none.",
    ]
    if task.landmarks:
        texts.append(
            "Errors are distances on the detector in mm; at the isocentre they are divided by the magnification there. Activated are "
            f"landmarks whose heatmap correlates (ncc) above {summary.threshold:g} with the ideal peak. In the pooled table SD is the "
            "population's; the median, the 95th percentile and the shares are over all that count, whatever the confidence."
        )
    return "<h2>How the numbers are made</h2>" + "".join(map(remark, texts))
