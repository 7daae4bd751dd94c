"""What every importer gives, images with masks and landmarks of others, and how it becomes a data set of ours.

The stored image is a linear detector signal with the open beam at 1, like a simulated one. Where only a log image is known, on a scale of
its own, the signal is ``exp(-LOG_SPAN * (v - min) / (max - min))``: its logarithm is the log image again up to scale and offset, and these
cancel when images are normalised.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets.derived import write_dataset
from SyntheXLib.datasets.format import DatasetHeader
from SyntheXLib.datasets.reader import Sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import disk_errors
from SyntheXLib.rendering.display import value_range
from SyntheXLib.scene.c_arm import Camera, task_camera
from SyntheXLib.tasks.task import Task, nearest

Progress = Callable[[int, int], None]

# Natural logarithm between the brightest and the darkest pixel that a log image is given: a signal of 1 to 0.7 %, as through a pelvis.
LOG_SPAN = 5.0
_OPEN_BEAM = np.float32(1.0)


@dataclass(frozen=True)
class ImportedImage:
    """One image of others, as large as it was.

    Attributes
    ----------
    image
        (H, W) float32, linear detector signal, open beam = 1.
    mask
        (H, W) unsigned bit field, bit n = structure n of the task.
    landmarks
        (L, 2) column and row; NaN where unknown.
    parameters
        Specimen, source, imaging system and what else is known; for JSON.
    camera
        Its camera, or None where unknown.
    pixel_spacing_mm
        Height and width of a pixel, mm; None spreads the image over the data set's field of view.
    """

    image: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray
    parameters: dict[str, Any]
    camera: Camera | None = None
    pixel_spacing_mm: tuple[float, float] | None = None

    def sample(self, index: int, size: int, spacing_mm: float) -> Sample:
        """On `size` x `size` pixels of `spacing_mm`, in the middle; what is beyond the image is open beam. Pixel edges keep their place."""
        shape = self.image.shape
        scales = [size / max(shape)] * 2 if self.pixel_spacing_mm is None else [own / spacing_mm for own in self.pixel_spacing_mm]
        inner = (min(size, max(1, round(shape[0] * scales[0]))), min(size, max(1, round(shape[1] * scales[1]))))
        top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
        place = (slice(top, top + inner[0]), slice(left, left + inner[1]))
        image, mask = np.full((size, size), _OPEN_BEAM), np.zeros((size, size), self.mask.dtype)
        image[place], mask[place] = area_averaged(self.image, inner), sampled(self.mask, inner)
        scale = np.array([inner[1] / shape[1], inner[0] / shape[0]])
        landmarks = ((self.landmarks + 0.5) * scale - 0.5 + [left, top]).reshape(-1, 2)
        camera = None if self.camera is None else self.camera.resized(inner).region(-top, -left, (size, size))
        return Sample(
            index=index,
            image=image,
            mask=mask,
            landmarks=landmarks.astype(np.float32),
            visible=np.all((landmarks >= -0.5) & (landmarks <= size - 0.5), axis=1),
            world_to_camera=np.full((4, 4), np.nan) if camera is None else camera.world_to_camera,
            intrinsics=np.full((3, 3), np.nan) if camera is None else camera.intrinsics,
            parameters=self.parameters,
        )


@dataclass(frozen=True)
class Import:
    """A data set of others, looked through and ready to be written.

    Attributes
    ----------
    task
        What its masks and landmarks are named by.
    specimens
        One dictionary each with ``name`` and checksums of the files.
    count
        Number of images.
    images
        Reads them, in their order.
    image_size, pixel_spacing_mm
        Pixels a side of the data set's images and their size on the detector, mm.
    source_to_detector_mm
        None where unknown.
    origin
        Layout and options, for the header.
    notes
        What the user should know, a sentence each.
    """

    task: Task
    specimens: tuple[dict[str, Any], ...]
    count: int
    images: Callable[[], Iterator[ImportedImage]]
    image_size: int
    pixel_spacing_mm: float
    source_to_detector_mm: float | None
    origin: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.image_size < 16:
            raise SyntheXError(f"Image size must be at least 16 px, found {self.image_size}.")

    def write(self, folder: Path, progress: Progress | None = None) -> None:
        """Write the data set; the folder appears when all is in it.

        Raises
        ------
        SyntheXError
            When the folder is not empty, an image is bad, or the disk is full.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SyntheXError(f"{folder} is there already and not empty: choose another folder for the imported data set.")
        header = DatasetHeader(
            task=self.task,
            specimens=self.specimens,
            configuration={
                "level": "imported",
                "renderer": "none",
                "image_size": self.image_size,
                "image_dtype": "float32",
                "pixel_spacing_mm": self.pixel_spacing_mm,
                "source_to_detector_mm": self.source_to_detector_mm,
                "origin": self.origin,
            },
            seed=0,
            count=self.count,
        )
        samples = (image.sample(index, self.image_size, self.pixel_spacing_mm) for index, image in enumerate(self.images()))
        unfinished = folder.with_name(f".{folder.name}.part")
        with disk_errors(folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                write_dataset(unfinished, header, samples, progress)
                if folder.exists():
                    folder.rmdir()
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)


