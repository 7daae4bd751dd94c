"""Geometry of MRML nodes as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import Task

# Attribute of a volume node with the X-ray's intensity, see `inference.images`: "linear" on what the Simulate module makes.
INTENSITY_ATTRIBUTE = "SyntheX.Intensity"


def ijkToWorld(volumeNode: Any) -> np.ndarray:
    """(4, 4) voxel index (i, j, k) to world (RAS, mm) of a volume node, its parent transforms applied.

    Raises
    ------
    SyntheXError
        When a parent transform is not linear.
    """
    matrix, toWorld = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    parent = volumeNode.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise SyntheXError(f"Volume '{volumeNode.GetName()}' is under a transform that is not linear: harden it on the volume first.")
        parent.GetMatrixTransformToWorld(toWorld)
    return slicer.util.arrayFromVTKMatrix(toWorld) @ slicer.util.arrayFromVTKMatrix(matrix)


def pointsInWorld(markupsNode: Any) -> dict[str, np.ndarray]:
    """Label to (3,) world position (RAS, mm) of the control points that are placed."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    points = slicer.util.arrayFromMarkupsControlPoints(markupsNode, world=True)
    return {
        markupsNode.GetNthControlPointLabel(index): point
        for index, point in enumerate(points)
        if markupsNode.GetNthControlPointPositionStatus(index) == defined
    }


def labelNames(labelmapNode: Any) -> dict[int, str] | None:
    """Label value to name from the label map's own colour table; None when it has one of Slicer's built-in tables, which name no bones."""
    display = labelmapNode.GetDisplayNode()
    colors = display.GetColorNode() if display else None
    if colors is None or colors.GetSingletonTag():
        return None
    return {value: colors.GetColorName(value) for value in range(1, colors.GetNumberOfColors()) if colors.GetColorName(value)}


def nameLabels(labelmapNode: Any, task: Task) -> None:
    """Give a label map, in which n + 1 is the task's structure n, a colour table of its own with the task's names and colours."""
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{labelmapNode.GetName()} structures")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(len(task.structures) + 1)
    colors.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
    for structure in task.structures:
        colors.SetColor(structure.bit + 1, structure.name, *(value / 255 for value in structure.color), 1.0)
    labelmapNode.CreateDefaultDisplayNodes()
    labelmapNode.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
