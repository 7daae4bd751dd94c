"""What the Infer module does, without Qt."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from SyntheXHomeLib import image_nodes, parameter_node
from SyntheXHomeLib.image_nodes import factsOf, framesOf, isSequence, knownIntensity
from SyntheXHomeLib.subject_hierarchy import put_in_folder, remove_nodes
from SyntheXInferLib.evaluation import Comparison, addCurve, compare, evaluationTable, removeCurve
from SyntheXInferLib.export import MASK_FORMATS, exportResult
from SyntheXInferLib.finding import Finding, find
from SyntheXInferLib.landmark_nodes import markThreshold
from SyntheXInferLib.live import LiveInference
from SyntheXInferLib.models import ModelFacts, modelFacts, modelStamp
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.report import ReportRun
from SyntheXInferLib.result_nodes import FoundNodes, addFound
from SyntheXInferLib.series import SeriesRun, addSeries, browse, markSeries, removeSeries
from SyntheXInferLib.shots import shotOf
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.image_facts import ImageFacts
from SyntheXLib.inference.images import check_meaning
from SyntheXLib.inference.outputs import ModelPaths, model_paths
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor

_PARAMETERS = "SyntheXInfer"
_DEFAULT = InferOptions()


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
        """What a model file or bundle says of itself, see `models.modelFacts`."""
        return modelFacts(modelPath)

    # Finding

    def predict(self, volumeNode: Any, modelPath: ModelPaths, options: InferOptions = _DEFAULT, series: bool = False) -> FoundNodes:
        """Find structures and landmarks.

        Parameters
        ----------
        volumeNode
            An image, or with `series` the frames of a fluoroscopy run as slices. One that the Simulate module made is known to be the
            linear detector signal.
        modelPath
            Model file or bundle, or several for an ensemble.
        options
            How the image is looked at.
        series
            Take the slices of a volume for frames.

        Raises
        ------
        SyntheXError
            When the volume is not what was said, or the model cannot be read or does not fit.
        """
        frames = framesOf(volumeNode)
        if len(frames) != 1 and not series:
            raise SyntheXError(f"Volume '{volumeNode.GetName()}': expected a single grey image, found an array of shape {frames.shape}.")
        finding = find(self._predictor(modelPath, options), shotOf(volumeNode), options)
        return addFound(volumeNode.GetName(), volumeNode, finding, options.threshold)

    def predictSequence(self, sequenceNode: Any, modelPath: ModelPaths, options: InferOptions = _DEFAULT) -> FoundNodes:
        """Find structures and landmarks in all images of a vtkMRMLSequenceNode, in this process.

        Parameters
        ----------
        sequenceNode
            Its data nodes are single images of one size.
        modelPath, options
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
        finding = find(self._predictor(modelPath, options), shotOf(sequenceNode), options)
        return addSeries(sequenceNode, finding, options.threshold)

    def startSeries(self, imageNode: Any, modelPath: ModelPaths, options: InferOptions = _DEFAULT) -> SeriesRun:
        """As `predictSequence`, also for the slices of a volume, in a process of its own; see `series.SeriesRun`."""
        check_meaning(options.polarity, options.intensity)
        return SeriesRun(imageNode, model_paths(modelPath), options)

    def startLive(
        self,
        imageNode: Any,
        modelPath: ModelPaths,
        options: InferOptions = _DEFAULT,
        found: FoundNodes | None = None,
        executor: Executor | None = None,
    ) -> LiveInference:
        """Follow an image that changes; `found` and `executor` as `live.LiveInference` takes them, whose `poll` is to be called often."""
        check_meaning(options.polarity, options.intensity)
        return LiveInference(imageNode, lambda: self._predictor(modelPath, options), options, found, executor)

    def startReport(
        self,
        modelPath: ModelPaths,
        datasetFolder: Path | str,
        outFolder: Path | str,
        mode: str = "strict",
        options: InferOptions = _DEFAULT,
    ) -> ReportRun:
        """Evaluate a model on a data set, in processes of their own; see `report.ReportRun`."""
        return ReportRun(model_paths(modelPath), datasetFolder, outFolder, mode, options)

    def showSeries(self, imageNode: Any, finding: Finding, threshold: float) -> tuple[Any, FoundNodes]:
        """The result of a `SeriesRun` as sequences that are browsed with the images; a volume of slices becomes a sequence first.

        Returns
        -------
        sequenceNode, found
            The images and what was found on them.
        """
        sequence = imageNode if isSequence(imageNode) else image_nodes.asSequence(imageNode)
        found = addSeries(sequence, finding, threshold)
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
        self,
        folder: Path | str,
        imageNode: Any,
        found: FoundNodes,
        threshold: float,
        comparison: Comparison | None = None,
        masks: tuple[str, ...] = MASK_FORMATS[:2],
        spacing: tuple[float, float] | None = None,
    ) -> list[Path]:
        """Write masks, landmarks, overlays and the evaluation into a folder, see `export.exportResult`."""
        return exportResult(folder, imageNode, found, threshold, comparison, masks, spacing)

    # Inside

    def _predictor(self, modelPath: ModelPaths, options: InferOptions) -> Predictor:
        """The models, kept from one call to the next as long as their files are the same."""
        from SyntheXLib.inference.predictor import Predictor

        paths = model_paths(modelPath)
        key = (tuple((str(path), modelStamp(path)) for path in paths), options.device, options.views)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = (key, Predictor.load(paths, options.device, options.views))
        return self._loaded[1]
