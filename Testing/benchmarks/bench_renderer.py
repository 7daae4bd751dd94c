"""Speed of the ray caster beside its peers, in one run: ``python bench_renderer.py --help``.

Everyone renders the same rays in turn; the ratios of medians are what holds on a shared machine. Beside each stands how far both images are
from the numpy oracle's. Results go to `renderer.json`, a picture to `renderer.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from chart import draw
from peak_memory import memory_line, peak_memory
from peer import Peer, installed_peers
from scaling import scaling
from timing import Job, Times, interleaved
from workload import CUTS, cameras, chest

from SyntheXLib.rendering.cpu import CpuRenderer, available_cores
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.reference import ReferenceRenderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

_ORACLE_PIXELS = 96  # the oracle is slow
_LONGEST_S = 30.0  # a view that would take a peer longer is left out
_FIRST_IMAGE = """
import pickle, sys, time
from SyntheXLib.scene.scene import Scene
specimen, camera = pickle.load(open(sys.argv[1], 'rb'))
started = time.perf_counter()
from SyntheXLib.rendering.cpu import CpuRenderer
CpuRenderer().render(Scene(specimen), camera)
print(time.perf_counter() - started)
"""


class Ours:
    """The fused caster, as a peer."""

    note = "one pass"
    fused_passes = 0
    clock = staticmethod(time.perf_counter)

    def __init__(self, specimen: Specimen) -> None:
        self._fused, self._scene = CpuRenderer(CUTS), Scene(specimen)
        self._single, self._bare = CpuRenderer(()), Scene(chest(labels=0))  # one quantity, as a peer's pass
        self._labels = len(specimen.structures)

    def single(self, camera: Camera) -> np.ndarray:
        """See `peer.Peer.single`."""
        return _by_material(self._single.render(self._bare, camera))[0]

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """See `peer.Peer.fused`."""
        projection = self._fused.render(self._scene, camera)
        return _by_material(projection), _masks(projection, self._labels)

    def fused_job(self, camera: Camera) -> object:
        """`fused` as the caster leaves it: classes, and the labels as a bit field."""
        return self._fused.render(self._scene, camera)

    def single_job(self, camera: Camera) -> object:
        """`single` as the caster leaves it."""
        return self._single.render(self._bare, camera)


def _by_material(projection: Projection | None) -> np.ndarray:
    assert projection is not None
    return projection.hu_integral + 1000 * projection.path_length


def _masks(projection: Projection | None, labels: int) -> np.ndarray:
    assert projection is not None
    return np.stack([projection.label_bits >> bit & 1 for bit in range(labels)]).astype(bool)


def agreement(contestants: dict[str, Any], specimen: Specimen) -> dict[str, tuple[float, float]]:
    """By name: RMS of the total relative to the oracle's, and mean Dice of the label masks (NaN where it makes none), on one small view."""
    camera = cameras(specimen, _ORACLE_PIXELS, 1)[0]
    oracle = ReferenceRenderer(CUTS).render(Scene(specimen), camera)
    total, truth = _by_material(oracle).sum(0), _masks(oracle, len(specimen.structures))
    table = {}
    for name, contestant in contestants.items():
        error = np.sqrt(((contestant.single(camera) - total) ** 2).mean() / (total**2).mean())
        dice = np.nan
        if not contestant.fused_passes:
            masks = contestant.fused(camera)[1]
            dice = np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(masks, truth, strict=True) if b.any()])
        table[name] = float(error), float(dice)
    return table


def compare(ours: Ours, peers: dict[str, Peer], specimen: Specimen, rounds: int) -> Iterator[tuple[str, dict[str, Times]]]:
    """Each job and its times by name."""
    one_pass: dict[str, float] = {}  # median seconds at 360
    for job, kind, size in (("single360", "single", 360), ("fused360", "fused", 360), ("single1536", "single", 1536)):
        jobs: dict[str, Job] = {"ours": getattr(ours, f"{kind}_job")}
        for name, peer in peers.items():
            expected = one_pass.get(name, 0) * (size / 360) ** 2
            if size > 360 and expected > _LONGEST_S:
                print(f"{job}: {name} left out, about {expected:.0f} s a view by its pixels")
            elif kind == "single" or not peer.fused_passes:
                jobs[name] = getattr(peer, kind)
        small = size <= 360
        clocks = {name: peer.clock for name, peer in peers.items()}
        times = interleaved(jobs, cameras(specimen, size, 5 if small else 2), rounds if small else 1, clocks)
        one_pass = one_pass or {name: own.median for name, own in times.items()}
        for name, peer in peers.items():
            if kind == "fused" and peer.fused_passes:
                times[name] = Times({turn: peer.fused_passes * one_pass[name] for turn in times["ours"].seconds})
        yield job, times


