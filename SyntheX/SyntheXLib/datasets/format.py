"""The data set on disk: names, header, shards and their sidecars.

A folder holds ``dataset.json``, written once and never changed, and ``shards/NNNNN.h5`` with ``shards/NNNNN.json`` beside each, written
last: a shard with its sidecar is valid, all else is leftover.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import SyntheXLib
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, sha256
from SyntheXLib.tasks.task import Task

SCHEMA = 1
HEADER_FILE = "dataset.json"
SHARD_FOLDER = "shards"

# Names of the arrays of a shard; N images of H x W pixels, L landmarks.
IMAGE = "image"  # (N, H, W) float16 or float32, linear detector signal, open beam = 1
PATHS = "paths"  # (N, M, H, W) uint16, area density of each material in steps of PATH_STEP; instead of, or beside, the image
MASK = "mask"  # (N, H, W) unsigned bit field, bit n = structure n of the task
LANDMARK = "landmark"  # (N, L, 2) float32, column and row; NaN where unknown or behind the source
LANDMARK_VISIBLE = "landmark_visible"  # (N, L) bool, inside the frame
WORLD_TO_CAMERA = "world_to_camera"  # (N, 4, 4) float64, mm
INTRINSICS = "intrinsics"  # (N, 3, 3) float64, pixels
PARAMETERS = "parameters"  # (N,) JSON texts
SHARD_ARRAYS = (IMAGE, PATHS, MASK, LANDMARK, LANDMARK_VISIBLE, WORLD_TO_CAMERA, INTRINSICS, PARAMETERS)


PATH_STEP = 0.001  # g/cm2
# What a shard may hold of each view: the image, the area densities that images are made of, or both.
STORES = (IMAGE, PATHS, "both")


@dataclass(frozen=True)
class DatasetHeader:
    """What ``dataset.json`` says.

    Attributes
    ----------
    task
        The task, whole.
    specimens
        One dictionary each: name, file names and SHA-256 of CT, label map and landmarks.
    configuration
        All that decides the pixels besides task, specimens and seed.
    seed, count, shard_size
        Random seed, number of images, images a shard.
    versions
        Software that made it; for the record, not compared.
    """

    task: Task
    specimens: tuple[dict[str, Any], ...]
    configuration: dict[str, Any]
    seed: int
    count: int
    shard_size: int = 50
    versions: dict[str, str] = field(default_factory=lambda: software_versions())
    schema: int = SCHEMA

    @property
    def shard_count(self) -> int:
        """Number of shards of the whole data set."""
        return -(-self.count // self.shard_size)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "task": self.task.to_dict()}


def software_versions() -> dict[str, str]:
    """Versions of this library, Python and the packages that touch the pixels."""
    packages = {name: metadata.version(name) for name in ("numpy", "SimpleITK", "h5py") if _installed(name)}
    return {"synthex": SyntheXLib.__version__, "python": platform.python_version(), "platform": platform.platform(), **packages}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def write_header(folder: Path, header: DatasetHeader) -> None:
    """Write ``dataset.json``, or check that the one that is there says the same.

    Raises
    ------
    SyntheXError
        When the folder holds a data set made otherwise.
    """
    path = folder / HEADER_FILE
    if path.exists():
        there, new = json.loads(json.dumps(read_header(folder).to_dict())), json.loads(json.dumps(header.to_dict()))
        for key in new:
            if key != "versions" and there[key] != new[key]:
                detail = "" if isinstance(new[key], dict | list) else f" {there[key]}, not {new[key]}"
                raise SyntheXError(f"{path}: made with another '{key}'{detail}; continue with its settings or choose another folder.")
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(header.to_dict(), indent=1) + "\n", encoding="utf-8")


def read_header(folder: Path | str) -> DatasetHeader:
    """Read ``dataset.json``.

    Raises
    ------
    SyntheXError
        When it is missing, no JSON, or of another schema.
    """
    return _header_of(Path(folder) / HEADER_FILE, _read_values(Path(folder)))


def _read_values(folder: Path) -> dict[str, Any]:
    """What ``dataset.json`` holds, as it is written."""
    path = folder / HEADER_FILE
    if not path.is_file():
        raise SyntheXError(f"{folder} is not a data set: expected {HEADER_FILE} in it.")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SyntheXError(f"{path} is not valid JSON ({error}).") from error
    if values.get("schema") != SCHEMA:
        raise SyntheXError(f"{path}: expected data set schema {SCHEMA}, found {values.get('schema')}.")
    return values


def _header_of(path: Path, values: dict[str, Any]) -> DatasetHeader:
    try:
        task = Task.from_dict(values["task"], str(path))
        return DatasetHeader(**{**values, "task": task, "specimens": tuple(values["specimens"])})
    except (KeyError, TypeError) as error:
        raise SyntheXError(f"{path}: expected the keys of a data set header, found a problem with {error}.") from error


def content_checksum(folder: Path | str) -> str:
    """SHA-256 over what the header says (versions left out) and the checksums of all shards: the same for a copy and for a twin.

    Raises
    ------
    SyntheXError
        When the data set is not whole.
    """
    folder = Path(folder)
    content = _read_values(folder)  # as it is written: what a later version would write of the same data set may hold more
    header = _header_of(folder / HEADER_FILE, content)
    content.pop("versions")
    shards = [check_shard(folder, shard)["sha256"] for shard in range(header.shard_count)]
    return hashlib.sha256(json.dumps([content, shards], sort_keys=True).encode()).hexdigest()


def shard_path(folder: Path, shard: int) -> Path:
    """HDF5 file of a shard."""
    return folder / SHARD_FOLDER / f"{shard:05d}.h5"


def sidecar_path(folder: Path, shard: int) -> Path:
    """JSON file beside a shard, written last."""
    return folder / SHARD_FOLDER / f"{shard:05d}.json"


def shard_is_valid(folder: Path, shard: int) -> bool:
    """Whether a shard and its sidecar are there and agree in size."""
    try:
        check_shard(folder, shard)
    except SyntheXError:
        return False
    return True


def check_shard(folder: Path, shard: int, checksum: bool = False) -> dict[str, Any]:
    """The sidecar of a shard, after a check of its size and, if wanted, its checksum.

    Raises
    ------
    SyntheXError
        When shard or sidecar is missing, unreadable or they disagree.
    """
    path, sidecar = shard_path(folder, shard), sidecar_path(folder, shard)
    if not sidecar.is_file() or not path.is_file():
        raise SyntheXError(
            f"Shard {path} is missing or unfinished: run the simulation again with the same settings, it renders only what is missing."
        )
    try:
        values: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
        expected, digest = values["bytes"], values["sha256"]
    except (ValueError, KeyError) as error:
        raise SyntheXError(f"{sidecar}: expected the JSON sidecar of a shard, found something else ({error}).") from error
    size = path.stat().st_size
    if size != expected:
        raise SyntheXError(f"Shard {path} is damaged: expected {expected} bytes, found {size}; run the simulation again to render it anew.")
    if checksum and sha256(path) != digest:
        raise SyntheXError(
            f"Shard {path} is damaged: its SHA-256 differs from the one in {sidecar.name}; remove both and run the simulation again."
        )
    return values
