"""Several data sets taken as one: what they must share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import Task


class XraySource(Protocol):
    """What is asked of a data set; `datasets.reader.XrayDataset` has it."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def task(self) -> Task:
        """What it was made for."""

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def pixel_spacing_mm(self) -> float:
        """Side of a pixel on the detector, mm."""

    def __len__(self) -> int:
        """Count images."""

    def __getitem__(self, index: int) -> Any:
        """Give a sample with `image`, `mask`, `landmarks` and `visible`."""


def check_sources(sources: Sequence[XraySource]) -> None:
    """Refuse data sets that cannot be trained on together.

    Raises
    ------
    SyntheXError
        When one is empty, or two differ in task, image shape or pixel spacing.
    """
    first = sources[0]
    check_tasks(sources)
    for source in sources:
        if len(source) == 0:
            raise SyntheXError(f"Data set {source.folder} must hold at least one image, found 0.")
        if tuple(source.image_shape) != tuple(first.image_shape) or abs(source.pixel_spacing_mm / first.pixel_spacing_mm - 1) > 1e-3:
            found = [f"{tuple(one.image_shape)} at {one.pixel_spacing_mm:.4g} mm" for one in (first, source)]
            folders = f"{first.folder} and {source.folder}"
            raise SyntheXError(f"Data sets {folders} must have the same image shape and pixel spacing, found {found[0]} and {found[1]}.")


def check_tasks(sources: Sequence[XraySource]) -> None:
    """Refuse data sets of different tasks. Those that differ in what the images were made with alone (device, poses, variants, numbers of
    views) go together: a network learns the same from them.

    Raises
    ------
    SyntheXError
        Naming the first two.
    """
    first = sources[0]
    for source in sources:
        if _learned(source.task) != _learned(first.task):
            names = first.task.name, source.task.name
            what = f"'{names[0]}' and '{names[1]}'" if names[0] != names[1] else f"two versions of '{names[0]}'"
            raise SyntheXError(f"Data sets {first.folder} and {source.folder} must have the same task, found {what}.")


def _learned(task: Task) -> tuple[Any, ...]:
    return task.name, task.segmentation, task.heatmap_sigma_mm, task.structures, task.landmarks
