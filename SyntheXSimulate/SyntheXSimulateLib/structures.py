"""Which segment or label is which structure of a task, and the masks on the CT's grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.nodes import labelNames
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import largest_component, plain_name
from SyntheXLib.tasks.task import Structure, Task

# The choice that a segment is no structure at all.
_NOTHING = "-"
# What a segmentation imported without names calls its segments.
_NUMBERED = re.compile(r"(?:segment|label)?[_ ]*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Match:
    """A structure or landmark of the task, and what stands for it.

    Attributes
    ----------
    name
        The task's name.
    parts
        Names of the segments, labels or points; empty when missing.
    keys
        Segment ids, or label numbers as text, in the same order.
    note
        What is to be known of it, such as that it is estimated.
    """

    name: str
    parts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    note: str = ""


def needsLabels(task: Task) -> bool:
    """Whether the task sees something of the CT; a tool, and lesions that are synthesised, need no label map."""
    return bool(set(task.structure_names) - set(task.made_structures))


def isSegmentation(node: Any) -> bool:
    """Whether a node is a segmentation (else a label map)."""
    return bool(node.IsA("vtkMRMLSegmentationNode"))


def matchStructures(node: Any, task: Task) -> list[Match]:
    """For every structure of the task the segments or labels that make it up.

    Parameters
    ----------
    node
        Segmentation or label map. A segment is what it was chosen for (`chooseSegments`), else is known by its name, else by its
        terminology ("Femur" with modifier "Left"); where no segment is known so, by TotalSegmentator's number in its name
        (``Segment_77``). A label is known by the name in a colour table of the label map's own, else by TotalSegmentator's number.
    task
        The structures.
    """
    if isSegmentation(node):
        return _matchSegments(node.GetSegmentation(), task)
    names = labelNames(node)
    present = [int(value) for value in np.unique(slicer.util.arrayFromVolume(node)) if value]
    found = []
    for structure in task.structures:
        if names is None:
            values = [value for value in present if value in structure.totalsegmentator]
        else:
            values = [value for value in present if _isNamed(structure, [names.get(value, "")])]
        found.append(Match(structure.name, tuple((names or {}).get(v, f"label {v}") for v in values), tuple(map(str, values))))
    return found


def chooseSegments(segmentationNode: Any, task: Task, structure: str, keys: Iterable[str]) -> None:
    """Say by hand which segments are a structure, and that no other is; kept as a tag of the segments, and so with the scene.

    Parameters
    ----------
    segmentationNode
        Segmentation.
    task
        The task: another one may know the same segments otherwise.
    structure
        Name of the structure.
    keys
        Ids of its segments; may be empty.
    """
    segmentation, chosen = segmentationNode.GetSegmentation(), set(keys)
    before = {key for match in _matchSegments(segmentation, task) if match.name == structure for key in match.keys}
    for key in before | chosen:
        segmentation.GetSegment(key).SetTag(_choiceTag(task), structure if key in chosen else _NOTHING)


def forgetChoices(segmentationNode: Any, task: Task) -> None:
    """Take back what `chooseSegments` did: segments are known by name and terminology again."""
    segmentation = segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        segmentation.GetNthSegment(index).RemoveTag(_choiceTag(task))


def segmentNames(segmentationNode: Any) -> dict[str, str]:
    """Id to name of all segments."""
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {key: segmentation.GetSegment(key).GetName() or "" for key in ids}


def structureMasks(segmentationNode: Any, volumeNode: Any, task: Task) -> dict[str, np.ndarray]:
    """Structure to (K, J, I) bool on the CT's grid, of the structures that have a voxel there.

    Segments may overlap, be closed surfaces, lie on another grid and under another transform. As of label maps, the largest connected
    component of each segment is kept (see `scene.case_files.load_specimen`).

    Raises
    ------
    SyntheXError
        When no structure of the task is among the segments, or none lies within the CT.
    """
    source = {structure.name: structure.source for structure in task.structures}
    matches = [match for match in matchStructures(segmentationNode, task) if match.keys and source[match.name] != "tool"]
    if not matches:
        segments = segmentationNode.GetSegmentation()
        names = ", ".join(segments.GetNthSegment(index).GetName() for index in range(segments.GetNumberOfSegments()))
        raise SyntheXError(
            f"Segmentation '{segmentationNode.GetName()}': none of the structures of task '{task.name}' "
            f"({', '.join(task.structure_names)}) is in it; found the segments {names or 'none'}."
        )
    masks: dict[str, np.ndarray] = {}
    keys = [key for match in matches for key in match.keys]
    with rasterized(segmentationNode, keys, volumeNode) as exported:
        for match in matches:
            # Lesions are many; of an organ, what lies elsewhere are specks.
            whole = (exported(key) for key in match.keys)
            mask = np.logical_or.reduce(list(whole if source[match.name] == "lesion" else map(largest_component, whole)))
            if mask.any():
                masks[match.name] = mask
    if not masks:
        raise SyntheXError(
            f"Segmentation '{segmentationNode.GetName()}' and CT '{volumeNode.GetName()}' are not in the same frame: "
            "expected the segments inside the CT, found none of them there."
        )
    return masks


@contextmanager
def rasterized(segmentationNode: Any, keys: Iterable[str], volumeNode: Any) -> Iterator[Any]:
    """A function from segment id to (K, J, I) bool on the volume's grid."""
    # A copy, because surfaces become a label map for this: the user's node must not gain a representation.
    scene = slicer.mrmlScene
    copy = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "SyntheX temporary")
    labelmap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "SyntheX temporary")
    try:
        for node in (copy, labelmap):
            node.SetHideFromEditors(True)
        source, target = segmentationNode.GetSegmentation(), copy.GetSegmentation()
        copy.SetAndObserveTransformNodeID(segmentationNode.GetTransformNodeID())
        target.SetSourceRepresentationName(source.GetSourceRepresentationName())
        for key in keys:
            target.CopySegmentFromSegmentation(source, key)
        copy.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)

        def exported(key: str) -> np.ndarray:
            ids = vtk.vtkStringArray()
            ids.InsertNextValue(key)
            logic = slicer.vtkSlicerSegmentationsModuleLogic
            if not logic.ExportSegmentsToLabelmapNode(copy, ids, labelmap, volumeNode):
                name = source.GetSegment(key).GetName()
                raise SyntheXError(f"Segment '{name}' of '{segmentationNode.GetName()}' cannot be brought onto the CT's grid.")
            return np.array(slicer.util.arrayFromVolume(labelmap)) > 0

        yield exported
    finally:
        display = labelmap.GetDisplayNode()
        colors = display.GetColorNode() if display else None  # the export makes a table of the segments' colours
        for node in (copy.GetDisplayNode(), copy, labelmap, display, colors):
            if node is not None and not node.GetSingletonTag() and scene.IsNodePresent(node):
                scene.RemoveNode(node)


