"""Model files and bundles: what they say of themselves."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import Task

# What makes a folder a MONAI bundle, and the files that may hold its weights.
_METADATA = Path("configs", "metadata.json")
_WEIGHTS = (Path("models", "model.safetensors"), Path("models", "model.pt"))


@dataclass(frozen=True)
class ModelFacts:
    """What a model says of itself.

    Attributes
    ----------
    task, structures, landmarks
        Title of the task, names of its structures and landmarks.
    shape, pixel_spacing_mm
        Rows and columns of the images trained on, and side of their pixels on the detector.
    size
        Of a TransUNet its size, else the network.
    epochs, images
        Epochs of the training and its number of images; None where it does not say.
    datasets, held_out
        Folders of the data sets trained on, and specimens that were left out for testing.
    start
        ``random``, or the file of the weights that it started from; empty where it does not say.
    bundle
        Whether it is the folder of a MONAI bundle.
    """

    task: str
    structures: tuple[str, ...]
    landmarks: tuple[str, ...]
    shape: tuple[int, int]
    pixel_spacing_mm: float
    size: str
    epochs: int | None
    images: int | None
    datasets: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    start: str = ""
    bundle: bool = False


def isModel(path: Path | str) -> bool:
    """Whether a path may be a model: a file, or the folder of a MONAI bundle. What is in it is not looked at."""
    return str(path) != "" and (Path(path).is_file() or Path(path, _METADATA).is_file())


def modelStamp(path: Path | str) -> tuple[float, ...]:
    """Changes when the model is written anew; empty when there is none."""
    path = Path(path)
    files = [path / _METADATA, *(path / name for name in _WEIGHTS)] if path.is_dir() else [path]
    stamps = []
    for file in files:
        try:
            stamps.append(file.stat().st_mtime)
        except OSError:  # it may go at any time
            continue
    return tuple(stamps)


def modelFacts(path: Path | str) -> ModelFacts:
    """What a model file or bundle says of itself.

    Raises
    ------
    SyntheXError
        When torch is not installed, or the model is missing, is none, or holds more than plain numbers and is not trusted.
    """
    try:
        from SyntheXLib.networks.model_file import read_model_description
    except ImportError as error:
        raise SyntheXError(f"Reading a model needs the package {error.name}, which is not installed: see the SyntheX module.") from error
    try:
        description = read_model_description(path)
    except SyntheXError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise SyntheXError(f"{path} is not opened: expected plain numbers, found what could run code; do not trust it.") from error
        raise
    task, training = Task.from_dict(description.task, str(path)), description.training
    return ModelFacts(
        task.title,
        task.structure_names,
        task.landmark_names,
        description.image_size,
        description.pixel_spacing_mm,
        description.size if description.architecture == "transunet" else description.architecture,
        training.get("epoch"),
        training.get("images"),
        tuple(Path(str(one.get("folder", ""))).name for one in _tables(training.get("datasets"))),
        tuple(map(str, training.get("held_out") or ())),
        _start(training.get("start")),
        Path(path).is_dir(),
    )


def _tables(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list | tuple) else []


def _start(value: Any) -> str:
    return str(value.get("file", "")) if isinstance(value, dict) else str(value or "")
