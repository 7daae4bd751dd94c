"""A progress bar for callbacks of (done, total)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
