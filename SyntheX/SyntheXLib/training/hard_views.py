"""Hard views are drawn more often: a table of the losses by direction of view decides which of an image's candidates is rendered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.simulation.view import view_pose
from SyntheXLib.tasks.task import PoseSettings
from SyntheXLib.training.data import derived_seed

_CELL_DEG = 10.0
# A view is at most four times as likely as it would be, and at least a quarter.
_MOST = 4.0
# Losses of so many views count in a cell: older ones, of a network that knew less, fade.
_MEMORY = 50


class HardViews:
    """Mean losses by cells of LAO/RAO and CRAN/CAUD of 10 degrees."""

    def __init__(self) -> None:
        self._cells: dict[str, tuple[float, int]] = {}

    def add(self, pose: CArmPose, loss: float) -> None:
        """Take in the loss of a view."""
        cell = _cell(pose)
        mean, count = self._cells.get(cell, (0.0, 0))
        count = min(count + 1, _MEMORY)
        self._cells[cell] = mean + (loss - mean) / count, count

    def weight(self, pose: CArmPose) -> float:
        """How much likelier than others a view is to be drawn: its cell's loss to the mean of all cells; 1 where nothing is known."""
        cell = self._cells.get(_cell(pose))
        mean = sum(loss for loss, _ in self._cells.values()) / max(len(self._cells), 1)
        if cell is None or mean <= 0:
            return 1.0
        return min(max(cell[0] / mean, 1 / _MOST), _MOST)

    def state(self) -> dict[str, list[float]]:
        """For a checkpoint."""
        return {cell: [loss, float(count)] for cell, (loss, count) in self._cells.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from a checkpoint."""
        self._cells = {cell: (loss, int(count)) for cell, (loss, count) in state.items()}


def _cell(pose: CArmPose) -> str:
    return f"{math.floor(pose.lao_rao_deg / _CELL_DEG)} {math.floor(pose.cran_caud_deg / _CELL_DEG)}"


class LiveSampler(Sampler[int]):
    """Numbers of the views of an epoch (see `training.live`): of each image's candidates one, by the weights of `HardViews`.

    Parameters
    ----------
    poses
        From which the candidates' poses are drawn.
    images, candidates
        In an epoch, and for each image; 1 draws every view as likely as the task does.
    seed
        Of the views and of the choice.
    part, parts
        As for `training.data.EpochSampler`.
    """

    def __init__(self, poses: PoseSettings, images: int, candidates: int, seed: int, part: int = 0, parts: int = 1) -> None:
        self.poses, self.images, self.candidates, self.seed = poses, images, candidates, seed
        self.part, self.parts = part, parts
        self.epoch = 0
        self.hard_views = HardViews()
        self.drawn: list[int] = []  # in this epoch, in the order of the batches

    def __len__(self) -> int:
        """Count the images of this part."""
        return -(-self.images // self.parts)

    def __iter__(self) -> Iterator[int]:
        """Choose for the epoch that `epoch` says; the table is that of the epoch's start, whenever a worker asks."""
        weights = HardViews()
        weights.restore(self.hard_views.state())
        self.drawn = []
        for place in range(self.part, len(self) * self.parts, self.parts):
            self.drawn.append(self._choose(place % self.images, weights))
            yield self.drawn[-1]

    def learn(self, views: Sequence[int], losses: Sequence[float]) -> None:
        """Take in the losses of views."""
        for view, loss in zip(views, losses, strict=True):
            self.hard_views.add(self._pose(view), loss)

    def _choose(self, image: int, weights: HardViews) -> int:
        number = (self.epoch - 1) * self.images + image
        views = range(number * self.candidates, (number + 1) * self.candidates)
        likely = np.array([weights.weight(self._pose(view)) for view in views])
        rng = np.random.default_rng(derived_seed(self.seed, "hard views", number))
        return views[int(rng.choice(len(views), p=likely / likely.sum()))]

    def _pose(self, view: int) -> CArmPose:
        return view_pose(self.poses, self.seed, view)
