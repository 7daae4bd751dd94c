"""From a model file and image files to a folder of pictures and points, and back from the folder to predictions."""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors
from SyntheXLib.inference.burnt_in import without_text
from SyntheXLib.inference.collimation import find_collimation
from SyntheXLib.inference.dicom_seg import write_seg
from SyntheXLib.inference.domain import domain_warning
from SyntheXLib.inference.images import AUTO, XrayImage, check_meaning, find_images, read_values, stem, xray_image
from SyntheXLib.inference.outputs import (
    LANDMARK_COLUMNS,
    MEASURE_COLUMNS,
    ModelPaths,
    describe,
    landmark_rows,
    measure_rows,
    read_masks,
    write_csv,
    write_json,
    write_masks,
)
from SyntheXLib.inference.overlay import GAMMA, Layers, compose, write_picture
from SyntheXLib.inference.placed_outputs import pixel_to_ras, write_nifti, write_points
from SyntheXLib.inference.polarity import Meaning, ask_meaning, asked_frames
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD, DESCRIPTION, LANDMARKS, Prediction, read_description
from SyntheXLib.inference.predictor import VIEWS, Predictor
from SyntheXLib.rendering.display import to_gray
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

Progress = Callable[[int, int], None]
#: Indexed or black and white pictures; label maps in mm; DICOM Segmentation.
MASK_FORMATS = ("png", "nifti", "seg")
_OVERLAY_SIDE = 1024
#: The open field is looked for on images reduced to this many pixels a side, or up to twice as many.
_FIELD_SIDE = 512


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
    warnings
        Files that are unlike those of the model's validation, each with what is, see `domain`; the first frame decides.
    """

    folder: Path
    images: list[Path]
    frames: int
    failed: list[tuple[Path, str]]
    warnings: list[tuple[Path, str]] = dataclasses.field(default_factory=list)


def predict_images(
    model_path: ModelPaths,
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
    views: Sequence[str] = VIEWS[:1],
    masks: Sequence[str] = MASK_FORMATS[:1],
    collimation: str = AUTO,
    progress: Progress | None = None,
) -> ImagePredictions:
    """Predict image files; each frame gets its masks, a point list, an overlay as PNG, and its rows in ``landmarks.csv``.

    Text that was burnt into the pixels is painted over first, and what lies outside the collimator's field is not looked at. A file that
    cannot be read is left out and listed in the result and in ``predictions.json``; the others go on.

    Parameters
    ----------
    model_path
        Model file or bundle, or several for an ensemble.
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
    views
        In which the networks look at each image, see `predictor.VIEWS`.
    masks
        Of `MASK_FORMATS`, see `outputs.write_masks`, `placed_outputs.write_nifti` and `dicom_seg.write_seg`; ``png`` is needed to read the
        predictions back.
    collimation
        ``auto``: the open field is looked for, see `collimation`; ``none``: the whole image is open.
    progress
        Called with the number of frames done and their total, which grows when a file turns out to hold several.

    Raises
    ------
    SyntheXError
        When the model cannot be read, a parameter is wrong, no image is given, or the folder cannot be written.
    """
    check_meaning(polarity, intensity)
    _check(batch, masks, collimation)
    out_folder = Path(out_folder)
    paths = find_images(image_paths)
    predictor = Predictor.load(model_path, device, views)
    _make_writable(out_folder)
    (out_folder / DESCRIPTION).unlink(missing_ok=True)
    rows: list[list[Any]] = []
    done: list[dict[str, Any]] = []
    failed: list[tuple[Path, str]] = []
    warnings: list[tuple[Path, str]] = []
    before, total = 0, len(paths)
    for path, name in zip(paths, _names(paths), strict=True):
        count = 1
        try:
            images, meaning = _read(predictor, path, polarity, intensity, pixel_spacing_mm, collimation == AUTO, batch)
            count = len(images)
            total += count - 1
            matrix = pixel_to_ras(path, images[0].pixel_spacing_mm)
            written: list[list[str]] = []
            found: list[list[Any]] = []
            spreads: list[Any] = []
            kept: list[NDArray[np.unsignedinteger]] = []
            told = None
            for number, prediction in enumerate(_predictions(predictor, images, batch, meaning.answers)):
                own = name if count == 1 else f"{name}_{number:04d}"
                files = write_masks(out_folder, own, prediction.mask, predictor.task) if "png" in masks else []
                if "nifti" in masks:
                    files += write_nifti(out_folder, own, prediction.mask, predictor.task, matrix)
                if "seg" in masks:
                    kept.append(prediction.mask)
                if predictor.task.landmarks:
                    files.append(out_folder / f"{own}.mrk.json")
                    write_points(files[-1], prediction, predictor.task, matrix, threshold, number)
                if overlays:
                    files.append(out_folder / f"{own}_overlay.png")
                    write_overlay(files[-1], images[number], prediction, predictor.task, threshold)
                written.append([file.name for file in files])
                marks = zip(
                    landmark_rows(prediction, predictor.task, threshold),
                    measure_rows(prediction, images[number].pixel_spacing_mm),
                    strict=True,
                )
                found += [[path.name, number, *row, *more] for row, more in marks]
                spreads.append(_spread(prediction, predictor.task))
                if number == 0:
                    told = domain_warning(predictor, images[0], prediction)
                if progress:
                    progress(before + number + 1, total)
            if kept:
                write_seg(out_folder / f"{name}_seg.dcm", path, kept, predictor.task)
        except SyntheXError as error:
            failed.append((path, str(error)))
        else:
            rows += found
            if told:
                warnings.append((path, told))
            done.append(
                {
                    "file": str(path.resolve()),
                    "frames": count,
                    "shape": images[0].shape,
                    "pixel_spacing_mm": images[0].pixel_spacing_mm,
                    "polarity": meaning.polarity,
                    "intensity": meaning.intensity,
                    "open_share": 1.0 if images[0].field is None else round(float(images[0].field.mean()), 4),
                    "network_shape": predictor.grid(images[0]).inner,
                    "structure_spread": spreads if len(predictor.members) * len(predictor.views) > 1 else None,
                    "warning": told,
                    "written": written,
                }
            )
        before += count
        if progress:
            progress(before, total)
    write_csv(out_folder / LANDMARKS, ["image", "frame", *LANDMARK_COLUMNS, *MEASURE_COLUMNS], rows)
    description = describe(predictor, "images", model_path, threshold) | {
        "polarity": polarity,
        "intensity": intensity,
        "collimation": collimation,
        "images": done,
        "failed": [{"file": str(path.resolve()), "reason": reason} for path, reason in failed],
    }
    write_json(out_folder / DESCRIPTION, description)
    return ImagePredictions(out_folder, [Path(one["file"]) for one in done], sum(one["frames"] for one in done), failed, warnings)


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
    names = ("column", "row", "confidence", "presence", "spread_mm")
    with (folder / LANDMARKS).open(encoding="utf-8", newline="") as file:
        values = [[float(row[name] or "nan") for name in names] for row in csv.DictReader(file)]
    frames = [(image, number) for image in description["images"] for number in range(image["frames"])]
    points = np.array(values, np.float32).reshape(len(frames), len(task.landmarks), len(names))
    predictions = []
    for (image, number), found in zip(frames, points, strict=True):
        mask = read_masks([folder / name for name in image["written"][number]], task)
        spread = found[:, 4] / np.float32(np.mean(image["pixel_spacing_mm"] or np.nan))
        presence, apart = (one if np.isfinite(one).any() else None for one in (found[:, 3], spread))
        told = image["structure_spread"][number] if image["structure_spread"] else None
        shares = None if told is None else np.array([told[name] for name in task.structure_names], np.float32)  # None is NaN
        found_here = Prediction(mask, found[:, :2], found[:, 2], presence=presence, landmark_spread=apart)
        predictions.append(dataclasses.replace(found_here, structure_spread=shares))
    return task, predictions


def _check(batch: int, masks: Sequence[str], collimation: str) -> None:
    if batch < 1:
        raise SyntheXError(f"batch must be at least 1, found {batch}.")
    for name in masks:
        if name not in MASK_FORMATS:
            raise SyntheXError(f"Format of the masks must be one of {', '.join(MASK_FORMATS)}, found '{name}'.")
    if collimation not in (AUTO, "none"):
        raise SyntheXError(f"Collimation must be auto or none, found '{collimation}'.")


def _make_writable(folder: Path) -> None:
    """Make the folder, and find out now and not after the first image that nothing can be written there."""
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise SyntheXError(f"Output folder {folder} cannot be made, a file is in its place.") from None
        except FileNotFoundError:  # where the system takes no new folders, as in Linux's /proc
            raise SyntheXError(f"Output folder {folder} cannot be made there, expected a place that can be written.") from None
        with tempfile.TemporaryFile(dir=folder):
            pass


def _read(
    predictor: Predictor, path: Path, polarity: str, intensity: str, spacing: tuple[float, float] | None, find_field: bool, batch: int
) -> tuple[list[XrayImage], Meaning]:
    """The frames of a file, and what their numbers were taken for."""
    values, facts = read_values(path)
    places = [f"Image {path}"] if len(values) == 1 else [f"Image {path}, frame {number}," for number in range(len(values))]
    asked = asked_frames(len(values))
    cleaned = [without_text(frame) for frame in values]
    field = open_field([cleaned[number] for number in asked], intensity == "linear" or facts.intensity == "linear") if find_field else None

    def image(number: int, polarity: str, intensity: str) -> XrayImage:
        made = xray_image(cleaned[number], polarity, intensity, spacing or facts.pixel_spacing_mm, places[number], path)
        return dataclasses.replace(made, field=field)

    meaning = ask_meaning(predictor, facts, polarity, intensity, lambda *meant: [image(number, *meant) for number in asked], batch)
    return [image(number, *meaning[:2]) for number in range(len(values))], meaning


def open_field(frames: list[NDArray[np.generic]], linear: bool) -> NDArray[np.bool_] | None:
    """(H, W), the open field of a run, whose collimator does not move while it lasts; None where all is open."""
    from PIL import Image

    rows, columns = frames[0].shape
    # Blades are large: means of squares of pixels tell as much.
    step = max(1, min(rows, columns) // _FIELD_SIDE)
    small = [frame[: rows // step * step, : columns // step * step].reshape(rows // step, step, columns // step, step) for frame in frames]
    mean: NDArray[np.float32] = np.mean([frame.mean((1, 3), dtype=np.float32) for frame in small], axis=0)
    if not np.isfinite(mean).all():
        return None  # such an image is refused in its turn
    if linear and mean.min() >= 0:
        mean = np.log(mean + np.float32(0.002 * max(float(mean.max()), 1e-12)))
    found = find_collimation(mean)
    if found is None:
        return None
    # Depth is all but linear from pixel to pixel, so it may be interpolated.
    wide, high = -(-columns // step), -(-rows // step)
    depth = found.depth(np.arange(wide)[None], np.arange(high)[:, None]).astype(np.float32)
    whole = Image.fromarray(depth).resize((wide * step, high * step), Image.Resampling.BILINEAR)
    return np.asarray(whole)[:rows, :columns] > 0


def _spread(prediction: Prediction, task: Task) -> dict[str, float | None]:
    """How far the networks or views differ in each structure, see `Prediction.structure_spread`."""
    if prediction.structure_spread is None:
        return {}
    values = zip(task.structure_names, prediction.structure_spread, strict=True)
    return {name: round(float(value), 4) if np.isfinite(value) else None for name, value in values}


def _predictions(predictor: Predictor, images: list[XrayImage], batch: int, answers: list[Prediction]) -> Iterator[Prediction]:
    """One after another, as those of a long run do not fit into memory; `answers` are those to the frames that were asked about before."""
    known = dict(zip(asked_frames(len(images)), answers, strict=False))
    for first in range(0, len(images), batch):
        numbers = range(first, min(first + batch, len(images)))
        found = iter(predictor.predict([images[n] for n in numbers if n not in known], batch=batch))
        for n in numbers:
            yield known[n] if n in known else next(found)


def _names(paths: Sequence[Path]) -> list[str]:
    """A different name for the files of each image: its own without suffix, with a number where it occurs again."""
    taken: set[str] = set()
    last: dict[str, int] = {}
    names: list[str] = []
    for path in paths:
        own = name = stem(path)
        while name in taken:
            last[own] = last.get(own, 1) + 1
            name = f"{own}_{last[own]}"
        taken.add(name)
        names.append(name)
    return names
