"""What the Infer module does, without Qt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE
from SyntheXInferLib.evaluation import evaluationTable
from SyntheXInferLib.result_nodes import FoundNodes, addLandmarks, addSegmentation
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import XrayImage, xray_image
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor


class SyntheXInferLogic:
    """Applies a trained network to X-rays of the scene."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple[str, float, str], Predictor] | None = None

    def predict(
        self,
        volumeNode: Any,
        modelPath: Path | str,
        threshold: float = CONFIDENCE_THRESHOLD,
        device: str = "auto",
        polarity: str = "bone-bright",
        intensity: str = "log",
        series: bool = False,
    ) -> FoundNodes:
        """Find structures and landmarks.

        Parameters
        ----------
        volumeNode
            An image, or with `series` the frames of a fluoroscopy run as slices. One that the Simulate module made is known to be the
            linear detector signal.
        modelPath
            Model file.
        threshold
            Confidence above which a landmark counts as found.
        device
            ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        polarity, intensity
            What the numbers mean, see `SyntheXLib.inference.images`; not asked of images of the Simulate module.
        series
            Take the slices of a volume for frames.

        Raises
        ------
        SyntheXError
            When the volume is not what was said, or the model cannot be read or does not fit.
        """
        images = self._images(volumeNode, polarity, intensity, series)
        predictor = self._predictor(modelPath, device)
        predictions = predictor.predict(images)
        name, task = volumeNode.GetName(), predictor.task
        titles = [f"{name} landmarks"] if len(images) == 1 else [f"{name} landmarks {frame}" for frame in range(len(images))]
        return FoundNodes(
            addSegmentation(f"{name} structures", volumeNode, predictions, task),
            tuple(addLandmarks(titles[k], volumeNode, k, found, task, threshold) for k, found in enumerate(predictions)),
        )

    def predictSequence(self, sequenceNode: Any, modelPath: Path | str, **options: Any) -> tuple[Any, Any]:
        """Find structures and landmarks in all images of a vtkMRMLSequenceNode.

        Parameters
        ----------
        sequenceNode
            Its data nodes are single images.
        modelPath, options
            As `predict` takes them.

        Returns
        -------
        segmentations, landmarks
            New vtkMRMLSequenceNodes with the index of `sequenceNode`, to be browsed with it; their data nodes are as in `FoundNodes`.

        Raises
        ------
        SyntheXError
            As `predict`; no sequence is left then.
        """
        scene, name = slicer.mrmlScene, sequenceNode.GetName()
        sequences = [scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} {what}") for what in ("structures", "landmarks")]
        try:
            for sequence in sequences:
                sequence.SetIndexName(sequenceNode.GetIndexName())
                sequence.SetIndexUnit(sequenceNode.GetIndexUnit())
                sequence.SetIndexType(sequenceNode.GetIndexType())
            for place in range(sequenceNode.GetNumberOfDataNodes()):
                found = self.predict(sequenceNode.GetNthDataNode(place), modelPath, **options)
                for sequence, node in zip(sequences, (found.segmentation, *found.landmarks), strict=True):
                    sequence.SetDataNodeAtValue(node, sequenceNode.GetNthIndexValue(place))  # a copy
                    scene.RemoveNode(node)
        except SyntheXError:
            for sequence in sequences:
                scene.RemoveNode(sequence)
            raise
        return sequences[0], sequences[1]

    def evaluate(self, volumeNode: Any, found: FoundNodes, reference: FoundNodes, threshold: float = CONFIDENCE_THRESHOLD) -> Any:
        """Hold what was found against a reference; returns a new vtkMRMLTableNode, see `evaluation.evaluationTable`."""
        return evaluationTable(volumeNode, found, reference, threshold)

    def _predictor(self, modelPath: Path | str, device: str) -> Predictor:
        """The model, kept from one call to the next as long as its file is the same."""
        from SyntheXLib.inference.predictor import Predictor

        path = Path(modelPath)
        key = (str(path), path.stat().st_mtime if path.is_file() else 0.0, device)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = (key, Predictor.load(modelPath, device))
        return self._loaded[1]

    @staticmethod
    def _images(volumeNode: Any, polarity: str, intensity: str, series: bool) -> list[XrayImage]:
        where = f"Volume '{volumeNode.GetName()}'"
        pixels = slicer.util.arrayFromVolume(volumeNode) if volumeNode.GetImageData() else np.zeros((0, 0, 0))
        if pixels.ndim != 3 or (pixels.shape[0] != 1 and not series) or not pixels.size:
            wanted = "grey frames" if series else "a single grey image"
            raise SyntheXError(f"{where}: expected {wanted}, found an array of shape {pixels.shape}.")
        columnSpacing, rowSpacing, _ = volumeNode.GetSpacing()
        # Slicer gives 1 mm to pictures that say nothing of their spacing.
        spacing = None if columnSpacing == rowSpacing == 1 else (rowSpacing, columnSpacing)
        known = volumeNode.GetAttribute(INTENSITY_ATTRIBUTE)
        if known:
            return [XrayImage(frame.astype(np.float32), known, spacing) for frame in pixels]
        return [xray_image(frame, polarity, intensity, spacing, where) for frame in pixels]
