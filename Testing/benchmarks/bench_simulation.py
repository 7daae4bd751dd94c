"""Images a second of `synthex simulate`, and where the time goes; ``make bench-simulation``.

The sample pelvis, task hip, realistic, 360 x 360 with labels. First one process renders images with all cores and writes nothing, each part
under a clock; then the command's own run with its workers makes a data set. Both on the same views.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.rendering.cpu import available_cores
from SyntheXLib.simulation import job as job_module
from SyntheXLib.simulation import view as view_module
from SyntheXLib.simulation.job import ShardJob, ShardMaker
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="images of the run (default: 1000)")
    parser.add_argument("--alone", type=int, default=200, help="images rendered alone, in one process (default: 200)")
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    case = fetch_sample("pelvis").files
    with tempfile.TemporaryDirectory() as folder:
        job = ShardJob(Path(folder) / "data", load_task("hip"), (case,), ViewSettings(), seed=1, count=options.count)
        seconds = alone(replace(job, count=options.alone))
        parts = seconds["rendering"] + seconds["physics"]
        print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}; {options.alone} images in one process, nothing written:")
        for name, value in seconds.items():
            print(f"  {name:<10} {1e3 * value / options.alone:6.1f} ms an image")
        result = run_local(job, options.workers)
        rate, bare = result.rendered / result.seconds, options.alone / parts
        print(f"{result.rendered} images of 360 x 360 with labels in {result.seconds:.1f} s, start of the workers included")
        spent = writing(job)
        print(f"  writing    {1e3 * spent / options.count:6.1f} ms an image, beside the rendering of the next shard")
    print(f"hip360: {rate:.1f} images/s")
    print(f"of rendering and physics alone: {100 * rate / bare:.0f} %")


def alone(job: ShardJob) -> dict[str, float]:
    """Seconds in each part of the views of a job, rendered one after the other with all cores."""
    seconds: dict[str, float] = defaultdict(float)

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] += time.perf_counter() - started

        return run

    maker = ShardMaker(job)
    maker._view(0)  # loads and compiles
    _, renderer = maker._renderers[0]
    with mock.patch.object(view_module, "make_image", clocked("physics", view_module.make_image)), patched(renderer, clocked):
        started = time.perf_counter()
        for index in range(job.count):
            maker._view(index)
        seconds["the rest"] = time.perf_counter() - started - sum(seconds.values())
    return {name: seconds[name] for name in ("rendering", "physics", "the rest")}


@contextmanager
def patched(renderer: Any, clocked: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """A renderer whose `render` is under the clock."""
    with mock.patch.object(renderer, "render", clocked("rendering", renderer.render)):
        yield


def writing(job: ShardJob) -> float:
    """Seconds that writing the shards of a finished data set once more takes."""
    maker = ShardMaker(job)
    samples = [maker._view(0)] * job.shard_size
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        started = time.perf_counter()
        for shard in range(3):
            job_module.write_shard(Path(folder), shard, shard * job.shard_size, samples, 0.0)
        return (time.perf_counter() - started) / 3 * job.shard_count


if __name__ == "__main__":
    main()
