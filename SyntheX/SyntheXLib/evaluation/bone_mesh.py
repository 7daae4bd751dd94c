"""The bones of a data set's specimens as surfaces, where their label maps are at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SyntheXLib.datasets.sample import SAMPLES, sample_folder
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.scene.case_files import ijk_to_ras, label_numbers, read_image, read_label_names
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset

# Enough for a figure a hand wide.
_GRID_MM = 5.0


@dataclass(frozen=True)
class BoneMesh:
    """Triangles: vertices (V, 3) in RAS mm, faces (F, 3) of their numbers."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def bone_mesh(dataset: "XrayDataset", label_maps: Sequence[Path] = (), label_names: Path | None = None) -> tuple[str, BoneMesh] | None:
    """A specimen of a data set whose label map is at hand, and the surface of its structures.

    Parameters
    ----------
    dataset
        Its header knows the label maps by their checksums.
    label_maps
        Where to look; the cache of the sample CTs is looked at too.
    label_names
        What the numbers in `label_maps` mean; None = TotalSegmentator's.

    Returns
    -------
    tuple or None
        Name of the specimen and its surface; None when no label map is at hand or it has none of the structures.

    Raises
    ------
    SyntheXError
        When a given label map cannot be read or is of no specimen of the data set.
    """
    wanted = {one["labels"][0]: str(one["name"]) for one in dataset.header.specimens if len(one.get("labels", ())) == 1}
    for path in label_maps:
        if not path.is_file():
            raise SyntheXError(f"The label map {path} does not exist.")
        digest = sha256(path)
        if digest not in wanted:
            raise SyntheXError(
                f"The label map {path} is of no specimen of {dataset.folder}: its checksum {digest[:12]} is not in the header."
            )
        return _named(wanted[digest], path, label_names, dataset.task)
    for sample in SAMPLES.values():
        path = sample_folder() / sample.name / sample.labels.name
        if sample.labels.sha256 in wanted and path.is_file():
            return _named(wanted[sample.labels.sha256], path, sample.label_names, dataset.task)
    return None


def _named(name: str, path: Path, label_names: Path | None, task: Task) -> tuple[str, BoneMesh] | None:
    names = None if label_names is None else read_label_names(label_names)
    numbers = [number for structure in task.structures for number in label_numbers(structure, names)]
    surface = surface_of_labels(read_image(path, "label map"), numbers)
    return None if surface is None else (name, surface)


def surface_of_labels(labels: sitk.Image, numbers: Sequence[int]) -> BoneMesh | None:
    """Coarse smooth surface round all voxels of these numbers; None when there are none."""
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    inside = np.isin(sitk.GetArrayFromImage(labels), list(numbers))
    if not inside.any():
        return None
    matrix = ijk_to_ras(labels)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    step = np.maximum(1, np.rint(_GRID_MM / spacing).astype(int))
    blurred = gaussian_filter(inside.astype(np.float32), 0.7 * step)
    coarse = np.pad(blurred[:: step[0], :: step[1], :: step[2]], 1)
    if coarse.max() <= 0.5:
        return None
    kji, faces, _, _ = marching_cubes(coarse, 0.5)
    ijk = ((kji - 1) * step)[:, ::-1]
    return BoneMesh(ijk @ matrix[:3, :3].T + matrix[:3, 3], faces.astype(np.int64))
