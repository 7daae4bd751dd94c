"""A bone moved on its own."""

import numpy as np
import pytest
from phantoms import OBLIQUE, affine, ball_fraction

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.moved_structures import move_structure
from SyntheXLib.scene.poses import rotation_about
from SyntheXLib.scene.specimen import Specimen, make_specimen

SHAPE = (50, 54, 60)
MATRIX = affine(SHAPE, (1.5, 1.4, 1.6), OBLIQUE)
CENTER, RADIUS = np.array([-8.0, 5.0, 3.0]), 10.0


def bone_in_muscle() -> Specimen:
    fraction = ball_fraction(SHAPE, MATRIX, CENTER, RADIUS)
    hu = 50 + 950 * fraction
    hu[0] = -1000
    return make_specimen(
        "bone", hu, MATRIX, {"femur": fraction > 0.5, "all": hu > 0}, ["femur", "all"], {"head": CENTER, "other": np.zeros(3)}
    )


def motion() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about(1, 30) @ rotation_about(0, -20)
    matrix[:3, 3] = [6.0, -4.0, 9.0]
    return matrix


def centroid(specimen: Specimen) -> np.ndarray:
    return specimen.structure_centroid(["femur"])


def test_voxels_label_and_landmark_move_together() -> None:
    before = bone_in_muscle()
    after = move_structure(before, "femur", motion(), ["head"])
    expected = motion()[:3, :3] @ CENTER + motion()[:3, 3]
    assert np.allclose(centroid(before), CENTER, atol=0.1) and np.allclose(centroid(after), expected, atol=0.1)
    assert np.allclose(after.landmarks["head"], expected) and np.allclose(after.landmarks["other"], 0)
    volume = [np.count_nonzero(s.labels & 1) for s in (before, after)]
    assert abs(volume[1] - volume[0]) < 0.03 * volume[0]
    bone = [(s.hu[s.hu > -500] - 50.0).sum() for s in (before, after)]  # what attenuates more than muscle
    assert abs(bone[1] - bone[0]) < 0.05 * bone[0]
    assert np.array_equal(after.labels & 2 != 0, before.labels & 2 != 0)  # nothing else moves
    assert before.hu.max() == bone_in_muscle().hu.max()


def test_no_motion_changes_nothing() -> None:
    before = bone_in_muscle()
    after = move_structure(before, "femur", np.eye(4))
    assert np.array_equal(after.labels, before.labels) and np.abs(after.hu.astype(int) - before.hu).max() <= 1


def test_a_bone_moved_out_of_the_ct_is_gone() -> None:
    far = np.eye(4)
    far[0, 3] = 1000.0
    after = move_structure(bone_in_muscle(), "femur", far)
    assert not (after.labels & 1).any() and after.hu.max() < 600  # the blurred rim stays, the bone is filled


def test_bad_input_is_named() -> None:
    specimen = bone_in_muscle()
    with pytest.raises(SyntheXError, match="'tibia' is not among femur, all"):
        move_structure(specimen, "tibia", np.eye(4))
    with pytest.raises(SyntheXError, match="rigid"):
        move_structure(specimen, "femur", np.diag([2.0, 1, 1, 1]))
    with pytest.raises(SyntheXError, match="no landmark tip"):
        move_structure(specimen, "femur", np.eye(4), ["tip"])