def print_times(job: str, times: dict[str, Times], accuracy: dict[str, tuple[float, float]], notes: dict[str, str]) -> None:
    """One row a contestant, agreement beside each ratio."""
    for name, own in times.items():
        error, dice = accuracy[name]
        masks = f"{dice:.4f}" if job.startswith("fused") and np.isfinite(dice) else "-"
        how = notes[name] if job.startswith("fused") else "one quantity"
        turns = "-" if "estimated" in how else str(len(own.seconds))
        ratio = own.ratio(times["ours"])
        print(f"{job:11s} {name:12s} {1e3 * own.median:10,.1f} {turns:>5s} {ratio:8.1f} x {error:9.3%}  {masks:6s}  {how}", flush=True)


def first_image_seconds(specimen: Specimen, folder: Path) -> float:
    """From import of the renderer to the first image, compile included, in a process of its own."""
    path = folder / "first.pickle"
    path.write_bytes(pickle.dumps((specimen, cameras(specimen, 360, 1)[0])))
    output = subprocess.run([sys.executable, "-c", _FIRST_IMAGE, str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    path.unlink()
    return float(output)


def machine() -> str:
    """Processor, cores and kernel variant."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor() or platform.machine())
    return f"{model}, {available_cores()} cores, {CpuRenderer().name}"


def main() -> None:
    """Run all, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="where results and picture go")
    parser.add_argument("--peers", nargs="*", help="only these (default: all that are installed)")
    parser.add_argument("--rounds", type=int, default=3, help="turns on each small view (default 3)")
    parser.add_argument("--quick", action="store_true", help="RTK alone, one round, no scaling, no memory")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    specimen = chest()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    shape = " x ".join(map(str, specimen.hu.shape[::-1]))
    title = f"{machine()}; CT {shape}; {datetime.now(UTC):%Y-%m-%d}; load at start {load:.1f}"
    print(title)
    ours = Ours(specimen)
    peers = installed_peers(specimen, CUTS, options.peers if options.peers is not None else ["rtk"] if options.quick else None)
    accuracy = agreement({"ours": ours, **peers}, specimen)
    notes = {"ours": ours.note} | {name: peer.note for name, peer in peers.items()}
    results: dict[str, dict[str, Times]] = {}
    print(
        f"total RMS and mask Dice: against the numpy oracle, one view of {_ORACLE_PIXELS} x {_ORACLE_PIXELS} pixels over the whole detector"
    )
    print(f"{'job':11s} {'who':12s} {'ms a view':>10s} {'turns':>5s} {'ratio':>10s} {'total RMS':>9s}  {'Dice':6s}  how", flush=True)
    for job, times in compare(ours, peers, specimen, 1 if options.quick else options.rounds):
        results[job] = times
        print_times(job, times, accuracy, notes)
    curves = {} if options.quick else scaling()
    for what, points in curves.items():
        print(f"{what:14s} " + "   ".join(f"{number}: {value:.1f} ms" for number, value in points))
    memory = {} if options.quick else peak_memory()
    for case, gigabytes in memory.items():
        print(memory_line(case, gigabytes))

    first = first_image_seconds(specimen, options.out)
    ratios = {
        f"{job} vs {name}": own.ratio(times["ours"]) for job, times in results.items() for name, own in times.items() if name != "ours"
    }
    milliseconds = {job: {name: round(1e3 * own.median, 2) for name, own in times.items()} for job, times in results.items()}
    estimates = "".join(f"; fused360 of {name}: {peer.fused_passes} x single360" for name, peer in peers.items() if peer.fused_passes)
    draw(milliseconds, curves, title + estimates, options.out / "renderer.png")
    record = {
        "machine": machine(),
        "load": load,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "ct": shape,
        "milliseconds": milliseconds,
        "turns": {job: {name: len(own.seconds) for name, own in times.items()} for job, times in results.items()},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "rms": {name: error for name, (error, _) in accuracy.items()},
        "dice": {name: dice if np.isfinite(dice) else None for name, (_, dice) in accuracy.items()},
        "scaling_ms": curves,
        "peak_memory_gb": memory,
        "first_image_s": round(first, 3),
    }
    (options.out / "renderer.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print()
    for name, value in ratios.items():
        print(f"{name}: {value:.1f} x")
    print(f"first image: {first:.2f} s")


if __name__ == "__main__":
    main()
