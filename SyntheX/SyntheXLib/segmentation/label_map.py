"""A label map as a file, with the names of its labels beside it."""

from __future__ import annotations

import colorsys
import csv
from collections.abc import Mapping
from pathlib import Path

import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.scene.case_files import label_numbers
from SyntheXLib.tasks.task import Task

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def names_file(path: Path) -> Path:
    """Where the names of a label map's labels are written: its name with ``.csv``.

    Raises
    ------
    SyntheXError
        When the label map's name ends in no format that is written.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return path.with_name(path.name.removesuffix(suffix) + ".csv")
    raise SyntheXError(f"Label map {path}: expected a name that ends in {', '.join(SUFFIXES)}.")


def write_label_map(path: Path, labels: sitk.Image, names: Mapping[int, str], task: Task) -> Path:
    """Write a label map and, beside it, the table of its names, which Slicer loads as a colour table; return the table's path.

    Structures of the task have its colours, other labels one that tells them apart.

    Raises
    ------
    SyntheXError
        When the ending is unknown or the disk refuses.
    """
    table = names_file(path)
    colors = {number: structure.color for structure in task.structures for number in label_numbers(structure, names)}
    rows = [(number, name, *colors.get(number, _color(number))) for number, name in sorted(names.items())]
    with atomic_write(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("LabelValue", "Name", "Color_R", "Color_G", "Color_B"), *rows])
    with atomic_write(path) as temporary:
        sitk.WriteImage(labels, str(temporary), useCompression=True)
    return table


def _color(number: int) -> tuple[int, int, int]:
    """Hues a golden ratio apart: near numbers differ."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.45, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)
