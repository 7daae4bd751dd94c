"""HDF5 files of others: what is missing or of another shape is said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError

_SHOWN = 8


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[Any]:
    """Open for reading.

    Raises
    ------
    SyntheXError
        When the file is missing or no HDF5 file.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise SyntheXError(f"File {path} does not exist.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SyntheXError(f"File {path} cannot be read: expected an HDF5 file ({error}).") from error
    with file:
        yield file


def group(parent: Any, name: str) -> Any:
    """Group `name` of a group, or a `SyntheXError`."""
    import h5py

    found = parent.get(name)
    if not isinstance(found, h5py.Group):
        raise SyntheXError(f"{_where(parent)}: expected the group '{name}', found {_content(parent)}.")
    return found


def dataset(parent: Any, name: str, shape: tuple[int | None, ...] | None = None) -> Any:
    """Data set `name` of a group, unread; None in `shape` stands for any number.

    Raises
    ------
    SyntheXError
        When it is not there or has another shape.
    """
    import h5py

    found = parent.get(name)
    if not isinstance(found, h5py.Dataset):
        raise SyntheXError(f"{_where(parent)}: expected the data set '{name}', found {_content(parent)}.")
    if shape is not None and (len(found.shape) != len(shape) or any(a not in (None, b) for a, b in zip(shape, found.shape, strict=True))):
        expected = " x ".join("any" if side is None else str(side) for side in shape)
        raise SyntheXError(f"{_where(parent)}: '{name}' must be {expected}, found {' x '.join(map(str, found.shape)) or 'a single value'}.")
    return found


def numbers(parent: Any, name: str, count: int) -> np.ndarray:
    """(count,) float64 of a vector, however it is stored: (n,), (n, 1) or a single value.

    Raises
    ------
    SyntheXError
        When it is not there, no number, or has another length.
    """
    found = dataset(parent, name)
    if found.dtype.kind not in "iufb" or found.size != count:
        raise SyntheXError(f"{_where(parent)}: '{name}' must hold {count} numbers, found {found.size} of type {found.dtype}.")
    return np.asarray(found[()], float).reshape(count)


def text(parent: Any, name: str) -> str:
    """A string, stored as one or as an array of one.

    Raises
    ------
    SyntheXError
        When it is not there or no string.
    """
    found = dataset(parent, name)
    value = found[()]
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise SyntheXError(f"{_where(parent)}: '{name}' must be a string, found {found.dtype} of shape {found.shape}.")
    return value


def _where(parent: Any) -> str:
    return parent.file.filename + ("" if parent.name == "/" else f":{parent.name[1:]}")


def _content(parent: Any) -> str:
    names = [f"'{name}'" for name in parent]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more) or "nothing"
