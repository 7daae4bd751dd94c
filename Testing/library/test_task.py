from pathlib import Path

import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import Task, load_task, task_files


@pytest.mark.parametrize("name", task_files())
def test_every_task_loads_and_survives_json(name: str) -> None:
    import json

    task = load_task(name)
    assert task.name == name
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task


@pytest.mark.parametrize("name", task_files())
def test_mirrors_are_mutual(name: str) -> None:
    task = load_task(name)
    for items in (task.structures, task.landmarks):
        by_name = {item.name: item for item in items}
        assert all(by_name[item.mirror].mirror == item.name for item in items)


def test_hip_has_the_papers_structures_and_landmarks_in_its_order() -> None:
    task = load_task("hip")
    assert len(task.structures) == 6
    assert [s.bit for s in task.structures] == list(range(6))
    names = "FH-l FH-r GSN-l GSN-r IOF-l IOF-r MOF-l MOF-r SPS-l SPS-r IPS-l IPS-r ASIS-l ASIS-r"
    assert task.landmark_names == tuple(names.split())


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = task_files()["hip"].read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("roll_deg =", "rol_deg =", r"line \d+: unknown key 'poses.rol_deg' \(did you mean 'roll_deg'\?\)"),
        ('name = "hip"', 'nam = "hip"', r"line 2: unknown key 'nam' \(did you mean 'name'\?\)"),
        ("heatmap_sigma_mm = 3.87", "", "key 'heatmap_sigma_mm' is missing"),
        ("heatmap_sigma_mm = 3.87", 'heatmap_sigma_mm = "wide"', "must be of type float, found 'wide'"),
        ("lao_rao_deg = [-45.0, 45.0]", "lao_rao_deg = [45.0, -45.0]", r"lao_rao_deg must be \[lower, upper\]"),
        ("lao_rao_deg = [-45.0, 45.0]", "lao_rao_deg = [45.0]", "must be a list of 2"),
        ('mirror = "right_femur"', 'mirror = "rigth_femur"', r"names 'rigth_femur', expected one of .*did you mean 'right_femur'"),
        ('segmentation = "exclusive"', 'segmentation = "both"', "segmentation must be"),
        ("[c_arm]", "[c_arm", "not valid TOML"),
    ],
)
def test_a_wrong_task_file_is_told_in_one_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(SyntheXError, match=expected) as caught:
        load_task(path)
    assert str(path) in str(caught.value)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(SyntheXError, match=r"Unknown task 'hipp'.*did you mean 'hip'"):
        load_task("hipp")
