"""The small files beside predictions: tables, descriptions, label pictures."""

import csv
import json
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib import __version__
from SyntheXLib.files import atomic_write, sha256
from SyntheXLib.inference.overlay import write_label_png, write_picture
from SyntheXLib.inference.predictions import FORMAT, Prediction
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.tasks.labels import bits_of_labels, exclusive_labels, structure_masks
from SyntheXLib.tasks.task import Task

LANDMARK_COLUMNS = ("landmark", "column", "row", "confidence", "activated")


def landmark_rows(prediction: Prediction, task: Task, threshold: float) -> list[list[Any]]:
    """`LANDMARK_COLUMNS` of each landmark (column and row in pixels of the image)."""
    return [
        [name, f"{x:.3f}", f"{y:.3f}", f"{c:.4f}", int(c > threshold)]
        for name, (x, y), c in zip(task.landmark_names, prediction.landmarks, prediction.confidence, strict=True)
    ]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with commas, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, whole or not at all; NaN is refused."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_masks(folder: Path, name: str, mask: NDArray[np.unsignedinteger], task: Task) -> list[Path]:
    """Write a bit field as pictures.

    An exclusive task gives one ``NAME_labels.png`` of indexed colours (0 = nothing, n + 1 = structure n), a multilabel task a
    ``NAME_STRUCTURE.png`` of 0 and 255 for each structure.
    """
    count = len(task.structures)
    if task.segmentation == "exclusive":
        path = folder / f"{name}_labels.png"
        with atomic_write(path) as temporary:
            write_label_png(temporary, exclusive_labels(mask, count), task)
        return [path]
    paths = []
    for structure, inside in zip(task.structures, structure_masks(mask, count), strict=True):
        paths.append(folder / f"{name}_{structure.name}.png")
        with atomic_write(paths[-1]) as temporary:
            write_picture(temporary, inside.astype(np.uint8) * np.uint8(255))
    return paths


def read_masks(paths: Sequence[Path], task: Task) -> NDArray[np.unsignedinteger]:
    """The (H, W) bit field, uint16 (uint32 above 16 structures), of pictures that `write_masks` wrote; other files are passed over."""
    from PIL import Image

    def pixels(path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as picture:
            return np.asarray(picture, np.uint8)

    kind = np.uint16 if len(task.structures) <= 16 else np.uint32
    if task.segmentation == "exclusive":
        (path,) = (path for path in paths if path.name.endswith("_labels.png"))
        return bits_of_labels(pixels(path)).astype(kind)
    bits = np.zeros((), kind)
    for structure in task.structures:
        (path,) = (path for path in paths if path.name.endswith(f"_{structure.name}.png"))
        bits = bits | np.where(pixels(path) > 0, 1 << structure.bit, 0).astype(kind)
    return bits


def describe(predictor: Predictor, kind: str, model_path: Path | str, threshold: float) -> dict[str, Any]:
    """The part of ``predictions.json`` that all predictions have."""
    model = predictor.description.to_dict()
    task = model.pop("task")
    return {
        "format": FORMAT,
        "kind": kind,
        "model": {"path": str(Path(model_path).resolve()), "sha256": sha256(model_path), **model},
        "task": task,
        "threshold": threshold,
        "device": str(predictor.device),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, SyntheX and the packages that decide the numbers."""
    found = {"python": platform.python_version(), "synthex": __version__}
    for package in ("numpy", "torch", "SimpleITK"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
