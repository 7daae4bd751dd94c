"""The published benchmarks from beginning to end on data made here, small enough for two cores and five minutes.

DeepFluoro's file is written by its layout's description (`Testing/library/small_deepfluoro.py`), the real images of the tool are drawn.
What comes out says that all of it works together; its numbers say nothing about the method.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "library"))

from small_deepfluoro import SmallDeepFluoro

LINES = ("real", "realistic", "naive", "naive-CycleGAN", "naive-ADDA")
TRAIN = "--batch 4 --learning-rate 2e-3 --threads 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmark-small"))
    parser.add_argument("--views", type=int, default=12, help="of each specimen")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    started = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.out / "deepfluoro.h5"
    if not data.exists():
        unfinished = data.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        SmallDeepFluoro(unfinished, options.views)
        unfinished.rename(data)
    write_tool_images(options.out / "tool_images", 12)
    study, network = options.out / "deepfluoro", f"--preset ours --size small --epochs {options.epochs} --draws 500"
    only = " ".join(f"--only {name}" for name in LINES)
    # The released ADDA begins with 20 steps of its discriminator alone: 16 epochs of 3 steps are two rounds.
    synthex(
        f"benchmark deepfluoro --data {quoted(data)} --out {quoted(study)} {only} --randomization strong --image-size 64 {network} "
        f"--train '{TRAIN}' --cyclegan '--epochs 3 --width 8 --discriminator-width 8 --blocks 2 --threads 1' "
        "--adda '--epochs 16 --threads 1'"
    )
    cases = study / "sets" / f"cases_{SmallDeepFluoro.specimens[0]}" / "cases.csv"
    synthex(
        f"benchmark tool --real {quoted(options.out / 'tool_images')} --out {quoted(options.out / 'tool')} --cases {quoted(cases)} "
        f"--count 24 --image-size 64 --folds 2 {network} --train '{TRAIN}' --import '--pixel-spacing 2.176 --polarity bone-bright'"
    )
    print(f"\nmake benchmark-small: {time.monotonic() - started:.0f} s")


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


def synthex(command: str) -> None:
    print(f"\nsynthex {command}", flush=True)
    subprocess.run([sys.executable, "-m", "SyntheXLib.cli", *shlex.split(command)], check=True)


def write_tool_images(folder: Path, count: int, side: int = 128) -> None:
    """Log images (bone bright) with masks and ends of the centreline: a bent, notched tube over smooth shadows."""
    folder.mkdir(exist_ok=True)
    rows, columns = np.mgrid[:side, :side].astype(float)
    for n in range(count):
        random = np.random.default_rng(n)
        start, angle, bend = random.uniform(0.3, 0.7, 2) * side, random.uniform(0, 2 * np.pi), random.uniform(-0.8, 0.8)
        along = np.linspace(0, 1, 200)
        direction = angle + bend * along
        points = start + np.cumsum(np.stack([np.cos(direction), np.sin(direction)], 1), 0) * side * 0.12 / 200 * 1.5
        distance = np.min(np.hypot(columns[..., None] - points[::4, 0], rows[..., None] - points[::4, 1]), axis=-1)
        mask = distance < 0.02 * side
        low = random.normal(size=(4, 4))
        shadow = np.asarray(Image.fromarray(low.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
        gray = 100 + 25 * shadow + 90 * mask + random.normal(0, 6, mask.shape)
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(folder / f"{n:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{n:02d}_mask.png")
        with (folder / f"{n:02d}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["landmark", "column", "row"])
            writer.writerows([name, *point] for name, point in (("cm_start", points[0]), ("cm_end", points[-1])))


if __name__ == "__main__":
    main()
