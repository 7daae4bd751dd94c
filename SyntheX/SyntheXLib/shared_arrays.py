"""Arrays as files that several processes map: the system's page cache holds them once, whoever reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SyntheXLib.files import atomic_write


@dataclass(frozen=True)
class ArrayFolder:
    """A folder of arrays, each made by the first process that asks for it.

    Attributes
    ----------
    folder
        Best on a disk of this machine.
    """

    folder: Path

    def get(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of that name, read-only; made by `make` where its file is not there yet.

        Two processes that ask at once both make it, and the files are equal.

        Raises
        ------
        SyntheXError
            When the disk is full or not writable.
        """
        path = self.folder / f"{name}.npy"
        if not path.exists():
            with atomic_write(path) as temporary:
                np.save(temporary, make(), allow_pickle=False)
        mapped: np.ndarray = np.load(path, mmap_mode="r")
        return mapped
