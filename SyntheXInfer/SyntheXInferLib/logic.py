"""What the Infer module does, without Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SyntheXHomeLib import image_nodes, parameter_node
from SyntheXHomeLib.image_nodes import factsOf, framesOf, isSequence, knownIntensity
from SyntheXHomeLib.subject_hierarchy import put_in_folder, remove_nodes
from SyntheXInferLib.evaluation import Comparison, addCurve, compare, evaluationTable, removeCurve
from SyntheXInferLib.export import exportResult
from SyntheXInferLib.result_nodes import FoundNodes, addLandmarks, addSegmentation, markThreshold, note
from SyntheXInferLib.series import SeriesResult, SeriesRun, addSeries, browse, markSeries, removeSeries
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import AUTO, XrayImage, check_meaning, xray_image
from SyntheXLib.inference.outputs import ModelPaths, model_paths
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD, Prediction

if TYPE_CHECKING:
    from SyntheXLib.inference.image_facts import ImageFacts
    from SyntheXLib.inference.predictor import Predictor

_PARAMETERS = "SyntheXInfer"


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says of itself.

    Attributes
    ----------
    task, structures, landmarks
        Title of the task, names of its structures and landmarks.
    shape, pixel_spacing_mm
        Rows and columns of the images trained on, and side of their pixels on the detector.
    size
        Size of the network.
    epochs, images
        Epochs of the training and its number of images; None where it does not say.
    """

    task: str
    structures: tuple[str, ...]
    landmarks: tuple[str, ...]
    shape: tuple[int, int]
    pixel_spacing_mm: float
    size: str
    epochs: int | None
    images: int | None


