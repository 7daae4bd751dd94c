from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, ijk_to_ras, itk_image, load_specimen, read_image
from SyntheXLib.scene.landmarks import read_markups, write_markups
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


def picture(case: CaseFiles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Water thickness, label bits and landmark pixels of one oblique view."""
    specimen = load_specimen(case, HIP)
    pose = CArmPose(lao_rao_deg=30, cran_caud_deg=-15, roll_deg=8)
    camera = task_camera(HIP.c_arm, pose.world_to_camera(specimen.structure_centroid(HIP.poses.isocenter)), 96)
    projection = make_renderer().render(Scene(specimen), camera)
    assert projection is not None
    water = (projection.hu_integral + 1000 * projection.path_length).sum(0) / 1000
    return water, projection.label_bits, camera.project(specimen.landmark_array(HIP.landmark_names))[0]


def test_a_case_loads_with_names_bits_and_landmarks(hip_phantom: CaseFiles) -> None:
    specimen = load_specimen(hip_phantom, HIP)
    assert specimen.structures == HIP.structure_names
    assert all((specimen.labels & (1 << bit)).any() for bit in range(6))
    assert np.allclose(specimen.landmarks["FH-l"], [-90, 0, -40])
    left, right = (specimen.structure_centroid([name]) for name in ("left_femur", "right_femur"))
    assert left[0] < right[0]  # RAS: x grows to the patient's right


def test_specks_are_dropped(hip_phantom: CaseFiles) -> None:
    specimen = load_specimen(hip_phantom, HIP)
    assert specimen.labels[0, 0, 0] == 0


@pytest.mark.parametrize("axes", ["RAS", "LPI", "ASR", "PIR"])
def test_flipped_and_permuted_files_give_the_same_picture(hip_phantom: CaseFiles, tmp_path: Path, axes: str) -> None:
    expected = picture(hip_phantom)
    turned = {}
    for key in ("ct", "labels"):
        turned[key] = tmp_path / f"{key}.nrrd"
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(getattr(hip_phantom, key))), axes), str(turned[key]))
    found = picture(replace(hip_phantom, **turned))
    assert np.abs(found[0] - expected[0]).max() < 1e-3 * expected[0].max()
    assert (found[1] != expected[1]).mean() < 0.005
    assert np.allclose(found[2], expected[2], atol=1e-6, equal_nan=True)


def test_an_oblique_ct_gives_the_same_picture_as_a_straight_one(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    expected = picture(hip_phantom)
    shape = (90, 90, 90)
    grid = itk_image(np.zeros(shape, np.int16), affine(shape, 4.5, OBLIQUE))
    oblique = {}
    for key, how, outside in (("ct", sitk.sitkLinear, -1000), ("labels", sitk.sitkNearestNeighbor, 0)):
        image = sitk.Resample(sitk.ReadImage(str(getattr(hip_phantom, key))), grid, sitk.Transform(), how, outside)
        oblique[key] = tmp_path / f"{key}.nii.gz"
        sitk.WriteImage(image, str(oblique[key]))
    found = picture(replace(hip_phantom, **oblique))
    # Two interpolations instead of one: compare smoothly.
    assert np.sqrt(((found[0] - expected[0]) ** 2).mean()) < 0.02 * expected[0].max()
    assert (found[1] != expected[1]).mean() < 0.06
    # The isocentre is the centroid of resampled labels: a small fraction of a 4.5 mm voxel.
    assert np.nanmax(np.abs(found[2] - expected[2])) < 0.3


def test_labels_on_another_grid_are_brought_onto_the_ct(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    labels = sitk.ReadImage(str(hip_phantom.labels))
    finer = sitk.Expand(labels, [2, 2, 2], sitk.sitkNearestNeighbor)
    sitk.WriteImage(finer, str(tmp_path / "fine.nii.gz"))
    specimen = load_specimen(replace(hip_phantom, labels=tmp_path / "fine.nii.gz"), HIP)
    expected = load_specimen(hip_phantom, HIP)
    assert (specimen.labels != expected.labels).mean() < 0.005
    assert any("another grid" in warning for warning in specimen.warnings)


def test_names_of_labels_are_used_where_they_are_given(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    labels = sitk.ReadImage(str(hip_phantom.labels))
    array = sitk.GetArrayFromImage(labels)
    renumbered = np.zeros_like(array)
    for new, old in enumerate((77, 78, 29, 26, 75, 76), 1):
        renumbered[array == old] = new
    image = sitk.GetImageFromArray(renumbered)
    image.CopyInformation(labels)
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    names = ["Left Hip-Bone", "hip_right", "vertebrae L3", "S1", "left femur", "RIGHT_FEMUR"]
    (tmp_path / "names.csv").write_text("number,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names, 1)), encoding="utf-8")
    (tmp_path / "names.ctbl").write_text(
        "# colours\n" + "".join(f"{n} {name.replace(' ', '_')} 10 20 30 255\n" for n, name in enumerate(names, 1)), encoding="utf-8"
    )
    expected = load_specimen(hip_phantom, HIP)
    for table in ("names.csv", "names.ctbl"):
        specimen = load_specimen(replace(hip_phantom, labels=tmp_path / "labels.nii.gz", label_names=tmp_path / table), HIP)
        assert np.array_equal(specimen.labels, expected.labels)


def test_a_dicom_series_reads_like_the_file_it_was_made_from(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    ct = sitk.ReadImage(str(hip_phantom.ct))
    folder = tmp_path / "series"
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = ct.GetDirection()
    for k in range(ct.GetSize()[2]):
        image = ct[:, :, k]
        position = ct.TransformIndexToPhysicalPoint((0, 0, k))
        tags = {
            "0008|0060": "CT",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.7",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.7.{k + 1}",
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "\\".join(f"{direction[n]:.6f}" for n in (0, 3, 6, 1, 4, 7)),
            "0020|0013": str(k),
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:03d}.dcm"))
        writer.Execute(image)
    found = read_image(folder)
    assert np.allclose(ijk_to_ras(found), ijk_to_ras(ct), atol=1e-4)
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(ct))


def moved(case: CaseFiles, folder: Path) -> CaseFiles:
    image = sitk.ReadImage(str(case.labels))
    image.SetOrigin((2000.0, 0.0, 0.0))
    sitk.WriteImage(image, str(folder / "moved.nii.gz"))
    return replace(case, labels=folder / "moved.nii.gz")


def other_numbers(case: CaseFiles, folder: Path) -> CaseFiles:
    image = sitk.ReadImage(str(case.labels))
    sitk.WriteImage(sitk.Cast(image > 0, sitk.sitkUInt8) * 3, str(folder / "other.nii.gz"))
    return replace(case, labels=folder / "other.nii.gz")


def lps_taken_for_ras(case: CaseFiles, folder: Path) -> CaseFiles:
    points = {name: point + [0, 400, 0] for name, point in read_markups(case.landmarks).items()}
    write_markups(folder / "lps.mrk.json", points)
    return replace(case, landmarks=folder / "lps.mrk.json")


def no_ct(case: CaseFiles, folder: Path) -> CaseFiles:
    return replace(case, ct=folder / "nothing.nii.gz")


def text_as_ct(case: CaseFiles, folder: Path) -> CaseFiles:
    (folder / "text.nii.gz").write_text("not an image", encoding="utf-8")
    return replace(case, ct=folder / "text.nii.gz")


def empty_folder(case: CaseFiles, folder: Path) -> CaseFiles:
    (folder / "empty").mkdir()
    return replace(case, ct=folder / "empty")


def no_names(case: CaseFiles, folder: Path) -> CaseFiles:
    (folder / "names.csv").write_text("hello\n", encoding="utf-8")
    return replace(case, label_names=folder / "names.csv")


def flat(case: CaseFiles, folder: Path) -> CaseFiles:
    sitk.WriteImage(sitk.Image(4, 4, sitk.sitkInt16), str(folder / "flat.nii.gz"))
    return replace(case, ct=folder / "flat.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (moved, "are not in the same frame: expected the labels inside the CT, found 0% of their volume"),
        (other_numbers, r"none of the structures of task 'hip' .* is in it; found the numbers 0, 3"),
        (lps_taken_for_ras, "lies outside the CT"),
        (no_ct, "The CT .*nothing.nii.gz does not exist"),
        (text_as_ct, "The CT .*text.nii.gz cannot be read: expected NIfTI"),
        (empty_folder, "expected the files of one DICOM series, found 0 series"),
        (no_names, "expected lines of number and name, found none"),
        (flat, "expected three axes, found 2"),
    ],
)
def test_bad_files_are_told_in_one_sentence(hip_phantom: CaseFiles, tmp_path: Path, spoil, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected) as caught:
        load_specimen(spoil(hip_phantom, tmp_path), HIP)
    assert "\n" not in str(caught.value)
