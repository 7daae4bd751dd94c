"""Tools described in TOML."""

from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.tool_files import read_tool, tool_from_dict
from SyntheXLib.scene.tools import pose_along


def written(folder: Path, text: str) -> Path:
    (folder / "tool.toml").write_text(text, encoding="utf-8")
    return folder / "tool.toml"


def test_every_kind_is_read(tmp_path: Path) -> None:
    vtk = pytest.importorskip("vtk")
    cube, writer = vtk.vtkCubeSource(), vtk.vtkSTLWriter()
    writer.SetInputConnection(cube.GetOutputPort())
    writer.SetFileName(str(tmp_path / "clamp.stl"))
    writer.Write()
    texts = {
        "continuum_manipulator": "control_angles_deg = [1, 2, 3, 2, 1.5]\ndrill = true\nshape = { notch_depth = 4 }",
        "screw": 'length_mm = 45\nmaterial = "steel_316l"\nstructure = "screw"',
        "k-wire": "diameter_mm = 1.6",
        "stl": 'path = "clamp.stl"\nmaterial = "titanium"\nlandmarks = { corner = [0.5, 0.5, 0.5] }',
    }
    tools = {kind: read_tool(written(tmp_path, f'kind = "{kind}"\norigin_mm = [1, 2, 3]\n{text}')) for kind, text in texts.items()}
    assert [part.name for part in tools["continuum_manipulator"].parts] == ["continuum_manipulator", "shaft", "drill"]
    assert tools["screw"].parts[0].material == "steel_316l" and tools["screw"].parts[0].structure == "screw"
    assert np.allclose(tools["k-wire"].world_landmarks()["end"], [1, 2, 153])
    assert np.allclose(tools["stl"].world_landmarks()["corner"], [1.5, 2.5, 3.5])


def test_a_pose_points_where_its_axis_does() -> None:
    for axis in ((0, 0, 1), (1, 2, -3), (-1, 0, 0)):
        pose = pose_along(np.array([1.0, 2, 3]), np.array(axis), 25)
        assert np.allclose(pose[:3, 2], np.array(axis) / np.linalg.norm(axis))
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3)) and np.isclose(np.linalg.det(pose), 1)
        unrolled = pose_along(np.array([1.0, 2, 3]), np.array(axis))
        assert np.isclose(pose[:3, 0] @ unrolled[:3, 0], np.cos(np.deg2rad(25)))
    matrix = [[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]
    assert np.array_equal(tool_from_dict({"kind": "k_wire", "to_world": matrix}).to_world, matrix)
    assert np.allclose(pose_along(np.zeros(3), np.array([0, 0, 1])), np.eye(4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = 'skrew'", "kind must be one of .*found 'skrew'.*did you mean 'screw'"),
        ("", "kind must be one of"),
        ("kind = ", "not valid TOML"),
        ("kind = 'screw'\nlenght_mm = 3", "unknown key 'lenght_mm' of a screw .did you mean 'length_mm'"),
        ("kind = 'screw'\nlength_mm = 'long'", "length_mm must be a number, found 'long'"),
        ("kind = 'screw'\nlength_mm = -3", "length_mm of the screw must be positive"),
        ("kind = 'screw'\nmaterial = 'gold'", "Unknown material 'gold'"),
        ("kind = 'continuum_manipulator'", "key 'control_angles_deg' of a continuum_manipulator is missing"),
        ("kind = 'continuum_manipulator'\ncontrol_angles_deg = [1, 2]", "5 control angles"),
        ("kind = 'continuum_manipulator'\ncontrol_angles_deg = [1, 2, [3]]", "control_angles_deg must be numbers"),
        ("kind = 'continuum_manipulator'\ncontrol_angles_deg = [0, 0, 0, 0, 0]\ndrill = 1", "drill must be true or false"),
        ("kind = 'continuum_manipulator'\ncontrol_angles_deg = [0, 0, 0, 0, 0]\nshape = {depth = 1}", "shape: unknown key 'depth'"),
        ("kind = 'k_wire'\norigin_mm = [1, 2]", "origin_mm must be 3 numbers"),
        ("kind = 'k_wire'\naxis = [0, 0, 0]", "axis of a tool"),
        ("kind = 'k_wire'\naxis = [0, 0, 1]\nto_world = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "whole pose"),
        ("kind = 'stl'\npath = 'none.stl'\nmaterial = 'titanium'", r"none\.stl does not exist"),
        ("kind = 'stl'\npath = 3\nmaterial = 'titanium'", "path must be a text, found 3"),
    ],
)  # fmt: skip
def test_errors_name_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SyntheXError, match=message) as error:
        read_tool(written(tmp_path, text))
    assert "tool.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"none\.toml does not exist"):
        read_tool(tmp_path / "none.toml")
