"""A run of frames: ``synthex infer`` as a child process, and its result as sequences that are browsed with the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from SyntheXHomeLib.image_nodes import browserOf, factsOf, framesOf, isSequence, knownIntensity
from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXInferLib.finding import Finding
from SyntheXInferLib.landmark_nodes import addLandmarks, dressPoints, markThreshold
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.result_nodes import FoundNodes, addSegmentation, note
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import AUTO
from SyntheXLib.inference.predict_images import read_image_predictions
from SyntheXLib.inference.predictions import read_description


class SeriesRun(LibraryCommand):
    """A running inference on all frames of an image; `progress` counts frames.

    Parameters
    ----------
    imageNode
        Sequence of images, or a volume whose slices are frames.
    modelPaths
        Model files or bundles, several for an ensemble.
    options
        How the frames are looked at; the threshold is not asked for.

    Raises
    ------
    SyntheXError
        When the frames cannot be written as a file.
    """

    def __init__(self, imageNode: Any, modelPaths: Sequence[Path | str], options: InferOptions) -> None:
        def inputs(folder: Path) -> list[str]:
            run = folder / "run.nrrd"
            meaning = _writeFrames(imageNode, run, options)
            return [str(run), "--out", str(folder / "found"), "--polarity", meaning[0], "--intensity", meaning[1]]

        arguments = ["--collimation", options.collimation, "--no-overlays"]
        super().__init__("infer", *modelArguments(modelPaths, options), *arguments, inputs=inputs)

    def result(self) -> Finding:
        """Once finished, what was found; the files are then gone.

        Raises
        ------
        SyntheXError
            When the command failed, with its last line.
        """
        try:
            description = read_description(self.folder / "found")
            if description is None:
                raise SyntheXError(self.message())
            task, predictions = read_image_predictions(self.folder / "found")
            image = description["images"][0]
            return Finding(task, predictions, (image["polarity"], image["intensity"]), image["warning"] or "")
        finally:
            self.close()


def modelArguments(modelPaths: Sequence[Path | str], options: InferOptions) -> list[str]:
    """What ``synthex infer`` is told of models, device and views."""
    model, *others = map(str, modelPaths)
    views = [f"--{name}" for name in options.views[1:]]
    return [model, "--device", options.device, *views, *(argument for other in others for argument in ("--model", other))]


def _writeFrames(imageNode: Any, path: Path, options: InferOptions) -> tuple[str, str]:
    """Write all frames into a file; give polarity and intensity as they are given or known, else ``auto``."""
    frames, facts, known = framesOf(imageNode), factsOf(imageNode), knownIntensity(imageNode)
    rowSpacing, columnSpacing = options.spacing or facts.pixel_spacing_mm or (1.0, 1.0)
    try:
        image = sitk.GetImageFromArray(frames)
        image.SetSpacing((columnSpacing, rowSpacing, 1.0))
        sitk.WriteImage(image, str(path))
    except RuntimeError as error:
        raise SyntheXError(f"The frames of '{imageNode.GetName()}' cannot be written to {path.parent}.") from error
    if known:
        return "bone-dark", known
    polarity = (facts.polarity or AUTO) if options.polarity == AUTO else options.polarity
    return polarity, (facts.intensity or AUTO) if options.intensity == AUTO else options.intensity


def addSeries(imageSequence: Any, finding: Finding, threshold: float) -> FoundNodes:
    """Masks and landmarks of the images of a sequence as two new sequences with its index, in its browser if it has one.

    Parameters
    ----------
    imageSequence
        vtkMRMLSequenceNode of K single images.
    finding
        K predictions.
    threshold
        Confidence above which a landmark counts as found.
    """
    scene, name = slicer.mrmlScene, imageSequence.GetName()
    sequences = [scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} {what}") for what in ("structures", "landmarks")]
    for sequence in sequences:
        sequence.SetIndexName(imageSequence.GetIndexName())
        sequence.SetIndexUnit(imageSequence.GetIndexUnit())
        sequence.SetIndexType(imageSequence.GetIndexType())
    for place, prediction in enumerate(finding.predictions):
        volume = imageSequence.GetNthDataNode(place)
        nodes = (
            addSegmentation(f"{name} structures", volume, [prediction], finding.task),
            addLandmarks(f"{name} landmarks", volume, 0, prediction, finding.task, threshold),
        )
        for sequence, node in zip(sequences, nodes, strict=True):
            sequence.SetDataNodeAtValue(node, imageSequence.GetNthIndexValue(place))  # a copy
            scene.RemoveNode(node)
    return note(FoundNodes(sequences[0], (sequences[1],)), finding)


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
