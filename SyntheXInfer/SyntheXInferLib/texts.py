"""What the Infer panel says of images, models and results."""

from __future__ import annotations

from slicer.i18n import tr as _

from SyntheXInferLib.evaluation import Comparison
from SyntheXInferLib.logic import ModelFacts
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
    return text


def modelNames(facts: ModelFacts) -> str:
    """All names, for a tooltip."""
    return _("Structures: {structures}\nLandmarks: {landmarks}").format(
        structures=", ".join(facts.structures) or "-", landmarks=", ".join(facts.landmarks) or "-"
    )


def foundText(sure: int, count: int, meaning: tuple[str, str], warning: str = "") -> str:
    """How many landmarks are certain, what the image was taken for, and what of it is unlike the model's validation."""
    text = _("{found} of {count} landmarks are above the threshold.").format(found=sure, count=count) if count else _("Masks found.")
    polarity = {"bone-bright": _("bone is bright"), "bone-dark": _("bone is dark")}.get(meaning[0])
    intensity = {"linear": _("linear"), "log": _("logarithmic")}.get(meaning[1])
    if polarity is not None:
        text += " " + _("The image was taken as: {polarity}, {intensity}.").format(polarity=polarity, intensity=intensity)
    return text + (" " + _("Warning: the image is {warning}.").format(warning=warning) if warning else "")


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
    return "; ".join(parts) + "." if parts else ""
