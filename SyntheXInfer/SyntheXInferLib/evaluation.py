"""Masks and landmarks of the scene held against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXInferLib.result_nodes import FoundNodes, confidenceOf
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics
from SyntheXLib.scene.case_files import plain_name


def evaluationTable(volumeNode: Any, found: FoundNodes, reference: FoundNodes, threshold: float) -> Any:
    """Dice of the structures and errors of the landmarks.

    Parameters
    ----------
    volumeNode
        The image, (K, H, W).
    found
        What `SyntheXInferLogic.predict` gave for it.
    reference
        The truth on the same image: a segmentation or None, and markups for each frame or none. Structures and landmarks are matched by
        name; those that one side lacks are left out.
    threshold
        Confidence above which a landmark counts as activated.

    Returns
    -------
    vtkMRMLTableNode
        A row for each structure and landmark: ``name``; ``dice``, the mean over the frames that count; ``error_detector_mm``, the median
        over them, millimetres on the detector where the image has its pixel spacing; ``confidence``, the mean; ``activated``, frames in
        which the confidence is above the threshold; ``frames`` that count. NaN where a column does not apply.

    Raises
    ------
    SyntheXError
        When nothing can be compared or the numbers of frames differ.
    """
    rows: list[tuple[str, float, float, float, float, float]] = []
    nan = float("nan")
    if found.segmentation is not None and reference.segmentation is not None:
        theirs = _segments(reference.segmentation)
        names = {key: name for key, (name, _) in _segments(found.segmentation).items() if key in theirs}
        if names:
            counts = metrics.overlap(_masks(found.segmentation, names, volumeNode), _masks(reference.segmentation, names, volumeNode))
            for name, summary in zip(names.values(), metrics.summarize_dice(counts)[0], strict=True):
                rows.append((name, nan if summary.mean is None else summary.mean, nan, nan, nan, summary.images))
    if found.landmarks and reference.landmarks:
        if len(found.landmarks) != len(reference.landmarks):
            raise SyntheXError(f"Expected reference landmarks for {len(found.landmarks)} frames, found {len(reference.landmarks)}.")
        rows += _landmarkRows(volumeNode, found.landmarks, reference.landmarks, threshold)
    if not rows:
        raise SyntheXError("Nothing to evaluate: expected reference segments or points with the names of those that were found.")
    return _tableNode(f"{volumeNode.GetName()} evaluation", rows)


def _landmarkRows(volumeNode: Any, found: Sequence[Any], reference: Sequence[Any], threshold: float) -> list[Any]:
    names = [found[0].GetNthControlPointLabel(index) for index in range(found[0].GetNumberOfControlPoints())]
    known = {name for node in reference for name in pointsInWorld(node)}
    names = [name for name in names if name in known]
    if not names:
        return []
    predicted, truth = (np.stack([_pixels(volumeNode, node, names) for node in nodes]) for nodes in (found, reference))
    confidence = np.array([[confidenceOf(node, node.GetControlPointIndexByLabel(name)) for name in names] for node in found])
    columns, rows, _ = volumeNode.GetImageData().GetDimensions()
    with np.errstate(invalid="ignore"):
        visible = np.all((truth >= -0.5) & (truth <= np.array([columns, rows]) - 0.5), axis=-1)
    # Along each axis its own spacing, then both in mm.
    spacing = np.array(volumeNode.GetSpacing()[:2])
    errors = metrics.landmark_errors(predicted * spacing, truth * spacing, visible)
    result = []
    for place, name in enumerate(names):
        summary = metrics.summarize_errors(errors[:, place], confidence[:, place], threshold)
        median = float("nan") if summary.median is None else summary.median
        result.append((name, float("nan"), median, float(confidence[:, place].mean()), summary.activated, summary.visible))
    return result


def _segments(segmentationNode: Any) -> dict[str, tuple[str, str]]:
    """Plain name to (name, ID) of the segments."""
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {plain_name(name): (name, key) for key in ids if (name := segmentation.GetSegment(key).GetName())}


def _masks(segmentationNode: Any, keys: Any, volumeNode: Any) -> np.ndarray:
    """(K, C, H, W) masks of the named segments on the grid of the image."""
    segments = _segments(segmentationNode)
    masks = [slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segments[key][1], volumeNode) > 0 for key in keys]
    return np.stack(masks, axis=1)


def _pixels(volumeNode: Any, markupsNode: Any, names: Sequence[str]) -> np.ndarray:
    """(L, 2) column and row of the named points; NaN where there is none."""
    points = pointsInWorld(markupsNode)
    world = np.array([[*points.get(name, (np.nan,) * 3), 1.0] for name in names])
    return (world @ np.linalg.inv(ijkToWorld(volumeNode)).T)[:, :2]


def _tableNode(name: str, rows: Sequence[Sequence[Any]]) -> Any:
    table = vtk.vtkTable()
    names = vtk.vtkStringArray()
    names.SetName("name")
    for row in rows:
        names.InsertNextValue(row[0])
    table.AddColumn(names)
    for place, title in enumerate(("dice", "error_detector_mm", "confidence", "activated", "frames"), start=1):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for row in rows:
            column.InsertNextValue(row[place])
        table.AddColumn(column)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetAndObserveTable(table)
    return node
