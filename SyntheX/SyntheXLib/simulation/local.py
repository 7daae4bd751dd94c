"""Run a shard job on this machine, in this process or in several, with progress and cancel."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SyntheXLib.datasets.format import shard_is_valid, write_header
from SyntheXLib.errors import SyntheXError
from SyntheXLib.process_tree import is_alive
from SyntheXLib.rendering.cpu import available_cores
from SyntheXLib.simulation.job import ShardJob, ShardMaker
from SyntheXLib.simulation.specimen_store import SpecimenStore

# Folders of specimens in the temporary folder; the number of the process that made one follows.
_PREFIX = "synthex-specimens-"
# Called with images that are there now and images in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SimulationResult:
    """What a run did.

    Attributes
    ----------
    rendered, reused
        Images made now, and images that were there before.
    seconds
        Wall time.
    complete
        Whether the whole data set is there; not so after a cancel, or while another process makes the rest.
    """

    rendered: int
    reused: int
    seconds: float
    complete: bool


def run_local(
    job: ShardJob,
    workers: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_warning: Callable[[str], None] | None = None,
    part: tuple[int, int] = (0, 1),
) -> SimulationResult:
    """Make all shards that are not there yet.

    Parameters
    ----------
    job
        The job; its folder is made, or continued when it holds the same data set.
    workers
        Processes; None takes one a core (one alone with DeepDRR, which needs the GPU), but not more than there are shards to make. They
        share the specimens, which lie in files in the temporary folder meanwhile.
    progress
        Called often from this thread.
    cancelled
        Asked often; once true, running shards are given up and nothing of them is left.
    on_warning
        Called with what is odd about the cases, a sentence each, before the first image.
    part
        (number, parts) of this run among several that fill the folder together: it begins with its part of the shards and goes on with
        those that nobody is at.

    Raises
    ------
    SyntheXError
        When the folder holds another data set, an input is bad, the disk is full or too small for the data set, or a worker dies.
    """
    if workers is not None and workers < 1:
        raise SyntheXError(f"workers must be at least 1, found {workers}.")
    started = time.perf_counter()
    header = job.header()
    todo = [shard for shard in range(job.shard_count) if not shard_is_valid(job.folder, shard)]
    reused = job.count - sum(len(job.shard_range(shard)) for shard in todo)
    number, parts = part
    first = len(todo) * number // parts
    todo = todo[first:] + todo[:first]
    workers = min(workers or (1 if job.renderer == "deepdrr" else available_cores()), max(len(todo), 1))
    check_space(job, job.count - reused)
    if not todo:
        write_header(job.folder, header)
    report = _Report(job.count, reused, progress)
    report.show()

    def begin(warnings: list[str]) -> None:
        # Once all cases are known to be good, and not before, something is written.
        for warning in warnings:
            if on_warning is not None:
                on_warning(warning)
        write_header(job.folder, header)

    if workers == 1 and todo:
        maker = ShardMaker(job)
        begin([warning for number in range(len(job.cases)) for warning in maker.specimen(number).warnings])
        maker.make(todo, report.add, cancelled)
    elif todo:
        remove_left_behind()
        with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as shared:
            _run_pool(job, todo, workers, Path(shared), begin, report, cancelled)
    done = job.count - sum(len(job.shard_range(shard)) for shard in todo if not shard_is_valid(job.folder, shard))
    return SimulationResult(done - reused, reused, time.perf_counter() - started, done == job.count)


def remove_left_behind() -> None:
    """Remove the shared specimens of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def check_space(job: ShardJob, images: int) -> None:
    """Tell when the disk has no room for so many images of a job.

    Raises
    ------
    SyntheXError
        When it has not.
    """
    size = job.settings.image_size or job.task.c_arm.image_size
    mask = 2 if len(job.task.structures) <= 16 else 4
    needed = images * size**2 * (job.settings.pixel_bytes(job.task) + mask)
    folder = next(parent for parent in (job.folder, *job.folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SyntheXError(
            f"{job.folder}: {images} images of {size} x {size} px need {needed / 1e9:.1f} GB, found {free / 1e9:.1f} GB free on the disk."
        )


class _Report:
    """Counts images and passes the count on."""

    def __init__(self, count: int, done: int, progress: Progress | None) -> None:
        self._count, self.done, self._progress = count, done, progress

    def add(self) -> None:
        self.done += 1
        self.show()

    def show(self) -> None:
        if self._progress is not None:
            self._progress(self.done, self._count)


def _run_pool(
    job: ShardJob,
    todo: list[int],
    workers: int,
    shared: Path,
    begin: Callable[[list[str]], None],
    report: _Report,
    cancelled: Callable[[], bool] | None,
) -> None:
    context = multiprocessing.get_context("spawn")  # the same on every platform, and safe beside threads
    images, place, stop = context.Value("q", 0), context.Value("q", 0), context.Event()
    threads = max(1, available_cores() // workers)
    reused = report.done
    with ProcessPoolExecutor(workers, context, _start_worker, (job, threads, shared, todo, images, place, stop)) as pool:
        try:
            begin([warning for warnings in pool.map(_load_in_worker, range(len(job.cases))) for warning in warnings])
            waiting: set[Future[Any]] = {pool.submit(_make_in_worker) for _ in range(workers)}
            while waiting:
                finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                report.done = reused + images.value
                report.show()
                if cancelled is not None and cancelled():
                    stop.set()
                    pool.shutdown(cancel_futures=True)
                    return
        except BrokenProcessPool as error:
            raise SyntheXError(
                "A simulation worker died, perhaps for lack of memory: run the same command again with fewer workers to continue."
            ) from error
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


_maker: ShardMaker
_todo: list[int]
_images: Any  # made so far
_place: Any  # of the next shard in the list
_stop: Any


def _start_worker(job: ShardJob, threads: int, shared: Path, todo: list[int], images: Any, place: Any, stop: Any) -> None:
    global _maker, _todo, _images, _place, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _maker, _todo, _images, _place, _stop = ShardMaker(job, threads, SpecimenStore(shared)), todo, images, place, stop


def _end_with_parent() -> None:
    """A parent that was killed says nothing, and its workers would wait for work for ever; what they leave, the next run clears."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _load_in_worker(number: int) -> tuple[str, ...]:
    return _maker.specimen(number).warnings


def _make_in_worker() -> None:
    def next_shards() -> Iterator[int]:
        while True:
            with _place.get_lock():
                number, _place.value = _place.value, _place.value + 1
            if number >= len(_todo):
                return
            yield _todo[number]

    def count() -> None:
        with _images.get_lock():
            _images.value += 1

    _maker.make(next_shards(), count, _stop.is_set)
