"""A folder of predictions for a data set: write it whole, recognise it, read it.

``predictions.h5`` holds the arrays, ``landmarks.csv`` the landmarks for a spreadsheet, and ``predictions.json``, written last, says what
they are: the model and the data set with their checksums, task, settings, versions, and the checksum of ``predictions.h5``. A folder
without a matching ``predictions.json`` is leftover and is written anew.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    pass

#: Confidence above which a landmark counts as found ("activated"); the paper's tables use it.
CONFIDENCE_THRESHOLD = 0.9

FORMAT = 1
ARRAYS = "predictions.h5"
DESCRIPTION = "predictions.json"
LANDMARKS = "landmarks.csv"


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image, in the pixels of that image.

    Attributes
    ----------
    mask
        (H, W) uint16 (uint32 above 16 structures) bit field, bit n for structure n.
    landmarks
        (L, 2) float32 column and row of each heatmap's peak, finer than a pixel.
    confidence
        (L,) float32, ncc of the heatmap round its peak with the ideal peak, -1..1.
    heat
        (H, W) uint8, for pictures: the highest of the heatmaps, each squared and scaled so that its peak is its confidence; None unless
        asked for.
    heatmaps
        (L, h, w) float16 on the network's grid; None unless asked for.
    probability
        (C, H, W) uint8, probability of each structure in steps of 1/255; None unless asked for.
    presence
        (L,) probability that the landmark is inside the frame, 0..1; None where the network does not tell.
    landmark_spread
        (L,) pixels, root mean square distance of the places that several networks or views found from their mean; None of a single one.
    structure_spread
        (C,) one minus the mean Dice of their masks with the mask of the mean, NaN where all are empty; None of a single one.
    """

    mask: NDArray[np.unsignedinteger]
    landmarks: NDArray[np.float32]
    confidence: NDArray[np.float32]
    heat: NDArray[np.uint8] | None = None
    heatmaps: NDArray[np.float16] | None = None
    probability: NDArray[np.uint8] | None = None
    presence: NDArray[np.float32] | None = None
    landmark_spread: NDArray[np.float32] | None = None
    structure_spread: NDArray[np.float32] | None = None


class PredictionWriter:
    """Fills ``predictions.h5`` image by image; sizes are taken from the first one.

    Parameters
    ----------
    path
        File to write (a temporary name; the caller renames it).
    count
        Number of images.
    """

    def __init__(self, path: Path, count: int) -> None:
        import h5py

        self._file = h5py.File(path, "w")
        self._count = count
        self._next = 0

    def __enter__(self) -> "PredictionWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, index: int, prediction: Prediction) -> None:
        """Append the prediction of image `index` of the data set."""
        arrays: dict[str, NDArray[Any] | None] = {
            "mask": prediction.mask,
            "landmark": prediction.landmarks,
            "confidence": prediction.confidence,
            "heat": prediction.heat,
            "heatmap": prediction.heatmaps,
            "probability": prediction.probability,
            "presence": prediction.presence,
            "landmark_spread": prediction.landmark_spread,
            "structure_spread": prediction.structure_spread,
            "index": np.array(index, dtype=np.int64),
        }
        for name, value in arrays.items():
            if value is None:
                continue
            if self._next == 0:
                self._create(name, value)
            self._file[name][self._next] = value
        self._next += 1

    def _create(self, name: str, value: NDArray[Any]) -> None:
        large = value.ndim >= 2 and name != "landmark" and value.size > 0
        options: dict[str, Any] = {"chunks": (1, *value.shape), "compression": "gzip", "compression_opts": 1} if large else {}
        self._file.create_dataset(name, shape=(self._count, *value.shape), dtype=value.dtype, **options)


