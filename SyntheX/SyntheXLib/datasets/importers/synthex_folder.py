"""The folder layout of the SyntheX release: scaled-up hip, continuum manipulator and COVID-19.

``proj/00000.tiff`` (float; ``.png`` for COVID-19), ``seg/00000.png`` or ``.tiff`` (label n + 1 is structure n; 0 and 255 for COVID-19),
``lands/00000.h5`` with ``dim1`` (columns) and ``dim2`` (rows) of all landmarks, or for the manipulator ``ld1`` and ``ld2``, each column and
row. Landmarks are in the task's order: the files carry no names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SyntheXLib.datasets.importers.hdf5 import numbers, open_hdf5
from SyntheXLib.datasets.importers.imported import (
    Import,
    ImportedImage,
    check_spacing,
    label_bits,
    linear_signal,
    listing_checksum,
    task_spacing_mm,
)
from SyntheXLib.datasets.importers.picture import read_picture
from SyntheXLib.datasets.importers.synthex_hdf5 import assumed_spacing, plain_numbers
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import load_device
from SyntheXLib.tasks.task import Task

_IMAGES, _MASKS, _LANDMARKS = "proj", "seg", "lands"
_SUFFIXES = {_IMAGES: (".tiff", ".tif", ".png"), _MASKS: (".png", ".tiff", ".tif"), _LANDMARKS: (".h5",)}
_WHITE = 255


@dataclass(frozen=True)
class _Reader:
    files: tuple[tuple[Path, Path, Path | None], ...]
    task: Task
    side: int
    specimen: str
    polarity: str
    intensity: str
    imaging_system: str | None

    def __call__(self) -> Iterator[ImportedImage]:
        for image, mask, landmarks in self.files:
            yield ImportedImage(
                image=linear_signal(read_picture(image, self.side), self.polarity, self.intensity, f"Image {image}"),
                mask=_bits(read_picture(mask, self.side), self.task, mask),
                landmarks=np.zeros((0, 2)) if landmarks is None else read_landmarks(landmarks, len(self.task.landmarks)),
                parameters={
                    "specimen": self.specimen,
                    "source": f"{image.parent.name}/{image.name}",
                    "imaging_system": self.imaging_system,
                },
            )


def open_synthex_folder(
    folder: Path,
    task: Task,
    *,
    specimen: str | None = None,
    image_size: int | None = None,
    pixel_spacing_mm: float | None = None,
    polarity: str = "bone-bright",
    intensity: str = "log",
    imaging_system: str | None = None,
) -> Import:
    """Look through a folder with ``proj``, ``seg`` and, where the task has landmarks, ``lands``.

    Parameters
    ----------
    folder, task
        What to read, and the names of structures and landmarks.
    specimen
        Name that all images get, since the files tell none; None takes the folder's.
    image_size, pixel_spacing_mm, polarity, intensity, imaging_system
        As in `synthex_hdf5.open_synthex_hdf5`.

    Raises
    ------
    SyntheXError
        When a folder is missing or empty, files do not belong together, or the first image is not square.
    """
    check_spacing(pixel_spacing_mm)
    images = _listed(folder, _IMAGES)
    masks = _belonging(folder, _MASKS, images)
    landmarks = _belonging(folder, _LANDMARKS, images) if task.landmarks else dict.fromkeys(images)
    files = tuple((path, masks[name], landmarks[name]) for name, path in images.items())
    first = read_picture(files[0][0])
    if first.shape[0] != first.shape[1]:
        raise SyntheXError(f"Image {files[0][0]} must be square, found {first.shape[0]} x {first.shape[1]} pixels.")
    if files[0][2] is not None:
        read_landmarks(files[0][2], len(task.landmarks))
    side = first.shape[0]
    size = image_size or side
    name = specimen or folder.resolve().name
    spacing = (pixel_spacing_mm or task_spacing_mm(task, side)) * side / size
    return Import(
        task=task,
        specimens=({"name": name, "listing": listing_checksum(path for several in files for path in several if path is not None)},),
        count=len(files),
        images=_Reader(files, task, side, name, polarity, intensity, imaging_system),
        image_size=size,
        pixel_spacing_mm=spacing,
        source_to_detector_mm=load_device(task.c_arm.device).source_to_detector_mm,
        origin={"layout": "synthex-folder", "polarity": polarity, "intensity": intensity},
        notes=() if pixel_spacing_mm else (assumed_spacing(task, spacing),),
    )


def read_landmarks(path: Path, count: int) -> np.ndarray:
    """(L, 2) column and row of a landmark file; NaN where not finite.

    Raises
    ------
    SyntheXError
        When the file has neither ``dim1`` and ``dim2`` nor ``ld1``, ``ld2`` ..., or another number of landmarks.
    """
    with open_hdf5(path) as file:
        if "ld1" in file:
            points = np.stack([numbers(file, f"ld{n}", 2) for n in range(1, count + 1)])
        else:
            points = np.stack([numbers(file, "dim1", count), numbers(file, "dim2", count)], axis=1)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def _bits(labels: np.ndarray, task: Task, path: Path) -> np.ndarray:
    if len(task.structures) == 1 and _WHITE in labels:  # a mask as a picture, with one structure
        return label_bits(labels, [(_WHITE,)], f"Mask {path}")
    return label_bits(labels, plain_numbers(task), f"Mask {path}")


def _listed(folder: Path, kind: str) -> dict[str, Path]:
    inside = folder / kind
    paths = sorted(p for p in inside.iterdir() if p.suffix.lower() in _SUFFIXES[kind]) if inside.is_dir() else []
    if not paths:
        raise SyntheXError(f"{folder}: expected the folder '{kind}' with {' or '.join(_SUFFIXES[kind])} files, found none.")
    return {path.stem: path for path in paths}


def _belonging(folder: Path, kind: str, images: dict[str, Path]) -> dict[str, Path]:
    found = _listed(folder, kind)
    if missing := [name for name in images if name not in found]:
        raise SyntheXError(
            f"{folder / kind}: expected a file for each of the {len(images)} images, {len(missing)} missing ({missing[0]} ...)."
        )
    return found
