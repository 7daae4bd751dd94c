"""Data sets made of others: parts of one by specimen, and several put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.format import DatasetHeader, content_checksum, shard_is_valid, write_header
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.datasets.writer import write_shard
from SyntheXLib.errors import SyntheXError

Progress = Callable[[int, int], None]


def specimen_parts(dataset: XrayDataset, parts: int | None) -> list[list[int]]:
    """Indices of the images of each part; a specimen is in one part alone, so that none is both trained on and tested on.

    Parameters
    ----------
    dataset
        The data set.
    parts
        How many, of about as many images each; None makes a part of every specimen, for leave-one-specimen-out.

    Raises
    ------
    SyntheXError
        When there are fewer specimens than parts, or `parts` is below 2.
    """
    by_specimen: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        by_specimen.setdefault(dataset.parameters(index)["specimen"], []).append(index)
    wanted = len(by_specimen) if parts is None else parts
    if wanted < 2 or wanted > len(by_specimen):
        raise SyntheXError(
            f"{dataset.folder}: expected 2 parts or more, and a specimen at least for each, "
            f"found {wanted} parts and {len(by_specimen)} specimens ({', '.join(by_specimen)})."
        )
    return even_parts(by_specimen.values(), wanted)


def even_parts(groups: Iterable[list[int]], parts: int) -> list[list[int]]:
    """Groups of indices shared out to parts of about as many: the largest first, each to the part that has the fewest so far."""
    found: list[list[int]] = [[] for _ in range(parts)]
    for indices in sorted(groups, key=len, reverse=True):
        min(found, key=len).extend(indices)
    return [sorted(part) for part in found]


def split_dataset(folder: Path, out: Path, parts: int | None, progress: Progress | None = None) -> list[Path]:
    """Write ``part_00``, ``part_01`` ... into `out`, see `specimen_parts`; train on some and test on another.

    Parts that are there already are checked and kept.

    Raises
    ------
    SyntheXError
        When the data set is not whole, cannot be split so, or the disk is full.
    """
    dataset = XrayDataset(folder)
    chosen = specimen_parts(dataset, parts)
    origin = {"split_from": content_checksum(folder), "parts": len(chosen)}
    folders = []
    done = 0
    for number, indices in enumerate(chosen):
        present = {dataset.parameters(index)["specimen"] for index in indices}
        header = replace(
            dataset.header,
            specimens=tuple(specimen for specimen in dataset.header.specimens if specimen["name"] in present),
            configuration={**dataset.header.configuration, "origin": {**origin, "part": number}},
            count=len(indices),
        )
        folders.append(out / f"part_{number:02d}")
        write_dataset(folders[-1], header, (_whole(dataset, index) for index in indices), _shifted(progress, done, len(dataset)))
        done += len(indices)
    return folders


def merge_datasets(folders: Sequence[Path], out: Path, progress: Progress | None = None) -> None:
    """Put data sets of one task, image size and pixel together, one after the other.

    Raises
    ------
    SyntheXError
        When there are fewer than two, one is not whole, they do not go together, or the disk is full.
    """
    if len(folders) < 2:
        raise SyntheXError(f"Expected two data sets or more to merge, found {len(folders)}.")
    datasets = [XrayDataset(folder) for folder in folders]
    first = datasets[0]
    for other in datasets[1:]:
        for what, value, expected in (
            ("task", other.task, first.task),
            ("image size", other.image_shape, first.image_shape),
            ("pixel spacing", other.pixel_spacing_mm, first.pixel_spacing_mm),
        ):
            if value != expected:
                raise SyntheXError(f"{other.folder} has another {what} than {first.folder}: only data sets of the same can be merged.")
    specimens: list[dict[str, Any]] = []
    for dataset in datasets:
        specimens += [specimen for specimen in dataset.header.specimens if specimen not in specimens]
    origin = {
        "merged_from": [
            {"checksum": content_checksum(d.folder), "seed": d.header.seed, "configuration": d.header.configuration} for d in datasets
        ]
    }
    configuration = {**first.header.configuration, "origin": origin}
    if any(dataset.materials != first.materials for dataset in datasets):
        configuration.pop("materials", None)  # images alone, which all have
    header = replace(
        first.header,
        specimens=tuple(specimens),
        configuration=configuration,
        count=sum(map(len, datasets)),
    )
    paths = "materials" in configuration
    samples = (dataset.read(index, paths=paths) for dataset in datasets for index in range(len(dataset)))
    write_dataset(out, header, samples, progress)


def write_dataset(folder: Path, header: DatasetHeader, samples: Iterable[Sample], progress: Progress | None = None) -> None:
    """Write samples, in their order, as a data set; shards that are there already are kept, as after an interruption.

    Raises
    ------
    SyntheXError
        When the folder holds another data set, or the disk is full.
    """
    write_header(folder, header)
    rest = iter(samples)
    for shard in range(header.shard_count):
        first = shard * header.shard_size
        count = min(header.shard_size, header.count - first)
        chosen = list(islice(rest, count))
        if not shard_is_valid(folder, shard):
            write_shard(folder, shard, first, [arrays_of(sample, header.configuration["image_dtype"]) for sample in chosen], 0.0)
        if progress is not None:
            progress(first + count, header.count)


def arrays_of(sample: Sample, image_dtype: str = "float32") -> dict[str, Any]:
    """A sample as `writer.write_shard` takes it."""
    return {
        names.IMAGE: sample.image.astype(image_dtype),
        **({} if sample.paths is None else {names.PATHS: sample.paths}),
        names.MASK: sample.mask,
        names.LANDMARK: sample.landmarks.astype(np.float32),
        names.LANDMARK_VISIBLE: sample.visible,
        names.WORLD_TO_CAMERA: sample.world_to_camera,
        names.INTRINSICS: sample.intrinsics,
        names.PARAMETERS: sample.parameters,
    }


def _whole(dataset: XrayDataset, index: int) -> Sample:
    return dataset.read(index, paths=bool(dataset.materials))


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
