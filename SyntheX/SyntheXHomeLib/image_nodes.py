"""X-ray images as nodes: a volume, or a sequence of volumes for a run; what is known of them, and their pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.dicom_images import is_dicom
from SyntheXLib.inference.image_facts import ImageFacts, read_facts
from SyntheXLib.inference.images import read_values, stem

# Attribute of a volume or sequence node with what the file said of the image, see `inference.image_facts`.
FACTS_ATTRIBUTE = "SyntheX.ImageFacts"
FILE_ATTRIBUTE = "SyntheX.ImageFile"  # the file that it was loaded from
_NO_SPACING = 1.0  # Slicer's, of pictures that say nothing of it


def isSequence(node: Any) -> bool:
    """Whether a node is a sequence."""
    return bool(node.IsA("vtkMRMLSequenceNode"))


def frameCount(node: Any | None) -> int:
    """Images of a sequence, slices of a volume; 0 of None."""
    if node is None:
        return 0
    if isSequence(node):
        return int(node.GetNumberOfDataNodes())
    return node.GetImageData().GetDimensions()[2] if node.GetImageData() else 0


def loadImage(path: Path | str) -> Any:
    """Load an X-ray file into the scene.

    Returns
    -------
    vtkMRMLScalarVolumeNode or vtkMRMLSequenceNode
        Column to the patient's left, row to the back, in mm on the detector (1 mm where the file knows no spacing). Several frames become a
        sequence with a browser.

    Raises
    ------
    SyntheXError
        When the file is missing, no image, or in colour.
    """
    path = Path(path)
    values, facts = read_values(path)
    rowSpacing, columnSpacing = facts.pixel_spacing_mm or (_NO_SPACING, _NO_SPACING)
    volume = slicer.util.addVolumeFromArray(values[:1], np.diag([-columnSpacing, -rowSpacing, 1.0, 1.0]), stem(path))
    volume.SetAttribute(FACTS_ATTRIBUTE, json.dumps(replace(facts, frames=1).to_dict()))
    volume.SetAttribute(FILE_ATTRIBUTE, str(path.resolve()))
    if facts.window is not None and volume.GetDisplayNode() is not None:
        volume.GetDisplayNode().SetAutoWindowLevel(False)
        volume.GetDisplayNode().SetWindowLevel(facts.window[1], facts.window[0])
    if len(values) == 1:
        return volume
    sequence = _sequence(volume, values, facts.frame_time_s)
    sequence.SetAttribute(FACTS_ATTRIBUTE, json.dumps(facts.to_dict()))
    sequence.SetAttribute(FILE_ATTRIBUTE, str(path.resolve()))
    return sequence


def asSequence(volumeNode: Any) -> Any:
    """A new vtkMRMLSequenceNode, with a browser, of the slices of a volume, each where the first one lies."""
    values = framesOf(volumeNode)
    first = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volumeNode.GetName())
    first.CreateDefaultDisplayNodes()
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    first.SetIJKToRASMatrix(matrix)
    first.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    facts = factsOf(volumeNode)
    first.SetAttribute(FACTS_ATTRIBUTE, json.dumps(replace(facts, frames=1).to_dict()))
    first.SetAttribute(INTENSITY_ATTRIBUTE, volumeNode.GetAttribute(INTENSITY_ATTRIBUTE))
    sequence = _sequence(first, values, facts.frame_time_s)
    sequence.SetAttribute(FACTS_ATTRIBUTE, json.dumps(facts.to_dict()))
    source = dicomFile(volumeNode)
    if source is not None:
        sequence.SetAttribute(FILE_ATTRIBUTE, str(source))
    return sequence


def browserOf(sequenceNode: Any) -> Any:
    """The browser of a sequence, made when there is none; its proxies show the chosen frame."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        if browser.IsSynchronizedSequenceNode(sequenceNode, True):
            return browser
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sequenceNode.GetName()} browser")
    browser.AddSynchronizedSequenceNode(sequenceNode)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser


def shownImage(imageNode: Any) -> Any:
    """The volume that a slice view can show: the image itself, or the chosen frame of a sequence."""
    return browserOf(imageNode).GetProxyNode(imageNode) if isSequence(imageNode) else imageNode


