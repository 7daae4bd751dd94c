from dataclasses import replace

import numpy as np
import pytest
from phantoms import OBLIQUE, affine, world_grid

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.scene.specimen_variation import (
    Displacement,
    deform,
    mirror_specimen,
    random_displacement,
    scale_specimen,
    vary_specimen,
    with_densities,
)
from SyntheXLib.tasks.settings import VariationSettings
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


@pytest.fixture
def specimen(hip_phantom: CaseFiles) -> Specimen:
    return load_specimen(hip_phantom, HIP)


def volume_mm3(specimen: Specimen, structure: str) -> float:
    bit = specimen.structures.index(structure)
    return float(((specimen.labels >> bit) & 1).sum() * abs(np.linalg.det(specimen.ijk_to_ras)))


def test_a_mirror_twice_is_the_identity_and_once_exchanges_left_and_right(specimen: Specimen) -> None:
    lopsided = replace(specimen, ijk_to_ras=specimen.ijk_to_ras + np.eye(4, k=3) * 7)
    once = mirror_specimen(lopsided, HIP)
    twice = mirror_specimen(once, HIP)
    assert np.array_equal(twice.labels, lopsided.labels) and twice.hu is lopsided.hu
    assert np.allclose(twice.ijk_to_ras, lopsided.ijk_to_ras, atol=1e-12)
    for name, point in lopsided.landmarks.items():
        assert np.allclose(twice.landmarks[name], point, atol=1e-12, equal_nan=True)
    middle = lopsided.structure_centroid(())[0]
    reflected = np.array([-1, 1, 1]), np.array([2 * middle, 0, 0])
    for left, right in (("left_femur", "right_femur"), ("upper_sacrum", "upper_sacrum")):
        assert np.allclose(once.structure_centroid([right]), lopsided.structure_centroid([left]) * reflected[0] + reflected[1])
        assert volume_mm3(once, right) == pytest.approx(volume_mm3(lopsided, left))
    assert np.allclose(once.landmarks["FH-r"], lopsided.landmarks["FH-l"] * reflected[0] + reflected[1])


def test_scaling_multiplies_volumes_and_distances(specimen: Specimen) -> None:
    factors = np.array([1.1, 0.9, 1.2])
    scaled = scale_specimen(specimen, factors)
    for name in specimen.structures:
        assert volume_mm3(scaled, name) == pytest.approx(volume_mm3(specimen, name) * factors.prod())
    apart = specimen.landmarks["ASIS-l"] - specimen.landmarks["FH-r"]
    assert np.allclose(scaled.landmarks["ASIS-l"] - scaled.landmarks["FH-r"], factors * apart)
    assert np.allclose(scaled.structure_centroid(()), specimen.structure_centroid(()))
    with pytest.raises(SyntheXError, match="expected factors above 0"):
        scale_specimen(specimen, np.array([1.0, 0, 1]))


def test_a_constant_displacement_shifts_everything_by_it(specimen: Specimen) -> None:
    voxels = np.array([1, -2, 1])  # along i, j, k: what a voxel takes lies so far from it
    field = Displacement(np.broadcast_to(voxels * specimen.spacing_mm, (3, 3, 3, 3)).copy(), np.array([200.0, 200, 200]))
    moved = deform(specimen, field)
    inner = (slice(5, -5),) * 3
    assert np.array_equal(moved.hu[inner], np.roll(specimen.hu, -voxels[::-1], (0, 1, 2))[inner])
    assert np.array_equal(moved.labels[inner], np.roll(specimen.labels, -voxels[::-1], (0, 1, 2))[inner])
    shift = specimen.ijk_to_ras[:3, :3] @ voxels
    assert np.allclose(moved.landmarks["FH-l"], specimen.landmarks["FH-l"] - shift, atol=1e-3)


