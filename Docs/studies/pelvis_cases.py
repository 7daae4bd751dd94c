"""Cases of two patients for the domain-shift study: pseudo-CTs, structures and landmarks from label maps without CT.

    python Docs/studies/pelvis_cases.py pelvis_labelmaps pelvis_cases

reads ``Pelvic-Ref-001`` and ``-002`` of yuta-hi/pelvic-annonation (``label.mhd``: both sides in one label, and ``mask.mhd``: the body) and
writes ``NAME.nii.gz``, ``NAME-labels.nii.gz`` (TotalSegmentator's numbers) and ``NAME.mrk.json`` for each, and ``NAME-screw-1.toml`` ...:
the metal that the study's target shows in the patient, two screws in a femoral neck and one across the sacroiliac joint; beside them
``target-c-arm.toml``, the device of the target, and ``hip-narrow.toml``, the task hip with views of narrower ranges, so that a training of
a minute or two learns from it. The landmarks are found by
geometry (`scene.hip_landmarks`). S1 has no label: it is taken for the middle 62 mm of the sacrum's upper 40 mm, as large as in the sample.
"""

import argparse
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import SyntheXLib.tasks
from SyntheXLib.scene.case_files import ijk_to_ras, read_image
from SyntheXLib.scene.hip_landmarks import derive_hip_landmarks
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.scene.pseudo_ct import pseudo_ct

DEVICE = Path(__file__).parent / "pelvis_cases" / "target-c-arm.toml"
PATIENTS = ("Pelvic-Ref-001", "Pelvic-Ref-002")
# Numbers in the files of the data set; 5 to 28 are muscles.
PELVIS, FEMORA, SACRUM, SPINE, MUSCLES = 1, 2, 3, 4, range(5, 29)
# The hip that is screwed.
SCREWED = {"Pelvic-Ref-001": "l", "Pelvic-Ref-002": "r"}
# TotalSegmentator's, (left, right).
HIP_NUMBERS, FEMUR_NUMBERS, SACRUM_NUMBER, S1_NUMBER, LUMBAR_NUMBER = (77, 78), (75, 76), 25, 26, 29
BODY, MUSCLE = 200, 201
NAMES = {
    **dict.fromkeys((*HIP_NUMBERS, *FEMUR_NUMBERS, SACRUM_NUMBER, S1_NUMBER, LUMBAR_NUMBER), "bone"),
    BODY: "body",
    MUSCLE: "muscle",
}
# Degrees and mm.
VIEWS = {
    "lao_rao_deg": [-25.0, 25.0],
    "cran_caud_deg": [-15.0, 15.0],
    "roll_deg": [-10.0, 10.0],
    "translation_lr_mm": [-30.0, 30.0],
    "translation_is_mm": [-20.0, 20.0],
    "translation_ap_mm": [-50.0, 50.0],
}
S1_HEIGHT_MM, S1_WIDTH_MM = 40.0, 62.0
# Voxels are made so large across the body: an image has pixels of 2 mm at the isocentre.
SPACING_MM = 2.0
MIDLINE_MM = 15.0