def task_spacing_mm(task: Task, size: int) -> float:
    """Side of a pixel, mm, when the field of view of the task's C-arm is spread over `size` pixels; 0.774 mm for 360 px of the paper's."""
    return float(task_camera(task.c_arm, np.eye(4), size).pixel_spacing_mm[0])


def check_spacing(spacing_mm: float | None) -> None:
    """Refuse what is no pixel size, with a `SyntheXError`."""
    if spacing_mm is not None and not (np.isfinite(spacing_mm) and spacing_mm > 0):
        raise SyntheXError(f"Pixel spacing must be above 0 mm, found {spacing_mm}.")


def linear_signal(values: np.ndarray, polarity: str, intensity: str, where: str) -> np.ndarray:
    """(H, W) float32 signal, open beam = 1, of grey values; the words are those of `inference.images`, errors call the image `where`.

    Raises
    ------
    SyntheXError
        When the values are not finite or all the same, or negative as a linear signal.
    """
    pixels = values.astype(np.float32)
    low, high = value_range(pixels, where)
    if intensity == "log":
        attenuation = (pixels - low if polarity == "bone-bright" else high - pixels) / np.float32(high - low)
        return np.exp(-np.float32(LOG_SPAN) * attenuation)
    if low < 0:
        raise SyntheXError(f"{where} has values down to {low:g}, expected none below 0 in a linear detector signal.")
    return (high - pixels if polarity == "bone-bright" else pixels) / np.float32(high)


def label_bits(labels: np.ndarray, numbers: Sequence[Iterable[int]], where: str, ignored: Iterable[int] = ()) -> np.ndarray:
    """Bit field (H, W) of a label map; ``numbers[n]`` are the labels of structure n.

    Raises
    ------
    SyntheXError
        When the map holds a number that belongs to no structure and is not among the `ignored` ones; `where` names the map.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        rounded = np.rint(labels)
        if not np.array_equal(rounded, labels):
            raise SyntheXError(f"{where}: expected whole numbers as labels, found others.")
        labels = rounded.astype(np.int64)
    known = {number for several in numbers for number in several}
    strange = [str(number) for number in np.unique(labels).tolist() if number not in known | {0, *ignored}]
    if strange:
        expected = ", ".join(map(str, sorted(known)))
        raise SyntheXError(f"{where}: expected the labels 0, {expected}, found also {', '.join(strange[:10])}.")
    bits = np.zeros(labels.shape, np.uint16 if len(numbers) <= 16 else np.uint32)
    for bit, several in enumerate(numbers):
        bits |= np.isin(labels, list(several)).astype(bits.dtype) << bits.dtype.type(bit)
    return bits


def area_averaged(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 on other rows and columns: each new pixel is the mean over its area, so that nothing aliases."""
    if image.shape == shape:
        return image
    rows, columns = (_overlaps(old, new) for old, new in zip(image.shape, shape, strict=True))
    return (rows @ image @ columns.T).astype(np.float32)


def sampled(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) values on other rows and columns, each taken where the new pixel's centre lies, as a ray through it would."""
    rows, columns = ((((np.arange(new) + 0.5) * old / new).astype(int)) for old, new in zip(values.shape, shape, strict=True))
    return values[np.ix_(rows, columns)]


def chosen_specimens(there: Sequence[str], wanted: Sequence[str], where: str) -> list[str]:
    """All specimens of a file, or those that are wanted.

    Raises
    ------
    SyntheXError
        When a wanted one is not there.
    """
    for name in wanted:
        if name not in there:
            raise SyntheXError(f"{where}: no specimen '{name}', expected one of {', '.join(there)}{nearest(name, there)}.")
    return [name for name in there if not wanted or name in wanted]


def listing_checksum(paths: Iterable[Path]) -> str:
    """SHA-256 of names and sizes of files: tells whether a folder is the same without reading all of it."""
    lines = [f"{path.name} {path.stat().st_size}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _overlaps(old: int, new: int) -> np.ndarray:
    """(new, old) share that each old pixel has in each new one; rows add up to 1."""
    edges = np.arange(new + 1) * (old / new)
    starts = np.arange(old)
    shared = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (shared.clip(0) * (new / old)).astype(np.float32)
