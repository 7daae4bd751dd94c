"""The HDF5 layout of the SyntheX release's controlled study, which DeepFluoro's small files share.

``NN/projs`` (N, R, C) in one file; ``NN/segs`` (N, R, C), ``NN/lands`` (N, 2, L; row 0 columns, row 1 rows) and ``land-names/num-lands``,
``land-names/land-00`` ... in the same or another. NN is a specimen. Label n + 1 is structure n of the task; landmarks are known by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets.importers.hdf5 import dataset, group, numbers, open_hdf5, text
from SyntheXLib.datasets.importers.imported import (
    Import,
    ImportedImage,
    check_spacing,
    chosen_specimens,
    label_bits,
    linear_signal,
    task_spacing_mm,
)
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.scene.c_arm import load_device
from SyntheXLib.tasks.task import Task


@dataclass(frozen=True)
class _Reader:
    """Reads the images of the chosen specimens; opened files are not kept."""

    images: Path
    labels: Path
    task: Task
    specimens: tuple[str, ...]
    polarity: str
    intensity: str
    imaging_system: str | None

    def __call__(self) -> Iterator[ImportedImage]:
        with open_hdf5(self.images) as images, open_hdf5(self.labels) as labels:
            places = _landmark_places(labels, self.task)
            for specimen in self.specimens:
                projections, masks, points = images[specimen]["projs"], labels[specimen]["segs"], labels[specimen]["lands"]
                for n in range(len(projections)):
                    where = f"{self.images}:{specimen}/projs, image {n}"
                    yield ImportedImage(
                        image=linear_signal(projections[n], self.polarity, self.intensity, where),
                        mask=label_bits(masks[n], plain_numbers(self.task), f"{self.labels}:{specimen}/segs, image {n}"),
                        landmarks=named_landmarks(points[n].T, places, len(self.task.landmarks)),
                        parameters={
                            "specimen": specimen,
                            "source": f"{self.images.name}:{specimen}/projs/{n}",
                            "imaging_system": self.imaging_system,
                        },
                    )


def open_synthex_hdf5(
    images: Path,
    task: Task,
    labels: Path | None = None,
    *,
    specimens: Sequence[str] = (),
    image_size: int | None = None,
    pixel_spacing_mm: float | None = None,
    polarity: str = "bone-bright",
    intensity: str = "log",
    imaging_system: str | None = None,
) -> Import:
    """Look through an image file and its label file.

    Parameters
    ----------
    images, labels
        HDF5 files; None for `labels` where one file holds both.
    task
        Names of structures and landmarks.
    specimens
        Names of the groups to take; none takes all.
    image_size
        Pixels a side; None keeps the file's.
    pixel_spacing_mm
        Of the file's pixels; None spreads the field of view of the task's C-arm over them (0.774 mm at 360 px).
    polarity, intensity
        What the numbers mean, see `inference.images`; DeepFluoro's small files are log images, bone bright.
    imaging_system
        Device name that is stored with each image.

    Raises
    ------
    SyntheXError
        When a file, group or data set is missing, a shape is wrong, or a landmark of the task has no place in the file.
    """
    labels = labels or images
    check_spacing(pixel_spacing_mm)
    with open_hdf5(images) as image_file, open_hdf5(labels) as label_file:
        there = [name for name in image_file if name.isdigit()]
        if not there:
            raise SyntheXError(
                f"{images}: expected groups 01, 02 ... with 'projs' in each, found {', '.join(map(repr, image_file)) or 'nothing'}."
            )
        chosen = chosen_specimens(there, specimens, str(images))
        _, count = _landmark_places(label_file, task), int(numbers(group(label_file, "land-names"), "num-lands", 1)[0])
        sizes, total = set(), 0
        for name in chosen:
            projections = dataset(group(image_file, name), "projs", (None, None, None))
            several, rows, columns = projections.shape
            dataset(group(label_file, name), "segs", (several, rows, columns))
            dataset(group(label_file, name), "lands", (several, 2, count))
            sizes.add((rows, columns))
            total += several
        if len(sizes) != 1 or len(set(next(iter(sizes)))) != 1:
            found = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
            raise SyntheXError(f"{images}: expected square images of one size in all specimens, found {found}.")
    if not total:
        raise SyntheXError(f"{images}: expected at least one image, found none.")
    side = sizes.pop()[0]
    size = image_size or side
    spacing = (pixel_spacing_mm or task_spacing_mm(task, side)) * side / size
    digests = [sha256(path) for path in dict.fromkeys((images, labels))]
    return Import(
        task=task,
        specimens=tuple({"name": name, "source": digests} for name in chosen),
        count=total,
        images=_Reader(images, labels, task, tuple(chosen), polarity, intensity, imaging_system),
        image_size=size,
        pixel_spacing_mm=spacing,
        source_to_detector_mm=load_device(task.c_arm.device).source_to_detector_mm,
        origin={"layout": "synthex-hdf5", "polarity": polarity, "intensity": intensity},
        notes=() if pixel_spacing_mm else (assumed_spacing(task, spacing),),
    )


def plain_numbers(task: Task) -> list[tuple[int, ...]]:
    """Labels where structure n of the task is n + 1."""
    return [(bit + 1,) for bit in range(len(task.structures))]


def assumed_spacing(task: Task, spacing_mm: float) -> str:
    """The note that a pixel size was not found but follows from the task's C-arm."""
    return f"The pixel size is taken from the field of view of task '{task.name}': {spacing_mm:.4g} mm; --pixel-spacing gives another."


def named_landmarks(points: np.ndarray, places: Sequence[int | None], count: int) -> np.ndarray:
    """(L, 2) in the task's order of (M, 2) in the file's; not finite becomes NaN."""
    found = np.full((count, 2), np.nan)
    for n, place in enumerate(places):
        if place is not None and np.isfinite(points[place]).all():
            found[n] = points[place]
    return found


def _landmark_places(file: Any, task: Task) -> list[int | None]:
    """Place in the file of each landmark of the task."""
    names = group(file, "land-names")
    there = [text(names, f"land-{n:02d}") for n in range(int(numbers(names, "num-lands", 1)[0]))]
    if missing := [name for name in task.landmark_names if name not in there]:
        raise SyntheXError(
            f"{file.filename}: expected the landmarks of task '{task.name}', {', '.join(missing)} not found among {', '.join(there)}."
        )
    return [there.index(name) for name in task.landmark_names]
