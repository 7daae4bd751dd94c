"""The report's first part: all models in the same tables and figures, laid out as the paper's."""

import html
from collections.abc import Sequence

from SyntheXLib.evaluation import figures
from SyntheXLib.evaluation.confusion import CONFUSION_MEASURES
from SyntheXLib.evaluation.estimates import Headline
from SyntheXLib.evaluation.html_parts import pair, panel, plain, remark, swatch, table
from SyntheXLib.evaluation.model_evaluation import ModelEvaluation
from SyntheXLib.evaluation.modes import counted_word
from SyntheXLib.evaluation.paired import PairedDifference
from SyntheXLib.evaluation.summary import MEANS, headline_text, number, percent
from SyntheXLib.tasks.task import Task

_AREA = "Area under the curve, mm"
_ABSENT = "Visible against out of frame by confidence, area under the ROC curve"
_MEASURES = {"error_mm": "landmark error, mm", "dice": "Dice"}


def overview(models: Sequence[ModelEvaluation], comparisons: Sequence[PairedDifference], task: Task) -> str:
    """Models (Table 1), activation curves (Fig. 4), landmarks and structures (Extended Data Tables 1-5), comparison of the models."""
    mode = models[0].summary.mode
    parts = [f"<h2>{'Models' if len(models) > 1 else 'Result'}</h2>", panel(f"{MEANS[mode]}", _models(models))]
    if task.landmarks:
        parts.append(_curves(models))
    if comparisons:
        parts.append(_comparisons(comparisons))
    if task.landmarks:
        parts.append(_landmarks(models, task))
    parts.append(_structures(models, task))
    if not task.landmarks:
        parts.append(_confusion(models, task))
    return "".join(parts)


def _cell(one: Headline, digits: int = 2, scale: float = 1) -> str:
    """As `summary.headline_text`; a line may break before the interval alone."""
    return headline_text(one, digits, scale).replace(" ± ", "\u00a0±\u00a0").replace(", ", ",\u00a0")


def _models(models: Sequence[ModelEvaluation]) -> str:
    shown = {
        "activated_error_mm": (f"error (mm), ncc > {models[0].summary.threshold:g}", 2, 1, -1),
        "activated_share": ("activated, %", 1, 100, 1),
        "error_mm": ("error (mm), all", 2, 1, -1),
        "success_10_mm": ("within 10 mm, %", 1, 100, 1),
        "dice": ("Dice", 3, 1, 1),
        "surface_mm": ("surface distance, mm", 2, 1, -1),
    }
    keys = [key for key in shown if key in models[0].summary.headline]
    rows = [[html.escape(m.name), *(_cell(m.summary.headline[k], *shown[k][1:3]) for k in keys)] for m in models]
    best = []
    for column, key in enumerate(keys, 1):
        values = [(shown[key][3] * v, n) for n, m in enumerate(models) if (v := m.summary.headline[key].value) is not None]
        if len(models) > 1 and values:
            top = max(values)[0]
            best += [(n, column) for value, n in values if value == top and min(values)[0] < top]  # equal ones both, no winner of a draw
    return table(["model", *(shown[key][0] for key in keys)], rows, best=best, wrap=True)


def _curves(models: Sequence[ModelEvaluation]) -> str:
    of = counted_word(models[0].summary.mode)
    figure = figures.activation_figure([(m.name, m.summary.curve, m.summary.at_threshold) for m in models], of)
    drawn = panel("Error when only the most confident are kept", figure)
    if len(models) == 1:
        return "<h2>Activation curve</h2>" + pair(drawn, panel("The curve in numbers", _one_curve(models[0])))
    return "<h2>Activation curves</h2>" + drawn + panel("The curves in numbers (mean error in mm on the detector)", _many_curves(models))


def _one_curve(model: ModelEvaluation) -> str:
    summary = model.summary
    at = summary.at_threshold
    rows = [[percent(at.share), f"{at.threshold:g} (given)", str(at.count), number(at.error_mm)]]
    for share, point in summary.at_shares.items():
        told = ["not reached", "–", "–"] if point is None else [number(point.threshold, 3), str(point.count), number(point.error_mm)]
        rows.append([f"{100 * float(share):g} %", *told])
    area, chance = summary.headline.get("curve_area_mm"), summary.headline.get("absent_auc")
    specimens = ["" if one is None else f"; mean of the specimens {headline_text(one, d)}" for one, d in ((area, 2), (chance, 3))]
    remarks = remark(f"{_AREA}: pooled {number(summary.curve.area_mm())}{specimens[0]}.")
    if summary.absent_auc is not None:
        remarks += remark(f"{_ABSENT}: pooled {number(summary.absent_auc, 3)}{specimens[1]}.")
    return table(["activated", "ncc at least", "landmarks", "mean error, mm"], rows) + f'<div class="below">{remarks}</div>'