def main() -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path, help="folder of the two patients")
    parser.add_argument("out", type=Path, help="where the cases go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEVICE, options.out)
    (options.out / "hip-narrow.toml").write_text(narrow_task(), encoding="utf-8")
    for name in PATIENTS:
        folder = options.labelmaps / name
        write_case(name, read_image(folder / "label.mhd", "label map"), read_image(folder / "mask.mhd", "body mask"), options.out)


def narrow_task() -> str:
    """The task hip with the views of `VIEWS`."""
    text = (Path(SyntheXLib.tasks.__file__).parent / "hip.toml").read_text(encoding="utf-8")
    for key, value in {"name": '"hip-narrow"', "title": '"Hip imaging, narrow ranges"', **VIEWS}.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
    return text


def write_case(name: str, labels: sitk.Image, body: sitk.Image, out: Path) -> None:
    """Write pseudo-CT, label map and landmarks of a patient."""
    numbers = structures(labels)
    found = derive_hip_landmarks(sitk.GetArrayFromImage(numbers), ijk_to_ras(labels))
    for point, note in found.notes.items():
        print(f"{name}, {point}: {note}")
    for place, screw in enumerate(screws(found.points, SCREWED[name]), 1):
        (out / f"{name}-screw-{place}.toml").write_text(screw, encoding="utf-8")
    write_markups(out / f"{name}.mrk.json", {key: point for key, point in found.points.items() if np.isfinite(point).all()})
    tissues = sitk.GetArrayFromImage(numbers)
    tissues[(tissues == 0) & (sitk.GetArrayViewFromImage(body) > 0)] = BODY
    inside = np.nonzero(tissues)
    lower, upper = ([int(reach(axis)) for axis in inside[::-1]] for reach in (np.min, np.max))
    whole = sitk.GetImageFromArray(tissues)
    whole.CopyInformation(labels)
    whole = coarser(sitk.RegionOfInterest(whole, [b - a + 1 for a, b in zip(lower, upper, strict=True)], lower))
    sitk.WriteImage(pseudo_ct(whole, NAMES, name), str(out / f"{name}.nii.gz"))
    bones = sitk.Mask(whole, whole < BODY)
    sitk.WriteImage(bones, str(out / f"{name}-labels.nii.gz"))
    print(f"{name}: {whole.GetSize()} voxels of {whole.GetSpacing()} mm, {np.isfinite(list(found.points.values())).all(1).sum()} landmarks")


def screws(points: Mapping[str, np.ndarray], side: str) -> list[str]:
    """Tool files of the screws in one hip, placed by its landmarks."""
    lateral = np.array([-1.0 if side == "l" else 1.0, 0.0, 0.0])
    head, notch = points[f"FH-{side}"], points[f"GSN-{side}"]
    neck = np.array([0.0, -0.15, -1.0]) + lateral
    across = head - [0.0, 0.0, 8.0], head + [0.0, 0.0, 8.0]
    files = [_screw(tip + 4 * neck, neck, 95.0, 7.3) for tip in across]
    # From the iliac bone above the notch into S1, to the middle.
    middle = (points[f"GSN-{side}"] + points["GSN-r" if side == "l" else "GSN-l"]) / 2
    return [*files, _screw(middle + [0.0, 0.0, 25.0], lateral + [0.0, -0.15, 0.1], float(abs(notch - middle)[0]) + 20.0, 8.0)]


def _screw(tip: np.ndarray, axis: np.ndarray, length_mm: float, diameter_mm: float) -> str:
    place = f"origin_mm = {np.round(tip, 1).tolist()}\naxis = {np.round(axis, 3).tolist()}"
    return f'kind = "screw"\nmaterial = "steel_316l"\nlength_mm = {length_mm:.1f}\ndiameter_mm = {diameter_mm}\n{place}\n'


def structures(labels: sitk.Image) -> sitk.Image:
    """Label map with TotalSegmentator's numbers for the bones, sides apart, and one for the muscles."""
    array = sitk.GetArrayViewFromImage(labels)
    across, _, up = labels.GetSpacing()
    made = np.zeros(array.shape, np.uint8)
    # Voxels run to the patient's left along the first axis and up along the last one.
    column = np.arange(array.shape[2])
    middle = midline(array == PELVIS, across)
    for number, sides in ((PELVIS, HIP_NUMBERS), (FEMORA, FEMUR_NUMBERS)):
        made = np.where(array == number, np.where(column > middle, *map(np.uint8, sides)), made)
    sacrum = array == SACRUM
    top = np.flatnonzero(sacrum.any((1, 2))).max()
    made[sacrum] = SACRUM_NUMBER
    upper = np.zeros_like(sacrum)
    upper[top - round(S1_HEIGHT_MM / up) + 1 :] = sacrum[top - round(S1_HEIGHT_MM / up) + 1 :]
    upper &= np.abs(column - middle) * across < S1_WIDTH_MM / 2
    made[upper] = S1_NUMBER
    made[array == SPINE] = LUMBAR_NUMBER
    made[np.isin(array, MUSCLES)] = MUSCLE
    image = sitk.GetImageFromArray(made)
    image.CopyInformation(labels)
    return image


def midline(pelvis: np.ndarray, across: float) -> float:
    """Column near the middle in which the pelvis has fewest voxels: the symphysis."""
    per_column = pelvis.sum((0, 1))
    centre = float(np.average(np.arange(len(per_column)), weights=per_column))
    near = np.arange(round(centre - MIDLINE_MM / across), round(centre + MIDLINE_MM / across) + 1)
    least = near[per_column[near] == per_column[near].min()]
    return float(least.mean())


def coarser(labels: sitk.Image) -> sitk.Image:
    """The label map with voxels of `SPACING_MM` across the body."""
    old = np.array(labels.GetSpacing())
    new = np.array([SPACING_MM, SPACING_MM, old[2]])
    size = np.floor(np.array(labels.GetSize()) * old / new).astype(int)
    return sitk.Resample(
        labels, size.tolist(), sitk.Transform(), sitk.sitkNearestNeighbor, labels.GetOrigin(), new.tolist(), labels.GetDirection(), 0
    )


if __name__ == "__main__":
    main()