def test_landmarks_go_along_with_a_smooth_deformation() -> None:
    """A landmark in the middle of a small labelled ball stays within half a voxel of the ball's centroid, in an oblique CT."""
    shape, spacing = (60, 64, 70), (2.0, 2.0, 2.5)
    matrix = affine(shape, spacing, OBLIQUE)
    grid = world_grid(shape, matrix)
    centers = {f"p{n}": OBLIQUE @ np.array(c, float) for n, c in enumerate([(0, 0, 0), (25, 20, 30), (-30, 15, -25), (10, -25, 35)])}
    masks = {name: ((grid - center) ** 2).sum(-1) < 7**2 for name, center in centers.items()}
    made = make_specimen("balls", np.where(np.any(list(masks.values()), 0), 500.0, -1000.0), matrix, masks, tuple(masks), centers)
    field = random_displacement(made, 5.0, 80.0, np.random.default_rng(2))
    deformed = deform(made, field)
    moves = []
    for name, center in centers.items():
        found = deformed.structure_centroid([name])
        moves.append(np.linalg.norm(found - center))
        assert np.linalg.norm(deformed.landmarks[name] - found) < 0.5 * min(spacing)
        ijk = (np.linalg.inv(matrix) @ [*deformed.landmarks[name], 1])[:3] * made.spacing_mm
        source = (ijk + field.at(ijk[None])[0]) / made.spacing_mm
        assert np.allclose(matrix[:3, :3] @ source + matrix[:3, 3], center, atol=1e-3)
    assert max(moves) > 2  # it did move


def test_a_field_that_folds_is_told() -> None:
    steep = np.zeros((2, 2, 9, 3))
    steep[:, :, ::2, 0], steep[:, :, 1::2, 0] = 30, -30
    with pytest.raises(SyntheXError, match="folds"):
        Displacement(steep, np.array([10.0, 10, 10])).inverse(np.array([[44.0, 3, 3]]))


def test_densities_are_multiplied_by_structure_and_shifted_by_patient(specimen: Specimen) -> None:
    changed = with_densities(specimen, {"left_femur": 1.1}, 20.0)
    femur = (specimen.labels >> specimen.structures.index("left_femur")) & 1 == 1
    assert np.all(changed.hu[femur] == round(1700 * 1.1 + 20 - 1000))
    water = (specimen.hu == 20) & ~femur
    assert np.all(changed.hu[water] == 40) and np.all(changed.hu[specimen.hu == -1000] == -1000)
    assert np.array_equal(changed.labels, specimen.labels)


def test_a_variant_is_decided_by_its_random_numbers_and_may_be_nothing(specimen: Specimen) -> None:
    results = [vary_specimen(specimen, HIP, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(results[0][0].hu, results[1][0].hu) and results[0][1] == results[1][1]
    assert not np.array_equal(results[0][0].hu, results[2][0].hu)
    still = replace(HIP, variation=VariationSettings(1, 0.0, (1.0, 1.0), 0.0, 80.0, 0.0, 0.0))
    same, record = vary_specimen(specimen, still, np.random.default_rng(0))
    assert same.hu is specimen.hu and same.labels is specimen.labels and np.allclose(same.ijk_to_ras, specimen.ijk_to_ras)
    assert record == {"mirrored": False, "scale_ras": [1.0, 1.0, 1.0]}


def test_attenuation_factors_are_log_normal(specimen: Specimen) -> None:
    task = replace(HIP, variation=VariationSettings(1, 0.0, (1.0, 1.0), 0.0, 80.0, 0.1, 0.0))
    small = replace(specimen, hu=specimen.hu[:2, :2, :2], labels=specimen.labels[:2, :2, :2])
    factors = [list(vary_specimen(small, task, np.random.default_rng(n))[1]["attenuation"].values()) for n in range(300)]
    logs = np.log(factors)
    assert abs(logs.mean()) < 0.01 and abs(logs.std() - 0.1) < 0.01  # 1800 draws: standard errors 0.0024 and 0.0017
