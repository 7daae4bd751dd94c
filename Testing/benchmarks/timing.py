"""Medians and ratios of jobs that take turns, so that what else runs on the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from SyntheXLib.scene.c_arm import Camera

Job = Callable[[Camera], object]
Clock = Callable[[], float]


@dataclass
class Times:
    """Seconds of one job by turn."""

    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds.values())

    def ratio(self, base: Times) -> float:
        """How much longer than `base`, over the turns that both took (over all, where these are too few for a median)."""
        common = self.seconds.keys() & base.seconds.keys()
        if len(common) < 3:
            return self.median / base.median
        return median(self.seconds[turn] for turn in common) / median(base.seconds[turn] for turn in common)

    def quiet(self, views: int) -> float:
        """Seconds: the median over views of the best of each."""
        return median(min(value for turn, value in self.seconds.items() if turn % views == view) for view in range(views))


def interleaved(
    jobs: Mapping[str, Job], views: list[Camera], rounds: int, clocks: Mapping[str, Clock] | None = None, patience_s: float = 30.0
) -> dict[str, Times]:
    """Time each job on every view, `rounds` times over, after a first call that is not counted.

    A slow job stops after the turns that fit into `patience_s`, but takes one at least; if even the first call was slower than a quarter
    of that, it stands as the one turn. `clocks` holds those of jobs that have one of their own.
    """

    def seconds(name: str, view: Camera) -> float:
        clock = (clocks or {}).get(name, time.perf_counter)
        started = clock()
        jobs[name](view)
        return clock() - started

    times = {name: Times() for name in jobs}
    turns: dict[str, int] = {}
    for name in jobs:
        first = seconds(name, views[0])
        turns[name] = max(1, int(patience_s / first))
        if first > patience_s / 4:
            times[name].seconds[0], turns[name] = first, 0
    for turn in range(rounds * len(views)):
        for name in jobs:
            if turn < turns[name]:
                times[name].seconds[turn] = seconds(name, views[turn % len(views)])
    return times