def _matchSegments(segmentation: Any, task: Task) -> list[Match]:
    every = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    names = {key: segmentation.GetSegment(key).GetName() or "" for key in every}
    chosen = {key: choice for key in every if (choice := _tag(segmentation.GetSegment(key), _choiceTag(task)))}
    ids = [key for key in every if key not in chosen]
    byName = {key: [names[key]] for key in ids}
    byTerm = {key: _terms(segmentation.GetSegment(key)) for key in ids}
    known = [[key for key in ids if _isNamed(structure, byName[key])] for structure in task.structures]
    taken = {key for keys in known for key in keys}
    for structure, keys in zip(task.structures, known, strict=True):
        keys += [key for key in ids if key not in taken and _isNamed(structure, byTerm[key])]
    if not any(known):
        numbers = {key: int(match[1]) for key in ids if (match := _NUMBERED.fullmatch(names[key].strip()))}
        known = [[key for key in ids if numbers.get(key) in structure.totalsegmentator] for structure in task.structures]
    for structure, keys in zip(task.structures, known, strict=True):
        keys += [key for key, choice in chosen.items() if choice == structure.name]
    return [
        Match(structure.name, tuple(names[key] for key in keys), tuple(keys))
        for structure, keys in zip(task.structures, known, strict=True)
    ]


def _terms(segment: Any) -> list[str]:
    """Names that a segment's terminology gives it: type and anatomic region, each with its modifier."""
    # context ~ category ~ type ~ modifier ~ anatomic context ~ region ~ modifier; each but the contexts is scheme ^ code ^ meaning.
    fields = [field.split("^")[-1] for field in _tag(segment, slicer.vtkSegment.GetTerminologyEntryTagName()).split("~")] + [""] * 7
    return [f"{fields[place]} {fields[place + 1]}".strip() for place in (2, 5) if fields[place]]


def _tag(segment: Any, name: str) -> str:
    """Value of a segment's tag; empty without."""
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else ""


def _choiceTag(task: Task) -> str:
    return f"SyntheX.Structure.{task.name}"


def _isNamed(structure: Structure, names: Iterable[str]) -> bool:
    wanted = (structure.name, *structure.segment_names)
    plain, words = {plain_name(name) for name in wanted}, {_words(name) for name in wanted}
    return any(name and (plain_name(name) in plain or _words(name) in words) for name in names)


def _words(name: str) -> frozenset[str]:
    """The words of a name in any order; terminology says "Vertebra" where TotalSegmentator says "vertebrae"."""
    return frozenset("vertebra" if word == "vertebrae" else word for word in re.findall(r"[a-z0-9]+", name.lower()))
