"""A data set as sequences of the scene: images, masks and landmarks, browsed together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE, nameLabels
from SyntheXHomeLib.subject_hierarchy import put_in_folder
from SyntheXLib.datasets.format import read_header
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.tasks.labels import exclusive_labels
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE
from SyntheXSimulateLib.result_nodes import FOLDER, addResult

# Bytes a pixel that a frame keeps in memory: float32 image, uint8 labels.
_BYTES_A_PIXEL = 5


@dataclass(frozen=True)
class Browsed:
    """What shows a data set.

    Attributes
    ----------
    browser
        vtkMRMLSequenceBrowserNode.
    sequences
        vtkMRMLSequenceNodes of images, masks and landmarks.
    colors
        vtkMRMLColorTableNode of the masks.
    """

    browser: Any
    sequences: tuple[Any, Any, Any]
    colors: Any

    @property
    def proxies(self) -> tuple[Any, Any, Any]:
        """The nodes that show the selected frame: image, masks, landmarks."""
        image, masks, points = (self.browser.GetProxyNode(sequence) for sequence in self.sequences)
        return image, masks, points

    @property
    def nodes(self) -> list[Any]:
        """All nodes, the browser first: without it the others may be removed one by one."""
        return [self.browser, *self.proxies, *self.sequences, self.colors]


def browseSize(folder: Path | str, limit: int) -> tuple[int, int, int]:
    """Images that `browseDataset` shows, images that the data set has, and bytes that it takes.

    Raises
    ------
    SyntheXError
        When the folder is no data set.
    """
    header = read_header(Path(folder))
    count = min(limit, header.count)
    return count, header.count, count * int(header.configuration["image_size"]) ** 2 * _BYTES_A_PIXEL


def browseDataset(folder: Path | str, limit: int = 200) -> Browsed:
    """Load the first images of a data set, with masks and landmarks over them.

    Parameters
    ----------
    folder
        Data set folder.
    limit
        Number of images at most; all of them are kept in memory, see `browseSize`.

    Returns
    -------
    Browsed
        Image, label map (n + 1 is structure n, the later one on top) and points of the selected frame lie as the panel's X-ray does.

    Raises
    ------
    SyntheXError
        When the data set is not complete or cannot be read; nothing is left in the scene then.
    """
    dataset, made = XrayDataset(folder), list[Any]()
    name, scene = Path(folder).name, slicer.mrmlScene
    try:
        sequences = [addResult("vtkMRMLSequenceNode", f"{name} {what}", name) for what in ("images", "masks", "landmarks")]
        made += sequences
        for sequence in sequences:
            sequence.SetIndexName("image")
            sequence.SetIndexUnit("")
            sequence.SetIndexType(sequence.NumericIndex)
        frames = [
            scene.AddNewNodeByClass(f"vtkMRML{kind}Node", f"{name} {what}")
            for kind, what in (("ScalarVolume", "image"), ("LabelMapVolume", "mask"), ("MarkupsFiducial", "points"))
        ]
        made += frames
        for index in range(min(limit, len(dataset))):
            _fill(frames, dataset[index], dataset)
            for sequence, frame in zip(sequences, frames, strict=True):
                sequence.SetDataNodeAtValue(frame, str(index))  # a copy
    except BaseException:
        for node in made:
            scene.RemoveNode(node)
        raise
    finally:
        dataset.close()
    for frame in frames:
        scene.RemoveNode(frame)
    return _browser(name, sequences, dataset)


def _fill(frames: list[Any], sample: Sample, dataset: XrayDataset) -> None:
    """Bring an image of the data set into the three nodes."""
    spacing = dataset.pixel_spacing_mm
    matrix = np.diag([-spacing, -spacing, 1.0, 1.0])  # as `preview.pictureMatrix`
    matrix[:2, 3] = -spacing / 2
    image, masks, points = frames
    slicer.util.updateVolumeFromArray(image, sample.image[None])
    slicer.util.updateVolumeFromArray(masks, exclusive_labels(sample.mask, len(dataset.task.structures))[None].astype(np.uint8))
    for node in (image, masks):
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    image.SetAttribute(INTENSITY_ATTRIBUTE, "linear")
    # Marks it as a simulated X-ray, which is no CT.
    image.SetAttribute(GEOMETRY_ATTRIBUTE, "{}")
    points.RemoveAllControlPoints()
    for name, (column, row), visible in zip(dataset.task.landmark_names, sample.landmarks.astype(float), sample.visible, strict=True):
        index = points.AddControlPoint((0.0, 0.0, 0.0), name)
        if visible:
            points.SetNthControlPointPosition(index, *(matrix @ [column, row, 0, 1])[:3])
        else:
            points.UnsetNthControlPointPosition(index)


def _browser(name: str, sequences: list[Any], dataset: XrayDataset) -> Browsed:
    browser = addResult("vtkMRMLSequenceBrowserNode", f"{name} browser", name)
    browser.SetAndObserveMasterSequenceNodeID(sequences[0].GetID())
    for sequence in sequences[1:]:
        browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    image, masks, points = (browser.GetProxyNode(sequence) for sequence in sequences)
    image.CreateDefaultDisplayNodes()
    image.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
    nameLabels(masks, dataset.task)
    points.CreateDefaultDisplayNodes()
    points.SetLocked(True)
    for proxy in (image, masks, points):
        put_in_folder(proxy, FOLDER, name)
    return Browsed(browser, (sequences[0], sequences[1], sequences[2]), masks.GetDisplayNode().GetColorNode())
