"""Progress for people, a bar for callbacks of (done, total), and for programs, lines of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from SyntheXLib.files import disk_errors

if TYPE_CHECKING:
    from SyntheXLib.training.report import TrainingProgress

_SECONDS_BETWEEN_LINES = 0.5  # a long training would fill the disk with a line a batch


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a tqdm bar; what is done at the first call does not count for the rate."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=f" {unit}", dynamic_ncols=True, mininterval=0.5) as bar:

        def show(done: int, total: int) -> None:
            if bar.total is None:
                bar.total, bar.initial, bar.n = total, done, done
            bar.update(done - bar.n)

        yield show


@contextmanager
def progress_lines(path: Path) -> Iterator[Callable[[TrainingProgress], None]]:
    """Write where a training stands as lines of JSON, the fields of `TrainingProgress`: every epoch, at most two a second within one."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            last = 0.0

            def write(state: TrainingProgress) -> None:
                nonlocal last
                now = time.monotonic()
                if state.row or now - last >= _SECONDS_BETWEEN_LINES:
                    file.write(json.dumps(asdict(state)) + "\n")
                    file.flush()
                    last = now

            yield write
