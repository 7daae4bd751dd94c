"""What the Infer module does, without Qt."""

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE, ijkToWorld, nameLabels
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD
from SyntheXLib.tasks.labels import exclusive_labels


class SyntheXInferLogic:
    """Applies a trained network to an X-ray of the scene."""

    def predict(self, volumeNode: Any, modelPath: Path | str) -> tuple[Any, Any]:
        """Find structures and landmarks.

        Parameters
        ----------
        volumeNode
            A single image. One that the Simulate module made is known to be the linear detector signal; any other must show bone bright,
            as a displayed X-ray does.
        modelPath
            Model file.

        Returns
        -------
        labelmapNode, markupsNode
            New vtkMRMLLabelMapVolumeNode, in which n + 1 is the model's structure n, and new vtkMRMLMarkupsFiducialNode with all landmarks
            in the task's order, those below the confidence threshold marked as missing. Both lie on the image.

        Raises
        ------
        SyntheXError
            When the volume is not a single image, or the model cannot be read or does not fit.
        """
        from SyntheXLib.inference.predictor import Predictor

        pixels = slicer.util.arrayFromVolume(volumeNode)
        if pixels.ndim != 3 or pixels.shape[0] != 1:
            raise SyntheXError(f"Volume '{volumeNode.GetName()}': expected a single grey image, found an array of shape {pixels.shape}.")
        columnSpacing, rowSpacing, _ = volumeNode.GetSpacing()
        # Slicer gives 1 mm to pictures that say nothing of their spacing.
        spacing = None if columnSpacing == rowSpacing == 1 else (rowSpacing, columnSpacing)
        image = XrayImage(pixels[0].astype(np.float32), volumeNode.GetAttribute(INTENSITY_ATTRIBUTE) or "log", spacing)
        predictor = Predictor.load(modelPath)
        prediction = predictor.predict([image])[0]
        name = volumeNode.GetName()
        labels = exclusive_labels(prediction.mask, len(predictor.task.structures))
        matrix = ijkToWorld(volumeNode)
        labelmapNode = slicer.util.addVolumeFromArray(labels[None], matrix, f"{name} structures", "vtkMRMLLabelMapVolumeNode")
        nameLabels(labelmapNode, predictor.task)
        markupsNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} landmarks")
        for index, landmark in enumerate(predictor.task.landmark_names):
            column, row = prediction.landmarks[index]
            markupsNode.AddControlPoint((matrix @ [column, row, 0, 1])[:3], landmark)
            markupsNode.SetNthControlPointDescription(index, f"confidence {prediction.confidence[index]:.3f}")
            if prediction.confidence[index] <= CONFIDENCE_THRESHOLD:
                markupsNode.SetNthControlPointPositionMissing(index)
        return labelmapNode, markupsNode
