"""A data set of disks that a small network learns in seconds, and what its tests compare."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from SyntheXLib.datasets.format import DatasetHeader, write_header
from SyntheXLib.datasets.writer import write_shard
from SyntheXLib.tasks.task import Task, load_task
from SyntheXLib.training.config import TrainingConfig

SIZE = 32


def toy_task(**changes: object) -> Task:
    values = load_task("hip").to_dict()
    structures = [{key: value for key, value in one.items() if key != "bit"} for one in values["structures"][:2]]
    landmarks = values["landmarks"][2:4]
    poses = {**values["poses"], "isocenter": ["left_hemipelvis"]}
    return Task.from_dict({**values, "name": "toy", "structures": structures, "landmarks": landmarks, "poses": poses, **changes})


def toy_sample(number: int, seed: int, task: Task) -> dict:
    """A large and a small disk in a square of tissue; the landmarks are their centres."""
    random = np.random.default_rng([seed, number])
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centers = random.uniform(6, SIZE - 7, (2, 2))
    absorbed, bits = np.full((SIZE, SIZE), 0.3), np.zeros((SIZE, SIZE), np.uint16)
    for bit, (radius, (column, row)) in enumerate(zip((6, 3), centers, strict=True)):
        inside = np.hypot(columns - column, rows - row) < radius
        absorbed = absorbed + inside
        bits |= np.where(inside, 1 << bit, 0).astype(np.uint16)
    return {
        "image": (np.exp(-absorbed) * (1 + random.normal(0, 0.02, absorbed.shape))).astype(np.float32),
        "mask": bits,
        "landmark": centers.astype(np.float32)[: len(task.landmarks)],
        "landmark_visible": np.ones(len(task.landmarks), bool),
        "world_to_camera": np.eye(4),
        "intrinsics": np.eye(3),
        "parameters": {"specimen": "toy", "source_to_isocenter_mm": 700.0},
    }


def write_toy(
    folder: Path,
    count: int,
    seed: int = 0,
    task: Task | None = None,
    spoil: dict | None = None,
    spacing: float = 2.0,
    specimens: Sequence[tuple[str, str]] = (),
) -> Path:
    """A data set of `count` images; `spoil` replaces values of image 1; `specimens` are names and CTs, which take turns."""
    task = task or toy_task()
    configuration = {"image_size": SIZE, "pixel_spacing_mm": spacing, "source_to_detector_mm": 1020.0}
    known = tuple({"name": name, "ct": [ct]} for name, ct in specimens)
    write_header(folder, DatasetHeader(task, known, configuration, seed, count, shard_size=10))
    for shard in range(math.ceil(count / 10)):
        samples = [toy_sample(number, seed, task) for number in range(10 * shard, min(10 * shard + 10, count))]
        if spoil and shard == 0:
            samples[1].update(spoil)
        for n, sample in enumerate(samples):
            if specimens:
                sample["parameters"]["specimen"] = specimens[(10 * shard + n) % len(specimens)][0]
        write_shard(folder, shard, 10 * shard, samples, 0.0)
    return folder


def config(toy: Path, out: Path, **changes: object) -> TrainingConfig:
    values = {"epochs": 3, "batch": 6, "validation_fraction": 0.25, "threads": 1, "seed": 5}
    return TrainingConfig.from_dict({"datasets": (str(toy),), "out": str(out), **values, **changes})


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
