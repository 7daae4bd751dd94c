"""What a network found, as nodes that lie on the image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXHomeLib.image_nodes import isSequence
from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXInferLib.finding import Finding
from SyntheXInferLib.landmark_nodes import Measures, addLandmarks, fillLandmarks
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.scene.case_files import plain_name
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

# Attributes of the masks: the task as JSON, and what the numbers of the image were taken for.
TASK_ATTRIBUTE, POLARITY_ATTRIBUTE, INTENSITY_TAKEN_ATTRIBUTE = "SyntheX.Task", "SyntheX.Polarity", "SyntheX.IntensityTaken"
WARNING_ATTRIBUTE = "SyntheX.Warning"  # what is unlike the images that the model was validated on
SPREAD_TAG = "SyntheX.Spread"  # of a segment: how far several models or views differ, see `Prediction.structure_spread`
_BINARY = "Binary labelmap"


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
        return tuple(part for node in self.landmarks for part in _dataNodes(node))

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

    def spread(self) -> tuple[float, float]:
        """How far several models or views were apart: landmarks, median in pixels; masks, mean of 1 - Dice. NaN where it is not known."""
        points = [Measures.of(node, index).spread for node in self.pointLists for index in range(node.GetNumberOfControlPoints())]
        nodes = _dataNodes(self.segmentation)
        masks = [structureSpread(segment) for node in nodes for segment in _segments(node)]
        known = [[value for value in values if np.isfinite(value)] for values in (points, masks)]
        return (
            float(np.median(known[0])) if known[0] else float("nan"),
            float(np.mean(known[1])) if known[1] else float("nan"),
        )

    def warning(self) -> str:
        """What is unlike the images that the model was validated on, see `inference.domain`; empty when nothing is known to be."""
        return self.segmentation.GetAttribute(WARNING_ATTRIBUTE) or ""


def note(found: FoundNodes, finding: Finding) -> FoundNodes:
    """Keep on the masks what `FoundNodes.taskOf`, `FoundNodes.meaning` and `FoundNodes.warning` tell."""
    node = found.segmentation
    for name, value in (
        (TASK_ATTRIBUTE, json.dumps(finding.task.to_dict())),
        (POLARITY_ATTRIBUTE, finding.meaning[0]),
        (INTENSITY_TAKEN_ATTRIBUTE, finding.meaning[1]),
        (WARNING_ATTRIBUTE, finding.warning),
    ):
        if node.GetAttribute(name) != value:
            node.SetAttribute(name, value)
    return found


def addFound(name: str, volumeNode: Any, finding: Finding, threshold: float) -> FoundNodes:
    """New nodes with what was found on an image, or on a volume whose slices are frames.

    Parameters
    ----------
    name
        Of the image.
    volumeNode
        The image, (K, H, W).
    finding
        K predictions.
    threshold
        Confidence above which a landmark counts as found.
    """
    found, task = finding.predictions, finding.task
    titles = [f"{name} landmarks"] if len(found) == 1 else [f"{name} landmarks {frame}" for frame in range(len(found))]
    nodes = FoundNodes(
        addSegmentation(f"{name} structures", volumeNode, found, task),
        tuple(addLandmarks(titles[k], volumeNode, k, one, task, threshold) for k, one in enumerate(found)),
    )
    return note(nodes, finding)


def updateFound(found: FoundNodes, volumeNode: Any, finding: Finding, threshold: float, showUnsure: bool = True) -> None:
    """Put what was found on another frame into the nodes of a single image."""
    (prediction,), (points,) = finding.predictions, found.landmarks
    fillSegmentation(found.segmentation, volumeNode, [prediction], finding.task)
    fillLandmarks(points, volumeNode, 0, prediction, finding.task, threshold, showUnsure)
    note(found, finding)


def structureSpread(segment: Any) -> float:
    """How far several models or views differ in a segment, 1 - Dice; NaN where it is not known."""
    told = vtk.mutable("")
    return float(str(told)) if segment.GetTag(SPREAD_TAG, told) else float("nan")


def _dataNodes(node: Any) -> list[Any]:
    """The nodes of a sequence, or the node itself."""
    return [node.GetNthDataNode(place) for place in range(node.GetNumberOfDataNodes())] if isSequence(node) else [node]


def _segments(segmentationNode: Any) -> list[Any]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(number) for number in range(segmentation.GetNumberOfSegments())]


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
        landmarks, measures = np.full((len(task.landmarks), 2), np.nan), [Measures()] * len(task.landmarks)
        if points is not None:
            landmarks = pixelsOf(volumeNode, points, task.landmark_names)
            measures = [Measures.of(points, points.GetControlPointIndexByLabel(name)) for name in task.landmark_names]
        confidence, presence, spread = np.array([[m.confidence, m.presence, m.spread] for m in measures], np.float32).reshape(-1, 3).T
        predictions.append(
            Prediction(
                bits[frame],
                landmarks.astype(np.float32),
                confidence,
                np.zeros((rows, columns), np.uint8),
                presence=presence if np.isfinite(presence).any() else None,
                landmark_spread=spread if np.isfinite(spread).any() else None,
            )
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
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    fillSegmentation(node, volumeNode, predictions, task)
    return node


def fillSegmentation(node: Any, volumeNode: Any, predictions: Sequence[Prediction], task: Task) -> None:
    """Put masks into a segmentation; segments that it has already get them in place. Parameters as of `addSegmentation`."""
    matrix = slicer.util.vtkMatrixFromArray(ijkToWorld(volumeNode))
    masks = structure_masks(np.stack([prediction.mask for prediction in predictions]), len(task.structures))
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(key) for _, key in segmentIds(node).values()]
    names = tuple(segment.GetName() for segment in segments)
    if names == task.structure_names and all(segment.GetRepresentation(_BINARY) for segment in segments):
        layers: dict[str, tuple[Any, np.ndarray]] = {}  # segments may share a label map
        for structure, segment in zip(task.structures, segments, strict=True):
            image = segment.GetRepresentation(_BINARY)
            labels = layers.setdefault(image.GetAddressAsString(""), (image, np.zeros(masks.shape[:1] + masks.shape[2:], np.uint8)))[1]
            labels[masks[:, structure.bit]] = segment.GetLabelValue()
        with slicer.util.NodeModify(node):
            for image, labels in layers.values():
                image.DeepCopy(_orientedImage(labels, matrix))
    else:
        segmentation.RemoveAllSegments()
        for structure in task.structures:
            color = [value / 255 for value in structure.color]
            node.AddSegmentFromBinaryLabelmapRepresentation(_orientedImage(masks[:, structure.bit], matrix), structure.name, color)
        if task.segmentation == "exclusive":
            segmentation.CollapseBinaryLabelmaps(False)
    spreads = [one.structure_spread for one in predictions if one.structure_spread is not None]
    for number in range(len(task.structures)):
        values = [one[number] for one in spreads if np.isfinite(one[number])]
        segment = segmentation.GetNthSegment(number)
        if values:
            segment.SetTag(SPREAD_TAG, f"{np.mean(values):.4f}")
        else:
            segment.RemoveTag(SPREAD_TAG)


def _orientedImage(mask: np.ndarray, matrix: Any) -> Any:
    """(K, H, W) mask as vtkOrientedImageData with an IJK-to-world vtkMatrix4x4."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(matrix)
    return image
