"""Landmark files of 3D Slicer: coordinate systems, points without position, and what is no such file."""

import json

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.landmarks import read_markups, write_markups

FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
"""


def fiducials(points, **keys):
    return {"type": "Fiducial", "controlPoints": points, **keys}


def json_file(folder, *markups):
    path = folder / "points.mrk.json"
    path.write_text(json.dumps({"markups": markups}), encoding="utf-8")
    return path


@pytest.mark.parametrize(("system", "stored"), [("LPS", [-1.25, -2.5, 3.75]), ("RAS", [1.25, 2.5, 3.75])])
def test_written_points_are_in_the_declared_system_and_come_back_in_ras(tmp_path, system, stored):
    path = tmp_path / "out" / "hip.mrk.json"
    write_markups(path, {"FH-l": (1.25, 2.5, 3.75)}, coordinate_system=system, descriptions={"FH-l": "a note"})
    markup = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
    assert markup["coordinateSystem"] == system
    assert markup["controlPoints"][0]["position"] == stored
    assert markup["controlPoints"][0]["description"] == "a note"
    np.testing.assert_array_equal(read_markups(path)["FH-l"], (1.25, 2.5, 3.75))


def test_a_landmark_without_position_is_written_undefined_and_read_as_nan_in_its_place(tmp_path):
    path = tmp_path / "hip.mrk.json"
    write_markups(path, {"a": (1, 2, 3), "IOF-l": (np.nan, 0, 0), "b": (4, 5, 6)})
    assert "NaN" not in path.read_text(encoding="utf-8")
    points = json.loads(path.read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    assert [point["positionStatus"] for point in points] == ["defined", "undefined", "defined"]
    landmarks = read_markups(path)
    assert list(landmarks) == ["a", "IOF-l", "b"]
    assert np.isnan(landmarks["IOF-l"]).all()
    np.testing.assert_array_equal(landmarks["b"], (4, 5, 6))


def test_several_lists_of_one_file_are_joined_and_other_markups_passed_over(tmp_path):
    path = json_file(
        tmp_path,
        fiducials([{"label": "lps", "position": [1, 2, 3]}]),  # LPS is the schema's default
        fiducials([{"label": "ras", "position": [1, 2, 3]}], coordinateSystem="RAS"),
        fiducials([{"label": "number 0", "position": [1, 2, 3]}], coordinateSystem=0),
        fiducials([{"label": "number 1", "position": [1, 2, 3]}], coordinateSystem=1),
        fiducials([{"label": "um", "position": [1000, 2000, 3000]}], coordinateUnits=["um", "UCUM", "micrometer"], coordinateSystem="RAS"),
        {"type": "Line", "controlPoints": [{"label": "L-1", "position": [0, 0, 0]}]},
    )
    expected = {"lps": (-1, -2, 3), "ras": (1, 2, 3), "number 0": (1, 2, 3), "number 1": (-1, -2, 3), "um": (1, 2, 3)}
    landmarks = read_markups(path)
    assert landmarks.keys() == expected.keys()
    for name, position in expected.items():
        np.testing.assert_allclose(landmarks[name], position, err_msg=name)


def test_points_that_are_not_placed_are_nan_whatever_their_position(tmp_path):
    # Slicer 5.12 writes "" as position of undefined and missing points.
    points = [
        {"label": "undefined", "position": "", "positionStatus": "undefined"},
        {"label": "missing", "position": "", "positionStatus": "missing"},
        {"label": "preview", "position": [1, 2, 3], "positionStatus": "preview"},
        {"label": "null", "position": [None, None, None], "positionStatus": "undefined"},
        {"label": "", "position": [1, 2, 3]},
    ]
    landmarks = read_markups(json_file(tmp_path, fiducials(points)))
    assert list(landmarks) == ["undefined", "missing", "preview", "null"]
    assert np.isnan(list(landmarks.values())).all()


@pytest.mark.parametrize(("system", "expected"), [("LPS", (-1, -2, 3)), ("1", (-1, -2, 3)), ("RAS", (1, 2, 3)), ("0", (1, 2, 3))])
def test_fcsv_is_read_in_both_systems(tmp_path, system, expected):
    path = tmp_path / "points.fcsv"
    path.write_text(FCSV.format(system=system) + "1,1,2,3,0,0,0,1,1,1,0,ASIS-l,,\n", encoding="utf-8")
    np.testing.assert_array_equal(read_markups(path)["ASIS-l"], expected)


def test_fcsv_of_slicer_5_tells_which_points_are_placed(tmp_path):
    path = tmp_path / "points.fcsv"
    rows = (
        "1,-1,-2,3,0,0,0,1,1,1,0,A,,,2,0",
        '2,-4,-5,6,0,0,0,1,1,1,0,"B, ""x""","d,1",,2,0',
        "3,-7,-8,9,0,0,0,1,1,1,0,U,,,0,0",
        "4,-7,-8,9,0,0,0,1,1,1,0,M,,,3,0",
    )
    path.write_text(FCSV.format(system="LPS") + "\n".join(rows) + "\n", encoding="utf-8")
    landmarks = read_markups(path)
    np.testing.assert_array_equal(landmarks['B, "x"'], (4, 5, 6))
    assert np.isnan(landmarks["U"]).all() and np.isnan(landmarks["M"]).all()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.mrk.json", "not json", "is not JSON"),
        ("a.mrk.json", "[1, 2]", '"markups" list is missing'),
        ("a.mrk.json", '{"markups": [{"type": "Line"}]}', "found Line"),
        ("a.mrk.json", json.dumps({"markups": [fiducials([{"label": "p", "position": [1, 2]}])]}), "three numbers"),
        ("a.mrk.json", json.dumps({"markups": [fiducials([{"label": "p"}])]}), "three numbers"),
        ("a.mrk.json", json.dumps({"markups": [fiducials([], coordinateSystem="IJK")]}), "'IJK'"),
        ("a.mrk.json", json.dumps({"markups": [fiducials([], coordinateUnits="inch")]}), "'inch'"),
        ("a.mrk.json", json.dumps({"markups": [fiducials([{"label": "FH-l", "position": [1, 2, 3]}] * 2)]}), "'FH-l' twice"),
        ("a.fcsv", "x,y,z\n1,2,3\n", "fiducial file version"),
        ("a.fcsv", FCSV.format(system="2") + "1,1,2,3,0,0,0,1,1,1,0,A,,\n", "'2'"),
        ("a.fcsv", FCSV.format(system="LPS") + "1,one,2,3,0,0,0,1,1,1,0,A,,\n", "three numbers"),
        ("a.fcsv", "# Markups fiducial file version = 4\n# columns = id,x,y\n", "'z'"),
    ],
)
def test_what_is_no_landmark_file_is_told_in_one_sentence_that_names_it(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SyntheXError) as error:
        read_markups(path)
    assert str(path) in str(error.value) and told in str(error.value)
    assert "\n" not in str(error.value)


def test_binary_folders_and_missing_files_are_told_too(tmp_path):
    binary = tmp_path / "ct.mrk.json"
    binary.write_bytes(b"\x1f\x8b\x08\xff\xfe")
    missing = tmp_path / "none.mrk.json"
    for path, told in ((binary, "is not a landmark file"), (tmp_path, "is not a landmark file"), (missing, "does not exist")):
        with pytest.raises(SyntheXError, match=told) as error:
            read_markups(path)
        assert str(path) in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "hip.mrk.json"
    write_markups(path, {"a": (1, 2, 3)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="three coordinates"):
        write_markups(path, {"a": (1, 2)})
    with pytest.raises(ValueError, match="LPS or RAS"):
        write_markups(path, {"a": (1, 2, 3)}, coordinate_system="IJK")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