def factsOf(imageNode: Any) -> ImageFacts:
    """What is known of an image: from the file that it was loaded from, from the DICOM database, else from the node."""
    frames = frameCount(imageNode)
    told = imageNode.GetAttribute(FACTS_ATTRIBUTE)
    first = imageNode.GetNthDataNode(0) if isSequence(imageNode) and frames else imageNode
    if told is None and first is not imageNode:
        return replace(factsOf(first), frames=frames)
    if told is not None:
        return replace(ImageFacts.from_dict(json.loads(told)), frames=frames)
    columns, rows, _ = first.GetImageData().GetDimensions() if not isSequence(first) and first.GetImageData() else (0, 0, 0)
    path = _databaseFile(first)
    if path is not None:
        facts = replace(read_facts(path), shape=(rows, columns), frames=frames)
        imageNode.SetAttribute(FACTS_ATTRIBUTE, json.dumps(facts.to_dict()))  # the database may not be there when the scene is opened again
        return facts
    if isSequence(first):
        return ImageFacts((0, 0), frames)
    columnSpacing, rowSpacing, _ = first.GetSpacing()
    if columnSpacing == rowSpacing == _NO_SPACING:
        return ImageFacts((rows, columns), frames)
    return ImageFacts((rows, columns), frames, (rowSpacing, columnSpacing), "volume")


def framesOf(imageNode: Any) -> np.ndarray:
    """Pixels (K, H, W) of all frames.

    Raises
    ------
    SyntheXError
        When there are none, or the images of a sequence are no grey images of one size.
    """
    name = imageNode.GetName()
    if not isSequence(imageNode):
        pixels = slicer.util.arrayFromVolume(imageNode) if imageNode.GetImageData() else np.zeros((0, 0, 0))
        if pixels.ndim != 3 or not pixels.size:
            raise SyntheXError(f"Volume '{name}': expected grey frames, found an array of shape {pixels.shape}.")
        return np.asarray(pixels)
    frames = [framesOf(imageNode.GetNthDataNode(place)) for place in range(imageNode.GetNumberOfDataNodes())]
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or next(iter(shapes))[0] != 1:
        raise SyntheXError(f"Sequence '{name}': expected single grey images of one size, found {sorted(shapes) or 'none'}.")
    return np.concatenate(frames)


def dicomFile(imageNode: Any) -> Path | None:
    """The DICOM file whose frames are those of an image, if it is known and still there."""
    told = imageNode.GetAttribute(FILE_ATTRIBUTE)
    first = imageNode.GetNthDataNode(0) if isSequence(imageNode) and frameCount(imageNode) else imageNode
    path = Path(told) if told else _databaseFile(first)
    if path is None or not path.is_file() or not is_dicom(path):
        return None
    facts, own = read_facts(path), factsOf(imageNode)
    return path if (facts.shape, facts.frames) == (own.shape, own.frames) else None


def knownIntensity(imageNode: Any) -> str | None:
    """Intensity of an image that the Simulate module made; None of any other."""
    first = imageNode.GetNthDataNode(0) if isSequence(imageNode) and frameCount(imageNode) else imageNode
    return first.GetAttribute(INTENSITY_ATTRIBUTE) or None


def _databaseFile(node: Any) -> Path | None:
    """File of the first DICOM instance of a node that came from Slicer's database."""
    uids, database = (node.GetAttribute("DICOM.instanceUIDs") or "").split(), getattr(slicer, "dicomDatabase", None)
    path = database.fileForInstance(uids[0]) if uids and database is not None else ""
    return Path(path) if path and Path(path).is_file() else None


def _sequence(volume: Any, values: np.ndarray, frameTime: float | None) -> Any:
    """Sequence of the frames of (K, H, W), each a copy of the volume, which then leaves the scene."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{volume.GetName()} run")
    sequence.SetIndexName("frame" if frameTime is None else "time")
    sequence.SetIndexUnit("" if frameTime is None else "s")
    for number, frame in enumerate(values):
        slicer.util.updateVolumeFromArray(volume, frame[None])
        sequence.SetDataNodeAtValue(volume, str(number) if frameTime is None else f"{number * frameTime:.4f}")
    slicer.mrmlScene.RemoveNode(volume)
    browserOf(sequence)
    return sequence
