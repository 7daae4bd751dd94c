"""Landmarks as a point list on the image; what the network says of each stands in its description, where the user reads it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import ijkToWorld
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import Task

_SURE, _UNSURE = (0.2, 0.9, 0.3), (0.6, 0.6, 0.6)  # colours of points above and below the threshold
_NAN = float("nan")


@dataclass(frozen=True)
class Measures:
    """What a network says of a landmark; NaN where it does not.

    Attributes
    ----------
    confidence
        See `Prediction.confidence`.
    presence
        Probability that the landmark is inside the frame.
    spread
        How far several models or views were apart, pixels.
    """

    confidence: float = _NAN
    presence: float = _NAN
    spread: float = _NAN

    def text(self) -> str:
        """As it stands in a point's description."""
        parts = [f"confidence {self.confidence:.4f}"]
        parts += [f"presence {self.presence:.4f}"] if np.isfinite(self.presence) else []
        parts += [f"spread {self.spread:.2f} px"] if np.isfinite(self.spread) else []
        return ", ".join(parts)

    @staticmethod
    def of(markupsNode: Any, index: int) -> Measures:
        """Of a point that `addLandmarks` made; NaN of any other."""
        words = markupsNode.GetNthControlPointDescription(index).replace(",", " ").split() if index >= 0 else []
        if words[:1] != ["confidence"]:
            return Measures()
        pairs = dict(pairwise(words))
        return Measures(*(float(pairs.get(name, _NAN)) for name in ("confidence", "presence", "spread")))


def addLandmarks(name: str, volumeNode: Any, frame: int, prediction: Prediction, task: Task, threshold: float) -> Any:
    """Landmarks of one frame as a new vtkMRMLMarkupsFiducialNode, in world coordinates; see `result_nodes.FoundNodes`."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    dressPoints(node)
    fillLandmarks(node, volumeNode, frame, prediction, task, threshold)
    return node


def fillLandmarks(
    node: Any, volumeNode: Any, frame: int, prediction: Prediction, task: Task, threshold: float, showUnsure: bool = True
) -> None:
    """Put the landmarks of a frame into a point list; points that it has already are moved."""
    matrix, names = ijkToWorld(volumeNode), task.landmark_names
    with slicer.util.NodeModify(node):
        if tuple(node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())) != names:
            node.RemoveAllControlPoints()
            for name in names:
                node.AddControlPoint((0.0, 0.0, 0.0), name)
        for index, (column, row) in enumerate(prediction.landmarks.astype(float)):
            node.SetNthControlPointPositionWorld(index, *(matrix @ [column, row, frame, 1])[:3])
            told = [None if one is None else float(one[index]) for one in (prediction.presence, prediction.landmark_spread)]
            measures = Measures(float(prediction.confidence[index]), *(_NAN if one is None else one for one in told))
            _mark(node, index, measures, threshold, showUnsure)


def dressPoints(markupsNode: Any) -> None:
    """Green for points above the threshold, grey for the others."""
    markupsNode.CreateDefaultDisplayNodes()
    markupsNode.GetDisplayNode().SetSelectedColor(*_SURE)
    markupsNode.GetDisplayNode().SetColor(*_UNSURE)


def markThreshold(markupsNode: Any, threshold: float, showUnsure: bool = True) -> None:
    """Mark the points whose confidence is not above a threshold, by their descriptions and colour; or hide them."""
    with slicer.util.NodeModify(markupsNode):
        for index in range(markupsNode.GetNumberOfControlPoints()):
            measures = Measures.of(markupsNode, index)
            if not np.isnan(measures.confidence):  # else the user added the point
                _mark(markupsNode, index, measures, threshold, showUnsure)


def confidenceOf(markupsNode: Any, index: int) -> float:
    """Confidence of a point that `addLandmarks` made; NaN of any other."""
    return Measures.of(markupsNode, index).confidence


def _mark(markupsNode: Any, index: int, measures: Measures, threshold: float, showUnsure: bool) -> None:
    sure = bool(measures.confidence > threshold)
    markupsNode.SetNthControlPointSelected(index, sure)
    markupsNode.SetNthControlPointVisibility(index, sure or showUnsure)
    markupsNode.SetNthControlPointDescription(index, measures.text() + ("" if sure else f", not above {threshold:g}"))
