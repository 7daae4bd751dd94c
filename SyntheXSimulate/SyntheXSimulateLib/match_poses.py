"""The poses of real X-rays in the scene: a sequence of pose files' texts, a table of them, and the files that commands read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.image_nodes import browserOf, isSequence
from SyntheXLib.inference.outputs import write_json
from SyntheXLib.registration.pose_file import write_pose
from SyntheXLib.scene.given_views import view_of
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.view_angles import pose_of_camera
from SyntheXSimulateLib.match import Matched
from SyntheXSimulateLib.result_nodes import addResult

# Columns of the table: what is in each, and its unit.
_NUMBERS = {
    "LAO/RAO": "lao_rao_deg",
    "CRAN/CAUD": "cran_caud_deg",
    "Roll": "roll_deg",
    "Right": "translation_lr_mm",
    "Up": "translation_is_mm",
    "Source": "source_to_isocenter_mm",
}
_IMAGE_ROLE = "SyntheX.Image"  # of the sequence, with the number of the image: the node that holds it


def newPoses(study: str) -> list[Any]:
    """A vtkMRMLSequenceNode of vtkMRMLTextNodes and a vtkMRMLTableNode, both empty, in the study's folder."""
    sequence = addResult("vtkMRMLSequenceNode", f"{study} poses", study)
    sequence.SetIndexName("image")
    sequence.SetIndexUnit("")
    table = addResult("vtkMRMLTableNode", f"{study} pose table", study)
    for name in ("Image", *_NUMBERS, "Similarity", "Trusted"):
        column = vtk.vtkDoubleArray() if name in _NUMBERS or name == "Similarity" else vtk.vtkStringArray()
        column.SetName(name)
        table.AddColumn(column)
    return [sequence, table]


def addPose(poses: list[Any], matched: Matched, isocenter: np.ndarray) -> None:
    """Add what became of an image to the nodes of `newPoses`; poses of a sequence of images are browsed with it.

    Parameters
    ----------
    poses
        Sequence and table.
    matched
        The pose, or why there is none.
    isocenter
        (3,) RAS mm that the table's angles and shifts are about.
    """
    sequence, table = poses
    number, node = sequence.GetNumberOfDataNodes(), matched.image.node
    record: Mapping[str, Any] = matched.record or {"name": matched.image.name, "failure": matched.failure}
    text = slicer.vtkMRMLTextNode()
    text.SetName(matched.image.name)
    text.SetText(json.dumps(dict(record), indent=1))
    run = isSequence(node) and matched.image.frame == number
    if run and not number:
        sequence.SetIndexName(node.GetIndexName())
        sequence.SetIndexUnit(node.GetIndexUnit())
        sequence.SetIndexType(node.GetIndexType())
    sequence.SetDataNodeAtValue(text, node.GetNthIndexValue(number) if run else str(number))
    sequence.SetNodeReferenceID(f"{_IMAGE_ROLE}{number}", node.GetID())
    if run and not browserOf(node).IsSynchronizedSequenceNode(sequence):
        browserOf(node).AddSynchronizedSequenceNode(sequence)
    row = table.AddEmptyRow()
    pose = poseOf(record, isocenter)
    cells = [f"{getattr(pose, key):.2f}" if pose else "nan" for key in _NUMBERS.values()]
    similarity = f"{record['similarity']:.3f}" if pose else "nan"
    for column, cell in enumerate([matched.image.name, *cells, similarity, verdict(record)]):
        table.SetCellText(row, column, cell)


def verdict(record: Mapping[str, Any]) -> str:
    """``yes`` or ``no``, whether a pose is to be trusted, or why there is none."""
    return str(record.get("failure", "yes" if record.get("trusted") else "no"))


def poseOf(record: Mapping[str, Any], isocenter: np.ndarray) -> CArmPose | None:
    """The pose about an isocentre (3,) (RAS, mm) of a pose file's content; None where there is none."""
    return None if "failure" in record else pose_of_camera(np.array(record["world_to_camera"], float), isocenter)


def poseCount(sequence: Any | None) -> int:
    """Number of images in a sequence of poses."""
    return 0 if sequence is None else int(sequence.GetNumberOfDataNodes())


def recordOf(sequence: Any, number: int) -> dict[str, Any]:
    """The content of a pose file, or ``name`` and ``failure``."""
    return dict(json.loads(sequence.GetNthDataNode(number).GetText()))


def imageOf(sequence: Any, number: int) -> tuple[Any, int]:
    """The node that holds an image, None when it has left the scene, and which of its frames it is."""
    nodes = [sequence.GetNodeReference(f"{_IMAGE_ROLE}{before}") for before in range(number + 1)]
    return nodes[-1], sum(node is nodes[-1] for node in nodes[:-1])


def exportPoses(sequence: Any, folder: Path) -> list[Path]:
    """Write a pose file an image, as ``synthex match`` looks for in ``poses`` of its folder, and all as views.

    Parameters
    ----------
    sequence
        Of `newPoses`.
    folder
        It is made. ``views.json`` holds those that are to be trusted, with the bones that moved, as ``synthex simulate --matched`` takes
        them.

    Returns
    -------
    list of Path
        What was written; images without a pose have none.
    """
    records = [recordOf(sequence, number) for number in range(poseCount(sequence))]
    found = [record for record in records if "failure" not in record]
    written = []
    for record in found:
        name = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in record["name"])
        written.append(folder / f"{name}.json")
        write_pose(written[-1], record)
    # There is one specimen alone, whatever its name was.
    trusted = [replace(view_of(record, record["name"]), specimen="").to_dict() for record in found if record["trusted"]]
    if trusted:
        written.append(folder / "views.json")
        write_json(written[-1], trusted)
    return written
