import numpy as np
import pytest
from phantoms import affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.specimen import Specimen, make_specimen

SHAPE = (6, 7, 8)


def parts() -> dict:
    hu = np.full(SHAPE, -1000.0)
    hu[2:5, 2:5, 2:5] = 300
    return {
        "name": "case",
        "hu": hu,
        "ijk_to_ras": affine(SHAPE, 2.0),
        "masks": {"bone": hu > 0},
        "structures": ["bone", "other"],
        "landmarks": {"tip": np.zeros(3)},
        "landmark_names": ["tip", "base"],
    }


def test_what_is_missing_is_a_warning_and_nan() -> None:
    specimen = make_specimen(**parts())
    assert any("no voxel of other" in warning for warning in specimen.warnings)
    assert any("base not known" in warning for warning in specimen.warnings)
    assert np.isnan(specimen.landmark_array(["tip", "base"])[1]).all()
    assert specimen.landmark_array(["base", "tip"])[1].tolist() == [0, 0, 0]


def test_the_centroid_is_in_world_coordinates() -> None:
    specimen = make_specimen(**parts())
    ijk = np.array([3.0, 3, 3])
    assert np.allclose(specimen.structure_centroid(["bone"]), specimen.ijk_to_ras[:3, :3] @ ijk + specimen.ijk_to_ras[:3, 3])


def test_overlapping_structures_set_both_bits() -> None:
    values = parts()
    values["masks"]["other"] = values["hu"] > -2000
    specimen = make_specimen(**values)
    assert specimen.labels[3, 3, 3] == 0b11 and specimen.labels[0, 0, 0] == 0b10


def with_nan(values: dict) -> None:
    values["hu"][0, 0, 0] = np.nan


def out_of_range(values: dict) -> None:
    values["hu"][0, 0, 0] = 90000


def normalised(values: dict) -> None:
    values["hu"] = (values["hu"] + 1000) / 1300


def no_labels(values: dict) -> None:
    values["masks"] = {"bone": np.zeros(SHAPE, bool)}


def wrong_shape(values: dict) -> None:
    values["masks"] = {"bone": np.ones((2, 2, 2), bool)}


def landmark_in_lps(values: dict) -> None:
    values["landmarks"] = {"tip": np.array([100.0, 0, 0])}


def singular(values: dict) -> None:
    values["ijk_to_ras"][:3, 1] = 0


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (with_nan, "CT of case: expected finite Hounsfield units, found 1 voxels"),
        (out_of_range, "expected Hounsfield units within -5000 to 32767, found -1000 to 90000"),
        (normalised, "is it normalised"),
        (no_labels, "none of the structures bone, other has a voxel"),
        (wrong_shape, r"'bone' has shape \(2, 2, 2\), expected the CT's \(6, 7, 8\)"),
        (landmark_in_lps, r"Landmark 'tip' of case at RAS \(100.0, 0.0, 0.0\) mm lies outside the CT"),
        (singular, "IJK-to-RAS matrix must be invertible"),
    ],
)
def test_bad_parts_are_told_in_one_sentence(spoil, expected: str) -> None:
    values = parts()
    spoil(values)
    with pytest.raises(SyntheXError, match=expected):
        make_specimen(**values)


def test_a_ct_without_air_and_a_foreign_landmark_are_warnings() -> None:
    values = parts()
    values["hu"] += 1000
    values["landmarks"]["odd"] = np.zeros(3)
    specimen: Specimen = make_specimen(**values)
    assert any("holds no air" in w for w in specimen.warnings) and any("'odd'" in w for w in specimen.warnings)


def test_the_isocentre_needs_a_known_and_present_structure() -> None:
    specimen = make_specimen(**parts())
    with pytest.raises(SyntheXError, match="are empty in the label map"):
        specimen.structure_centroid(["other"])
    with pytest.raises(SyntheXError, match="'none' is not among"):
        specimen.structure_centroid(["none"])
