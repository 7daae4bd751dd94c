"""A run of frames: ``synthex infer`` as a child process, and its result as sequences that are browsed with the images."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXInferLib.image_nodes import browserOf, factsOf, framesOf, isSequence, knownIntensity
from SyntheXInferLib.result_nodes import FoundNodes, addLandmarks, addSegmentation, dressPoints, markThreshold
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import AUTO
from SyntheXLib.inference.predict_images import read_image_predictions
from SyntheXLib.inference.predictions import Prediction, read_description
from SyntheXLib.tasks.task import Task


@dataclass(frozen=True)
class SeriesResult:
    """Task of the network, a prediction for each frame, and polarity and intensity that the frames were taken for."""

    task: Task
    predictions: list[Prediction]
    meaning: tuple[str, str]


class SeriesRun:
    """A running inference on all frames of an image.

    Parameters
    ----------
    imageNode
        Sequence of images, or a volume whose slices are frames.
    modelPath, device
        Model file, and what computes.
    polarity, intensity, spacing
        As `SyntheXInferLogic.predict` takes them.

    Raises
    ------
    SyntheXError
        When the frames cannot be written as a file.
    """

    def __init__(
        self, imageNode: Any, modelPath: Path | str, device: str, polarity: str, intensity: str, spacing: tuple[float, float] | None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
        try:
            frames, facts = framesOf(imageNode), factsOf(imageNode)
            known = knownIntensity(imageNode)
            if known:
                polarity, intensity = "bone-dark", known
            image = sitk.GetImageFromArray(frames)
            rowSpacing, columnSpacing = spacing or facts.pixel_spacing_mm or (1.0, 1.0)
            image.SetSpacing((columnSpacing, rowSpacing, 1.0))
            run = self._folder / "run.nrrd"
            sitk.WriteImage(image, str(run))
            polarity = (facts.polarity or AUTO) if polarity == AUTO else polarity
            intensity = (facts.intensity or AUTO) if intensity == AUTO else intensity
            options = ["--polarity", polarity, "--intensity", intensity, "--device", device, "--no-overlays"]
            self._command = LibraryCommand("infer", str(modelPath), str(run), "--out", str(self._folder / "found"), *options)
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise SyntheXError(f"The frames of '{imageNode.GetName()}' cannot be written to {self._folder}.") from error
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def progress(self) -> tuple[int, int]:
        """Frames done and their number; (0, 0) while the model is read."""
        bar = re.search(r"(\d+)/(\d+) \[", self._command.message())
        return (int(bar[1]), int(bar[2])) if bar else (0, 0)

    def finished(self) -> bool:
        """Whether the process has ended."""
        return self._command.finished()

    def result(self) -> SeriesResult:
        """Once finished, what was found; the files are then gone.

        Raises
        ------
        SyntheXError
            When the command failed, with its last line.
        """
        try:
            description = read_description(self._folder / "found")
            if description is None:
                raise SyntheXError(self._command.message())
            task, predictions = read_image_predictions(self._folder / "found")
            image = description["images"][0]
            return SeriesResult(task, predictions, (image["polarity"], image["intensity"]))
        finally:
            self.end()

    def end(self) -> None:
        """End it at once and drop what it did."""
        self._command.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def addSeries(imageSequence: Any, predictions: Sequence[Prediction], task: Task, threshold: float) -> FoundNodes:
    """Masks and landmarks of the images of a sequence as two new sequences with its index, in its browser if it has one.

    Parameters
    ----------
    imageSequence
        vtkMRMLSequenceNode of K single images.
    predictions
        K of them.
    task, threshold
        Names and colours; confidence above which a landmark counts as found.
    """
    scene, name = slicer.mrmlScene, imageSequence.GetName()
    sequences = [scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} {what}") for what in ("structures", "landmarks")]
    for sequence in sequences:
        sequence.SetIndexName(imageSequence.GetIndexName())
        sequence.SetIndexUnit(imageSequence.GetIndexUnit())
        sequence.SetIndexType(imageSequence.GetIndexType())
    for place, prediction in enumerate(predictions):
        volume = imageSequence.GetNthDataNode(place)
        nodes = (
            addSegmentation(f"{name} structures", volume, [prediction], task),
            addLandmarks(f"{name} landmarks", volume, 0, prediction, task, threshold),
        )
        for sequence, node in zip(sequences, nodes, strict=True):
            sequence.SetDataNodeAtValue(node, imageSequence.GetNthIndexValue(place))  # a copy
            scene.RemoveNode(node)
    return FoundNodes(sequences[0], (sequences[1],))


def browse(imageSequence: Any, found: FoundNodes) -> FoundNodes:
    """Let the masks and landmarks of a sequence be browsed with its images; gives the nodes that show the chosen frame."""
    browser = browserOf(imageSequence)
    for sequence in (found.segmentation, *found.landmarks):
        if not browser.IsSynchronizedSequenceNode(sequence):
            browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    masks, points = browser.GetProxyNode(found.segmentation), browser.GetProxyNode(found.landmarks[0])
    masks.CreateDefaultDisplayNodes()
    dressPoints(points)
    return FoundNodes(masks, (points,))


def markSeries(imageSequence: Any, found: FoundNodes, threshold: float, showUnsure: bool) -> None:
    """As `result_nodes.markThreshold`, for all frames and the one that is shown."""
    for node in found.pointLists:
        markThreshold(node, threshold, showUnsure)
    for shown in browse(imageSequence, found).landmarks:
        markThreshold(shown, threshold, showUnsure)


def removeSeries(imageSequence: Any, found: FoundNodes) -> None:
    """Remove the sequences of a result and what showed them."""
    browser = browserOf(imageSequence) if imageSequence is not None and isSequence(imageSequence) else None
    for sequence in (found.segmentation, *found.landmarks):
        if browser is not None and browser.IsSynchronizedSequenceNode(sequence):
            proxy = browser.GetProxyNode(sequence)
            browser.RemoveSynchronizedSequenceNode(sequence.GetID())
            remove_nodes([proxy])
    remove_nodes([found.segmentation, *found.landmarks])