@dataclass(frozen=True)
class PredictionFolder:
    """Predictions on disk, checked on opening by `open_predictions`.

    Attributes
    ----------
    folder
        Where they are.
    description
        ``predictions.json``.
    task
        What was predicted.
    index
        (N,) index of each image in the data set.
    landmarks, confidence
        (N, L, 2) column and row, and (N, L).
    """

    folder: Path
    description: dict[str, Any]
    task: Task
    index: NDArray[np.int64]
    landmarks: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)

    def masks(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """The (H, W) bit fields one after another."""
        import h5py

        with h5py.File(self.folder / ARRAYS, "r") as file:
            for n in range(len(self)):
                yield file["mask"][n]

    def optional(self, name: str) -> Iterator[NDArray[Any] | None]:
        """``heatmap`` (L, h, w) float16 or ``probability`` (C, H, W) uint8 of one image after another; None where they are not stored."""
        import h5py

        with h5py.File(self.folder / ARRAYS, "r") as file:
            for n in range(len(self)):
                yield file[name][n] if name in file else None

    def picture_arrays(self, n: int) -> tuple[NDArray[np.unsignedinteger], NDArray[np.float32]]:
        """Bit field (H, W) and highest heatmap (H, W) 0..1 of prediction n."""
        import h5py

        with h5py.File(self.folder / ARRAYS, "r") as file:
            return file["mask"][n], file["heat"][n].astype(np.float32) / 255


def read_description(folder: Path | str) -> dict[str, Any] | None:
    """``predictions.json`` of a folder; None when it is missing or not valid."""
    try:
        value = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def is_complete(folder: Path | str, wanted: dict[str, Any]) -> bool:
    """Whether the folder holds whole predictions whose description has all the wanted values (dictionaries are compared by their keys)."""
    folder = Path(folder)
    found = read_description(folder)
    if found is None or not _holds(found, wanted) or not (folder / LANDMARKS).is_file():
        return False
    arrays = folder / ARRAYS
    return arrays.is_file() and sha256(arrays) == found.get("arrays", {}).get("sha256")


def _holds(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _holds(found[key], value) for key, value in wanted.items())
    return bool(found == wanted)


def open_predictions(folder: Path | str) -> PredictionFolder:
    """Open a folder that `predict.predict_dataset` wrote.

    Raises
    ------
    SyntheXError
        When it is missing, was made from image files, or its arrays are missing, changed or of the wrong shape.
    """
    import h5py

    folder = Path(folder)
    if not folder.is_dir():
        raise SyntheXError(f"Predictions folder {folder} does not exist.")
    description = read_description(folder)
    if description is None:
        raise SyntheXError(f"Folder {folder} holds no complete predictions: {DESCRIPTION} is missing or not valid.")
    if description.get("format") != FORMAT:
        raise SyntheXError(f"{folder / DESCRIPTION}: expected format {FORMAT}, found {description.get('format')!r}.")
    if description.get("kind") != "dataset":
        raise SyntheXError(f"{folder / DESCRIPTION} is of image files, expected predictions of a data set, which has a truth.")
    arrays = folder / ARRAYS
    if not arrays.is_file():
        raise SyntheXError(f"Folder {folder} holds no {ARRAYS} (run the inference again).")
    if sha256(arrays) != description["arrays"]["sha256"]:
        raise SyntheXError(f"{arrays} is not the file that {DESCRIPTION} beside it describes: the checksums differ.")
    task = Task.from_dict(description["task"], str(folder / DESCRIPTION))
    count, landmarks = description["count"], len(task.landmarks)
    expected = {"mask": (count,), "heat": (count,), "landmark": (count, landmarks, 2), "confidence": (count, landmarks), "index": (count,)}
    with h5py.File(arrays, "r") as file:
        for name, shape in expected.items():
            found = file[name].shape if name in file else None
            if found is None or found[: len(shape)] != shape:
                raise SyntheXError(f"{arrays}: '{name}' must begin with the shape {shape}, found {found}.")
        return PredictionFolder(folder, description, task, file["index"][:], file["landmark"][:], file["confidence"][:])
