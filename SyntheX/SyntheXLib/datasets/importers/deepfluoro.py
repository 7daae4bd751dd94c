"""DeepFluoro's real images as a data set, and its specimens as cases from which matched views are simulated."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.importers import deepfluoro_file as stored
from SyntheXLib.datasets.importers.hdf5 import dataset, group, numbers, open_hdf5
from SyntheXLib.datasets.importers.imported import Import, ImportedImage, Progress, chosen_specimens, label_bits
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, sha256
from SyntheXLib.scene.case_files import itk_image, label_numbers
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.task import Task

IMAGING_SYSTEM = "Siemens Cios Fusion"
# Field of a case (columns of a case list) and its file.
_CASE_FILES = {"ct": "ct.nii.gz", "labels": "labels.nii.gz", "landmarks": "landmarks.mrk.json", "label_names": "label_names.csv"}


@dataclass(frozen=True)
class _Reader:
    path: Path
    task: Task
    specimens: tuple[str, ...]

    def __call__(self) -> Iterator[ImportedImage]:
        with open_hdf5(self.path) as file:
            detector = stored.read_detector(file)
            for name in self.specimens:
                specimen = file[name]
                names = stored.label_names(specimen)
                isocenter = _isocenter(specimen, self.task, names)
                for view, projection in specimen["projections"].items():
                    yield _imported(projection, name, view, self.task, names, detector, isocenter)


def open_deepfluoro(path: Path, task: Task, *, specimens: Sequence[str] = (), image_size: int | None = None) -> Import:
    """Look through the full-resolution file ``ipcai_2020_full_res_data.h5``.

    Each image is cropped by 50 px a side, turned head up, made a signal and averaged down to `image_size`; labels are sampled at the new
    pixels' centres. Cameras are known: the world of a specimen is its CT's RAS, for the pelvis' pose.

    Parameters
    ----------
    path, task
        The file, and the names of structures (found by name in the file's labels) and landmarks.
    specimens
        Names of those to take; none takes all.
    image_size
        Pixels a side; None takes the task's.

    Raises
    ------
    SyntheXError
        When the file is none of this layout, or lacks a structure or a landmark of the task.
    """
    with open_hdf5(path) as file:
        detector = stored.read_detector(file)
        chosen = chosen_specimens(stored.specimen_names(file), specimens, str(path))
        count = 0
        for name in chosen:
            specimen = file[name]
            _structure_numbers(specimen, task, stored.label_names(specimen))
            for projection in group(specimen, "projections").values():
                dataset(group(projection, "image"), "pixels", detector.shape)
                dataset(group(projection, "gt-seg"), "pixels", detector.shape)
                stored.read_view(projection, detector)
                _points(projection, task)
                count += 1
    if not count:
        raise SyntheXError(f"{path}: expected at least one projection, found none.")
    size = image_size or task.c_arm.image_size
    digest = sha256(path)
    kept = detector.shape[1] - 2 * stored.CROP_PX
    return Import(
        task=task,
        specimens=tuple({"name": name, "source": [digest]} for name in chosen),
        count=count,
        images=_Reader(path, task, tuple(chosen)),
        image_size=size,
        pixel_spacing_mm=kept * detector.pixel_spacing_mm / size,
        source_to_detector_mm=round(float(detector.intrinsics[0, 0] * detector.pixel_spacing_mm), 3),
        origin={"layout": "deepfluoro", "crop_px": stored.CROP_PX, "open_beam": stored.OPEN_BEAM},
    )


def write_cases(path: Path, folder: Path, task: Task, specimens: Sequence[str] = (), progress: Progress | None = None) -> list[Path]:
    """Write the specimens as cases for ``synthex simulate --cases FOLDER/cases.csv --matched FOLDER/poses.json``.

    A folder for each specimen: ``ct.nii.gz``, ``labels.nii.gz`` with ``label_names.csv``, ``landmarks.mrk.json``, and its own
    ``poses.json``, a list of views as in the data set: ``name`` (the data set's ``view``), ``world_to_camera`` (4 x 4, RAS, mm; determinant
    -1 as the pictures are seen from the detector's side) and ``structures``, the (4 x 4) motions of the femurs in that world where they are
    known. Beside the folders the table of all and the views of all, each with its ``specimen``.

    Returns
    -------
    list of Path
        The folders.

    Raises
    ------
    SyntheXError
        As `open_deepfluoro`, or when the disk is full.
    """
    with open_hdf5(path) as file:
        detector = stored.read_detector(file)
        chosen = chosen_specimens(stored.specimen_names(file), specimens, str(path))
        views: list[dict[str, Any]] = []
        for number, name in enumerate(chosen, 1):
            _write_case(file[name], name, folder / name, task)
            own = [
                _pose(f"{name}/{view}", stored.read_view(projection, detector), task)
                for view, projection in group(file[name], "projections").items()
            ]
            _write_json(folder / name / "poses.json", own)
            views += [{**view, "specimen": name} for view in own]
            if progress is not None:
                progress(number, len(chosen))
    _write_json(folder / "poses.json", views)
    rows = [(name, *(f"{name}/{file}" for file in _CASE_FILES.values())) for name in chosen]
    _write_table(folder / "cases.csv", [("name", *_CASE_FILES), *rows])
    return [folder / name for name in chosen]


def _write_case(specimen: Any, name: str, folder: Path, task: Task) -> None:
    ct = stored.read_volume(group(specimen, "vol"))
    labels = stored.read_volume(group(group(specimen, "vol-seg"), "image"))
    hu = np.rint(ct.values).clip(-(2**15), 2**15 - 1).astype(np.int16)
    _write_nifti(folder / _CASE_FILES["ct"], hu, ct.ijk_to_ras)
    _write_nifti(folder / _CASE_FILES["labels"], labels.values.astype(np.uint8), labels.ijk_to_ras)
    _write_table(folder / _CASE_FILES["label_names"], _task_names(stored.label_names(specimen), task).items())
    write_markups(folder / _CASE_FILES["landmarks"], stored.read_landmarks(specimen), name=name)


def _imported(
    projection: Any, specimen: str, name: str, task: Task, names: dict[int, str], detector: stored.Detector, isocenter: np.ndarray | None
) -> ImportedImage:
    view = stored.read_view(projection, detector)
    where = f"{projection.file.filename}:{projection.name[1:]}"
    pixels = np.asarray(projection["image/pixels"][()], np.float32)
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.min() == pixels.max():
        raise SyntheXError(f"{where}/image: expected an X-ray image of finite numbers from 0, found {pixels.min():g} to {pixels.max():g}.")
    numbers_of = _structure_numbers(projection.file[specimen], task, names)
    labels = projection["gt-seg/pixels"][()]
    parameters: dict[str, Any] = {
        "specimen": specimen,
        "source": f"{Path(projection.file.filename).name}:{projection.name[1:]}",
        "imaging_system": IMAGING_SYSTEM,
        "view": f"{specimen}/{name}",
        "rotated_180": view.up,
        **{f"{structure}_good_fov": good for structure, good in view.good_femurs.items()},
    }
    if isocenter is not None:
        parameters["source_to_isocenter_mm"] = float(view.camera.world_to_camera[2, :3] @ isocenter + view.camera.world_to_camera[2, 3])
    return ImportedImage(
        # Half a grey level where nothing arrived: the logarithm follows.
        image=stored.upright(np.maximum(pixels, 0.5) / np.float32(stored.OPEN_BEAM), view.up),
        mask=stored.upright(label_bits(labels, numbers_of, f"{where}/gt-seg", ignored=names), view.up),
        landmarks=stored.upright_points(_points(projection, task), detector.shape, view.up),
        parameters=parameters,
        camera=view.camera,
    )


def _points(projection: Any, task: Task) -> np.ndarray:
    """(L, 2) column and row on the whole detector, in the task's order."""
    found = group(projection, "gt-landmarks")
    points = np.array([numbers(found, name, 2) for name in task.landmark_names]).reshape(-1, 2)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def _structure_numbers(specimen: Any, task: Task, names: dict[int, str]) -> list[list[int]]:
    found = [label_numbers(structure, names) for structure in task.structures]
    if missing := [structure.name for structure, several in zip(task.structures, found, strict=True) if not several]:
        raise SyntheXError(
            f"{specimen.file.filename}:{specimen.name[1:]}/vol-seg/labels-def: no label for {', '.join(missing)} of task '{task.name}', "
            f"found {', '.join(names.values())}."
        )
    return found


def _task_names(names: dict[int, str], task: Task) -> dict[int, str]:
    """The file's labels, those of the task by its own names."""
    ours = {number: structure.name for structure in task.structures for number in label_numbers(structure, names)}
    return {number: ours.get(number, name) for number, name in names.items()}


def _isocenter(specimen: Any, task: Task, names: dict[int, str]) -> np.ndarray | None:
    """(3,) RAS, mm: centroid of the task's structures for it in the CT's labels; None where these are empty."""
    of_structure = dict(zip(task.structure_names, _structure_numbers(specimen, task, names), strict=True))
    wanted = [number for name in task.poses.isocenter for number in of_structure[name]]
    volume = stored.read_volume(group(group(specimen, "vol-seg"), "image"))
    inside = np.isin(volume.values, wanted)
    if not inside.any():
        return None
    # By axes: the indices of a whole CT's voxels would not fit in memory.
    index = [np.average(np.arange(inside.shape[axis]), weights=inside.sum(tuple({0, 1, 2} - {axis}))) for axis in (2, 1, 0)]
    return volume.ijk_to_ras[:3, :3] @ index + volume.ijk_to_ras[:3, 3]


def _pose(name: str, view: stored.View, task: Task) -> dict[str, Any]:
    motions = {structure: motion.tolist() for structure, motion in view.motions.items() if structure in task.structure_names}
    return {"name": name, "world_to_camera": view.camera.world_to_camera.tolist(), "structures": motions}


def _write_nifti(path: Path, values: np.ndarray, ijk_to_ras: np.ndarray) -> None:
    with atomic_write(path) as temporary:
        sitk.WriteImage(itk_image(values, ijk_to_ras), str(temporary), useCompression=True)


def _write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
