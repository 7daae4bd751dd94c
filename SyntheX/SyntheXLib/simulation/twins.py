"""Matched data sets: real X-rays beside their simulated twins, which differ in realism alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.format import write_header
from SyntheXLib.datasets.writer import write_shard
from SyntheXLib.rendering.levels import LEVELS
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera, task_camera
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.scene.given_views import GivenView
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.view import ViewSettings, make_view
from SyntheXLib.tasks.task import Task

REAL = "real"


@dataclass(frozen=True, eq=False)
class RealView:
    """A real X-ray at its registered pose.

    Attributes
    ----------
    name
        Of its file.
    signal
        (H, W) float32 detector signal, open beam = 1.
    camera
        Registered, of the same shape.
    specimen
        The patient with each bone at its registered pose.
    record
        For JSON: how the pose was found.
    """

    name: str
    signal: np.ndarray
    camera: Camera
    specimen: Specimen
    record: Mapping[str, Any]


def write_twins(
    folder: Path,
    task: Task,
    case: CaseFiles,
    views: Sequence[RealView],
    settings: ViewSettings,
    seed: int = 0,
    shard_size: int = 50,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the data sets ``real``, ``naive``, ``heuristic`` and ``realistic`` of the same views, with the same masks and landmarks.

    The frame is the task's for all; a real image taken with another detector is resampled into it, since a frame with the same source
    shows the same rays. What it does not show is as bright as its open beam.

    Parameters
    ----------
    folder
        Where the four folders go.
    task
        Its C-arm gives the frame.
    case
        Files of the CT, for the header.
    views
        The real images.
    settings
        Exposure and size; the level is set for each data set.
    seed
        Of the noise.
    shard_size
        Images a file.
    threads
        Cores of the ray caster.
    progress
        Told the images done and in all.

    Returns
    -------
    list of Path
        The four data sets.

    Raises
    ------
    SyntheXError
        When a folder holds another data set, no ray of a view hits the CT, or the disk is full.
    """
    task = replace(task, variation=replace(task.variation, variants=0))  # the patient is the one on the real images
    given = tuple(GivenView(tuple(map(tuple, view.camera.world_to_camera.tolist())), "", view.name) for view in views)
    folders = {level: folder / level for level in (REAL, *LEVELS)}
    for level, place in folders.items():
        plain = replace(settings, level=level if level != REAL else "realistic", exposure_ranges=None)
        job = ShardJob(place, task, (case,), plain, seed, len(views), shard_size, views=given)
        header = job.header()
        write_header(place, replace(header, configuration={**header.configuration, "level": level, "registered": _records(views)}))
    for shard, first in enumerate(range(0, len(views), shard_size)):
        samples: dict[str, list[dict[str, Any]]] = {level: [] for level in folders}
        for index in range(first, min(first + shard_size, len(views))):
            for level, sample in _samples(views[index], given[index], task, settings, seed, index, threads).items():
                samples[level].append(sample)
            if progress is not None:
                progress(index + 1, len(views))
        for level, place in folders.items():
            write_shard(place, shard, first, samples[level], 0.0)
    return list(folders.values())


def in_frame(image: np.ndarray, camera: Camera, frame: Camera, outside: float) -> np.ndarray:
    """An image (H, W) of one detector as another with the same source and pose shows it, (h, w) float32; `outside` where it shows more."""
    from scipy import ndimage

    # Binned first where the frame's pixels are larger, so that nothing is passed over.
    factor = max(1, round(float(camera.intrinsics[0, 0] / frame.intrinsics[0, 0])))
    if factor > 1:
        rows, columns = (side // factor for side in image.shape)
        image = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean((1, 3))
        camera = camera.region(0, 0, (rows * factor, columns * factor)).resized((rows, columns))
    # A pixel of the frame lies at this of the image; detectors have no skew, so rows and columns go each for itself.
    matrix = camera.intrinsics @ np.linalg.inv(frame.intrinsics)
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])  # (column, row) to (row, column)
    rows_first = swap @ matrix @ swap
    offset = rows_first[:2, 2]
    image = np.asarray(image, np.float32)
    shown = ndimage.affine_transform(image, rows_first[:2, :2], offset, frame.shape, order=1, mode="nearest")
    for axis, count in enumerate(image.shape):
        place = rows_first[axis, axis] * np.arange(frame.shape[axis]) + offset[axis]
        beyond = (place < -0.5) | (place > count - 0.5)
        shown[(beyond, slice(None)) if axis == 0 else (slice(None), beyond)] = outside
    return shown


def _samples(
    view: RealView, given: GivenView, task: Task, settings: ViewSettings, seed: int, index: int, threads: int | None
) -> dict[str, dict[str, Any]]:
    isocenter = view.specimen.structure_centroid(task.poses.isocenter)
    renderer = make_renderer("own", threads=threads)
    found: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        plain = replace(settings, level=level, exposure_ranges=None)
        found[level] = make_view(view.specimen, isocenter, task, plain, renderer, seed, index, given=given)
    frame = task_camera(task.c_arm, view.camera.world_to_camera, settings.image_size)
    signal = in_frame(view.signal, view.camera, frame, 1.0).astype(settings.image_dtype)
    return {REAL: {**found["realistic"], names.IMAGE: signal}, **found}


def _records(views: Sequence[RealView]) -> list[dict[str, Any]]:
    return [{"name": view.name, **view.record} for view in views]
