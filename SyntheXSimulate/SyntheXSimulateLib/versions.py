"""Whether the nodes of a case are what they were."""

from __future__ import annotations

from typing import Any

import slicer

from SyntheXSimulateLib.structures import isSegmentation


def nodeVersion(node: Any | None) -> tuple[Any, ...]:
    """Changes when another node, other data of it, or another place is meant; cheap enough to be asked every frame.

    A segmentation and a markups node do not count as modified when a segment or a point of theirs is, so these are asked one by one.
    """
    if node is None:
        return ()
    parent = node.GetParentTransformNode()
    return (node.GetID(), _data(node), parent.GetTransformToWorldMTime() if parent is not None else 0)


def _data(node: Any) -> Any:
    if isSegmentation(node):
        return _segments(node.GetSegmentation())
    if node.IsA("vtkMRMLMarkupsNode"):
        points = range(node.GetNumberOfControlPoints())
        about = [
            (node.GetNthControlPointLabel(n), node.GetNthControlPointPositionStatus(n), node.GetNthControlPointDescription(n))
            for n in points
        ]
        return tuple(about), slicer.util.arrayFromMarkupsControlPoints(node).tobytes() if about else b""
    data = node.GetImageData() if hasattr(node, "GetImageData") else None
    return node.GetMTime() if data is None else data.GetMTime()


def _segments(segmentation: Any) -> tuple[Any, ...]:
    """By segment when it, and the representation that the others are made of, was modified."""
    source, found = segmentation.GetSourceRepresentationName(), []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        representation = segment.GetRepresentation(source)
        found.append((segmentation.GetNthSegmentID(index), segment.GetMTime(), representation.GetMTime() if representation else 0))
    return tuple(found)
