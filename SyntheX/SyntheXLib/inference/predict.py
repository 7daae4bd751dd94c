"""From a model file and a data set, or image files, to a folder of predictions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, sha256
from SyntheXLib.inference.images import XrayImage, check_meaning, find_images, read_image, stem
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, describe, landmark_rows, write_csv, write_json, write_masks
from SyntheXLib.inference.overlay import Layers, compose, to_gray, write_picture
from SyntheXLib.inference.predictions import (
    ARRAYS,
    CONFIDENCE_THRESHOLD,
    DESCRIPTION,
    FORMAT,
    LANDMARKS,
    PredictionWriter,
    is_complete,
)
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DatasetPredictions:
    """What `predict_dataset` made: the folder, the number of images, and whether it was complete before."""

    folder: Path
    images: int
    reused: bool


def predict_dataset(
    model_path: Path | str,
    dataset_folder: Path | str,
    out_folder: Path | str,
    *,
    batch: int = 8,
    device: str = "auto",
    threshold: float = CONFIDENCE_THRESHOLD,
    heatmaps: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> DatasetPredictions:
    """Predict every image of a data set.

    A folder that already holds whole predictions of this model for this data set is left as it is.

    Parameters
    ----------
    model_path, dataset_folder, out_folder
        Model file, data set, and where the predictions go.
    batch
        Images at a time.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    threshold
        Confidence above which a landmark is called activated in ``landmarks.csv``.
    heatmaps
        Store the heatmaps (float16) and the structures' probabilities (uint8) too, several times the size of all else.
    force
        Predict again even if the folder is complete.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    SyntheXError
        When the model or the data set cannot be read or do not fit, or the folder cannot be written.
    """
    from SyntheXLib.datasets.reader import XrayDataset

    _check_batch(batch)
    out_folder = Path(out_folder)
    dataset = XrayDataset(Path(dataset_folder))
    identity = {"checksum": dataset.checksum()}
    wanted = {
        "format": FORMAT,
        "kind": "dataset",
        "model": {"sha256": _model_checksum(model_path)},
        "dataset": identity,
        "count": len(dataset),
        "threshold": threshold,
        "heatmaps": heatmaps,
    }
    if not force and is_complete(out_folder, wanted):
        return DatasetPredictions(out_folder, len(dataset), reused=True)
    predictor = Predictor.load(model_path, device)
    _check_fits(predictor.task, dataset)
    start = time.perf_counter()
    rows: list[list[Any]] = []
    _remove_leftovers(out_folder)
    with atomic_write(out_folder / ARRAYS) as temporary:
        with PredictionWriter(temporary, len(dataset)) as writer:
            for first in range(0, len(dataset), batch):
                chosen = range(first, min(first + batch, len(dataset)))
                images = [_image(dataset, i) for i in chosen]
                for i, prediction in zip(chosen, predictor.predict(images, heatmaps, batch), strict=True):
                    writer.add(i, prediction)
                    rows += landmark_rows(i, prediction, predictor.task, threshold)
                if progress:
                    progress(chosen.stop, len(dataset))
        checksum = sha256(temporary)
        # From here to the last rename there is no description: an interrupted run leaves a folder that counts as incomplete.
        (out_folder / DESCRIPTION).unlink(missing_ok=True)
    write_csv(out_folder / LANDMARKS, ["index", *LANDMARK_COLUMNS], rows)
    description = describe(predictor, "dataset", model_path, threshold) | {
        "dataset": {"path": str(Path(dataset_folder).resolve()), **identity},
        "count": len(dataset),
        "heatmaps": heatmaps,
        "arrays": {"file": ARRAYS, "sha256": checksum},
        "seconds": round(time.perf_counter() - start, 3),
    }
    write_json(out_folder / DESCRIPTION, description)
    return DatasetPredictions(out_folder, len(dataset), reused=False)


def _image(dataset: "XrayDataset", index: int) -> XrayImage:
    return XrayImage(dataset[index].image, "linear", (dataset.pixel_spacing_mm, dataset.pixel_spacing_mm))


def _check_fits(task: Task, dataset: "XrayDataset") -> None:
    """The model must know the structures and landmarks of the data set, in its order (bits and channels)."""
    other = dataset.task
    if (task.structure_names, task.landmark_names) != (other.structure_names, other.landmark_names):
        raise SyntheXError(
            f"The model was trained for task '{task.name}' ({len(task.structures)} structures, {len(task.landmarks)} landmarks), the data "
            f"set is of task '{other.name}' ({len(other.structures)}, {len(other.landmarks)}); expected the same names in the same order."
        )


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise SyntheXError(f"batch must be at least 1, found {batch}.")


def _model_checksum(model_path: Path | str) -> str:
    if not Path(model_path).is_file():
        raise SyntheXError(f"Model file {model_path} does not exist.")
    return sha256(model_path)


def _remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed (`files.atomic_write` removes its own in every other case)."""
    for leftover in folder.glob(f".{Path(ARRAYS).stem}.*.part.h5"):
        leftover.unlink(missing_ok=True)


