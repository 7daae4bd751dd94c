"""The nodes of a case as files that the library and ``synthex`` take."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.structures import isSegmentation, matchStructures, needsLabels, rasterized


@dataclass(frozen=True)
class CaseNodes:
    """The nodes of a case: see `SyntheXSimulateLogic.specimen`."""

    volume: Any
    labels: Any | None
    markups: Any | None = None


def writeCase(nodes: CaseNodes, folder: Path, task: Task) -> CaseFiles:
    """Write CT, labels, lesions and landmarks of a case, in world coordinates: parent transforms are applied.

    Segments that are lesions may lie within others and overlap: they become a mask of their own.

    Parameters
    ----------
    nodes
        The case.
    folder
        Where; it is made. The same nodes always give the same bytes, so that a data set knows its case again by checksum.
    task
        Whose structures are taken from a segmentation, and whose landmarks.

    Raises
    ------
    SyntheXError
        When segments that are no lesions overlap, which a label map cannot hold, a transform is not linear, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The command calls a case by the name of its file.
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in nodes.volume.GetName()) or "case"
    ct_file = folder / f"{name}.nrrd"
    landmarks = label_names = label_file = lesion_file = None
    _write(itk_image(slicer.util.arrayFromVolume(nodes.volume), ijkToWorld(nodes.volume)), ct_file, nodes.volume)
    if nodes.labels is not None and needsLabels(task):
        labels, names, lesions = _labels(nodes, task)
        label_file = folder / "labels.nrrd"
        _write(labels, label_file, nodes.labels)
        if lesions is not None:
            lesion_file = folder / "lesions.nrrd"
            _write(lesions, lesion_file, nodes.labels)
        if names:
            label_names = folder / "label_names.csv"
            with label_names.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("LabelValue", "Name"), *names.items()])
    if nodes.markups is not None and task.patient_landmarks:
        landmarks = folder / "landmarks.mrk.json"
        points = pointsInWorld(nodes.markups)
        write_markups(landmarks, {key: point for key, point in points.items() if key in task.patient_landmarks})
    return CaseFiles(ct_file, label_file, landmarks, label_names, lesions=lesion_file)


def _write(image: sitk.Image, path: Path, node: Any) -> None:
    try:
        sitk.WriteImage(image, str(path))
    except RuntimeError as error:
        raise SyntheXError(f"Volume '{node.GetName()}' cannot be written to {path}: {str(error).strip().splitlines()[-1]}.") from error


def _labels(nodes: CaseNodes, task: Task) -> tuple[sitk.Image, dict[int, str] | None, sitk.Image | None]:
    """Label map of a case, what its numbers mean, None for TotalSegmentator's, and the mask of its lesions, None without."""
    if isSegmentation(nodes.labels):
        labels, names, lesions = _labelsOfSegments(nodes.labels, nodes.volume, task)
        matrix = ijkToWorld(nodes.volume)
        return itk_image(labels, matrix), names, None if lesions is None else itk_image(lesions, matrix)
    return itk_image(slicer.util.arrayFromVolume(nodes.labels), ijkToWorld(nodes.labels)), labelNames(nodes.labels), None


def _labelsOfSegments(segmentationNode: Any, volumeNode: Any, task: Task) -> tuple[np.ndarray, dict[int, str], np.ndarray | None]:
    """(K, J, I) uint16 with a number of its own for each segment, the structure of each, and (K, J, I) uint8 of all lesions."""
    lesion = {structure.name for structure in task.structures if structure.source == "lesion"}
    matches = [(key, match.name) for match in matchStructures(segmentationNode, task) for key in match.keys]
    parts = [(key, name) for key, name in matches if name not in lesion]
    labels = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint16)
    lesions = np.zeros(labels.shape, np.uint8) if len(parts) < len(matches) else None
    with rasterized(segmentationNode, [key for key, _ in matches], volumeNode) as exported:
        for key, name in matches:
            if name in lesion and lesions is not None:
                lesions[exported(key)] = 1
        for number, (key, _name) in enumerate(parts, 1):
            mask = exported(key)
            if (labels[mask] > 0).any():
                raise SyntheXError(
                    f"Segment '{segmentationNode.GetSegmentation().GetSegment(key).GetName()}' of '{segmentationNode.GetName()}' overlaps "
                    "another: a data set is made from a label map, which needs segments that do not overlap."
                )
            labels[mask] = number
    return labels, {number: name for number, (_, name) in enumerate(parts, 1)}, lesions
