"""A case on disk becomes a specimen: CT (NIfTI, NRRD, MetaImage, DICOM series), label map, landmarks."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.coarser_ct import coarser
from SyntheXLib.scene.continuation import continue_beyond
from SyntheXLib.scene.landmarks import read_markups
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.tasks.task import Structure, Task

# World of files read by ITK is LPS; ours is RAS.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class CaseFiles:
    """Where the parts of a case lie.

    Attributes
    ----------
    ct
        Image file, or folder of one DICOM series; None makes a pseudo-CT of the label map, see `scene.pseudo_ct`.
    labels
        Label map whose numbers are TotalSegmentator v2's, or are named by `label_names` or by the file itself (``.seg.nrrd``). None where
        the task sees nothing of the CT.
    landmarks
        Markups file, or None.
    label_names
        Colour table (``.ctbl``, ``.txt``: number, name, colours) or ``.csv`` (number, name); None without.
    name
        For people; by default the CT's file name without its suffixes.
    materials
        Label map whose labels are materials, see `rendering.material_map`; None takes the materials from the HU.
    material_names
        Colour table or CSV of its numbers, or None.
    lesions
        Mask whose voxels above 0 are lesions, or None.
    """

    ct: Path | None
    labels: Path | None
    landmarks: Path | None = None
    label_names: Path | None = None
    name: str = ""
    materials: Path | None = None
    material_names: Path | None = None
    lesions: Path | None = None

    @property
    def title(self) -> str:
        """`name`, or the file name of the CT (else of the label map) without suffixes."""
        path = self.ct or self.labels
        return self.name or (path.name.split(".")[0] if path else "case")


def load_specimen(case: CaseFiles, task: Task) -> Specimen:
    """Read, map, clean and check a case for a task.

    The label map is brought onto the CT's grid by world coordinates (nearest neighbour) when its geometry differs. Of every label the
    largest connected component is kept: what automatic segmentation leaves elsewhere are specks.

    Raises
    ------
    SyntheXError
        When a file cannot be read, the frames do not meet, or a check of `make_specimen` fails.
    """
    label_image = read_image(case.labels, "label map") if case.labels else None
    names = read_label_names(case.label_names) if case.label_names else segment_names(label_image) if label_image else None
    landmarks = read_markups(case.landmarks) if case.landmarks else {}
    if case.ct is not None:
        ct = read_image(case.ct, "CT")
    elif label_image is not None:
        from SyntheXLib.scene.pseudo_ct import pseudo_ct

        ct = pseudo_ct(label_image, names, case.title)
    else:
        raise SyntheXError(f"Case {case.title}: expected a CT or a label map, found neither.")
    lesions = read_image(case.lesions, "lesion mask") if case.lesions else None
    return specimen_from_images(case.title, ct, label_image, names, landmarks, task, str(case.labels), lesions)


def specimen_from_images(
    name: str,
    ct: sitk.Image,
    label_image: sitk.Image | None,
    names: Mapping[int, str] | None,
    landmarks: Mapping[str, np.ndarray],
    task: Task,
    where: str = "",
    lesions: sitk.Image | None = None,
) -> Specimen:
    """Map, clean and check a case for a task; see `load_specimen`.

    Parameters
    ----------
    name
        Of the specimen.
    ct, label_image
        Hounsfield units, and label numbers on any grid of the same frame; no label map where the task sees nothing of the CT.
    names
        Label number to name; None for TotalSegmentator's numbers.
    landmarks
        Name to (3,) position (RAS, mm).
    task
        What is to be seen.
    where
        What errors call the label map; by default "of" the specimen's name.
    lesions
        Mask on any grid of the same frame whose voxels above 0 are the task's lesions; None without.

    Raises
    ------
    SyntheXError
        When the frames do not meet, or a check of `make_specimen` fails.
    """
    where = where or f"of {name}"
    masks: dict[str, np.ndarray] = {}
    notes = coarseness(ct, name, task)
    if label_image is not None:
        masks |= _structure_masks(label_image, names, ct, name, task, where, notes)
    if lesions is not None:
        on_ct, more_notes = on_grid_of(lesions, ct, name, f"of the lesions of {name}")
        notes += more_notes
        masks |= {s.name: sitk.GetArrayViewFromImage(on_ct) > 0 for s in task.structures if s.source == "lesion"}
    wanted = [structure for structure in task.structure_names if structure not in task.made_structures]
    if wanted and not any(mask.any() for mask in masks.values()):
        if label_image is None:
            raise SyntheXError(f"Case {name}: task '{task.name}' needs a label map with {', '.join(wanted)}, found none.")
        found = ", ".join(str(number) for number in np.unique(sitk.GetArrayViewFromImage(label_image))[:20])
        raise SyntheXError(
            f"Label map {where}: none of the structures of task '{task.name}' ({', '.join(task.structure_names)}) is in it; "
            f"found the numbers {found}."
        )
    hu, matrix = sitk.GetArrayFromImage(ct), ijk_to_ras(ct)
    landmarks = {key: point for key, point in landmarks.items() if key not in task.landmark_names or key in task.patient_landmarks}
    specimen = make_specimen(name, hu, matrix, masks, task.structure_names, landmarks, task.patient_landmarks, made=task.made_structures)
    if task.simulation.voxel_mm:
        specimen = coarser(specimen, task.simulation.voxel_mm)
    if task.scene.continuation is not None:
        specimen = continue_beyond(specimen, task.scene.continuation)
    return replace(specimen, warnings=(*notes, *specimen.warnings))


def _structure_masks(
    label_image: sitk.Image, names: Mapping[int, str] | None, ct: sitk.Image, name: str, task: Task, where: str, notes: list[str]
) -> dict[str, np.ndarray]:
    """Structure to (K, J, I) bool on the CT's grid, of those in the label map."""
    if label_image.GetNumberOfComponentsPerPixel() > 1:
        raise SyntheXError(f"Label map {where}: expected one number a voxel, found {label_image.GetNumberOfComponentsPerPixel()} layers.")
    label_image, more = on_grid_of(label_image, ct, name, where)
    notes += more
    labels = sitk.GetArrayViewFromImage(label_image)
    masks = {}
    for structure in task.structures:
        if structure.source == "tool":
            continue
        # Lesions are many; of an organ, what lies elsewhere are specks.
        whole = (labels == number for number in label_numbers(structure, names))
        found = whole if structure.source == "lesion" else map(largest_component, whole)
        parts = [mask for mask in found if mask.any()]
        if parts:
            masks[structure.name] = np.logical_or.reduce(parts)
    return masks


