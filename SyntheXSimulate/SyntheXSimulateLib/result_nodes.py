"""New nodes for what the module makes; they lie in a folder of the subject hierarchy, by study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXHomeLib.subject_hierarchy import put_in_folder

FOLDER = "SyntheX Simulate"


def addResult(className: str, name: str, study: str = "") -> Any:
    """A new node in the folder of the module, and there in that of the study (the case's name) if one is given."""
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    put_in_folder(node, FOLDER, *filter(None, [study]))
    return node


def resultModel(node: Any | None, name: str, color: tuple[float, float, float], study: str = "") -> Any:
    """The vtkMRMLModelNode that is given, or a new one when there is none in the scene."""
    if node is None or not slicer.mrmlScene.IsNodePresent(node):
        node = addResult("vtkMRMLModelNode", name, study)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetColor(*color)
        node.GetDisplayNode().SetLineWidth(2)
    return node


def polyDataOf(points: np.ndarray, **cells: Sequence[tuple[int, ...]] | np.ndarray) -> Any:
    """vtkPolyData of (P, 3) points (mm) with ``vertices``, ``lines`` or ``faces`` as lists of indices; an array (N, M) is quicker."""
    polyData, vtkPoints = vtk.vtkPolyData(), vtk.vtkPoints()
    vtkPoints.SetData(numpy_to_vtk(np.ascontiguousarray(points, np.float64), deep=True))
    polyData.SetPoints(vtkPoints)
    setters = {"vertices": polyData.SetVerts, "lines": polyData.SetLines, "faces": polyData.SetPolys}
    for kind, members in cells.items():
        array = vtk.vtkCellArray()
        if isinstance(members, np.ndarray):
            indices = numpy_to_vtk(np.ascontiguousarray(members.ravel(), np.int64), deep=True, array_type=vtk.VTK_ID_TYPE)
            array.SetData(members.shape[1], indices)
        else:
            for member in members:
                array.InsertNextCell(len(member), member)
        setters[kind](array)
    return polyData
