"""The specimens of a job as files that all its processes map, so that memory does not grow with the workers."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from SyntheXLib.files import atomic_write
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.shared_arrays import ArrayFolder


class SpecimenStore:
    """Loaded specimens by number, each read from its case once.

    Parameters
    ----------
    folder
        A folder of this run alone: its files are trusted. None keeps the specimens in this process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._specimens: dict[int, Specimen] = {}
        self._kept = 0

    def get(self, number: int, load: Callable[[], Specimen]) -> Specimen:
        """Specimen of that number; `load` reads it where it is not there yet."""
        if number not in self._specimens:
            self._specimens[number] = load() if self._folder is None else self._mapped(number, load)
        return self._specimens[number]

    def share(self, number: int) -> ArrayFolder | None:
        """Where the renderer of a specimen puts its arrays; None without a folder."""
        return ArrayFolder(self._folder / f"{number:04d}") if self._folder is not None else None

    def keep(self, number: int, specimen: Specimen) -> tuple[Specimen, ArrayFolder | None]:
        """A specimen that this process made of number `number`, as files in place of the last one, and where its renderer puts its own.

        Files that are mapped leave the memory when others need it.
        """
        if self._folder is None:
            return specimen, None
        name = f"{number:04d}-{os.getpid()}"
        for old in self._folder.glob(f"{name}-*"):
            shutil.rmtree(old, ignore_errors=True)  # what is still mapped goes with the whole folder
        self._kept += 1
        folder = ArrayFolder(self._folder / f"{name}-{self._kept}")
        mapped = replace(specimen, hu=folder.get("hu", lambda: specimen.hu), labels=folder.get("structures", lambda: specimen.labels))
        return mapped, folder

    def _mapped(self, number: int, load: Callable[[], Specimen]) -> Specimen:
        folder = self.share(number)
        assert folder is not None
        rest = folder.folder / "specimen.pickle"
        if not rest.exists():
            specimen = load()
            folder.get("hu", lambda: specimen.hu)
            folder.get("structures", lambda: specimen.labels)
            with atomic_write(rest) as temporary:
                nothing = np.zeros(0)
                temporary.write_bytes(pickle.dumps(replace(specimen, hu=nothing, labels=nothing)))
        specimen = pickle.loads(rest.read_bytes())
        missing = _no_array  # the arrays are there: the file of the rest is written last
        return replace(specimen, hu=folder.get("hu", missing), labels=folder.get("structures", missing))


def _no_array() -> np.ndarray:
    raise FileNotFoundError("A specimen's arrays were removed while a simulation used them.")
