"""A page of images of a data set with their masks and landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.overlay import Layers, compose, write_picture
from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.tasks.labels import structure_masks

_COLUMNS = 4


def write_contact_sheet(dataset: XrayDataset, indices: Iterable[int], path: Path, side: int = 360) -> None:
    """Draw images, four a row, each as seen and, beneath it, with structures and visible landmarks; write a PNG.

    Parameters
    ----------
    dataset, indices
        What to draw.
    path
        PNG to write.
    side
        Pixels a side of each picture.
    """
    tiles = []
    for index in indices:
        sample = dataset[index]
        gray = to_uint8(sample.image)
        points = np.where(sample.visible[:, None], sample.landmarks, np.nan)
        layers = Layers(structure_masks(sample.mask, len(dataset.task.structures)), points)
        tiles.append(np.vstack([compose(gray, dataset.task, Layers(), side), compose(gray, dataset.task, layers, side)]))
    write_page(tiles, path)


def write_page(tiles: Sequence[NDArray[np.uint8]], path: Path, columns: int = _COLUMNS) -> None:
    """Write pictures (h, w, 3) of one size as a PNG of at most `columns` a row; what the last row lacks is black."""
    filled = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % min(columns, len(tiles)))]
    rows = [np.hstack(filled[first : first + columns]) for first in range(0, len(filled), columns)]
    with atomic_write(path) as temporary:
        write_picture(temporary, np.vstack(rows))