def coarseness(ct: sitk.Image, name: str, task: Task) -> list[str]:
    """A sentence when the CT's voxels are coarser than those the task was published with; else nothing."""
    finest, coarsest = task.simulation.ct_spacing_mm
    spacing = ct.GetSpacing()
    if not coarsest or max(spacing) <= 1.01 * coarsest:
        return []
    found = " x ".join(f"{side:.3g}" for side in spacing)
    return [f"CT of {name} has voxels of {found} mm, coarser than the {finest:g} to {coarsest:g} mm of task '{task.name}'."]


def read_image(path: Path | str, what: str = "image") -> sitk.Image:
    """Read a volume file, or the one DICOM series of a folder.

    Raises
    ------
    SyntheXError
        When there is nothing, it cannot be read, the folder holds several series, or it has not three axes.
    """
    path = Path(path)
    if not path.exists():
        raise SyntheXError(f"The {what} {path} does not exist.")
    try:
        image = _read_dicom_series(path, what) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].split("ERROR: ")[-1]
        raise SyntheXError(f"The {what} {path} cannot be read: expected NIfTI, NRRD, MetaImage or a DICOM series ({reason}).") from error
    if image.GetDimension() != 3:
        raise SyntheXError(f"The {what} {path}: expected three axes, found {image.GetDimension()}.")
    return image


def ijk_to_ras(image: sitk.Image) -> np.ndarray:
    """(4, 4) voxel index (i, j, k) to RAS (mm) of an ITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return _LPS_TO_RAS @ matrix


def itk_image(array: np.ndarray, matrix: np.ndarray) -> sitk.Image:
    """The ITK image of a (K, J, I) array with a (4, 4) IJK-to-RAS matrix (mm) without shear."""
    lps = _LPS_TO_RAS @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def read_label_names(path: Path | str) -> dict[int, str]:
    """Label number to name from a Slicer colour table (``.ctbl``, ``.txt``) or a CSV whose first two columns are number and name.

    Raises
    ------
    SyntheXError
        When it cannot be read or names nothing.
    """
    path = Path(path)
    names: dict[int, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file if not line.startswith("#"))
            for row in rows:
                if len(row) >= 2 and row[0].strip().isdigit():
                    names[int(row[0])] = row[1].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SyntheXError(f"Label names {path} cannot be read: expected a colour table or a CSV of number and name ({error}).") from error
    if not names:
        raise SyntheXError(f"Label names {path}: expected lines of number and name, found none.")
    return names


def label_numbers(structure: Structure, names: Mapping[int, str] | None) -> list[int]:
    """Numbers in a label map that make up a structure: by name where names are known, else TotalSegmentator's."""
    if not names:
        return list(structure.totalsegmentator)
    wanted = {plain_name(name) for name in (structure.name, *structure.segment_names)}
    return [number for number, name in names.items() if plain_name(name) in wanted]


def plain_name(name: str) -> str:
    """A name without case, spaces, dashes and underscores, for comparison."""
    return "".join(character for character in name.lower() if character.isalnum())


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a (K, J, I) mask, as bool; an empty mask stays empty."""
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayFromImage(sitk.RelabelComponent(components)) == 1


def _read_dicom_series(folder: Path, what: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise SyntheXError(f"The {what} folder {folder}: expected the files of one DICOM series, found {len(series)} series.")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    return reader.Execute()


def segment_names(image: sitk.Image) -> dict[int, str]:
    """Names that a ``.seg.nrrd`` written by Slicer carries in its header."""
    keys = set(image.GetMetaDataKeys())
    names = {}
    for key in keys:
        if key.startswith("Segment") and key.endswith("_LabelValue"):
            name = key.removesuffix("LabelValue") + "Name"
            if name in keys:
                names[int(image.GetMetaData(key))] = image.GetMetaData(name)
    return names


def on_grid_of(labels: sitk.Image, ct: sitk.Image, name: str, where: str) -> tuple[sitk.Image, list[str]]:
    """Labels on the CT's grid, and what was noticed; errors call the label map `where`."""
    close = np.allclose(ijk_to_ras(labels), ijk_to_ras(ct), atol=1e-3)
    if close and labels.GetSize() == ct.GetSize():
        return labels, []
    resampled = sitk.Resample(labels, ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    before = np.count_nonzero(sitk.GetArrayViewFromImage(labels)) * np.prod(labels.GetSpacing())
    after = np.count_nonzero(sitk.GetArrayViewFromImage(resampled)) * np.prod(ct.GetSpacing())
    kept = after / before if before else 1.0
    if kept < 0.5:
        raise SyntheXError(
            f"Label map {where} and CT of {name} are not in the same frame: "
            f"expected the labels inside the CT, found {kept:.0%} of their volume there."
        )
    note = f"Label map of {name} has another grid than the CT and was resampled; {min(kept, 1):.0%} of its volume lies in the CT."
    return resampled, [note]
