"""Pictures of a training in the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

from SyntheXLib.errors import SyntheXError


def pictureNode(path: Path, node: Any | None = None) -> Any:
    """A PNG as a vtkMRMLVectorVolumeNode that lies upright in an axial slice view, a pixel a millimetre.

    Parameters
    ----------
    path
        PNG with colours.
    node
        The node to take; None makes one.

    Raises
    ------
    SyntheXError
        When the file cannot be read.
    """
    reader = vtk.vtkPNGReader()
    if not reader.CanReadFile(str(path)):
        raise SyntheXError(f"Picture {path} cannot be read: expected a PNG.")
    reader.SetFileName(str(path))
    reader.Update()
    if node is None or node.GetScene() is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", path.stem)
    node.SetName(f"{path.parent.parent.name} {path.stem}" if path.parent.name == "validation" else path.stem)
    image = vtk.vtkImageData()
    image.DeepCopy(reader.GetOutput())
    node.SetAndObserveImageData(image)
    # Columns to the right of the view, which is the patient's left; the reader's first row is the lowest.
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -1)
    node.SetIJKToRASMatrix(matrix)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    return node
