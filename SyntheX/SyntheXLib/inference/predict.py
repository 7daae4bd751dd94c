"""From a model file and a data set to a folder of predictions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, sha256
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, ModelPaths, describe, landmark_rows, model_checksum, write_csv, write_json
from SyntheXLib.inference.predictions import (
    ARRAYS,
    CONFIDENCE_THRESHOLD,
    DESCRIPTION,
    FORMAT,
    LANDMARKS,
    PredictionWriter,
    is_complete,
)
from SyntheXLib.inference.predictor import VIEWS, Predictor
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
    model_path: ModelPaths,
    dataset_folder: Path | str,
    out_folder: Path | str,
    *,
    batch: int = 8,
    device: str = "auto",
    threshold: float = CONFIDENCE_THRESHOLD,
    heatmaps: bool = False,
    force: bool = False,
    views: Sequence[str] = VIEWS[:1],
    progress: Progress | None = None,
) -> DatasetPredictions:
    """Predict every image of a data set.

    A folder that already holds whole predictions of this model for this data set is left as it is.

    Parameters
    ----------
    model_path, dataset_folder, out_folder
        Model file or bundle (or several for an ensemble), data set, and where the predictions go.
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
    views
        In which the networks look at each image, see `predictor.VIEWS`.
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
        "model": {"sha256": model_checksum(model_path)},
        "views": list(views),
        "dataset": identity,
        "count": len(dataset),
        "threshold": threshold,
        "heatmaps": heatmaps,
    }
    if not force and is_complete(out_folder, wanted):
        return DatasetPredictions(out_folder, len(dataset), reused=True)
    predictor = Predictor.load(model_path, device, views)
    _check_fits(predictor.task, dataset)
    start = time.perf_counter()
    rows: list[list[Any]] = []
    _remove_leftovers(out_folder)
    with atomic_write(out_folder / ARRAYS) as temporary:
        with PredictionWriter(temporary, len(dataset)) as writer:
            for first in range(0, len(dataset), batch):
                chosen = range(first, min(first + batch, len(dataset)))
                images = [_image(dataset, i) for i in chosen]
                for i, prediction in zip(chosen, predictor.predict(images, heatmaps, batch, heat=True), strict=True):
                    writer.add(i, prediction)
                    rows += [[i, *row] for row in landmark_rows(prediction, predictor.task, threshold)]
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


def _remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed (`files.atomic_write` removes its own in every other case)."""
    for leftover in folder.glob(f".{Path(ARRAYS).stem}.*.part.h5"):
        leftover.unlink(missing_ok=True)
