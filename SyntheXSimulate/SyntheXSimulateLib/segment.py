"""A segmentation of a CT in the scene, made by ``synthex segment`` as a child process."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer
import vtk

from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import ijk_to_ras, itk_image
from SyntheXLib.segmentation.totalsegmentator import find_program
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.result_nodes import addResult

# Attribute of a segmentation with what made it.
MADE_BY_ATTRIBUTE = "SyntheX.MadeBy"


class SegmentRun(LibraryCommand):
    """A running ``synthex segment``.

    Parameters
    ----------
    volumeNode
        The CT, written as it is now.
    task
        Whose structures are wanted.
    model
        TorchScript file or folder of a MONAI bundle; empty takes TotalSegmentator.
    fast
        See ``synthex segment --help``.
    """

    def __init__(self, volumeNode: Any, task: Task, model: str, fast: bool) -> None:
        self.volume, self._model = volumeNode, model
        way = ["--model", model] if model else ["--totalsegmentator", *(["--fast"] if fast else [])]
        super().__init__("segment", "--task", task.name, *way, inputs=self._files)

    def _files(self, folder: Path) -> list[str]:
        """Write the CT, without its transforms, which may be no rigid ones: the result is put under them too."""
        matrix = vtk.vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        image = itk_image(slicer.util.arrayFromVolume(self.volume), slicer.util.arrayFromVTKMatrix(matrix))
        sitk.WriteImage(image, str(folder / "ct.nrrd"))
        self._labels = folder / "labels.nrrd"
        return ["--ct", str(folder / "ct.nrrd"), "--out", str(self._labels)]

    def result(self) -> Any:
        """Once it has ended well: a new segmentation node with the named segments, in the place of the CT.

        Raises
        ------
        SyntheXError
            When there is nothing in it.
        """
        image = sitk.ReadImage(str(self._labels))
        scene, segmentations, name = slicer.mrmlScene, slicer.modules.segmentations.logic(), self.volume.GetName()
        labelmap = slicer.util.addVolumeFromArray(
            sitk.GetArrayFromImage(image), ijk_to_ras(image), f"{name} segmentation", "vtkMRMLLabelMapVolumeNode"
        )
        colors = slicer.modules.colors.logic().LoadColorFile(str(self._labels.with_suffix(".csv")), f"{name} labels")
        node = addResult("vtkMRMLSegmentationNode", f"{name} segmentation", name)
        try:
            labelmap.CreateDefaultDisplayNodes()
            labelmap.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
            if not segmentations.ImportLabelmapToSegmentationNode(labelmap, node) or not node.GetSegmentation().GetNumberOfSegments():
                remove_nodes([node])
                raise SyntheXError(f"CT '{name}': none of the structures was found in it.")
            node.CreateDefaultDisplayNodes()
            node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
            node.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())
            node.SetAttribute(MADE_BY_ATTRIBUTE, self._model or "TotalSegmentator")
        finally:
            for part in (labelmap.GetDisplayNode(), labelmap, colors):
                scene.RemoveNode(part)
        return node


def startSegmentation(volumeNode: Any, task: Task, model: str = "", fast: bool = False) -> SegmentRun:
    """Write the CT to a temporary file and start; packages of Slicer's own TotalSegmentator extension are installed first where they lack.

    Raises
    ------
    SyntheXError
        When the way is not there, see `whyNoSegmentation`.
    """
    if why := whyNoSegmentation(model):
        raise SyntheXError(why)
    extension = _extension()
    if not model and extension is not None and _programLacks():
        extension.setupPythonRequirements()  # asks, and installs into Slicer's Python
    return SegmentRun(volumeNode, task, model, fast)


def whyNoSegmentation(model: str | None) -> str:
    """Why a segmentation cannot be made, as one English sentence; empty when it can.

    Parameters
    ----------
    model
        As for `startSegmentation`: empty asks for TotalSegmentator, None for any model.
    """
    if model == "":
        return "" if _extension() is not None else packagesLack("tqdm") or _programLacks()
    return packagesLack("torch", "monai", "tqdm") or (f"There is no {model}." if model and not Path(model).exists() else "")


def packagesLack(*names: str) -> str:
    """Which of these modules lack, as a sentence; empty when none does."""
    missing = [name for name in names if find_spec(name) is None]
    return f"Needs the packages {', '.join(missing)}: install them in the SyntheX module." if missing else ""


def _programLacks() -> str:
    """Why TotalSegmentator cannot be run as it is; empty when it can."""
    try:
        find_program()
    except SyntheXError as error:
        return str(error)
    return ""


def _extension() -> Any | None:
    """The logic of Slicer's TotalSegmentator extension; None where it is not installed."""
    if not hasattr(slicer.modules, "totalsegmentator"):
        return None
    try:
        from TotalSegmentator import TotalSegmentatorLogic
    except ImportError:
        return None
    return TotalSegmentatorLogic()
