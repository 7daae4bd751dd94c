"""The unit of work: render the images of some shards of a data set into its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SyntheXLib.datasets.format import PARAMETERS, DatasetHeader, shard_is_valid
from SyntheXLib.datasets.writer import ShardClaim, write_shard
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.rendering.material_map import MaterialCaster, read_material_map
from SyntheXLib.rendering.renderer import check_level, make_renderer
from SyntheXLib.scene.case_files import CaseFiles, plain_name
from SyntheXLib.scene.drawn_tools import check_tools
from SyntheXLib.scene.given_views import GivenView
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.shared_arrays import ArrayFolder
from SyntheXLib.simulation.patients import Patients
from SyntheXLib.simulation.specimen_store import SpecimenStore
from SyntheXLib.simulation.view import ViewSettings, make_view
from SyntheXLib.tasks.task import Task


@dataclass(frozen=True)
class ShardJob:
    """All that a process needs to make any shard of a data set; it can be sent to other processes.

    Attributes
    ----------
    folder
        Data set folder.
    task
        The task.
    cases
        Image i shows case i modulo their number.
    settings
        What decides the pixels.
    seed, count, shard_size
        Random seed, number of images, images a shard.
    renderer
        Name of the renderer.
    views
        View of each image, which shows the case of that name (with one case the name may be empty) as it is; empty draws views.
    """

    folder: Path
    task: Task
    cases: tuple[CaseFiles, ...]
    settings: ViewSettings
    seed: int
    count: int
    shard_size: int = 50
    renderer: str = "auto"
    views: tuple[GivenView, ...] = ()

    def __post_init__(self) -> None:
        for name in ("count", "shard_size"):
            if getattr(self, name) < 1:
                raise SyntheXError(f"{name} must be at least 1, found {getattr(self, name)}.")
        if self.seed < 0:
            raise SyntheXError(f"seed must not be negative, found {self.seed}.")
        if not self.cases:
            raise SyntheXError("Expected at least one case (CT and label map), found none.")
        check_level(self.renderer, self.settings.level)
        if self.renderer == "deepdrr" and any(self.task.scene.shear_deg):
            raise SyntheXError(f"Renderer 'deepdrr' cannot shear the patient, as task '{self.task.name}' does: use --renderer own.")
        if self.settings.tool_files and any(self.task.scene.shear_deg):
            raise SyntheXError(f"A tool file needs a task that does not shear the patient, found shear_deg in task '{self.task.name}'.")
        check_tools(self.task.scene.tools)
        if self.views:
            self._check_views()
        Patients(self.task, self.cases, self.seed)  # tells what does not go together

    def _check_views(self) -> None:
        if len(self.views) != self.count:
            raise SyntheXError(f"Expected a given view for each image, found {len(self.views)} views and {self.count} images.")
        if self.task.variation.variants or any(self.task.scene.shear_deg):
            raise SyntheXError("Given views show the patient as it is, found variants or a shear: leave them out.")
        moved = any(view.structures for view in self.views)
        if moved and (self.renderer == "deepdrr" or any(case.materials for case in self.cases)):
            raise SyntheXError(
                "Views that move structures need --renderer own and materials by HU, found another renderer or material maps."
            )
        for number in range(self.count):
            self.case_of(number)

    def case_of(self, index: int) -> int:
        """Number of the case that an image shows.

        Raises
        ------
        SyntheXError
            When a given view names a specimen that is none of the cases.
        """
        if not self.views:
            return index % len(self.cases)
        name, titles = self.views[index].specimen, [case.title for case in self.cases]
        if not name and len(titles) == 1:
            return 0
        # As structures and landmarks, cases are known by their names without spaces and dashes: a file's name has none.
        plain = [plain_name(title) for title in titles]
        if plain_name(name) not in plain:
            raise SyntheXError(f"View {index} shows the specimen '{name}', expected one of the cases {', '.join(titles)}.")
        return plain.index(plain_name(name))

    def shard_range(self, shard: int) -> range:
        """Indices of the images of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.count // self.shard_size)

    def header(self) -> DatasetHeader:
        """The data set's header, with checksums of all files of the cases."""
        return DatasetHeader(
            task=self.task,
            specimens=tuple(_describe(case) for case in self.cases),
            configuration={
                **self.settings.describe(self.task, make_renderer(self.renderer)),
                **({"views": [view.to_dict() for view in self.views]} if self.views else {}),
            },
            seed=self.seed,
            count=self.count,
            shard_size=self.shard_size,
        )


