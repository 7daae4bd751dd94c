"""Masks and landmarks where the image lies in space: NIfTI, and point lists of 3D Slicer.

An X-ray image has no place in the patient. It lies in its detector: column to the patient's left, row to the back, the centre of the
first pixel at the origin, in mm on the detector, as Slicer shows such a picture; pixels of unknown spacing count as 1 mm. A file that says
where it lies (NRRD, NIfTI, MetaImage) keeps that place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SyntheXLib.files import atomic_write
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.scene.case_files import itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.labels import exclusive_labels, structure_masks
from SyntheXLib.tasks.task import Task

_PLACED = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def pixel_to_ras(path: Path, spacing_mm: tuple[float, float] | None) -> NDArray[np.float64]:
    """(4, 4) from column, row and frame of an image file to RAS mm; `spacing_mm` is height and width of a pixel."""
    down, across = spacing_mm or (1.0, 1.0)
    lps = np.diag([across, down, 1.0, 1.0])
    if path.name.lower().endswith(_PLACED):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        count = min(reader.GetDimension(), 3)
        turn = np.array(reader.GetDirection()).reshape(reader.GetDimension(), -1)[:count, :count]
        size = np.array(reader.GetSpacing()[:count])
        size[:2] = (across, down) if spacing_mm else size[:2]
        lps[:count, :count] = turn * size
        lps[:count, 3] = reader.GetOrigin()[:count]
    return _LPS_TO_RAS @ lps


def write_nifti(folder: Path, name: str, mask: NDArray[np.unsignedinteger], task: Task, matrix: NDArray[np.float64]) -> list[Path]:
    """Write a bit field (H, W): one label map ``NAME_labels.nii.gz`` of an exclusive task, else a ``NAME_STRUCTURE.nii.gz`` each."""
    count = len(task.structures)
    if task.segmentation == "exclusive":
        pictures = {"labels": exclusive_labels(mask, count)}
    else:
        masks = structure_masks(mask, count)
        pictures = {structure.name: inside.astype(np.uint8) for structure, inside in zip(task.structures, masks, strict=True)}
    paths = []
    for kind, picture in pictures.items():
        paths.append(folder / f"{name}_{kind}.nii.gz")
        with atomic_write(paths[-1]) as temporary:
            sitk.WriteImage(itk_image(picture[None], matrix), str(temporary), useCompression=True)
    return paths


def write_points(path: Path, prediction: Prediction, task: Task, matrix: NDArray[np.float64], threshold: float, frame: int = 0) -> None:
    """Write the landmarks as a point list with their confidence; those not above the threshold are named, but not placed."""
    places, words = {}, {}
    for n, name in enumerate(task.landmark_names):
        found = bool(prediction.confidence[n] > threshold)
        column, row = prediction.landmarks[n]
        places[name] = (matrix @ (column, row, frame, 1.0))[:3] if found else np.full(3, np.nan)
        words[name] = f"confidence {prediction.confidence[n]:.3f}" + ("" if found else ", not found")
        if prediction.presence is not None:
            words[name] += f", presence {prediction.presence[n]:.3f}"
    write_markups(path, places, name=path.name.removesuffix(".mrk.json"), descriptions=words)
