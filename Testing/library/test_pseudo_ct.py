from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine, world_grid

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, itk_image, load_specimen
from SyntheXLib.scene.pseudo_ct import pseudo_ct, tissue_of, tissues
from SyntheXLib.tasks.task import load_task

SHAPE = (30, 80, 90)
MATRIX = affine(SHAPE, (3.0, 3.0, 4.0))
GRID = world_grid(SHAPE, MATRIX)


def balls(*numbers: int, radius: float = 30.0) -> sitk.Image:
    labels = np.zeros(SHAPE, np.uint8)
    for place, number in enumerate(numbers):
        labels[((GRID - [60 * (place - 0.5), 0, 0]) ** 2).sum(-1) < radius**2] = number
    return itk_image(labels, MATRIX)


def values(image: sitk.Image, point: tuple[float, float, float], reach: float) -> np.ndarray:
    """Values within a distance of a point (LPS, mm)."""
    array = sitk.GetArrayFromImage(image)
    k, j, i = np.indices(array.shape)
    origin, spacing = np.array(image.GetOrigin()), np.array(image.GetSpacing()) * np.array(image.GetDirection())[[0, 4, 8]]
    return array[((np.stack([i, j, k], -1) * spacing + origin - point) ** 2).sum(-1) < reach**2]


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("femur_left", "bone"), ("left hemipelvis", "bone"), ("vertebral body", "bone"), ("rectus femoris muscle", "muscle"),
        ("gluteus_maximus_left", "muscle"), ("lung_lower_lobe_left", "lung"), ("body_trunc", "envelope"), ("inferior_vena_cava", "vessel"),
        ("spleen", "organ"), ("", "organ"),
    ],
)  # fmt: skip
def test_tissues_are_known_by_name(name: str, tissue: str) -> None:
    assert tissue_of(1, name).name == tissue


def test_tissues_are_known_by_totalsegmentators_numbers() -> None:
    assert [tissue_of(n, None).name for n in (77, 10, 80, 1, 21, 52)] == ["bone", "lung", "muscle", "organ", "fluid", "vessel"]
    numbers = [n for one in tissues() for n in one.totalsegmentator]
    assert len(numbers) == len(set(numbers))


def test_labels_get_the_hu_of_their_tissue_and_bones_a_shell() -> None:
    made = pseudo_ct(balls(75, 10))  # bone at R -30, lung at R +30: LPS x = +30 and -30
    bone, lung = tissue_of(75, None), tissue_of(10, None)
    core, inside = values(made, (30, 0, 0), 20), values(made, (-30, 0, 0), 20)
    assert core.mean() == pytest.approx(bone.hu, abs=40) and core.std() > 20
    assert inside.mean() == pytest.approx(lung.hu, abs=30)
    array = sitk.GetArrayFromImage(made)
    assert array.max() > bone.hu + 400  # the shell


def test_soft_tissue_and_fat_lie_round_the_bones_and_air_beyond() -> None:
    labels = balls(75, 76)
    made = pseudo_ct(labels)
    assert made.GetSize()[2] == labels.GetSize()[2]  # the body goes on along its axis
    assert all(a >= b for a, b in zip(made.GetSize(), labels.GetSize(), strict=True))
    between = values(made, (0, 0, 0), 6)  # the gap between the balls is closed
    array = sitk.GetArrayFromImage(made)
    assert between.min() > -400
    middle = array[array.shape[0] // 2]
    assert np.all(middle[[0, -1]] == -1000) and np.all(middle[:, [0, -1]] == -1000)
    # Along A: bone to 30 mm, then 30 mm of soft tissue whose outer 14 mm are fat.
    fat = values(made, (30, 30 + 30 - 8, 0), 4)
    assert -160 < fat.mean() < -50
    assert values(made, (30, 30 + 30 + 8, 0), 3).max() < -800


def test_a_body_in_the_map_is_the_outline() -> None:
    labels = sitk.GetArrayFromImage(balls(5, radius=20.0))
    labels[(labels == 0) & ((GRID**2).sum(-1) < 55**2)] = 9
    image = itk_image(labels, MATRIX)
    made = pseudo_ct(image, {5: "femur", 9: "body"})
    assert made.GetSize() == image.GetSize()
    array = sitk.GetArrayFromImage(made)
    assert np.all(array[(GRID**2).sum(-1) > 62**2] == -1000) and array[(GRID**2).sum(-1) < 50**2].min() > -400


def test_the_same_map_and_name_give_the_same_ct() -> None:
    one, same, other = (sitk.GetArrayFromImage(pseudo_ct(balls(75, 10), None, seed)) for seed in ("a", "a", "b"))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(SyntheXError, match="labels above 0, found none"):
        pseudo_ct(itk_image(np.zeros(SHAPE, np.uint8), MATRIX))


def test_a_label_map_alone_is_a_case(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("hip")
    specimen = load_specimen(CaseFiles(None, hip_phantom.labels, hip_phantom.landmarks), task)
    known = load_specimen(hip_phantom, task)
    for name in task.structure_names:
        assert np.allclose(specimen.structure_centroid([name]), known.structure_centroid([name]), atol=1e-3)
    assert specimen.name == "labels" and specimen.hu.max() > 500
