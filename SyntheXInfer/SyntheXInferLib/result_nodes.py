"""What a network found, as nodes that lie on the image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXHomeLib.image_nodes import isSequence
from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.scene.case_files import plain_name
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

_SURE, _UNSURE = (0.2, 0.9, 0.3), (0.6, 0.6, 0.6)  # colours of points above and below the threshold
# Attributes of the masks: the task as JSON, and what the numbers of the image were taken for.
TASK_ATTRIBUTE, POLARITY_ATTRIBUTE, INTENSITY_TAKEN_ATTRIBUTE = "SyntheX.Task", "SyntheX.Polarity", "SyntheX.IntensityTaken"
WARNING_ATTRIBUTE = "SyntheX.Warning"  # what is unlike the images that the model was validated on


@dataclass(frozen=True)
class FoundNodes:
    """Masks and landmarks of an image of one or more frames.

    Attributes
    ----------
    segmentation
        vtkMRMLSegmentationNode in the geometry of the image, slice k being frame k: a segment for each structure, in the task's order. Of a
        sequence of images a vtkMRMLSequenceNode of such nodes.
    landmarks
        A vtkMRMLMarkupsFiducialNode for each frame with all landmarks in the task's order; of a sequence of images one vtkMRMLSequenceNode
        of such nodes. A point whose confidence is not above the threshold is deselected (shown grey) and its description says so; its
        position is the network's best guess.
    """

    segmentation: Any
    landmarks: tuple[Any, ...]

    @property
    def inScene(self) -> bool:
        """Whether the nodes are still there: a scene can be closed at any time."""
        return all(node.GetScene() is not None for node in (self.segmentation, *self.landmarks))

    @property
    def pointLists(self) -> tuple[Any, ...]:
        """The markups of all frames."""
        return tuple(
            part
            for node in self.landmarks
            for part in ([node.GetNthDataNode(place) for place in range(node.GetNumberOfDataNodes())] if isSequence(node) else [node])
        )

    def landmarkCounts(self) -> tuple[int, int]:
        """Landmarks above the threshold, and all, over all frames."""
        points = [(node, index) for node in self.pointLists for index in range(node.GetNumberOfControlPoints())]
        return sum(bool(node.GetNthControlPointSelected(index)) for node, index in points), len(points)

    def taskOf(self) -> Task:
        """The task of the network that found it.

        Raises
        ------
        SyntheXError
            When the masks do not tell it: they were not found by SyntheX.
        """
        text = self.segmentation.GetAttribute(TASK_ATTRIBUTE)
        if not text:
            raise SyntheXError(f"'{self.segmentation.GetName()}' was not found by SyntheX Infer, expected its result.")
        return Task.from_dict(json.loads(text), f"'{self.segmentation.GetName()}'")

    def meaning(self) -> tuple[str, str]:
        """Polarity and intensity that the image was taken for; empty where it is not known."""
        return self.segmentation.GetAttribute(POLARITY_ATTRIBUTE) or "", self.segmentation.GetAttribute(INTENSITY_TAKEN_ATTRIBUTE) or ""

    def warning(self) -> str:
        """What is unlike the images that the model was validated on, see `inference.domain`; empty when nothing is known to be."""
        return self.segmentation.GetAttribute(WARNING_ATTRIBUTE) or ""


def note(found: FoundNodes, task: Task, meaning: tuple[str, str], warning: str = "") -> FoundNodes:
    """Keep on the masks what `FoundNodes.taskOf`, `FoundNodes.meaning` and `FoundNodes.warning` tell."""
    for name, value in (
        (TASK_ATTRIBUTE, json.dumps(task.to_dict())),
        (POLARITY_ATTRIBUTE, meaning[0]),
        (INTENSITY_TAKEN_ATTRIBUTE, meaning[1]),
        (WARNING_ATTRIBUTE, warning),
    ):
        found.segmentation.SetAttribute(name, value)
    return found


def eachFrame(imageNode: Any, found: FoundNodes) -> Iterator[tuple[Any, FoundNodes]]:
    """The image and what was found on it, or for a sequence each of its images with what was found on that."""
    if not isSequence(imageNode):
        yield imageNode, found
        return
    for place in range(imageNode.GetNumberOfDataNodes()):
        value = imageNode.GetNthIndexValue(place)
        masks, points = (_at(node, value) for node in (found.segmentation, found.landmarks[0] if found.landmarks else None))
        yield imageNode.GetNthDataNode(place), FoundNodes(masks, () if points is None else (points,))


def _at(node: Any | None, value: str) -> Any | None:
    return node.GetDataNodeAtValue(value) if node is not None and isSequence(node) else node


def predictionsOf(volumeNode: Any, found: FoundNodes, task: Task) -> list[Prediction]:
    """What the nodes on a volume of K frames hold now, edited or not, as K predictions without heat."""
    frames, rows, columns = slicer.util.arrayFromVolume(volumeNode).shape
    kind = np.uint16 if len(task.structures) <= 16 else np.uint32
    bits = np.zeros((frames, rows, columns), kind)
    segments = segmentIds(found.segmentation) if found.segmentation is not None else {}
    there = [(structure.bit, segments[key][1]) for structure in task.structures if (key := plain_name(structure.name)) in segments]
    masks = segmentMasks(found.segmentation, [key for _, key in there], volumeNode) if there else []
    for (bit, _), mask in zip(there, masks, strict=True):
        bits |= np.where(mask, 1 << bit, 0).astype(kind)
    predictions = []
    for frame in range(frames):
        points = found.landmarks[frame] if frame < len(found.landmarks) else None
        landmarks, confidence = np.full((len(task.landmarks), 2), np.nan), np.full(len(task.landmarks), np.nan)
        if points is not None:
            landmarks = pixelsOf(volumeNode, points, task.landmark_names)
            confidence = np.array([confidenceOf(points, points.GetControlPointIndexByLabel(name)) for name in task.landmark_names])
        predictions.append(
            Prediction(bits[frame], landmarks.astype(np.float32), confidence.astype(np.float32), np.zeros((rows, columns), np.uint8))
        )
    return predictions


def segmentIds(segmentationNode: Any) -> dict[str, tuple[str, str]]:
    """Plain name to (name, ID) of the segments."""
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {plain_name(name): (name, key) for key in ids if (name := segmentation.GetSegment(key).GetName())}


def segmentMasks(segmentationNode: Any, ids: Sequence[str], volumeNode: Any) -> list[np.ndarray]:
    """(K, H, W) bool mask of each segment on the grid of a volume."""
    # A node within a sequence is in a scene of its own, where Slicer's export misses the colour table that it makes.
    outside = segmentationNode.GetScene() is not slicer.mrmlScene
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "copy") if outside else segmentationNode
    try:
        if outside:
            node.Copy(segmentationNode)
        return [slicer.util.arrayFromSegmentBinaryLabelmap(node, key, volumeNode) > 0 for key in ids]
    finally:
        if outside:
            slicer.mrmlScene.RemoveNode(node)


def pixelsOf(volumeNode: Any, markupsNode: Any, names: Sequence[str]) -> np.ndarray:
    """(L, 2) column and row of the named points; NaN where there is none."""
    points = pointsInWorld(markupsNode)
    world = np.array([[*points.get(name, (np.nan,) * 3), 1.0] for name in names]).reshape(len(names), 4)
    return np.asarray((world @ np.linalg.inv(ijkToWorld(volumeNode)).T)[:, :2])


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
    dressPoints(node)
    for index, (landmark, (column, row), confidence) in enumerate(
        zip(task.landmark_names, prediction.landmarks.astype(float), prediction.confidence, strict=True)
    ):
        node.AddControlPoint((matrix @ [column, row, frame, 1])[:3], landmark)
        node.SetNthControlPointDescription(index, f"confidence {confidence:.4f}")
    markThreshold(node, threshold)
    return node


def dressPoints(markupsNode: Any) -> None:
    """Green for points above the threshold, grey for the others."""
    markupsNode.CreateDefaultDisplayNodes()
    markupsNode.GetDisplayNode().SetSelectedColor(*_SURE)
    markupsNode.GetDisplayNode().SetColor(*_UNSURE)


def markThreshold(markupsNode: Any, threshold: float, showUnsure: bool = True) -> None:
    """Mark the points whose confidence is not above a threshold, by their descriptions and colour; or hide them."""
    with slicer.util.NodeModify(markupsNode):
        for index in range(markupsNode.GetNumberOfControlPoints()):
            confidence = confidenceOf(markupsNode, index)
            if np.isnan(confidence):
                continue  # a point that the user added
            sure = bool(confidence > threshold)
            markupsNode.SetNthControlPointSelected(index, sure)
            markupsNode.SetNthControlPointVisibility(index, sure or showUnsure)
            text = f"confidence {confidence:.4f}" + ("" if sure else f", not above {threshold:g}")
            markupsNode.SetNthControlPointDescription(index, text)


def confidenceOf(markupsNode: Any, index: int) -> float:
    """Confidence in the description of a point that `addLandmarks` made; NaN of any other."""
    if index < 0:
        return float("nan")
    words = markupsNode.GetNthControlPointDescription(index).replace(",", " ").split()
    return float(words[1]) if len(words) > 1 and words[0] == "confidence" else float("nan")


def _orientedImage(mask: np.ndarray, matrix: Any) -> Any:
    """(K, H, W) mask as vtkOrientedImageData with an IJK-to-world vtkMatrix4x4."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(matrix)
    return image
