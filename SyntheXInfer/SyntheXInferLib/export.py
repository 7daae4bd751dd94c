"""What was found, as files in a folder: what stands in the scene at that time, edited or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from SyntheXHomeLib.image_nodes import dicomFile, factsOf, frameCount, knownIntensity
from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXInferLib.evaluation import COLUMNS, Comparison
from SyntheXInferLib.result_nodes import FoundNodes, eachFrame, predictionsOf, segmentIds, structureSpread
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.dicom_seg import write_seg
from SyntheXLib.inference.images import XrayImage, xray_image
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, MEASURE_COLUMNS, landmark_rows, measure_rows, write_csv, write_masks
from SyntheXLib.inference.predict_images import MASK_FORMATS, write_overlay
from SyntheXLib.inference.predictions import LANDMARKS, Prediction
from SyntheXLib.scene.case_files import itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.labels import exclusive_labels, structure_masks
from SyntheXLib.tasks.task import Task


def exportResult(
    folder: Path | str,
    imageNode: Any,
    found: FoundNodes,
    threshold: float,
    comparison: Comparison | None = None,
    masks: Sequence[str] = MASK_FORMATS[:2],
    spacing: tuple[float, float] | None = None,
) -> list[Path]:
    """Write masks, landmarks and overlays of each frame, and the evaluation.

    Parameters
    ----------
    folder
        Made if it is not there; files of the same name are replaced.
    imageNode, found
        The image, and what `SyntheXInferLogic` found on it.
    threshold
        Confidence above which a landmark counts as found.
    comparison
        Against a reference, see `evaluation.compare`; None without one.
    masks
        Of ``png``, ``nifti`` and ``seg``, a DICOM Segmentation, which refers to the DICOM file of the image.
    spacing
        Height and width of a pixel in mm on the detector; None takes what is known of the image.

    Returns
    -------
    list of Path
        For each frame NAME_labels.png (or one picture for each structure where they overlap) and NAME_labels.nii.gz (or one for each
        structure), NAME_landmarks.mrk.json and NAME_overlay.png; NAME_seg.dcm; landmarks.csv in pixels and mm; of several models or views
        structures.csv, how far they differ; evaluation.csv and activation.csv.

    Raises
    ------
    SyntheXError
        When the result is not one of SyntheX Infer, there is no DICOM file to refer to, or a file cannot be written.
    """
    folder, task = Path(folder), found.taskOf()
    source = dicomFile(imageNode) if "seg" in masks else None
    if "seg" in masks and source is None:
        raise SyntheXError(f"'{imageNode.GetName()}': DICOM SEG refers to the DICOM file of the image, which is not known here.")
    spacing = spacing or factsOf(imageNode).pixel_spacing_mm
    made: list[Path] = []
    rows: list[list[Any]] = []
    spreads: list[list[Any]] = []
    bits: list[np.ndarray] = []
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in imageNode.GetName()) or "image"
    frames, number = frameCount(imageNode), 0
    for volume, nodes in eachFrame(imageNode, found):
        pixels = slicer.util.arrayFromVolume(volume)
        for frame, prediction in enumerate(predictionsOf(volume, nodes, task)):
            name = stem if frames == 1 else f"{stem}_{number:04d}"
            bits.append(prediction.mask)
            made += write_masks(folder, name, prediction.mask, task) if "png" in masks else []
            made += _writeNifti(folder, name, volume, frame, prediction, task) if "nifti" in masks else []
            if frame < len(nodes.landmarks):
                made.append(folder / f"{name}_landmarks.mrk.json")
                _writeMarkups(made[-1], nodes.landmarks[frame], imageNode.GetName())
            made.append(folder / f"{name}_overlay.png")
            write_overlay(made[-1], _image(volume, pixels[frame], found.meaning()), prediction, task, threshold)
            marks = zip(landmark_rows(prediction, task, threshold), measure_rows(prediction, spacing), strict=True)
            rows += [[imageNode.GetName(), number, *row, *more] for row, more in marks]
            number += 1
        own = number - 1 if len(pixels) == 1 else ""  # the slices of a volume share a segmentation
        spreads += [[imageNode.GetName(), own, *row] for row in _spreads(nodes.segmentation)]
    if source is not None:
        made.append(folder / f"{stem}_seg.dcm")
        write_seg(made[-1], source, bits, task)
    made.append(folder / LANDMARKS)
    write_csv(made[-1], ["image", "frame", *LANDMARK_COLUMNS, *MEASURE_COLUMNS], rows)
    if spreads:
        made.append(folder / "structures.csv")
        write_csv(made[-1], ["image", "frame", "structure", "spread"], spreads)
    if comparison is not None:
        curve = comparison.curve()
        made += [folder / "evaluation.csv", folder / "activation.csv"]
        write_csv(made[-2], ["name", *COLUMNS], comparison.rows(threshold))
        shares = np.stack([100 * curve.share, curve.error_mm, curve.confidence], axis=1)
        write_csv(made[-1], ["activated_percent", "mean_error_mm", "threshold"], shares.tolist())
    return made


def _spreads(segmentationNode: Any) -> list[list[str]]:
    """Name and spread of the structures of which it is known."""
    segmentation = segmentationNode.GetSegmentation()
    values = [(name, structureSpread(segmentation.GetSegment(key))) for name, key in segmentIds(segmentationNode).values()]
    return [[name, f"{value:.4f}"] for name, value in values if np.isfinite(value)]


def _image(volume: Any, pixels: np.ndarray, meaning: tuple[str, str]) -> XrayImage:
    """The frame as the network took it."""
    known = knownIntensity(volume)
    if known:
        return XrayImage(pixels.astype(np.float32), known, None)
    return xray_image(pixels, meaning[0] or "bone-bright", meaning[1] or "log", None, f"Volume '{volume.GetName()}'")


def _writeNifti(folder: Path, name: str, volume: Any, frame: int, prediction: Prediction, task: Task) -> list[Path]:
    """Masks in world coordinates: one label map, n + 1 for structure n, or where structures overlap one file for each."""
    matrix = ijkToWorld(volume) @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, frame], [0, 0, 0, 1.0]])
    count = len(task.structures)
    if task.segmentation == "exclusive":
        parts = {f"{name}_labels.nii.gz": exclusive_labels(prediction.mask, count)}
    else:
        masks = structure_masks(prediction.mask, count)
        parts = {f"{name}_{one.name}.nii.gz": masks[one.bit].astype(np.uint8) for one in task.structures}
    for file, labels in parts.items():
        with atomic_write(folder / file) as temporary:
            try:
                sitk.WriteImage(itk_image(labels[None], matrix), str(temporary))
            except RuntimeError as error:
                raise SyntheXError(f"Masks cannot be written to {folder / file}: {str(error).strip().splitlines()[-1]}.") from error
    return [folder / file for file in parts]


def _writeMarkups(path: Path, markupsNode: Any, name: str) -> None:
    texts = {
        markupsNode.GetNthControlPointLabel(index): markupsNode.GetNthControlPointDescription(index)
        for index in range(markupsNode.GetNumberOfControlPoints())
    }
    write_markups(path, pointsInWorld(markupsNode), name=f"{name} landmarks", descriptions=texts)
