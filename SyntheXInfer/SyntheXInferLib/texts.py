"""What the Infer panel says of images, models and results."""

from __future__ import annotations

from slicer.i18n import tr as _

from SyntheXInferLib.evaluation import Comparison
from SyntheXInferLib.live import LiveNumbers
from SyntheXInferLib.models import ModelFacts
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXLib.inference.image_facts import ImageFacts


def factsText(facts: ImageFacts, madeBySyntheX: bool) -> str:
    """What is known of an image, in a few words."""
    parts = [_("{columns} x {rows} pixels").format(columns=facts.shape[1], rows=facts.shape[0])]
    if facts.frames != 1:
        parts.append(_("{count} frames").format(count=facts.frames))
    if facts.pixel_spacing_mm is None:
        parts.append(_("pixel spacing unknown: the image is fitted into the size of the training"))
    else:
        height, width = (f"{side:.4g}" for side in facts.pixel_spacing_mm)
        size = height if height == width else f"{height} x {width}"
        parts.append(_("pixel {size} mm ({source})").format(size=size, source=facts.spacing_source))
    if madeBySyntheX:
        parts.append(_("linear signal, bone is dark (made by SyntheX)"))
    else:
        parts += [facts.photometric] if facts.photometric else []
        polarities = {"bone-bright": _("bone is bright"), "bone-dark": _("bone is dark")}
        parts.append(polarities[facts.polarity] if facts.polarity else _("polarity not told"))
        parts += [{"linear": _("linear"), "log": _("logarithmic")}[facts.intensity]] if facts.intensity else []
    if facts.window is not None:
        parts.append(_("window {center:g} / {width:g}").format(center=facts.window[0], width=facts.window[1]))
    return "; ".join(parts)


def modelText(facts: ModelFacts) -> str:
    """What a model is for and where it comes from."""
    text = _("{task}: {structures} structures, {landmarks} landmarks; {size} network for {columns} x {rows} pixels of {pixel:.3g} mm")
    rows, columns = facts.shape
    text = text.format(
        task=facts.task,
        structures=len(facts.structures),
        landmarks=len(facts.landmarks),
        size=facts.size,
        columns=columns,
        rows=rows,
        pixel=facts.pixel_spacing_mm,
    )
    if facts.epochs is not None and facts.images is not None:
        text += _("; trained for {epochs} epochs on {images} images").format(epochs=facts.epochs, images=facts.images)
        text += _(" of {datasets}").format(datasets=", ".join(facts.datasets)) if facts.datasets else ""
    else:
        text += _("; it does not say what it was trained on")
    if facts.start:
        started = _("random weights") if facts.start == "random" else facts.start
        text += _("; started from {start}").format(start=started)
    return text + (_("; MONAI bundle") if facts.bundle else "")


def modelNames(facts: ModelFacts) -> str:
    """All names, for a tooltip."""
    text = _("Structures: {structures}\nLandmarks: {landmarks}").format(
        structures=", ".join(facts.structures) or "-", landmarks=", ".join(facts.landmarks) or "-"
    )
    return text + (_("\nHeld out: {specimens}").format(specimens=", ".join(facts.held_out)) if facts.held_out else "")


def foundText(found: FoundNodes, pixelMm: float | None) -> str:
    """What was found, how far models and views differ, what the image was taken for, and what of it is unlike the model's validation.

    `pixelMm` is the mean side of a pixel; None where it is not known.
    """
    sure, count = found.landmarkCounts()
    text = _("{found} of {count} landmarks are above the threshold.").format(found=sure, count=count) if count else _("Masks found.")
    points, masks = found.spread()
    parts = []
    if points == points:
        size, unit = (points, _("pixels")) if pixelMm is None else (points * pixelMm, "mm")
        parts.append(_("landmarks {size:.2g} {unit} (median)").format(size=size, unit=unit))
    if masks == masks:
        parts.append(_("masks {share:.2g} (mean 1 - Dice)").format(share=masks))
    if parts:
        text += " " + _("The answers differ by: {parts}.").format(parts="; ".join(parts))
    meaning = found.meaning()
    polarity = {"bone-bright": _("bone is bright"), "bone-dark": _("bone is dark")}.get(meaning[0])
    intensity = {"linear": _("linear"), "log": _("logarithmic")}.get(meaning[1])
    if polarity is not None:
        text += " " + _("The image was taken as: {polarity}, {intensity}.").format(polarity=polarity, intensity=intensity)
    return text + (" " + _("Warning: the image is {warning}.").format(warning=found.warning()) if found.warning() else "")


def liveText(numbers: LiveNumbers, problem: str) -> str:
    """How well a live inference keeps up, and what is wrong."""
    if numbers.latency_s == numbers.latency_s:
        text = _("{rate:.1f} frames/s, {latency:.0f} ms behind the image; {done} frames shown, {passed} passed over").format(
            rate=numbers.rate, latency=1000 * numbers.latency_s, done=numbers.done, passed=numbers.passed
        )
    else:
        text = _("Waiting for the first frame ...")
    return f"{text}\n{problem}" if problem else text


def comparisonText(comparison: Comparison, threshold: float) -> str:
    """The two numbers by which results are compared."""
    values = [row[1] for row in comparison.rows(threshold) if row[1] == row[1]]
    parts = [_("Mean Dice {dice:.3f}").format(dice=sum(values) / len(values))] if values else []
    point = comparison.curve().at_threshold(threshold)
    if comparison.landmarks and point.error_mm is not None:
        text = _("above {threshold:g} are {share:.0f} % of the landmarks, with a mean error of {error:.2f} {unit}")
        unit = _("mm on the detector") if comparison.millimetres else _("pixels")
        parts.append(text.format(threshold=threshold, share=100 * point.share, error=point.error_mm, unit=unit))
    elif comparison.landmarks:
        parts.append(_("no landmark is above {threshold:g}").format(threshold=threshold))
    sentence = "; ".join(parts) + "." if parts else ""
    return sentence[:1].upper() + sentence[1:]
