"""Masks and landmarks of the scene held against a reference: numbers, table and activation curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.nodes import pointsInWorld
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXInferLib.landmark_nodes import confidenceOf
from SyntheXInferLib.result_nodes import FoundNodes, eachFrame, pixelsOf, segmentIds, segmentMasks
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.curve import ActivationCurve, activation_curve

# Columns of the table after the name, and of the table under the curve.
COLUMNS = ("dice", "error_detector_mm", "confidence", "activated", "frames")
_CURVE_COLUMNS = ("activated_percent", "mean_error_mm", "threshold")
_CURVE_COLOR = (0.12, 0.47, 0.71)


@dataclass(frozen=True)
class Comparison:
    """N frames held against a reference.

    Attributes
    ----------
    structures, counts
        Names of the C structures that both sides have, and pixel counts (N, C).
    landmarks, errors, confidence
        Names of the L landmarks that both sides have; (N, L) errors in mm on the detector, NaN where there is nothing to compare with, and
        (N, L) confidence.
    millimetres
        Whether the pixel spacing is known; without it the errors are in pixels.
    """

    structures: tuple[str, ...]
    counts: metrics.Overlap
    landmarks: tuple[str, ...]
    errors: np.ndarray
    confidence: np.ndarray
    millimetres: bool = True

    def rows(self, threshold: float) -> list[tuple[Any, ...]]:
        """A row for each structure and landmark: name and `COLUMNS`, see `evaluationTable`."""
        nan, rows = float("nan"), []
        for name, dice in zip(self.structures, metrics.summarize_dice(self.counts)[0], strict=True):
            rows.append((name, nan if dice.mean is None else dice.mean, nan, nan, nan, dice.images))
        for place, name in enumerate(self.landmarks):
            error = metrics.summarize_errors(self.errors[:, place], self.confidence[:, place], threshold)
            median = nan if error.median is None else error.median
            rows.append((name, nan, median, float(self.confidence[:, place].mean()), error.activated, error.visible))
        return rows

    def curve(self) -> ActivationCurve:
        """Error against activated landmarks, of all frames together."""
        return activation_curve(self.errors, self.confidence)


def compare(imageNode: Any, found: FoundNodes, reference: FoundNodes, spacing: tuple[float, float] | None = None) -> Comparison:
    """Hold what was found against a reference.

    Parameters
    ----------
    imageNode
        The image, (K, H, W), or a sequence of images.
    found
        What `SyntheXInferLogic` gave for it.
    reference
        The truth on the same image: a segmentation or None, and markups for each frame or none; of a sequence, sequences with its index
        values. Structures and landmarks are matched by name; those that one side lacks are left out.
    spacing
        Height and width of a pixel in mm on the detector; None when they are not known: errors are then in pixels.

    Raises
    ------
    SyntheXError
        When nothing can be compared or the numbers of frames differ.
    """
    pairs = [
        (volume, mine, theirs)
        for (volume, mine), (_, theirs) in zip(eachFrame(imageNode, found), eachFrame(imageNode, reference), strict=True)
    ]
    structures = _common(
        [segmentIds(mine.segmentation) for _, mine, _ in pairs if mine.segmentation is not None],
        [segmentIds(theirs.segmentation) for _, _, theirs in pairs if theirs.segmentation is not None],
    )
    counts = [
        metrics.overlap(_masks(mine.segmentation, structures, volume), _masks(theirs.segmentation, structures, volume))
        for volume, mine, theirs in pairs
        if structures and theirs.segmentation is not None and mine.segmentation is not None
    ]
    landmarks = tuple(_commonPoints(pairs))
    errors, confidence = [np.zeros((0, len(landmarks)))], [np.zeros((0, len(landmarks)))]
    for volume, mine, theirs in pairs if landmarks else ():
        if not theirs.landmarks:
            continue
        if len(mine.landmarks) != len(theirs.landmarks):
            raise SyntheXError(f"Expected reference landmarks for {len(mine.landmarks)} frames, found {len(theirs.landmarks)}.")
        errors.append(_errors(volume, mine.landmarks, theirs.landmarks, landmarks, spacing))
        confidence.append(np.array([[_confidence(node, name) for name in landmarks] for node in mine.landmarks]))
    if not structures and not landmarks:
        raise SyntheXError("Nothing to evaluate: expected reference segments or points with the names of those that were found.")
    parts = [np.concatenate([getattr(one, name) for one in counts]) for name in ("intersection", "predicted", "truth")] if counts else []
    overlap = metrics.Overlap(*(parts or [np.zeros((0, len(structures)), np.int64)] * 3))
    return Comparison(
        tuple(structures.values()), overlap, landmarks, np.concatenate(errors), np.concatenate(confidence), spacing is not None
    )


def evaluationTable(name: str, comparison: Comparison, threshold: float) -> Any:
    """Dice of the structures and errors of the landmarks.

    Parameters
    ----------
    name
        Of the node.
    comparison
        See `compare`.
    threshold
        Confidence above which a landmark counts as activated.

    Returns
    -------
    vtkMRMLTableNode
        A row for each structure and landmark: ``name``; ``dice``, the mean over the frames that count; ``error_detector_mm``, the median
        over them, millimetres on the detector where the pixel spacing is known, else pixels; ``confidence``, the mean; ``activated``,
        frames in which the confidence is above the threshold; ``frames`` that count. NaN where a column does not apply.
    """
    rows = comparison.rows(threshold)
    return _tableNode(name, {title: [row[place] for row in rows] for place, title in enumerate(("name", *COLUMNS))})


def addCurve(name: str, comparison: Comparison) -> Any:
    """The activation curve (`evaluation.curve`) as a new vtkMRMLPlotChartNode, with a series and a table.

    Raises
    ------
    SyntheXError
        When no landmark could be compared.
    """
    curve, scene = comparison.curve(), slicer.mrmlScene
    if not curve.share.size:
        raise SyntheXError("There is no activation curve: no landmark could be compared with a reference.")
    table = _tableNode(f"{name} table", dict(zip(_CURVE_COLUMNS, (100 * curve.share, curve.error_mm, curve.confidence), strict=True)))
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(_CURVE_COLUMNS[0])
    series.SetYColumnName(_CURVE_COLUMNS[1])
    series.SetPlotType(series.PlotTypeScatter)  # of numbers against numbers, joined by lines
    series.SetLineStyle(series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleCircle)
    series.SetColor(*_CURVE_COLOR)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle("activated landmarks, %")
    chart.SetYAxisTitle("mean error on the detector, mm" if comparison.millimetres else "mean error, pixels")
    chart.SetLegendVisibility(False)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def removeCurve(chartNode: Any) -> None:
    """Remove a chart that `addCurve` made, with its series and table."""
    series = [chartNode.GetNthPlotSeriesNode(place) for place in range(chartNode.GetNumberOfPlotSeriesNodes())]
    remove_nodes([*(one.GetTableNode() for one in series), *series, chartNode])


def _common(mine: Sequence[dict[str, tuple[str, str]]], theirs: Sequence[dict[str, tuple[str, str]]]) -> dict[str, str]:
    """Plain name to name of the segments that occur on both sides."""
    known = {key for segments in theirs for key in segments}
    return {key: name for segments in mine for key, (name, _) in segments.items() if key in known}


def _commonPoints(pairs: Sequence[tuple[Any, FoundNodes, FoundNodes]]) -> list[str]:
    known = {name for _, _, theirs in pairs for node in theirs.landmarks for name in pointsInWorld(node)}
    labels = [
        node.GetNthControlPointLabel(index)
        for _, mine, _ in pairs
        for node in mine.landmarks[:1]
        for index in range(node.GetNumberOfControlPoints())
    ]
    return [name for name in dict.fromkeys(labels) if name in known]


def _errors(
    volume: Any, found: Sequence[Any], reference: Sequence[Any], names: Sequence[str], spacing: tuple[float, float] | None
) -> np.ndarray:
    """(K, L) distances in mm."""
    predicted, truth = (np.stack([pixelsOf(volume, node, names) for node in nodes]) for nodes in (found, reference))
    columns, rows, _ = volume.GetImageData().GetDimensions()
    with np.errstate(invalid="ignore"):
        visible = np.all((truth >= -0.5) & (truth <= np.array([columns, rows]) - 0.5), axis=-1)
    # Along each axis its own spacing, then both in mm.
    millimetres = np.array(spacing[::-1] if spacing else (1.0, 1.0))
    return metrics.landmark_errors(predicted * millimetres, truth * millimetres, visible)


def _confidence(node: Any, name: str) -> float:
    return confidenceOf(node, node.GetControlPointIndexByLabel(name))


def _masks(segmentationNode: Any, keys: Any, volumeNode: Any) -> np.ndarray:
    """(K, C, H, W) masks of the named segments on the grid of the image; empty where there is no such segment."""
    segments, shape = segmentIds(segmentationNode), slicer.util.arrayFromVolume(volumeNode).shape
    there = [key for key in keys if key in segments]
    masks = dict(zip(there, segmentMasks(segmentationNode, [segments[key][1] for key in there], volumeNode), strict=True))
    return np.stack([masks.get(key, np.zeros(shape, bool)) for key in keys], axis=1)


def _tableNode(name: str, columns: dict[str, Any]) -> Any:
    """A new table node; a column of text is one whose first value is."""
    table = vtk.vtkTable()
    for title, values in columns.items():
        column = vtk.vtkStringArray() if len(values) and isinstance(values[0], str) else vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetAndObserveTable(table)
    return node
