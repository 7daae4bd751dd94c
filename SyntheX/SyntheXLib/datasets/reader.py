"""Read a data set image by image, from any number of processes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.format import DatasetHeader, check_shard, content_checksum, read_header, shard_path
from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import Task


@dataclass
class Sample:
    """One image with all that is known of it.

    Attributes
    ----------
    index
        Place in the data set.
    image
        (H, W) float32, linear detector signal, open beam = 1. Where a data set holds area densities alone, the simulator's image of them.
    mask
        (H, W) unsigned bit field, bit n = structure n of the task.
    landmarks
        (L, 2) float32, column and row; NaN where unknown or behind the source.
    visible
        (L,) bool, inside the frame.
    world_to_camera
        (4, 4), mm; NaN where unknown, as in imported images.
    intrinsics
        (3, 3), pixels; NaN where unknown.
    parameters
        Specimen, pose, coverage and what else was drawn.
    paths
        (M, H, W) uint16 area density of each of the data set's materials in steps of `format.PATH_STEP`; None where not asked for.
    """

    index: int
    image: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray
    visible: np.ndarray
    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    parameters: dict[str, Any]
    paths: np.ndarray | None = None


class DescribedImages:
    """Images that a header describes, whether they are stored or made when asked for."""

    header: DatasetHeader

    @property
    def task(self) -> Task:
        """The task they are made for."""
        return self.header.task

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        size = self.header.configuration["image_size"]
        return size, size

    @property
    def pixel_spacing_mm(self) -> float:
        """Side of a pixel on the detector, mm."""
        return float(self.header.configuration["pixel_spacing_mm"])

    @property
    def source_to_detector_mm(self) -> float:
        """Distance from source to detector, mm; NaN where unknown, as in imported images."""
        return _known(self.header.configuration.get("source_to_detector_mm"))

    @property
    def materials(self) -> tuple[str, ...]:
        """Materials of the area densities, in their order; empty where there are none."""
        return tuple(self.header.configuration.get("materials", ()))

    def __len__(self) -> int:
        return self.header.count


class XrayDataset(DescribedImages):
    """A finished data set; files are opened when first needed, in each process for itself, so that it can be sent to workers.

    Parameters
    ----------
    folder
        Where ``dataset.json`` lies.

    Raises
    ------
    SyntheXError
        When it is no data set, a shard is missing or has not its size.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.header = read_header(self.folder)
        for shard in range(self.header.shard_count):
            check_shard(self.folder, shard)
        self._files: dict[int, Any] = {}

    def source_to_isocenter_mm(self, index: int) -> float:
        """Distance from source to isocentre of an image along the central ray, mm; NaN where unknown, as in imported images."""
        return _known(self.parameters(index).get("source_to_isocenter_mm"))

    def checksum(self) -> str:
        """See `format.content_checksum`."""
        return content_checksum(self.folder)

    def specimens(self) -> list[tuple[str, str]]:
        """Name of each image's specimen, and what tells that from all others: the checksum of its CT where known, else the name."""
        keys = {str(one.get("name", "")): "+".join(one.get("ct", ())) for one in self.header.specimens}
        if len(keys) == 1:
            ((name, key),) = keys.items()
            return [(name, key or name)] * len(self)
        names_found: list[str] = []
        for shard in range(self.header.shard_count):
            with self._open(shard) as file:  # of its own: none may be open when a loader forks its workers
                names_found += [str(json.loads(text).get("specimen", "")) for text in file[names.PARAMETERS][()]]
        return [(name, keys.get(name) or name) for name in names_found]

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)

    def read(self, index: int, *, image: bool = True, paths: bool = False) -> Sample:
        """One image with all that is known of it; without `image` its array is empty, with `paths` the area densities come with it.

        Raises
        ------
        IndexError
            When there is no such image.
        SyntheXError
            When a file cannot be read, or `paths` are asked for and not stored.
        """
        if paths and not self.materials:
            raise SyntheXError(f"{self.folder} must hold area densities, found images alone: simulate it with --store paths or both.")
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        file, row = self._place(index)
        return Sample(
            index=index,
            image=self._image(file, row, index) if image else np.empty((0, 0), np.float32),
            mask=file[names.MASK][row],
            landmarks=file[names.LANDMARK][row],
            visible=file[names.LANDMARK_VISIBLE][row],
            world_to_camera=file[names.WORLD_TO_CAMERA][row],
            intrinsics=file[names.INTRINSICS][row],
            parameters=json.loads(file[names.PARAMETERS][row]),
            paths=file[names.PATHS][row] if paths else None,
        )

    def _image(self, file: Any, row: int, index: int) -> np.ndarray:
        if names.IMAGE in file:
            image: np.ndarray = file[names.IMAGE][row].astype(np.float32)
            return image
        from SyntheXLib.datasets.area_densities import simulated_image

        return simulated_image(self.header, file[names.PATHS][row], json.loads(file[names.PARAMETERS][row]), index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def parameters(self, index: int) -> dict[str, Any]:
        """What was drawn for an image, and its specimen; quick, the image is not read."""
        file, row = self._place(index)
        values: dict[str, Any] = json.loads(file[names.PARAMETERS][row])
        return values

    def _place(self, index: int) -> tuple[Any, int]:
        shard, row = divmod(index, self.header.shard_size)
        if shard not in self._files:
            self._files[shard] = self._open(shard)
        return self._files[shard], row

    def _open(self, shard: int) -> Any:
        import h5py

        path = shard_path(self.folder, shard)
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise SyntheXError(f"Shard {path} cannot be read: expected an HDF5 file ({error}).") from error


def _known(value: Any) -> float:
    return float("nan") if value is None else float(value)
