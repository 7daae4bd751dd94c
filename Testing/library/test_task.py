import inspect
from pathlib import Path

import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.tool_files import KINDS
from SyntheXLib.tasks.settings import TOOL_PARAMETERS
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
        ('segmentation = "exclusive"', 'segmentation = "both"', "'segmentation' must be one of exclusive, multilabel, found 'both'"),
        ('segmentation = "exclusive"', 'segmentation = "exclusiv"', r"line 6: .*did you mean 'exclusive'"),
        ("views_per_ct = 1000", "views_per_ct = 0", r"line \d+: simulation.views_per_ct must be at least 1, found 0"),
        ("variants = 0", "variants = true", "'variation.variants' must be of type int, found True"),
        ('level = "realistic"', 'level = "real"', "'simulation.level' must be one of naive, heuristic, realistic, found 'real'"),
        ("deformation_mm = 4.0", "deformation_mm = 40.0", "variation.deformation_spacing_mm must be at least 400, found 80"),
        ("activation = 0.9", "activation = 9", "evaluation.activation must be 0 to 1, found 9"),
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


def test_the_line_is_that_of_the_entry_not_of_its_namesakes(tmp_path: Path) -> None:
    text = task_files()["hip"].read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('mirror = "upper_sacrum"', 'mirror = "uper_sacrum"'), encoding="utf-8")
    line = next(n for n, content in enumerate(text.splitlines(), 1) if content == 'mirror = "upper_sacrum"')
    with pytest.raises(
        SyntheXError, match=rf"mine.toml, line {line}: structures\[3\].mirror names 'uper_sacrum'.*did you mean 'upper_sacrum'"
    ):
        load_task(path)
    path.write_text(text.replace('mirror = "upper_sacrum"', 'mirror = "left_femur"'), encoding="utf-8")
    with pytest.raises(SyntheXError, match=rf"line {line}: 'upper_sacrum' has the mirror 'left_femur', whose mirror is another"):
        load_task(path)


@pytest.mark.parametrize(
    ("task", "old", "new", "expected"),
    [
        ("tool-screw", "length_mm = [30", "lenght_mm = [30", "unknown parameter 'lenght_mm' of a screw (did you mean 'length_mm'?)"),
        ("tool-screw", 'kind = "screw"', 'kind = "scew"', "'scene.tools[0].kind' must be one of continuum_manipulator, screw, k_wire"),
        ("tool", "drill_probability = 0.5", "drill_probability = 1.5", "scene.tools[0].drill_probability must be 0 to 1, found 1.5"),
        ("tool", '\nstructure = "continuum_manipulator"', '\nstructure = "cm"', "no [[scene.tools]] has the structure"),
        ("chest", 'lungs = ["left_lung", ', 'lungs = ["lung_left", ', "scene.lesions.lungs names 'lung_left'"),
        ("chest", "count = [1, 8]", "count = [8, 1]", "scene.lesions.count must be [lower, upper]"),
        ("chest", "shear_deg = [-30.0", "shear_deg = [-80.0", "scene.shear_deg must be within -60 to 60"),
    ],
)
def test_a_wrong_scene_is_told_with_its_line(tmp_path: Path, task: str, old: str, new: str, expected: str) -> None:
    text = task_files()[task].read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SyntheXError) as caught:
        load_task(path)
    assert expected in str(caught.value)
    number = int(str(caught.value).split(", line ")[1].split(":")[0])
    # The line holds the wrong value, or says that it is a tool's, where another one is missing.
    line = path.read_text(encoding="utf-8").splitlines()[number - 1]
    assert new.strip() in line or new.split(" =")[0].strip() in line or 'source = "tool"' in line


def test_a_copied_and_edited_file_is_a_new_task(tmp_path: Path) -> None:
    text = task_files()["hip"].read_text(encoding="utf-8")
    path = tmp_path / "femurs.toml"
    path.write_text(text.replace('name = "hip"', 'name = "mine"').replace("image_size = 360", "image_size = 180"), encoding="utf-8")
    task = load_task(path)
    assert (task.name, task.c_arm.image_size) == ("mine", 180)
    assert task.structures == load_task("hip").structures


def test_the_tasks_have_the_papers_numbers() -> None:
    hip, tool, paper = load_task("hip"), load_task("tool"), load_task("chest-paper")
    assert hip.simulation.views_per_ct * 20 == hip.training.images + hip.training.validation_images == 20_000
    assert (hip.training.epochs, tool.training.epochs, paper.training.epochs) == (20, 10, 20)
    (manipulator,) = tool.scene.tools
    assert (manipulator.shapes, manipulator.control_angle_sd_deg) == (100, 2.5)
    poses = tool.poses
    assert (poses.lao_rao_deg, poses.cran_caud_deg, poses.source_to_isocenter_mm) == ((-30, 30), (-10, 10), (600, 900))
    assert (poses.translation_lr_sd_mm, poses.translation_is_sd_mm, poses.translation_ap_sd_mm) == (10, 10, 0)
    assert tool.simulation.views_per_ct * 20 == tool.training.images + tool.training.validation_images == 30_800
    assert paper.structure_names == ("lesion",) and not paper.landmarks and paper.c_arm.image_size == 224
    for task in (paper, load_task("chest")):
        poses = task.poses
        assert poses.lao_rao_deg == poses.cran_caud_deg == poses.roll_deg == (-5, 5) and poses.source_to_isocenter_mm == (350, 650)
        assert task.scene.shear_deg == (-30, 30)


def test_what_a_task_may_set_of_a_tool_is_what_the_tool_takes() -> None:
    drawn = {"control_angles_deg", "drill", "second_plane_deg", "structure"}
    for kind, names in TOOL_PARAMETERS.items():
        assert set(names) == set(inspect.signature(KINDS[kind]).parameters) - drawn


def test_a_users_task_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHEX_TASKS", str(tmp_path))
    text = task_files()["hip"].read_text(encoding="utf-8")
    (tmp_path / "my-hip.toml").write_text(text.replace('name = "hip"', 'name = "my-hip"', 1), encoding="utf-8")
    (tmp_path / "hip.toml").write_text("none of ours", encoding="utf-8")  # a name of ours stays ours
    assert load_task("my-hip").name == "my-hip" and load_task("hip").name == "hip"
    assert list(task_files()) == [*(path.stem for path in sorted(task_files()["hip"].parent.glob("*.toml"))), "my-hip"]
