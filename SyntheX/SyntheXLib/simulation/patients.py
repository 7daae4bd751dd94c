"""Which patient an image shows: a case as it is, or one of the patients and sets of lesions that are made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.lesions import add_lesions, has_lesions
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.specimen_variation import vary_specimen
from SyntheXLib.simulation.specimen_store import SpecimenStore
from SyntheXLib.tasks.task import Task

# Keys of the random streams of variants and of lesions, beside those of the images.
_VARIANTS, _LESIONS = 1_000_002, 1_000_003


@dataclass(frozen=True)
class Patient:
    """A specimen that is rendered.

    Attributes
    ----------
    specimen
        As it is rendered.
    isocenter
        (3,) RAS, mm.
    record
        What was drawn to make it of its case, for JSON; empty for the case as it is.
    """

    specimen: Specimen
    isocenter: np.ndarray
    record: dict[str, Any]


class Patients:
    """Patients of a data set, by the index of the image; the last of each case is kept.

    Parameters
    ----------
    task, cases, seed
        Those of the data set. Patient n of case c depends on the seed, c and n alone.
    store
        Where the specimens of the cases lie; None keeps them in this process.
    case_of
        Case that an image shows, by index; None takes them in turn.

    Raises
    ------
    SyntheXError
        When the task makes patients of a case that has a map of materials, which cannot go along.
    """

    def __init__(
        self,
        task: Task,
        cases: tuple[CaseFiles, ...],
        seed: int,
        store: SpecimenStore | None = None,
        case_of: Callable[[int], int] | None = None,
    ) -> None:
        self.task, self.cases, self.seed = task, cases, seed
        lesions = task.scene.lesions
        self._patterns = lesions.patterns if lesions else 0
        if self.many and (mapped := [case.title for case in cases if case.materials]):
            raise SyntheXError(f"Case {mapped[0]}: a map of materials needs the CT as it is, found variants or synthesised lesions.")
        self._store = store or SpecimenStore()
        self.case_of = case_of or (lambda index: index % len(cases))
        self._last: dict[int, tuple[tuple[int, int], Patient]] = {}

    @property
    def many(self) -> bool:
        """Whether a case may be shown as several patients."""
        return bool(self.task.variation.variants or self._patterns)

    def specimen(self, case: int) -> Specimen:
        """Specimen of a case as it is, loaded when first asked for."""
        return self._store.get(case, lambda: load_specimen(self.cases[case], self.task))

    def of_image(self, index: int) -> Patient:
        """The patient that an image shows.

        Raises
        ------
        SyntheXError
            When the case cannot be used.
        """
        case = self.case_of(index)
        block = index // len(self.cases) // self.task.simulation.views_per_specimen
        variants = self.task.variation.variants
        key = (block % variants if variants else -1, block % self._patterns if self._patterns else -1)
        if case not in self._last or self._last[case][0] != key:
            self._last.pop(case, None)  # its memory first
            self._last[case] = (key, self._make(case, *key))
        return self._last[case][1]

    def _make(self, case: int, variant: int, pattern: int) -> Patient:
        specimen, record = self.specimen(case), {}
        lesions = self.task.scene.lesions
        if pattern >= 0 and lesions is not None and not has_lesions(specimen, lesions.structure):
            specimen, added = add_lesions(specimen, lesions, self._rng(_LESIONS, case, pattern))
            record["lesions"] = {"pattern": pattern, "added": added}
        if variant >= 0:
            specimen, drawn = vary_specimen(specimen, self.task, self._rng(_VARIANTS, case, variant))
            record["variant"] = {"number": variant, **drawn}
        return Patient(specimen, specimen.structure_centroid(self.task.poses.isocenter), record)

    def _rng(self, stream: int, case: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream, case, number)))
