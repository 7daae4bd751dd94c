"""Projected masks and landmarks, lying over the X-ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import nameLabels
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.labels import exclusive_labels
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.preview import Xray
from SyntheXSimulateLib.result_nodes import addResult


def showMasks(xray: Xray, task: Task, node: Any | None = None, study: str = "") -> Any:
    """Bring the projected structures into a label map over the X-ray.

    Parameters
    ----------
    xray
        The view.
    task
        Names and colours.
    node
        vtkMRMLLabelMapVolumeNode to be changed; None, or one that left the scene, makes a new one.
    study
        Folder of a new one.

    Returns
    -------
    vtkMRMLLabelMapVolumeNode
        (1, H, W) uint8; n + 1 is structure n, and where structures overlap the later one lies on top.
    """
    labels = exclusive_labels(xray.projection.label_bits, len(task.structures))
    new = node is None or not slicer.mrmlScene.IsNodePresent(node)
    if new:
        node = addResult("vtkMRMLLabelMapVolumeNode", "Projected structures", study)
    assert node is not None
    with slicer.util.NodeModify(node):
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(xray.matrix))
        slicer.util.updateVolumeFromArray(node, labels[None])
    if new:
        nameLabels(node, task)
    return node


def showLandmarks(xray: Xray, scene: Scene, task: Task, node: Any | None = None) -> Any:
    """Bring the projected landmarks onto the X-ray as points.

    Parameters
    ----------
    xray
        The view.
    scene, task
        Positions, of tools too, and names. Landmarks that are unknown or outside the frame stay without a position.
    node
        vtkMRMLMarkupsFiducialNode to be changed; None, or one that left the scene, makes a new one.

    Returns
    -------
    vtkMRMLMarkupsFiducialNode
        One locked point a landmark of the task, in its order.
    """
    if node is None or not slicer.mrmlScene.IsNodePresent(node):
        node = addResult("vtkMRMLMarkupsFiducialNode", "Projected landmarks", scene.specimen.name)
        node.CreateDefaultDisplayNodes()
        node.SetLocked(True)
    pixels, inside = xray.camera.project(scene.landmark_array(task.landmark_names))
    points = np.c_[pixels, np.zeros(len(pixels)), np.ones(len(pixels))] @ xray.matrix.T
    with slicer.util.NodeModify(node):
        if [node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())] != list(task.landmark_names):
            node.RemoveAllControlPoints()
            for name in task.landmark_names:
                node.AddControlPoint((0.0, 0.0, 0.0), name)
        for index, visible in enumerate(inside):
            if visible:
                node.SetNthControlPointPosition(index, *points[index, :3])
            else:
                node.UnsetNthControlPointPosition(index)
    return node