class SyntheXInferLogic:
    """Applies a trained network to X-rays of the scene."""

    def __init__(self) -> None:
        self._loaded: tuple[Any, Predictor] | None = None

    def parameterNode(self) -> Any:
        """The scene's node for the panel's settings, made when there is none."""
        return parameter_node.parameterNode(_PARAMETERS)

    # The image and the model

    def loadImage(self, path: Path | str) -> Any:
        """Load an X-ray file, see `image_nodes.loadImage`."""
        return image_nodes.loadImage(path)

    def firstImage(self) -> Any | None:
        """The scene's first X-ray: a volume of one slice, or one that the Simulate module made; None when there is none."""
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and (image_nodes.frameCount(node) == 1 or knownIntensity(node)):
                return node
        return None

    def facts(self, imageNode: Any) -> ImageFacts:
        """What is known of an image, see `image_nodes.factsOf`."""
        return factsOf(imageNode)

    def modelFacts(self, modelPath: Path | str) -> ModelFacts:
        """What a model file says of itself.

        Raises
        ------
        SyntheXError
            When torch is not installed, or the file is missing or no model.
        """
        try:
            from SyntheXLib.networks.model_file import read_model_description
        except ImportError as error:
            raise SyntheXError(
                f"Reading a model needs the package {error.name}, which is not installed: see the SyntheX module."
            ) from error
        from SyntheXLib.tasks.task import Task

        description = read_model_description(modelPath)
        task = Task.from_dict(description.task, str(modelPath))
        training = description.training
        return ModelFacts(
            task.title,
            task.structure_names,
            task.landmark_names,
            description.image_size,
            description.pixel_spacing_mm,
            description.size,
            training.get("epoch"),
            training.get("images"),
        )

    # Finding

    def predict(
        self,
        volumeNode: Any,
        modelPath: ModelPaths,
        threshold: float = CONFIDENCE_THRESHOLD,
        device: str = "auto",
        polarity: str = AUTO,
        intensity: str = AUTO,
        series: bool = False,
        spacing: tuple[float, float] | None = None,
        flip: bool = False,
        collimation: str = AUTO,
    ) -> FoundNodes:
        """Find structures and landmarks.

        Parameters
        ----------
        volumeNode
            An image, or with `series` the frames of a fluoroscopy run as slices. One that the Simulate module made is known to be the
            linear detector signal.
        modelPath
            Model file, or several for an ensemble.
        threshold
            Confidence above which a landmark counts as found.
        device
            ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        polarity, intensity
            What the numbers mean, see `SyntheXLib.inference.images` and, for ``auto``, `SyntheXLib.inference.polarity`; not asked of images
            of the Simulate module.
        series
            Take the slices of a volume for frames.
        spacing
            Height and width of a pixel in mm on the detector; None takes what is known of the image.
        flip
            Look at the mirror image too, and average.
        collimation
            ``auto``: what the collimator covers is found and not looked at; ``none``: the whole image is open.

        Raises
        ------
        SyntheXError
            When the volume is not what was said, or the model cannot be read or does not fit.
        """
        frames = framesOf(volumeNode)
        if len(frames) != 1 and not series:
            raise SyntheXError(f"Volume '{volumeNode.GetName()}': expected a single grey image, found an array of shape {frames.shape}.")
        predictor = self._predictor(modelPath, device, flip)
        predictions, meaning, warning = self._predictions(predictor, volumeNode, frames, polarity, intensity, spacing, collimation)
        name, task = volumeNode.GetName(), predictor.task
        titles = [f"{name} landmarks"] if len(frames) == 1 else [f"{name} landmarks {frame}" for frame in range(len(frames))]
        found = FoundNodes(
            addSegmentation(f"{name} structures", volumeNode, predictions, task),
            tuple(addLandmarks(titles[k], volumeNode, k, found, task, threshold) for k, found in enumerate(predictions)),
        )
        return note(found, task, meaning, warning)

    def predictSequence(
        self,
        sequenceNode: Any,
        modelPath: ModelPaths,
        threshold: float = CONFIDENCE_THRESHOLD,
        device: str = "auto",
        polarity: str = AUTO,
        intensity: str = AUTO,
        spacing: tuple[float, float] | None = None,
        flip: bool = False,
        collimation: str = AUTO,
    ) -> FoundNodes:
        """Find structures and landmarks in all images of a vtkMRMLSequenceNode, in this process.

        Parameters
        ----------
        sequenceNode
            Its data nodes are single images of one size.
        modelPath, threshold, device, polarity, intensity, spacing, flip, collimation
            As `predict` takes them.

        Returns
        -------
        FoundNodes
            New vtkMRMLSequenceNodes with the index of `sequenceNode`, to be browsed with it.

        Raises
        ------
        SyntheXError
            As `predict`.
        """
        frames = framesOf(sequenceNode)
        predictor = self._predictor(modelPath, device, flip)
        predictions, meaning, warning = self._predictions(predictor, sequenceNode, frames, polarity, intensity, spacing, collimation)
        return note(addSeries(sequenceNode, predictions, predictor.task, threshold), predictor.task, meaning, warning)

    def startSeries(
        self,
        imageNode: Any,
        modelPath: ModelPaths,
        device: str = "auto",
        polarity: str = AUTO,
        intensity: str = AUTO,
        spacing: tuple[float, float] | None = None,
        flip: bool = False,
        collimation: str = AUTO,
    ) -> SeriesRun:
        """As `predictSequence`, also for the slices of a volume, in a process of its own; see `series.SeriesRun`."""
        check_meaning(polarity, intensity)
        return SeriesRun(imageNode, model_paths(modelPath), device, polarity, intensity, spacing, flip, collimation)

    def showSeries(self, imageNode: Any, result: SeriesResult, threshold: float) -> tuple[Any, FoundNodes]:
        """The result of a `SeriesRun` as sequences that are browsed with the images; a volume of slices becomes a sequence first.

        Returns
        -------
        sequenceNode, found
            The images and what was found on them.
        """
        sequence = imageNode if isSequence(imageNode) else image_nodes.asSequence(imageNode)
        found = note(addSeries(sequence, result.predictions, result.task, threshold), result.task, result.meaning, result.warning)
        browse(sequence, found)
        return sequence, found

    # The result

    def shown(self, imageNode: Any, found: FoundNodes) -> FoundNodes:
        """The nodes that the views show: of a sequence those of the chosen frame."""
        return browse(imageNode, found) if isSequence(imageNode) else found

    def putInFolder(self, imageNode: Any, *nodes: Any) -> None:
        """Put nodes of the views into a folder of the subject hierarchy that is named after the image."""
        for node in nodes:
            put_in_folder(node, "SyntheX Infer", imageNode.GetName())

    def setThreshold(self, imageNode: Any, found: FoundNodes, threshold: float, showUnsure: bool = True) -> None:
        """Mark (and hide, if asked for) the landmarks that are not above another threshold; the network does not run again."""
        if isSequence(imageNode):
            markSeries(imageNode, found, threshold, showUnsure)
        else:
            for node in found.landmarks:
                markThreshold(node, threshold, showUnsure)

    def remove(self, imageNode: Any | None, found: FoundNodes) -> None:
        """Remove what was found, and what shows it."""
        removeSeries(imageNode, found)

    # Evaluation and files

    def reference(self, masksNode: Any | None, pointsNode: Any | None) -> FoundNodes:
        """A reference of a segmentation and markups, or of sequences of them.

        Raises
        ------
        SyntheXError
            When a sequence holds nodes of another kind.
        """
        for node, kind in ((masksNode, "vtkMRMLSegmentationNode"), (pointsNode, "vtkMRMLMarkupsFiducialNode")):
            if node is not None and isSequence(node) and not (node.GetNumberOfDataNodes() and node.GetNthDataNode(0).IsA(kind)):
                raise SyntheXError(f"Reference '{node.GetName()}': expected a sequence of {kind}, found another one.")
        return FoundNodes(masksNode, () if pointsNode is None else (pointsNode,))

    def compare(self, imageNode: Any, found: FoundNodes, reference: FoundNodes, spacing: tuple[float, float] | None = None) -> Comparison:
        """Hold what was found against a reference, see `evaluation.compare`; spacing as in `predict`."""
        return compare(imageNode, found, reference, spacing or factsOf(imageNode).pixel_spacing_mm)

    def evaluate(self, imageNode: Any, found: FoundNodes, reference: FoundNodes, threshold: float = CONFIDENCE_THRESHOLD) -> Any:
        """`compare` as a new vtkMRMLTableNode, see `evaluation.evaluationTable`."""
        return self.table(imageNode, self.compare(imageNode, found, reference), threshold)

    def table(self, imageNode: Any, comparison: Comparison, threshold: float) -> Any:
        """A comparison as a new vtkMRMLTableNode, see `evaluation.evaluationTable`."""
        return evaluationTable(f"{imageNode.GetName()} evaluation", comparison, threshold)

    def curve(self, imageNode: Any, comparison: Comparison) -> Any:
        """The activation curve of a comparison as a new vtkMRMLPlotChartNode, see `evaluation.addCurve`."""
        return addCurve(f"{imageNode.GetName()} activation", comparison)

    def removeTable(self, tableNode: Any) -> None:
        """Remove what `table` made."""
        remove_nodes([tableNode])

    def removeCurve(self, chartNode: Any) -> None:
        """Remove what `curve` made."""
        removeCurve(chartNode)

    def export(
        self, folder: Path | str, imageNode: Any, found: FoundNodes, threshold: float, comparison: Comparison | None = None
    ) -> list[Path]:
        """Write masks, landmarks, overlays and the evaluation into a folder, see `export.exportResult`."""
        return exportResult(folder, imageNode, found, threshold, comparison)

    # Inside

    def _predictor(self, modelPath: ModelPaths, device: str, flip: bool) -> Predictor:
        """The models, kept from one call to the next as long as their files are the same."""
        from SyntheXLib.inference.predictor import Predictor

        paths = model_paths(modelPath)
        key = (tuple((str(path), path.stat().st_mtime if path.is_file() else 0.0) for path in paths), device, flip)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = (key, Predictor.load(paths, device, ("plain", "flip") if flip else ("plain",)))
        return self._loaded[1]

    @staticmethod
    def _predictions(
        predictor: Predictor,
        imageNode: Any,
        frames: np.ndarray,
        polarity: str,
        intensity: str,
        spacing: tuple[float, float] | None,
        collimation: str,
    ) -> tuple[list[Prediction], tuple[str, str], str]:
        """A prediction for each frame, what their numbers were taken for, and the warning of `inference.domain` or none."""
        from SyntheXLib.inference.domain import domain_warning
        from SyntheXLib.inference.polarity import asked_frames, find_meaning
        from SyntheXLib.inference.predict_images import open_field

        check_meaning(polarity, intensity)
        facts, known = factsOf(imageNode), knownIntensity(imageNode)
        spacing = spacing or facts.pixel_spacing_mm
        where = f"Volume '{imageNode.GetName()}'"
        asked = [frames[number] for number in asked_frames(len(frames))]
        linear = "linear" in (known, intensity, facts.intensity)
        field = open_field(asked, linear) if collimation == AUTO else None
        if known:
            images = [XrayImage(frame.astype(np.float32), known, spacing, field=field) for frame in frames]
            meaning = ("bone-dark", known)
        else:

            def image(frame: np.ndarray, turned: str, meant: str) -> XrayImage:
                return replace(xray_image(frame, turned, meant, spacing, where), field=field)

            meaning = find_meaning(predictor, facts, polarity, intensity, lambda *meant: [image(one, *meant) for one in asked])
            images = [image(frame, *meaning) for frame in frames]
        predictions = predictor.predict(images)
        return predictions, meaning, domain_warning(predictor, images[0], predictions[0]) or ""
