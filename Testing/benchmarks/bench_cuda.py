"""Fused views a second on a GPU, beside the CPU kernel and nanodrr in the same run: ``python bench_cuda.py [--synthetic] [--quick]``.

A fused view: path length and HU integral of three materials and the mask bits of six labels. What stays on the GPU is timed to its end;
"to the host" includes the copy into numpy.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from workload import CUTS, cameras, chest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.cpu import CpuRenderer
from SyntheXLib.rendering.cuda import CudaRenderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen, make_specimen

_NANODRR_SAMPLES = 400  # along the part of each ray inside the CT: about one a millimetre


def synthetic(shape: tuple[int, int, int]) -> Specimen:
    """A body of water with six balls of bone, where the sample CT cannot be fetched."""
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    hu = np.where(i**2 + (1.4 * j) ** 2 < 0.8, np.random.default_rng(0).normal(30, 40, shape), -1000).astype(np.int16)
    masks = {f"ball_{n}": (i - x) ** 2 + (j - 0.1) ** 2 + k**2 < 0.1 for n, x in enumerate(np.linspace(-0.5, 0.5, 6))}
    for mask in masks.values():
        hu[mask] = 700
    spacing = np.array([360 / shape[2], 360 / shape[1], 330 / shape[0]])
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = -spacing * (np.array(shape[::-1]) - 1) / 2
    return make_specimen("synthetic", hu, matrix, masks, list(masks))


def nanodrr_views(specimen: Specimen, device: Any) -> Callable[[list[Camera]], None]:
    """nanodrr's way: materials x labels (the last one of a voxel) as one label map, in one pass, a batch at a time."""
    import torch
    from nanodrr.data import Subject
    from nanodrr.drr import render
    from torchio import LabelMap, ScalarImage

    def tensor(values: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0), np.float32))[None]

    label = np.zeros(specimen.labels.shape, np.uint8)
    for bit in range(len(specimen.structures)):
        label[(specimen.labels >> bit) & 1 == 1] = bit + 1
    classes = np.searchsorted(CUTS, specimen.hu, side="right") * (len(specimen.structures) + 1) + label
    count, matrix = (len(CUTS) + 1) * (len(specimen.structures) + 1), specimen.ijk_to_ras
    image, labels = (ScalarImage(tensor=tensor(specimen.hu + 1000.0), affine=matrix), LabelMap(tensor=tensor(classes), affine=matrix))
    subject = Subject.from_images(image, labels, count - 1, convert_to_mu=False).to(device)

    def run(views: list[Camera]) -> None:
        def batch(arrays: list[np.ndarray]) -> Any:
            return torch.from_numpy(np.stack(arrays)).float().to(device)

        height, width = views[0].shape
        distances = batch([np.array(view.source_to_detector_mm) for view in views])
        poses = batch([np.linalg.inv(view.world_to_camera) for view in views])
        k_inv = batch([np.linalg.inv(view.intrinsics) for view in views])
        with torch.inference_mode():
            render(subject, k_inv, poses, distances, height, width, _NANODRR_SAMPLES)
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def rate(job: Callable[[list[Camera]], object], views: list[Camera], rounds: int) -> float:
    """Views a second, by the median of the rounds; a first one warms up."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        job(views)
        seconds.append(time.perf_counter() - started)
    return len(views) / median(seconds[1:])


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synthetic", action="store_true", help="a made-up CT in place of the sample, which is fetched")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", default="cuda", help="Warp's device; cpu only shows that the script runs")
    parser.add_argument("--views", type=int, nargs=2, default=(64, 8), help="views of a batch at each size (default: 64 8)")
    parser.add_argument("--sizes", type=int, nargs=2, default=(360, 1536), help="pixels a side (default: 360 1536)")
    options = parser.parse_args()
    try:
        ours, unturned = (CudaRenderer(CUTS, options.device, turn=turn) for turn in (True, False))
    except SyntheXError as error:
        print(f"no CUDA device: {error}")
        return
    import warp as wp

    specimen, rounds = synthetic((133, 512, 512)) if options.synthetic else chest(), 2 if options.quick else 10
    scene, cpu = Scene(specimen), CpuRenderer(CUTS)
    print(f"{ours.device.name}, {ours.name}; CPU kernel {cpu.name}, {cpu.threads} cores; CT {specimen.hu.shape[::-1]}")

    def on_device(renderer: CudaRenderer, **settings: Any) -> Callable[[list[Camera]], None]:
        def run(views: list[Camera]) -> None:
            renderer.cast(scene, views, **settings)
            wp.synchronize_device(renderer.device)

        return run

    jobs: dict[str, Callable[[list[Camera]], object]] = {
        "batch": on_device(ours),
        "batch, no turned copy": on_device(unturned),
        "batch, label paths": on_device(ours, label_paths=True),
        "batch, every 2nd plane": on_device(ours, plane_step=2),
        "batch, to the host": lambda views: list(ours.render_batch(scene, views)),
        "one by one, to the host": lambda views: [ours.render(scene, view) for view in views],
    }
    if importlib.util.find_spec("nanodrr") is None:
        print("nanodrr is not installed: no comparison (pip install nanodrr).")
    else:
        jobs["nanodrr batch"] = nanodrr_views(specimen, str(ours.device))
    for size, count in zip(options.sizes, options.views, strict=True):
        views = cameras(specimen, size, count)
        slow = rate(lambda views: [cpu.render(scene, view) for view in views], views[:3], 2)
        print(f"{size:5d} {'CPU kernel':26s} {slow:9.1f} views/s")
        for name, job in jobs.items():
            try:
                found = rate(job, views, rounds)
            except (RuntimeError, MemoryError) as error:  # out of the device's memory
                print(f"{size:5d} {name:26s} failed: {str(error).splitlines()[0]}")
                continue
            print(f"{size:5d} {name:26s} {found:9.1f} views/s, {found / slow:7.1f} x the CPU kernel")


if __name__ == "__main__":
    main()
