"""What a network found, as nodes that lie on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXHomeLib.nodes import ijkToWorld
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

_SURE, _UNSURE = (0.2, 0.9, 0.3), (0.6, 0.6, 0.6)  # colours of points above and below the threshold


@dataclass(frozen=True)
class FoundNodes:
    """Masks and landmarks of an image of one or more frames.

    Attributes
    ----------
    segmentation
        vtkMRMLSegmentationNode in the geometry of the image, slice k being frame k: a segment for each structure, in the task's order.
    landmarks
        A vtkMRMLMarkupsFiducialNode for each frame with all landmarks in the task's order. A point whose confidence is not above the
        threshold is deselected (shown grey) and its description says so; its position is the network's best guess.
    """

    segmentation: Any
    landmarks: tuple[Any, ...]

    @property
    def inScene(self) -> bool:
        """Whether the nodes are still there: a scene can be closed at any time."""
        return all(node.GetScene() is not None for node in (self.segmentation, *self.landmarks))

    def landmarkCounts(self) -> tuple[int, int]:
        """Landmarks above the threshold, and all, over all frames."""
        points = [(node, index) for node in self.landmarks for index in range(node.GetNumberOfControlPoints())]
        return sum(bool(node.GetNthControlPointSelected(index)) for node, index in points), len(points)


def addSegmentation(name: str, volumeNode: Any, predictions: Sequence[Prediction], task: Task) -> Any:
    """Masks as a new vtkMRMLSegmentationNode, in world coordinates; overlapping structures of a multilabel task lie in layers of their own.

    Parameters
    ----------
    name
        Of the node.
    volumeNode
        The image, (K, H, W).
    predictions
        K of them.
    task
        Names and colours of the structures.
    """
    matrix = slicer.util.vtkMatrixFromArray(ijkToWorld(volumeNode))
    masks = structure_masks(np.stack([prediction.mask for prediction in predictions]), len(task.structures))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for structure in task.structures:
        node.AddSegmentFromBinaryLabelmapRepresentation(
            _orientedImage(masks[:, structure.bit], matrix), structure.name, [value / 255 for value in structure.color]
        )
    if task.segmentation == "exclusive":
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    return node


def addLandmarks(name: str, volumeNode: Any, frame: int, prediction: Prediction, task: Task, threshold: float) -> Any:
    """Landmarks of one frame as a new vtkMRMLMarkupsFiducialNode, in world coordinates; see `FoundNodes`."""
    matrix = ijkToWorld(volumeNode)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSelectedColor(*_SURE)
    node.GetDisplayNode().SetColor(*_UNSURE)
    for index, (landmark, (column, row), confidence) in enumerate(
        zip(task.landmark_names, prediction.landmarks.astype(float), prediction.confidence, strict=True)
    ):
        node.AddControlPoint((matrix @ [column, row, frame, 1])[:3], landmark)
        sure = bool(confidence > threshold)
        node.SetNthControlPointSelected(index, sure)
        node.SetNthControlPointDescription(index, f"confidence {confidence:.4f}" + ("" if sure else f", not above {threshold:g}"))
    return node


def confidenceOf(markupsNode: Any, index: int) -> float:
    """Confidence in the description of a point that `addLandmarks` made; NaN of any other."""
    words = markupsNode.GetNthControlPointDescription(index).replace(",", " ").split()
    return float(words[1]) if len(words) > 1 and words[0] == "confidence" else float("nan")


def _orientedImage(mask: np.ndarray, matrix: Any) -> Any:
    """(K, H, W) mask as vtkOrientedImageData with an IJK-to-world vtkMatrix4x4."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(matrix)
    return image
