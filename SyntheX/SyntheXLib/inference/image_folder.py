"""A folder of real X-rays with masks, and landmarks where there are some, as a data set.

Beside ``NAME.png`` (any format of `inference.images`) lies its mask ``NAME_mask.png`` and perhaps ``NAME.csv`` (columns ``landmark``,
``column``, ``row``, pixels), ``NAME.mrk.json`` or ``NAME.fcsv`` (points in the frame of the image, as 3D Slicer saves them).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.importers.imported import (
    Import,
    ImportedImage,
    check_spacing,
    label_bits,
    linear_signal,
    task_spacing_mm,
)
from SyntheXLib.datasets.importers.picture import read_picture
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.inference.images import IMAGE_SUFFIXES, check_meaning, find_images, read_image, stem
from SyntheXLib.scene.landmarks import read_markups
from SyntheXLib.tasks.task import Task, nearest

MASK_MEANINGS = ("labels", "bits")
_MARKUPS = (".mrk.json", ".fcsv")
_TABLE = ".csv"
_WHITE = 255


@dataclass(frozen=True)
class MaskMeaning:
    """What the numbers of masks mean.

    Attributes
    ----------
    kind
        ``"labels"``: a pixel has one number; ``"bits"``: it has the sum of several (1, 2, 4 ...).
    numbers
        Structure to its numbers; None gives structure n the label n + 1 or the bit 2**n, and 255 as well where the task has but one.
    """

    kind: str = "labels"
    numbers: Mapping[str, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if self.kind not in MASK_MEANINGS:
            raise SyntheXError(f"Masks must hold {' or '.join(MASK_MEANINGS)}, found '{self.kind}'.")
        for name, several in (self.numbers or {}).items():
            wrong = [n for n in several if n < 1 or (self.kind == "bits" and n & (n - 1))]
            if wrong:
                expected = "powers of two" if self.kind == "bits" else "numbers above 0"
                raise SyntheXError(f"Mask numbers of '{name}': expected {expected}, found {wrong[0]}.")

    def check(self, task: Task) -> None:
        """Refuse structures that the task does not have, with a `SyntheXError`."""
        for name in self.numbers or {}:
            if name not in task.structure_names:
                known = task.structure_names
                raise SyntheXError(
                    f"Mask numbers: task '{task.name}' has no structure '{name}', only {', '.join(known)}{nearest(name, known)}."
                )

    def bits(self, values: np.ndarray, task: Task, path: Path) -> np.ndarray:
        """(H, W) bit field of a mask; numbers that mean nothing here are an error as labels, and passed over as bits."""
        count = len(task.structures)
        if self.kind == "bits":
            given = self.numbers if self.numbers is not None else {name: (1 << bit,) for bit, name in enumerate(task.structure_names)}
            found = np.zeros(values.shape, np.uint16 if count <= 16 else np.uint32)
            for bit, name in enumerate(task.structure_names):
                wanted = values.dtype.type(sum(given.get(name, ())))
                found |= ((values & wanted) != 0).astype(found.dtype) << found.dtype.type(bit)
            return found
        if self.numbers is not None:
            return label_bits(values, [self.numbers.get(name, ()) for name in task.structure_names], f"Mask {path}")
        whole = (1, _WHITE) if count == 1 else (1,)
        return label_bits(values, [whole, *((bit + 1,) for bit in range(1, count))], f"Mask {path}")


@dataclass(frozen=True)
class _Reader:
    images: tuple[Path, ...]
    masks: Mapping[Path, Path]
    task: Task
    meaning: MaskMeaning
    polarity: str
    intensity: str
    pixel_spacing_mm: float | None
    specimens: Mapping[Path, str]
    imaging_system: str | None
    spaced: bool = True

    def __call__(self) -> Iterator[ImportedImage]:
        return map(self.read, self.images)

    def read(self, path: Path) -> ImportedImage:
        spacing = None if self.pixel_spacing_mm is None else (self.pixel_spacing_mm, self.pixel_spacing_mm)
        image = read_image(path, self.polarity, self.intensity, spacing)
        mask = read_picture(self.masks[path])
        if not np.issubdtype(mask.dtype, np.integer):
            raise SyntheXError(f"Mask {self.masks[path]}: expected whole numbers, found {mask.dtype}.")
        if mask.shape != image.shape:
            raise SyntheXError(
                f"Mask {self.masks[path]}: expected {image.shape[0]} x {image.shape[1]} pixels as its image, "
                f"found {mask.shape[0]} x {mask.shape[1]}."
            )
        signal = image.pixels if image.intensity == "linear" else linear_signal(image.pixels, "bone-bright", "log", f"Image {path}")
        parameters: dict[str, Any] = {
            "specimen": self.specimens[path],
            "source": path.name,
            "imaging_system": self.imaging_system,
            "source_shape": list(image.shape),
        }
        if image.pixel_spacing_mm is not None:
            parameters["source_pixel_spacing_mm"] = list(image.pixel_spacing_mm)
        return ImportedImage(
            image=signal,
            mask=self.meaning.bits(mask, self.task, self.masks[path]),
            landmarks=_landmarks(path, self.task),
            parameters=parameters,
            pixel_spacing_mm=image.pixel_spacing_mm if self.spaced else None,
        )


def open_image_folder(
    folder: Path,
    task: Task,
    *,
    mask_suffix: str = "_mask",
    masks: MaskMeaning | None = None,
    image_size: int | None = None,
    pixel_spacing_mm: float | None = None,
    polarity: str = "bone-bright",
    intensity: str = "log",
    specimen: str | None = None,
    imaging_system: str | None = None,
) -> Import:
    """Look through a folder; every image and mask is read once to see that it is right.

    All images of a data set have one size and spacing. Where every image's spacing is known they are brought to that at which the largest
    just fits; else each is fitted into the square by its longer side, and the spacing is that of the task's C-arm. What is beyond an image
    is open beam.

    Parameters
    ----------
    folder, task
        What to read, and the names of structures and landmarks.
    mask_suffix
        What a mask's name has after its image's.
    masks
        What the masks' numbers mean; None takes `MaskMeaning`'s defaults.
    image_size
        Pixels a side; None takes the task's.
    pixel_spacing_mm
        Of all images, overriding what the files say; PNG, JPEG and TIFF say nothing that counts.
    polarity, intensity
        See `inference.images`.
    specimen
        Name that all images get (one patient); None takes each image's file name, so that each is its own.
    imaging_system
        Device name that is stored with each image.

    Raises
    ------
    SyntheXError
        When a file is missing, cannot be read or does not fit the task.
    """
    check_meaning(polarity, intensity)
    check_spacing(pixel_spacing_mm)
    meaning = masks or MaskMeaning()
    meaning.check(task)
    if not mask_suffix:
        raise SyntheXError("The suffix of masks must not be empty.")
    if not folder.is_dir():
        raise SyntheXError(f"Folder {folder} does not exist.")
    images = [path for path in find_images([folder]) if not stem(path).endswith(mask_suffix)]
    if not images:
        raise SyntheXError(f"Folder {folder}: every image's name ends in '{mask_suffix}', expected images beside their masks.")
    found = {path: _mask_of(path, mask_suffix) for path in images}
    names = {path: specimen or stem(path) for path in images}
    reader = _Reader(tuple(images), found, task, meaning, polarity, intensity, pixel_spacing_mm, names, imaging_system)
    size = image_size or task.c_arm.image_size
    fields = [_field_mm(image) for image in reader()]
    known = [field for field in fields if field is not None]
    notes: list[str] = []
    if len(known) == len(fields):
        spacing = max(known) / size
    else:
        spacing = task_spacing_mm(task, size)
        reader = _Reader(**{**reader.__dict__, "spaced": False})
        notes.append(
            f"The pixel size of {len(fields) - len(known)} of {len(fields)} images is not known: all are fitted into the field of view of "
            f"task '{task.name}' ({spacing:.4g} mm a pixel), and errors in mm mean nothing; --pixel-spacing gives it."
        )
    return Import(
        task=task,
        specimens=tuple(
            {
                "name": name,
                "source": [sha256(p) for p in images if names[p] == name],
                "masks": [sha256(found[p]) for p in images if names[p] == name],
            }
            for name in dict.fromkeys(names.values())
        ),
        count=len(images),
        images=reader,
        image_size=size,
        pixel_spacing_mm=spacing,
        source_to_detector_mm=None,
        origin={
            "layout": "images",
            "polarity": polarity,
            "intensity": intensity,
            "masks": meaning.kind,
            "mask_numbers": None if meaning.numbers is None else {name: list(several) for name, several in meaning.numbers.items()},
        },
        notes=tuple(notes),
    )


def _field_mm(image: ImportedImage) -> float | None:
    """Longer side of an image, mm."""
    if image.pixel_spacing_mm is None:
        return None
    return float(max(side * spacing for side, spacing in zip(image.image.shape, image.pixel_spacing_mm, strict=True)))


def _mask_of(path: Path, suffix: str) -> Path:
    for ending in IMAGE_SUFFIXES:
        mask = path.with_name(f"{stem(path)}{suffix}{ending}")
        if mask.is_file():
            return mask
    raise SyntheXError(f"Image {path}: expected its mask {stem(path)}{suffix}.png (or another image format) beside it, found none.")


def _landmarks(path: Path, task: Task) -> np.ndarray:
    """(L, 2) column and row, NaN for those that no file beside the image tells."""
    points: dict[str, np.ndarray] = {}
    base = path.with_name(stem(path))
    for ending in _MARKUPS:
        file = base.with_name(base.name + ending)
        if file.is_file():
            points |= _pixels(read_markups(file), path)
    table = base.with_name(base.name + _TABLE)
    if table.is_file():
        points |= _read_table(table)
    for name in points:
        if name not in task.landmark_names:
            known = task.landmark_names
            raise SyntheXError(
                f"Landmarks of {path}: task '{task.name}' has no '{name}', only {', '.join(known) or 'none'}{nearest(name, known)}."
            )
    return np.array([points.get(name, (np.nan, np.nan)) for name in task.landmark_names], float).reshape(-1, 2)


def _pixels(points: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Points (RAS, mm) in the frame of an image as its column and row."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetDimension()
    to_physical = np.reshape(reader.GetDirection(), (size, size)) * reader.GetSpacing()
    origin = np.array(reader.GetOrigin())
    lps = {name: point * [-1, -1, 1] for name, point in points.items()}
    return {name: np.linalg.solve(to_physical, point[:size] - origin)[:2] for name, point in lps.items()}


def _read_table(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["landmark"]: np.array([float(row["column"] or "nan"), float(row["row"] or "nan")]) for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise SyntheXError(f"Landmark table {path}: expected the columns landmark, column and row with numbers ({error!r}).") from error
