"""Live rendering: views of cases made while the network learns, in processes beside it; no data set is written.

A view has a number, on which and on the seed alone it depends, as image i of a data set does: view k of image i of epoch e is number
((e - 1) images + i) candidates + k. Which of an image's candidates is rendered depends on what the network found hard before, see
`training.hard_views`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.reader import DescribedImages, Sample
from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.datasets.together import XraySource
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.exposure import device_exposure, parameter_ranges
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob, ShardMaker
from SyntheXLib.simulation.specimen_store import SpecimenStore
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import Task, load_task, nearest
from SyntheXLib.training.config import TrainingConfig

_FILES = ("ct", "labels", "landmarks", "label_names")


class LiveSource(DescribedImages):
    """Views of cases as a source of a training: each is rendered when it is read.

    Parameters
    ----------
    file
        TOML: ``task``, and a table ``[[cases]]`` for each case with ``sample`` (a name) or ``ct``, ``labels`` and, if there are any,
        ``landmarks`` and ``label_names`` (files, relative to this one).
    count
        How many views there are.
    seed
        Decides them.
    image_size
        Pixels a side; None takes the task's.
    paths
        Area densities in place of images, whose exposure is drawn from the device's ranges.

    Raises
    ------
    SyntheXError
        When the file or a case is not right.
    """

    def __init__(self, file: Path, count: int, seed: int, image_size: int | None = None, paths: bool = False) -> None:
        self.folder = file  # what messages name
        task, cases = read_live_file(file)
        device = task.c_arm.device
        settings = ViewSettings(
            exposure=device_exposure(device),
            image_size=image_size,
            exposure_ranges=None if paths else parameter_ranges(device),
            store=names.PATHS if paths else names.IMAGE,
        )
        self._job = ShardJob(Path(), task, cases, settings, seed, count)
        self._shared = tempfile.TemporaryDirectory(prefix="synthex-live-")
        self._place = Path(self._shared.name)
        self._maker: ShardMaker | None = None
        self.header = self._job.header()

    def checksum(self) -> str:
        """SHA-256 of what decides the views, but for their number."""
        content = {name: value for name, value in self.header.to_dict().items() if name not in ("versions", "count")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)

    def read(self, index: int, *, image: bool = True, paths: bool = False) -> Sample:
        """Render a view; see `XrayDataset.read`."""
        if self._maker is None:  # in each process its own; the specimens are shared
            self._maker = ShardMaker(self._job, threads=1, store=SpecimenStore(self._place))
        view = self._maker.view(index)
        return Sample(
            index=index,
            image=np.asarray(view.get(names.IMAGE, np.empty((0, 0))), np.float32),
            mask=view[names.MASK],
            landmarks=view[names.LANDMARK],
            visible=view[names.LANDMARK_VISIBLE],
            world_to_camera=view[names.WORLD_TO_CAMERA],
            intrinsics=view[names.INTRINSICS],
            parameters=view[names.PARAMETERS],
            paths=view.get(names.PATHS),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maker": None, "_shared": None}  # the first process removes what is shared


def live_source(config: TrainingConfig, validation: Sequence[XraySource] = ()) -> LiveSource:
    """The source that the settings name, with the pixels of the validation's images where no size is given."""
    assert config.live is not None  # the caller has looked
    size = config.image_size or (validation[0].image_shape[0] if validation else None)
    count = config.epochs * config.live_images * config.live_candidates
    return LiveSource(Path(config.live), count, config.seed, size, config.physics_in_the_loop)


def read_live_file(path: Path) -> tuple[Task, tuple[CaseFiles, ...]]:
    """Task and cases of a file, see `LiveSource`; samples are fetched.

    Raises
    ------
    SyntheXError
        When it is not right.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SyntheXError(f"Cannot read the file of cases {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SyntheXError(f"{path} must be TOML with a task and cases ({error}).") from error
    for name in values:
        if name not in ("task", "cases"):
            raise SyntheXError(f"{path}: unknown entry '{name}', expected task and cases{nearest(name, ('task', 'cases'))}.")
    if not isinstance(values.get("task"), str) or not isinstance(values.get("cases"), list) or not values["cases"]:
        raise SyntheXError(f"{path} must name a task and at least one [[cases]].")
    return load_task(values["task"]), tuple(_case(path, number, case) for number, case in enumerate(values["cases"], 1))


def _case(path: Path, number: int, values: dict[str, str]) -> CaseFiles:
    known = ("sample", "name", *_FILES)
    for name in values:
        if name not in known:
            raise SyntheXError(f"{path}: case {number} has the unknown entry '{name}', expected {', '.join(known)}{nearest(name, known)}.")
    if "sample" in values:
        return fetch_sample(values["sample"]).files
    if not {"ct", "labels"} <= set(values):
        raise SyntheXError(f"{path}: case {number} must name a sample, or ct and labels, found {', '.join(values) or 'nothing'}.")
    files = {name: (path.parent / values[name]).resolve() for name in _FILES if name in values}
    return CaseFiles(**files, name=values.get("name"))  # type: ignore[arg-type]
