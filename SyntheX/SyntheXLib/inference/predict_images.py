"""From a model file and image files to a folder of pictures and points, and back from the folder to predictions."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.image_facts import read_facts
from SyntheXLib.inference.images import AUTO, XrayImage, check_meaning, find_images, read_values, stem, xray_image
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, describe, landmark_rows, read_masks, write_csv, write_json, write_masks
from SyntheXLib.inference.overlay import GAMMA, Layers, compose, write_picture
from SyntheXLib.inference.polarity import asked_frames, find_meaning
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD, DESCRIPTION, LANDMARKS, Prediction, read_description
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.rendering.display import to_gray
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

Progress = Callable[[int, int], None]
_OVERLAY_SIDE = 1024


@dataclass(frozen=True)
class ImagePredictions:
    """What `predict_images` made.

    Attributes
    ----------
    folder
        Where the files are.
    images
        Files that were predicted.
    frames
        Number of their frames.
    failed
        Files that were not, each with the reason in one sentence.
    """

    folder: Path
    images: list[Path]
    frames: int
    failed: list[tuple[Path, str]]


def predict_images(
    model_path: Path | str,
    image_paths: Sequence[Path | str],
    out_folder: Path | str,
    *,
    polarity: str = AUTO,
    intensity: str = AUTO,
    pixel_spacing_mm: tuple[float, float] | None = None,
    device: str = "auto",
    threshold: float = CONFIDENCE_THRESHOLD,
    batch: int = 8,
    overlays: bool = True,
    progress: Progress | None = None,
) -> ImagePredictions:
    """Predict image files; each frame gets its masks and an overlay as PNG, and its rows in ``landmarks.csv``.

    A file that cannot be read is left out and listed in the result and in ``predictions.json``; the others go on.

    Parameters
    ----------
    model_path
        Model file.
    image_paths
        Files, or folders whose image files are taken.
    out_folder
        Where the files go; those of the same name are replaced.
    polarity, intensity, pixel_spacing_mm
        What the numbers of the files mean, see `images.read_image` and, for ``auto``, `polarity.find_meaning`.
    device, threshold
        As in `predict.predict_dataset`.
    batch
        Frames at a time.
    overlays
        Write the overlays too.
    progress
        Called with the number of frames done and their total.

    Raises
    ------
    SyntheXError
        When the model cannot be read, a parameter is wrong, no image is given, or the folder cannot be written.
    """
    check_meaning(polarity, intensity)
    if batch < 1:
        raise SyntheXError(f"batch must be at least 1, found {batch}.")
    out_folder = Path(out_folder)
    paths = find_images(image_paths)
    predictor = Predictor.load(model_path, device)
    (out_folder / DESCRIPTION).unlink(missing_ok=True)
    counts = [_frame_count(path) for path in paths]
    rows: list[list[Any]] = []
    done: list[dict[str, Any]] = []
    failed: list[tuple[Path, str]] = []
    for place, (path, name) in enumerate(zip(paths, _names(paths), strict=True)):
        before = sum(counts[:place])
        try:
            images, meaning = _read(predictor, path, polarity, intensity, pixel_spacing_mm)
            written: list[list[str]] = []
            found: list[list[Any]] = []
            for number, prediction in enumerate(_predictions(predictor, images, batch)):
                own = name if len(images) == 1 else f"{name}_{number:04d}"
                files = write_masks(out_folder, own, prediction.mask, predictor.task)
                if overlays:
                    files.append(out_folder / f"{own}_overlay.png")
                    write_overlay(files[-1], images[number], prediction, predictor.task, threshold)
                written.append([file.name for file in files])
                found += [[path.name, number, *row] for row in landmark_rows(prediction, predictor.task, threshold)]
                if progress:
                    progress(before + number + 1, sum(counts))
        except SyntheXError as error:
            failed.append((path, str(error)))
        else:
            rows += found
            done.append(
                {
                    "file": str(path.resolve()),
                    "frames": len(images),
                    "shape": images[0].shape,
                    "pixel_spacing_mm": images[0].pixel_spacing_mm,
                    "polarity": meaning[0],
                    "intensity": meaning[1],
                    "network_shape": predictor.grid(images[0]).inner,
                    "written": written,
                }
            )
        if progress:
            progress(before + counts[place], sum(counts))
    write_csv(out_folder / LANDMARKS, ["image", "frame", *LANDMARK_COLUMNS], rows)
    description = describe(predictor, "images", model_path, threshold) | {
        "polarity": polarity,
        "intensity": intensity,
        "images": done,
        "failed": [{"file": str(path.resolve()), "reason": reason} for path, reason in failed],
    }
    write_json(out_folder / DESCRIPTION, description)
    return ImagePredictions(out_folder, [Path(one["file"]) for one in done], sum(one["frames"] for one in done), failed)


def write_overlay(path: Path, image: XrayImage, prediction: Prediction, task: Task, threshold: float) -> None:
    """Write the image with masks and landmarks drawn over it as a PNG of 1024 pixels, landmarks under the threshold faint."""
    layers = Layers(
        structure_masks(prediction.mask, len(task.structures)), prediction.landmarks, prediction.confidence > threshold, names=True
    )
    with atomic_write(path) as temporary:
        write_picture(temporary, compose(to_gray(image.bone_bright(), gamma=GAMMA), task, layers, side=_OVERLAY_SIDE))


def read_image_predictions(folder: Path | str) -> tuple[Task, list[Prediction]]:
    """What `predict_images` wrote, frame by frame in the order of the files; landmarks to 0.001 px, confidence to 0.0001, no heat.

    Raises
    ------
    SyntheXError
        When the folder holds no complete predictions of image files, or a file could not be predicted.
    """
    folder = Path(folder)
    description = read_description(folder)
    if description is None or description.get("kind") != "images":
        raise SyntheXError(f"Folder {folder} holds no complete predictions of image files.")
    if description["failed"]:
        raise SyntheXError(description["failed"][0]["reason"])
    task = Task.from_dict(description["task"], str(folder / DESCRIPTION))
    with (folder / LANDMARKS).open(encoding="utf-8", newline="") as file:
        values = [[float(row[name]) for name in ("column", "row", "confidence")] for row in csv.DictReader(file)]
    frames = [names for image in description["images"] for names in image["written"]]
    points = np.array(values, np.float32).reshape(len(frames), len(task.landmarks), 3)
    predictions = []
    for names, found in zip(frames, points, strict=True):
        mask = read_masks([folder / name for name in names], task)
        predictions.append(Prediction(mask, found[:, :2], found[:, 2], np.zeros(mask.shape, np.uint8)))
    return task, predictions


def _read(
    predictor: Predictor, path: Path, polarity: str, intensity: str, spacing: tuple[float, float] | None
) -> tuple[list[XrayImage], tuple[str, str]]:
    """The frames of a file, and what their numbers were taken for."""
    values, facts = read_values(path)
    places = [f"Image {path}"] if len(values) == 1 else [f"Image {path}, frame {number}," for number in range(len(values))]

    def image(number: int, polarity: str, intensity: str) -> XrayImage:
        return xray_image(values[number], polarity, intensity, spacing or facts.pixel_spacing_mm, places[number], path)

    asked = asked_frames(len(values))
    meaning = find_meaning(predictor, facts, polarity, intensity, lambda *meant: [image(number, *meant) for number in asked])
    return [image(number, *meaning) for number in range(len(values))], meaning


def _predictions(predictor: Predictor, images: list[XrayImage], batch: int) -> Iterator[Prediction]:
    """One after another, as those of a long run do not fit into memory."""
    for first in range(0, len(images), batch):
        yield from predictor.predict(images[first : first + batch], batch=batch)


def _frame_count(path: Path) -> int:
    try:
        return read_facts(path).frames
    except SyntheXError:
        return 1  # its turn comes, and then it is listed


def _names(paths: Sequence[Path]) -> list[str]:
    """A different name for the files of each image: its own without suffix, with a number where it occurs again."""
    names: list[str] = []
    for path in paths:
        name, count = stem(path), 1
        while name in names:
            count += 1
            name = f"{stem(path)}_{count}"
        names.append(name)
    return names
