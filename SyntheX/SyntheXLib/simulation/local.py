"""Run a shard job on this machine, in this process or in several, with progress and cancel."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from SyntheXLib.datasets.format import shard_is_valid, write_header
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.cpu import available_cores
from SyntheXLib.simulation.job import ShardJob, ShardMaker

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
    job: ShardJob, workers: int | None = None, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
) -> SimulationResult:
    """Make all shards that are not there yet.

    Parameters
    ----------
    job
        The job; its folder is made, or continued when it holds the same data set.
    workers
        Processes; None takes one a core (one alone with DeepDRR, which needs the GPU), but not more than there are shards to make.
    progress
        Called often from this thread.
    cancelled
        Asked often; once true, running shards are given up and nothing of them is left.

    Raises
    ------
    SyntheXError
        When the folder holds another data set, an input is bad, the disk is full, or a worker dies.
    """
    if workers is not None and workers < 1:
        raise SyntheXError(f"workers must be at least 1, found {workers}.")
    started = time.perf_counter()
    write_header(job.folder, job.header())
    todo = [shard for shard in range(job.shard_count) if not shard_is_valid(job.folder, shard)]
    reused = job.count - sum(len(job.shard_range(shard)) for shard in todo)
    workers = min(workers or (1 if job.renderer == "deepdrr" else available_cores()), max(len(todo), 1))
    report = _Report(job.count, reused, progress)
    report.show()
    if todo:
        if workers == 1:
            maker = ShardMaker(job)
            for shard in todo:
                maker.make(shard, report.add, cancelled)
        else:
            _run_pool(job, todo, workers, report, cancelled)
    done = job.count - sum(len(job.shard_range(shard)) for shard in todo if not shard_is_valid(job.folder, shard))
    return SimulationResult(done - reused, reused, time.perf_counter() - started, done == job.count)


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


def _run_pool(job: ShardJob, todo: list[int], workers: int, report: _Report, cancelled: Callable[[], bool] | None) -> None:
    context = multiprocessing.get_context("spawn")  # the same on every platform, and safe beside threads
    images, stop = context.Value("q", 0), context.Event()
    threads = max(1, available_cores() // workers)
    reused = report.done
    with ProcessPoolExecutor(workers, context, _start_worker, (job, threads, images, stop)) as pool:
        waiting: set[Future[Any]] = {pool.submit(_make_in_worker, shard) for shard in todo}
        try:
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
_images: Any
_stop: Any


def _start_worker(job: ShardJob, threads: int, images: Any, stop: Any) -> None:
    global _maker, _images, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    _maker, _images, _stop = ShardMaker(job, threads), images, stop


def _make_in_worker(shard: int) -> bool:
    def count() -> None:
        with _images.get_lock():
            _images.value += 1

    return _maker.make(shard, count, _stop.is_set)