def _describe(case: CaseFiles) -> dict[str, Any]:
    files = {"ct": case.ct, "labels": case.labels, "landmarks": case.landmarks, "label_names": case.label_names}
    files |= {"materials": case.materials, "material_names": case.material_names, "lesions": case.lesions}
    description: dict[str, Any] = {"name": case.title}
    for key, path in files.items():
        if path is not None:
            if not path.exists():
                raise SyntheXError(f"The {key} file {path} of case {case.title} does not exist.")
            parts = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
            # Checksums alone identify the files: a data set may be continued where they lie elsewhere.
            description[key] = [sha256(part) for part in parts]
    return description


class ShardMaker:
    """Makes shards of a job in this process; keeps specimens and renderers from one shard to the next.

    Parameters
    ----------
    job
        The job.
    threads
        Cores for the renderer; None takes all.
    store
        Where the specimens lie that other processes use too; None keeps them in this process.
    """

    def __init__(self, job: ShardJob, threads: int | None = None, store: SpecimenStore | None = None) -> None:
        self.job = job
        self._store = store or SpecimenStore()
        self._renderers: dict[int, tuple[ArrayFolder | None, Any]] = {}
        self._patients = Patients(job.task, job.cases, job.seed, self._store, job.case_of)
        self._casters: dict[int, MaterialCaster] = {}
        self._threads = threads

    def specimen(self, number: int) -> Specimen:
        """Specimen of case `number`, loaded when first asked for.

        Raises
        ------
        SyntheXError
            When the case is bad, see `scene.case_files.load_specimen`.
        """
        return self._patients.specimen(number)

    def make(self, shards: Iterable[int], on_image: Callable[[], None] | None = None, cancelled: Callable[[], bool] | None = None) -> None:
        """Render shards, unless they are there or somebody else is at them; while one is written the next is rendered.

        Parameters
        ----------
        shards
            Their numbers; the next is asked for when the last is rendered.
        on_image
            Called after every image.
        cancelled
            Asked before every image; once true, the shard that is being rendered is given up and nothing of it is left.
        """
        with ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            for shard in shards:
                claim = ShardClaim(self.job.folder, shard)
                if shard_is_valid(self.job.folder, shard) or not claim.take():
                    continue
                handed_over = False
                try:
                    if shard_is_valid(self.job.folder, shard):  # made while the claim was awaited
                        continue
                    started = time.perf_counter()
                    samples = self._samples(self.job.shard_range(shard), claim, on_image, cancelled)
                    if samples is None:
                        break
                    if written is not None:
                        written.result()
                    written = writer.submit(_write, self.job, shard, samples, time.perf_counter() - started, claim)
                    handed_over = True
                finally:
                    if not handed_over:
                        claim.release()
            if written is not None:
                written.result()

    def _samples(
        self, images: range, claim: ShardClaim, on_image: Callable[[], None] | None, cancelled: Callable[[], bool] | None
    ) -> list[dict[str, Any]] | None:
        """The images of a shard; None when cancelled."""
        samples = []
        for index in images:
            if cancelled is not None and cancelled():
                return None
            samples.append(self._view(index))
            claim.touch()
            if on_image is not None:
                on_image()
        return samples

    def view(self, index: int) -> dict[str, Any]:
        """The arrays of one image, see `simulation.view.make_view`; nothing is written."""
        return self._view(index)

    def _view(self, index: int) -> dict[str, Any]:
        job, number = self.job, self._patients.case_of(index)
        patient = self._patients.of_image(index)
        if number not in self._renderers or self._renderers[number][0] != patient.share:
            # A renderer keeps its prepared volume, so each case has its own; one whose volume lies in files has them for one patient.
            self._renderers[number] = (patient.share, make_renderer(job.renderer, threads=self._threads, share=patient.share))
        renderer, caster = self._renderers[number][1], self._caster(number)
        given = job.views[index] if job.views else None
        specimen = patient.specimen
        if given is not None and given.structures:
            specimen = given.patient(specimen, job.task)
            # Of this view alone, so that its volume is no other's.
            renderer = make_renderer(job.renderer, threads=self._threads)
        view = make_view(specimen, patient.isocenter, job.task, job.settings, renderer, job.seed, index, caster, given)
        view[PARAMETERS].update(patient.record)
        return view

    def _caster(self, number: int) -> MaterialCaster | None:
        case = self.job.cases[number]
        if case.materials is None:
            return None
        if number not in self._casters:
            specimen = self.specimen(number)
            material_map = read_material_map(case.materials, specimen, case.material_names)
            calibration = self.job.settings.exposure.decomposition.calibration
            self._casters[number] = MaterialCaster(specimen, material_map, calibration, self.job.renderer, self._threads)
        return self._casters[number]


def _write(job: ShardJob, shard: int, samples: list[dict[str, Any]], seconds: float, claim: ShardClaim) -> None:
    try:
        write_shard(job.folder, shard, job.shard_range(shard).start, samples, seconds)
    finally:
        claim.release()
