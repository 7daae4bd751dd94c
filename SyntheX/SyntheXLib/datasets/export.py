"""Data sets in formats of others: COCO with 16-bit PNG, and NIfTI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.files import atomic_write
from SyntheXLib.tasks.labels import structure_masks

Progress = Callable[[int, int], None]

FORMATS = ("coco", "nifti")
# COCO's words for a keypoint: not labelled; labelled but not visible; labelled and visible.
_UNKNOWN, _HIDDEN, _VISIBLE = 0, 1, 2


def export_coco(dataset: XrayDataset, folder: Path, progress: Progress | None = None) -> None:
    """Write ``images/NNNNNN.png`` (16 bit) and ``annotations.json`` in COCO's format for instances and keypoints.

    Each structure that is seen is an instance with its mask as uncompressed run lengths (column by column, as COCO counts), and the
    landmarks of an image are the keypoints of one instance of the category ``landmarks``. A grey value is ``65535 * signal / scale`` with
    the ``scale`` of the image's entry, its highest signal. COCO's pixels begin at their corner, so a keypoint is our landmark (for which
    (0, 0) is the centre of the first pixel) plus a half.

    Raises
    ------
    SyntheXError
        When the disk is full.
    """
    task = dataset.task
    categories: list[dict[str, Any]] = [
        {"id": number, "name": name, "supercategory": task.name} for number, name in enumerate(task.structure_names, 1)
    ]
    landmarks = len(categories) + 1
    if task.landmark_names:
        names = list(task.landmark_names)
        categories.append({"id": landmarks, "name": "landmarks", "supercategory": task.name, "keypoints": names, "skeleton": []})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sample in _samples(dataset, progress):
        name, (height, width) = f"{sample.index:06d}.png", sample.image.shape
        scale = max(float(sample.image.max()), 1e-6)
        values = np.rint(sample.image.clip(0, scale) * (65535 / scale)).astype(np.uint16)
        with atomic_write(folder / "images" / name) as temporary:
            sitk.WriteImage(sitk.GetImageFromArray(values), str(temporary))
        images.append(
            {
                "id": sample.index,
                "file_name": f"images/{name}",
                "width": width,
                "height": height,
                "scale": scale,
                "world_to_camera": _matrix(sample.world_to_camera),
                "intrinsics": _matrix(sample.intrinsics),
                "parameters": sample.parameters,
            }
        )
        masks = structure_masks(sample.mask, len(task.structures))
        for category, mask in enumerate(masks, 1):
            if mask.any():
                annotations.append(_annotation(len(annotations) + 1, sample.index, category, mask))
        if task.landmark_names:
            annotations.append(_keypoints(len(annotations) + 1, sample, landmarks))
    content = {
        "info": {"description": f"SyntheX, task {task.name}", "pixel_spacing_mm": dataset.pixel_spacing_mm},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    with atomic_write(folder / "annotations.json") as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def export_nifti(dataset: XrayDataset, folder: Path, progress: Progress | None = None) -> None:
    """Write ``NNNNNN_image.nii.gz`` (float32, linear signal), ``NNNNNN_mask.nii.gz`` (bit field) and ``NNNNNN.json`` for every image.

    The pixel spacing is that of the detector, mm. ``dataset.json`` tells which bit is which structure. The JSON holds landmarks (column,
    row; null where unknown), visibility, camera and parameters.

    Raises
    ------
    SyntheXError
        When the disk is full.
    """
    spacing = dataset.pixel_spacing_mm
    for sample in _samples(dataset, progress):
        for kind, array in (("image", sample.image), ("mask", sample.mask)):
            image = sitk.GetImageFromArray(array[None])
            image.SetSpacing((spacing, spacing, 1.0))
            with atomic_write(folder / f"{sample.index:06d}_{kind}.nii.gz") as temporary:
                sitk.WriteImage(image, str(temporary))
        known = dict(zip(dataset.task.landmark_names, zip(_points(sample), sample.visible.tolist(), strict=True), strict=True))
        content = {
            "landmarks": {name: {"pixel": point, "visible": visible} for name, (point, visible) in known.items()},
            "world_to_camera": _matrix(sample.world_to_camera),
            "intrinsics": _matrix(sample.intrinsics),
            "parameters": sample.parameters,
        }
        with atomic_write(folder / f"{sample.index:06d}.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    described = {"task": dataset.task.name, "mask_bits": list(dataset.task.structure_names), "images": len(dataset)}
    with atomic_write(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _samples(dataset: XrayDataset, progress: Progress | None) -> Iterator[Sample]:
    for index in range(len(dataset)):
        yield dataset[index]
        if progress is not None:
            progress(index + 1, len(dataset))


def _matrix(values: np.ndarray) -> list[list[float]] | None:
    """For JSON; None where unknown."""
    return values.tolist() if np.isfinite(values).all() else None


def _points(sample: Sample) -> list[list[float] | None]:
    return [[float(x), float(y)] if np.isfinite([x, y]).all() else None for x, y in sample.landmarks]


def _annotation(number: int, image: int, category: int, mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "area": int(mask.sum()),
        "bbox": box,
        "iscrowd": 1,  # COCO's readers take run lengths for crowds and polygons for the rest
    }


def _keypoints(number: int, sample: Sample, category: int) -> dict[str, Any]:
    flat: list[float] = []
    for point, visible in zip(_points(sample), sample.visible, strict=True):
        flat += [0, 0, _UNKNOWN] if point is None else [point[0] + 0.5, point[1] + 0.5, _VISIBLE if visible else _HIDDEN]
    height, width = sample.image.shape
    return {
        "id": number,
        "image_id": sample.index,
        "category_id": category,
        "keypoints": flat,
        "num_keypoints": sum(flag > 0 for flag in flat[2::3]),
        "area": height * width,
        "bbox": [0, 0, width, height],
        "iscrowd": 0,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of an (H, W) mask: pixels column by column, beginning with a run of zeros, perhaps empty."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # where runs begin and end
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return [int(count) for count in (counts[:-1] if counts[-1] == 0 else counts)]
