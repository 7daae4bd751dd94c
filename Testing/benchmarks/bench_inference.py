"""How long `synthex infer` takes: the first image of a new process, each further one, and where the time goes.

The network is TransUNet of the full size with random weights at 384 px, the image a computed radiograph of 1760 x 1760 pixels with 12 bits,
whose polarity is known from its kind, so that the network looks at it once. Wall time depends on what else the machine does; CPU seconds
are those of one thread.

    python bench_inference.py [--image FILE] [--size small] [--rounds 5] [--threads 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

_SIDE, _FIELD_MM = 384, 1436 * 0.194
#: Functions of `predict_images` and what their time is called; those inside others are taken off from these.
_PARTS = {
    ("predict_images", "read_values"): "read the file",
    ("predict_images", "without_text"): "burnt-in text",
    ("predict_images", "open_field"): "collimation",
    ("predictor", "Predictor._answers"): "network",
    ("predictor", "read_answers"): "masks and peaks",
    ("predict_images", "write_masks"): "mask PNG",
    ("predict_images", "write_points"): "point list",
    ("predict_images", "write_overlay"): "overlay PNG",
    ("predict_images", "describe"): "checksum of the model (once)",
    ("predictor", "Predictor.load"): "load the model (once)",
}


def make_model(path: Path, size: str) -> None:
    """A hip model with random weights."""
    import torch

    from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model
    from SyntheXLib.tasks.task import load_task

    torch.manual_seed(0)
    description = ModelDescription(size, (_SIDE, _SIDE), _FIELD_MM / _SIDE, load_task("hip").to_dict(), 5.0)
    save_model(path, build_network(description), description)


def make_radiograph(path: Path, side: int = 1760) -> None:
    """Two bright ellipses in a body, with noise, as a CR image of 12 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = np.clip(1.1 - rows**2 - columns**2, 0, 1)
    bones = sum(np.clip(1 - ((columns - x) / 0.25) ** 2 - (rows / 0.5) ** 2, 0, 1) for x in (-0.4, 0.4))
    pixels = 600 + 1400 * body + 1200 * bones + np.random.default_rng(0).normal(0, 20, (side, side))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, "CR"
    image.PhotometricInterpretation, image.SamplesPerPixel, image.PixelRepresentation = "MONOCHROME2", 1, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.Rows, image.Columns, image.ImagerPixelSpacing = side, side, [_FIELD_MM / side] * 2
    image.PixelData = np.clip(pixels, 0, 4095).astype("<u2").tobytes()
    image.save_as(path)


def first_image(model: Path, image: Path, out: Path, threads: int) -> tuple[float, float]:
    """Wall and CPU seconds of a whole `synthex infer` on one image."""
    before, start = os.times(), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "SyntheXLib.cli", "infer", str(model), str(image), "--device", "cpu", "--out", str(out)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, spent


def further_images(model: Path, image: Path, out: Path, rounds: int, threads: int, polarity: str) -> float:
    """Median wall seconds of an image after the first in one process."""
    import torch

    from SyntheXLib.inference.predict_images import predict_images

    torch.set_num_threads(threads)
    stops: list[float] = []

    def step(*_: int) -> None:
        stops.append(time.perf_counter())

    predict_images(model, [image] * (rounds + 1), out, device="cpu", polarity=polarity, progress=step)
    ends = stops[1::2]  # told once a frame and once a file
    return median(np.diff(ends))


def cpu_parts(model: Path, image: Path, out: Path, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each part for one image, of one thread."""
    import torch

    from SyntheXLib.inference import predict_images, predictor

    torch.set_num_threads(1)
    modules = {"predict_images": predict_images, "predictor": predictor}
    running: list[float] = []
    spent: dict[str, float] = defaultdict(float)
    restore: list[Callable[[], None]] = []

    def timed(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            running.append(0.0)
            try:
                return function(*args, **options)
            finally:
                all_of_it = time.process_time() - start
                spent[name] += all_of_it - running.pop()
                if running:
                    running[-1] += all_of_it

        return call

    for (module, place), name in _PARTS.items():
        owner: Any = modules[module]
        *inner, attribute = place.split(".")
        for one in inner:
            owner = getattr(owner, one)
        original = owner.__dict__[attribute]
        setattr(owner, attribute, timed(name, getattr(owner, attribute) if isinstance(original, classmethod) else original))
        restore.append(lambda owner=owner, attribute=attribute, original=original: setattr(owner, attribute, original))
    each: list[dict[str, float]] = []
    try:
        for _ in range(rounds + 1):
            spent.clear()
            start = time.process_time()
            predict_images.predict_images(model, [image], out, device="cpu")
            total = time.process_time() - start
            each.append({**spent, "all else": total - sum(spent.values())})
    finally:
        for undo in restore:
            undo()
    return {name: median(one.get(name, 0.0) for one in each[1:]) for name in [*_PARTS.values(), "all else"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, help="another image file")
    parser.add_argument("--size", default="full", help="size of the network (default: full)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, image, out = Path(folder) / "model.pt", Path(folder) / "image.dcm", Path(folder) / "out"
        make_model(model, options.size)
        if options.image is None:
            make_radiograph(image)
        else:
            image = options.image
        first = [first_image(model, image, out, options.threads) for _ in range(min(3, options.rounds))]
        wall, cpu = median(one[0] for one in first), median(one[1] for one in first)
        print(f"network {options.size}, {_SIDE} px, {options.threads} threads; medians")
        print(f"first image, whole process:        {wall:5.2f} s wall, {cpu:5.2f} s CPU")
        for polarity, told in (("auto", "polarity as the file tells it"), ("bone-bright", "polarity given")):
            seconds = further_images(model, image, out, options.rounds, options.threads, polarity)
            print(f"each further image, {told + ':':<31} {seconds:5.2f} s wall")
        parts = cpu_parts(model, image, out, options.rounds)
        print("CPU seconds of an image, one thread, polarity as the file tells it:")
        for name, seconds in parts.items():
            print(f"  {name:<30} {seconds:5.2f}")
        print(f"  {'an image, without what is once':<30} {sum(v for k, v in parts.items() if '(once)' not in k):5.2f}")


if __name__ == "__main__":
    main()
