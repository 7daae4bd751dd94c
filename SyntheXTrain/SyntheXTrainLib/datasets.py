"""What the data sets are that a training is to take, read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.datasets.together import check_sources
from SyntheXLib.errors import SyntheXError


@dataclass(frozen=True)
class DatasetsSummary:
    """Data sets taken as one.

    Attributes
    ----------
    task
        Title of their task; empty when `problem` is not.
    structures, landmarks
        Of the task.
    images, side
        How many, and their pixels a side.
    specimens
        Names; two with one name are two.
    densities
        Whether all store area densities, from which images can be made anew.
    problem
        Why they cannot be trained on, one sentence; empty otherwise.
    """

    task: str = ""
    structures: int = 0
    landmarks: int = 0
    images: int = 0
    side: int = 0
    specimens: tuple[str, ...] = ()
    densities: bool = False
    problem: str = ""


def summarize(folders: Sequence[Path | str], validation: Path | str | None = None) -> DatasetsSummary:
    """Read the headers of data sets, and check that they go together, with each other and with one for validation."""
    try:
        sources = [XrayDataset(folder) for folder in folders]
        check_sources([*sources, *([XrayDataset(validation)] if validation else [])])
    except SyntheXError as error:
        return DatasetsSummary(problem=str(error))
    task = sources[0].task
    specimens = {"+".join(one.get("ct", ())) or str(one.get("name", "")): one for source in sources for one in source.header.specimens}
    return DatasetsSummary(
        task.title,
        len(task.structures),
        len(task.landmarks),
        sum(len(source) for source in sources),
        sources[0].image_shape[0],
        tuple(str(one.get("name", "")) for one in specimens.values()),
        all(source.materials for source in sources),
    )