def _many_curves(models: Sequence[ModelEvaluation]) -> str:
    first = models[0].summary
    points = [(m.summary.at_threshold, f"{percent(m.summary.at_threshold.share)}") for m in models]
    rows = [[f"ncc &gt; {first.threshold:g}", *(f"{number(at.error_mm)} ({share})" for at, share in points)]]
    for share in first.at_shares:
        cells = []
        for m in models:
            point = m.summary.at_shares[share]
            cells.append("not reached" if point is None else f"{number(point.error_mm)} (ncc\u00a0≥\u00a0{point.threshold:.3f})")
        rows.append([f"{100 * float(share):g} % activated", *cells])
    rows.append([f"{_AREA}, pooled", *(number(m.summary.curve.area_mm()) for m in models)])
    rows.append([f"{_ABSENT}, pooled", *(number(m.summary.absent_auc, 3) for m in models)])
    for title, key, digits in ((_AREA, "curve_area_mm", 2), (_ABSENT, "absent_auc", 3)):
        if key in first.headline:
            rows.append([f"{title}, mean of the specimens", *(_cell(m.summary.headline[key], digits) for m in models)])
    return table(["", *(m.name for m in models)], rows, wrap=True)


def _landmarks(models: Sequence[ModelEvaluation], task: Task) -> str:
    of_structure = {s.name: s.color for s in task.structures}
    parts = []
    threshold = models[0].summary.threshold
    for key, title in (("activated_error_mm", f"activated (ncc > {threshold:g})"), ("error_mm", "all that count")):
        rows = []
        for landmark in task.landmarks:
            mark = swatch(of_structure[landmark.structures[0]]) if landmark.structures else ""
            cells = [_cell(m.summary.headline[f"{key}:{landmark.name}"]) for m in models]
            rows.append([mark + html.escape(landmark.name), *cells])
        rows.append(["all", *(_cell(m.summary.headline[key]) for m in models)])
        header = ["landmark", *(m.name for m in models)] if len(models) > 1 else ["landmark", "error, mm"]
        parts.append(panel(f"Error in mm on the detector, {title}", table(header, rows, total=True, wrap=True)))
    return "<h2>Landmarks</h2>" + (pair(*parts) if len(models) == 1 else "".join(parts))


def _structures(models: Sequence[ModelEvaluation], task: Task) -> str:
    overlap, outlines = [], []
    for s in task.structures:
        title = swatch(s.color) + html.escape(plain(s.name))
        overlap.append([title, *(_cell(m.summary.headline[f"dice:{s.name}"], 3) for m in models)])
        surfaces = [m.summary.surface[s.name] for m in models]
        outlines.append([title, *(f"{number(one.mean_mm)} ({number(one.hausdorff95_mm)})" for one in surfaces)])
    overlap.append(["all", *(_cell(m.summary.headline["dice"], 3) for m in models)])
    outlines.append(["all", *(_cell(m.summary.headline["surface_mm"]) for m in models)])
    names = [m.name for m in models]
    parts = [
        panel("Dice", table(["structure", *(names if len(models) > 1 else ["Dice"])], overlap, total=True, wrap=True)),
        panel(
            "Surface distance (and 95 % Hausdorff distance), mm on the detector",
            table(["structure", *(names if len(models) > 1 else ["mm"])], outlines, total=True, wrap=True),
        ),
    ]
    return "<h2>Structures</h2>" + (pair(*parts) if len(models) == 1 else "".join(parts))


def _confusion(models: Sequence[ModelEvaluation], task: Task) -> str:
    rows = []
    for m in models:
        for s in task.structures:
            one = m.summary.confusion[s.name]
            name = html.escape(plain(s.name) if len(models) == 1 else f"{m.name}: {plain(s.name)}")
            cells = [f"{number(one.mean[key], 3)} ± {number(one.sd[key], 3)}" for key in CONFUSION_MEASURES]
            rows.append([swatch(s.color) + name, *cells])
            rows.append(["&emsp;pixels of all images together", *(number(one.pooled[key], 3) for key in CONFUSION_MEASURES)])
    return panel("Pixels right and wrong (mean ± SD over the images)", table(["structure", *CONFUSION_MEASURES], rows))


def _comparisons(comparisons: Sequence[PairedDifference]) -> str:
    rows = []
    for one in comparisons:
        d, digits = one.difference, 3 if one.measure == "dice" else 2
        interval = "–" if d.low is None or d.high is None else f"[{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
        sure = d.low is not None and d.high is not None and (d.low > 0 or d.high < 0)
        value = "–" if d.value is None else f"{d.value:+.{digits}f}"
        p = "–" if one.p_value is None else f"{one.p_value:.2g}"
        cells = [_MEASURES[one.measure], value, interval, "yes" if sure else "no", percent(one.second_better, 0), str(one.images), p]
        rows.append([f"{html.escape(one.second)} − {html.escape(one.first)}", *cells])
    header = ["models", "measure", "difference", "95 % interval", "beyond chance", "images better", "images", "P (t-test)"]
    text = (
        "Differences image by image on what both models give (landmarks: whatever the confidence), mean of the specimens' means; the "
        "interval resamples specimens and the images in them. P: one-tailed paired t-test over images that the model named first is the "
        "better one, as in the paper; it takes images of one specimen for independent."
    )
    return "<h2>Model against model</h2>" + panel("Paired differences", table(header, rows), f'<div class="below">{remark(text)}</div>')