@dataclass(frozen=True)
class ImagePredictions:
    """What `predict_images` made.

    Attributes
    ----------
    folder
        Where the files are.
    images
        Images that were predicted.
    failed
        Those that were not, each with the reason in one sentence.
    """

    folder: Path
    images: list[Path]
    failed: list[tuple[Path, str]]


def predict_images(
    model_path: Path | str,
    image_paths: Sequence[Path | str],
    out_folder: Path | str,
    *,
    polarity: str = "bone-bright",
    intensity: str = "log",
    pixel_spacing_mm: tuple[float, float] | None = None,
    device: str = "auto",
    threshold: float = CONFIDENCE_THRESHOLD,
    progress: Progress | None = None,
) -> ImagePredictions:
    """Predict image files; each gets its masks and an overlay as PNG, and its rows in ``landmarks.csv``.

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
        What the numbers of the files mean, see `images.read_image`.
    device, threshold, progress
        As in `predict_dataset`.

    Raises
    ------
    SyntheXError
        When the model cannot be read, a parameter is wrong, no image is given, or the folder cannot be written.
    """
    check_meaning(polarity, intensity)
    out_folder = Path(out_folder)
    paths = find_images(image_paths)
    predictor = Predictor.load(model_path, device)
    task = predictor.task
    (out_folder / DESCRIPTION).unlink(missing_ok=True)
    rows: list[list[Any]] = []
    done: list[dict[str, Any]] = []
    failed: list[tuple[Path, str]] = []
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            image = read_image(path, polarity, intensity, pixel_spacing_mm)
            prediction = predictor.predict([image])[0]
        except SyntheXError as error:
            failed.append((path, str(error)))
        else:
            files = write_masks(out_folder, name, prediction.mask, task)
            confident = prediction.confidence > threshold
            layers = Layers(structure_masks(prediction.mask, len(task.structures)), prediction.landmarks, confident, names=True)
            files.append(out_folder / f"{name}_overlay.png")
            with atomic_write(files[-1]) as temporary:
                write_picture(temporary, compose(to_gray(image.bone_bright()), task, layers, side=1024))
            rows += landmark_rows(path.name, prediction, task, threshold)
            done.append(
                {
                    "file": str(path.resolve()),
                    "shape": image.shape,
                    "pixel_spacing_mm": image.pixel_spacing_mm,
                    "network_shape": predictor.grid(image).inner,
                    "written": [file.name for file in files],
                }
            )
        if progress:
            progress(len(done) + len(failed), len(paths))
    write_csv(out_folder / LANDMARKS, ["image", *LANDMARK_COLUMNS], rows)
    description = describe(predictor, "images", model_path, threshold) | {
        "polarity": polarity,
        "intensity": intensity,
        "images": done,
        "failed": [{"file": str(path.resolve()), "reason": reason} for path, reason in failed],
    }
    write_json(out_folder / DESCRIPTION, description)
    return ImagePredictions(out_folder, [Path(one["file"]) for one in done], failed)


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
