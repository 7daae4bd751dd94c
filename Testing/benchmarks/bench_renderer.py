"""Speed of the ray caster beside its peers, in one run: ``python bench_renderer.py [--out FOLDER] [--quick]``.

Timings are interleaved (view by view, everyone in turn) and reported as medians; the ratios are what holds on a shared machine. Beside each
stands how far the images agree with the numpy oracle.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from rtk_peer import RtkJoseph
from workload import CUTS, cameras, chest

from SyntheXLib.rendering.cpu import CpuRenderer, available_cores
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.reference import ReferenceRenderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

_FIRST_IMAGE = """
import pickle, sys, time
from SyntheXLib.scene.scene import Scene
specimen, camera = pickle.load(open(sys.argv[1], 'rb'))
started = time.perf_counter()
from SyntheXLib.rendering.cpu import CpuRenderer
CpuRenderer().render(Scene(specimen), camera)
print(time.perf_counter() - started)
"""


def interleaved(jobs: dict[str, Callable[[Camera], object]], views: list[Camera], rounds: int) -> dict[str, float]:
    """Median seconds of each job over views and rounds; a first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for view in views if turn else views[:1]:
            for name, job in jobs.items():
                started = time.perf_counter()
                job(view)
                if turn:
                    seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def water(projection: Projection) -> np.ndarray:
    """Total of HU + 1000 along each ray, HU x mm."""
    return (projection.hu_integral + 1000 * projection.path_length).sum(0)


def agreement(specimen: Specimen, size: int = 96) -> tuple[float, float]:
    """RMS of the total relative to the oracle's, and mean Dice of the label masks, over two small views."""
    errors, dice = [], []
    for camera in cameras(specimen, size, 2):
        ours, oracle = (renderer.render(Scene(specimen), camera) for renderer in (CpuRenderer(CUTS), ReferenceRenderer(CUTS)))
        assert ours is not None and oracle is not None
        errors.append(np.sqrt(((water(ours) - water(oracle)) ** 2).mean() / (water(oracle) ** 2).mean()))
        for bit in range(len(specimen.structures)):
            a, b = ours.label_bits >> bit & 1, oracle.label_bits >> bit & 1
            if b.any():
                dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(errors)), float(np.mean(dice))


def first_image_seconds(specimen: Specimen, folder: Path) -> float:
    """From import of the renderer to the first image, compile included, in a process of its own."""
    import pickle

    path = folder / "first.pickle"
    path.write_bytes(pickle.dumps((specimen, cameras(specimen, 360, 1)[0])))
    output = subprocess.run([sys.executable, "-c", _FIRST_IMAGE, str(path)], capture_output=True, text=True, check=True).stdout
    path.unlink()
    return float(output)


def scaling() -> list[tuple[str, float]]:
    """Milliseconds of a fused view as one thing changes."""
    rows = []

    def measure(title: str, specimen: Specimen, size: int = 360, threads: int | None = None) -> None:
        renderer, scene = CpuRenderer(CUTS, threads), Scene(specimen)
        rows.append((title, 1e3 * interleaved({"": lambda view: renderer.render(scene, view)}, cameras(specimen, size, 3), 2)[""]))

    whole = chest()
    for size in (128, 256, 512, 1024):
        measure(f"pixels {size} x {size}", whole, size)
    measure("voxels / 8", chest(shrink=2))
    for count in (1, 6, 16, 32):
        measure(f"labels {count}", chest(labels=count))
    for threads in sorted({1, 2, available_cores()}):
        measure(f"cores {threads}", whole, threads=threads)
    return rows


def plot(times: dict[str, float], path: Path) -> None:
    """Bars of milliseconds, logarithmic."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot.")
        return
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.5 * len(times) + 1.2), layout="constrained")
    bars = axes.barh(list(times), [1e3 * value for value in times.values()])
    axes.bar_label(bars, fmt="%.0f ms", padding=4)
    axes.set(xscale="log", xlabel="milliseconds a view (median)")
    axes.margins(x=0.3)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="where the plot goes")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no scaling table")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rounds = 1 if options.quick else 3
    specimen = chest()
    scene, fused = Scene(specimen), CpuRenderer(CUTS)
    bare, single = Scene(chest(labels=0)), CpuRenderer(())  # one quantity, as a peer's pass
    print(f"{platform.processor() or platform.machine()}, {available_cores()} cores, {fused.name}; CT {specimen.hu.shape[::-1]}")
    error, dice = agreement(specimen)
    print(f"against the numpy oracle: total RMS {error:.3%}, mask Dice {dice:.4f}")

    jobs: dict[str, dict[str, Callable[[Camera], object]]] = {
        "fused360": {"ours": lambda view: fused.render(scene, view)},
        "single360": {"ours": lambda view: single.render(bare, view)},
        "single1536": {"ours": lambda view: single.render(bare, view)},
    }
    if importlib.util.find_spec("itk") is None:
        print("itk-rtk is not installed: no comparison (pip install -r Testing/benchmarks/requirements.txt).")
    else:
        peer = RtkJoseph(specimen)
        nine, one = peer.fused_volumes(CUTS), [peer.volume(specimen.hu + 1000.0)]
        jobs["fused360"]["rtk"] = lambda view: peer.project(nine, view)
        jobs["single360"]["rtk"] = lambda view: peer.project(one, view)
        jobs["single1536"]["rtk"] = lambda view: peer.project(one, view)
        view = cameras(specimen, 360, 1)[0]
        theirs, ours = peer.project(one, view)[0], fused.render(scene, view)
        assert ours is not None
        print(f"against rtk: total RMS {np.sqrt(((water(ours) - theirs) ** 2).mean() / (theirs**2).mean()):.3%}")

    times: dict[str, float] = {}
    ratios = []
    for job, contestants in jobs.items():
        size = int(job.removeprefix("fused").removeprefix("single"))
        medians = interleaved(contestants, cameras(specimen, size, 5 if size < 1000 else 2), rounds if size < 1000 else 1)
        for name, value in medians.items():
            times[f"{job} {name}"] = value
            print(f"{job:12s} {name:6s} {1e3 * value:9.1f} ms")
        ratios += [f"{job} vs {name}: {medians[name] / medians['ours']:.1f} x" for name in medians if name != "ours"]
    print(f"first image, compile included: {first_image_seconds(specimen, options.out):.2f} s")
    if not options.quick:
        for title, milliseconds in scaling():
            print(f"{title:20s} {milliseconds:9.1f} ms")
    plot(times, options.out / "renderer.png")
    print("\n".join(ratios))


if __name__ == "__main__":
    main()
