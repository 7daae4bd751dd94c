"""The landmarks of a case: which points have a name of the task, and how the missing ones are placed or estimated."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.hip_landmarks import NAMES, SIDE, derive_hip_landmarks
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.structures import Match

# Description of a point that nobody has placed; what is to be known of the estimate follows it.
ESTIMATED = "Estimated from the bones."
_HIPS = {"l": "left_hemipelvis", "r": "right_hemipelvis"}
_FEMORA = {"l": "left_femur", "r": "right_femur"}


def matchLandmarks(markupsNode: Any | None, task: Task) -> list[Match]:
    """For every landmark of the task whether a placed point has its name; the point's description is the note."""
    placed = {} if markupsNode is None else _indices(markupsNode, True)
    return [
        Match(name, (name,), note=markupsNode.GetNthControlPointDescription(placed[name]))
        if markupsNode and name in placed
        else Match(name)
        for name in task.landmark_names
    ]


def placeLandmark(markupsNode: Any, name: str) -> None:
    """Let the user place a landmark by the next click into a view: Slicer's place mode, for a point that has its name beforehand.

    Raises
    ------
    SyntheXError
        When the landmark is placed already.
    """
    if name in _indices(markupsNode, True):
        raise SyntheXError(f"Landmark {name} of '{markupsNode.GetName()}' is placed: drag it to another place, or delete it first.")
    index = _unplaced(markupsNode, name)
    markupsNode.SetNthControlPointDescription(index, "")
    markupsNode.SetControlPointPlacementStartIndex(index)  # else the first point without a place is taken
    markups = slicer.modules.markups.logic()
    markups.SetActiveList(markupsNode)
    markups.StartPlaceMode(0)  # for one point


def jumpToLandmark(markupsNode: Any, name: str) -> None:
    """Bring the slices of all views to a placed landmark; nothing where it has no place."""
    index = _indices(markupsNode, True).get(name)
    if index is not None:
        slicer.modules.markups.logic().JumpSlicesToNthPointInMarkup(markupsNode.GetID(), index, True)


def confirmLandmark(markupsNode: Any, index: int) -> None:
    """Take the mark of an estimate off a point, as when the user has dragged it to its place."""
    if markupsNode.GetNthControlPointDescription(index).startswith(ESTIMATED):
        markupsNode.SetNthControlPointDescription(index, "")


def newLandmarks(name: str) -> Any:
    """An empty markups node for the landmarks of a case."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} landmarks")
    node.CreateDefaultDisplayNodes()
    return node


def whyNoEstimate(task: Task, found: set[str]) -> str:
    """Why no landmark can be estimated, as one English sentence; empty when some can.

    Parameters
    ----------
    task
        Whose landmarks.
    found
        Names of the structures that the segmentation has.
    """
    if not _estimable(task):
        return "Landmarks can be estimated for the hip alone."
    missing = [name for name in _HIPS.values() if name not in found]
    return f"Needs {' and '.join(missing)} in the segmentation." if missing else ""


def estimateLandmarks(specimen: Specimen, task: Task, markupsNode: Any | None = None) -> tuple[Any, list[str]]:
    """Place the missing landmarks of the hip by geometry, and say in each point's description that it is an estimate.

    Parameters
    ----------
    specimen
        Bones in world coordinates; see `scene.hip_landmarks.derive_hip_landmarks` for the procedure.
    task
        Its landmarks are estimated as far as they are of the hip.
    markupsNode
        Keeps the points that are placed; None makes a new node.

    Returns
    -------
    markupsNode, placed
        The node, and the names of the points that it has got now.

    Raises
    ------
    SyntheXError
        When a hip bone is missing.
    """
    bones = [*_HIPS.values(), *_FEMORA.values()]
    masks = {name: _mask(specimen, task, name) for name in bones if name in task.structure_names}
    if why := whyNoEstimate(task, {name for name, mask in masks.items() if mask.any()}):
        raise SyntheXError(f"{specimen.name}: {why}")
    labels = np.zeros(specimen.labels.shape, np.uint8)
    for name, mask in masks.items():
        labels[mask] = bones.index(name) + 1
    numbers = [{side: bones.index(name) + 1 for side, name in pair.items()} for pair in (_HIPS, _FEMORA)]
    found = derive_hip_landmarks(labels, specimen.ijk_to_ras, *numbers)
    node = markupsNode or newLandmarks(specimen.name)
    placed = []
    with slicer.util.NodeModify(node):
        for name in _estimable(task):
            point = found.points[name]
            if name in _indices(node, True) or not np.isfinite(point).all():
                continue
            index = _unplaced(node, name)
            node.SetNthControlPointPositionWorld(index, *map(float, point))
            node.SetNthControlPointDescription(index, f"{ESTIMATED} {found.notes.get(name, '')}".strip())
            placed.append(name)
    return node, placed


def _estimable(task: Task) -> list[str]:
    """Landmarks of a task that the geometry of the hip gives."""
    known = {f"{name}-{side}" for name in NAMES for side in SIDE}
    return [name for name in task.landmark_names if name in known] if set(_HIPS.values()) <= set(task.structure_names) else []


def _mask(specimen: Specimen, task: Task, name: str) -> np.ndarray:
    """(K, J, I) bool of a structure."""
    bit = specimen.labels.dtype.type(task.structure_names.index(name))
    return (specimen.labels >> bit & specimen.labels.dtype.type(1)).astype(bool)


def _indices(markupsNode: Any, placed: bool) -> dict[str, int]:
    """Label to index of the control points that are placed, or of those that are not."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    return {
        markupsNode.GetNthControlPointLabel(index): index
        for index in range(markupsNode.GetNumberOfControlPoints())
        if (markupsNode.GetNthControlPointPositionStatus(index) == defined) == placed
    }


def _unplaced(markupsNode: Any, name: str) -> int:
    """Index of a point of this name that has no place, made when there is none."""
    index = _indices(markupsNode, False).get(name)
    if index is None:
        index = markupsNode.AddControlPoint((0.0, 0.0, 0.0), name)
        markupsNode.UnsetNthControlPointPosition(index)
    return int(index)
