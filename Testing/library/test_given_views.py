"""Views from a file, and cases from a table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.cli import main
from SyntheXLib.datasets.format import read_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.case_list import read_case_list
from SyntheXLib.scene.given_views import read_views
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
CENTER = np.array([3.0, -4.0, 5.0])
POSES = [CArmPose(lao_rao_deg=10), CArmPose(cran_caud_deg=-8, source_to_isocenter_mm=650)]
VIEWS = [{"name": f"real {n}", "world_to_camera": pose.world_to_camera(CENTER).tolist(), "more": 1} for n, pose in enumerate(POSES)]


def case_options(case: CaseFiles) -> list[str]:
    return ["--ct", str(case.ct), "--labels", str(case.labels), "--landmarks", str(case.landmarks)]


def written(folder: Path, content: object) -> Path:
    path = folder / "views.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_matched_sets_differ_in_their_images_alone(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    arguments = ["simulate", *case_options(hip_phantom), "--matched", str(written(tmp_path, VIEWS)), "--image-size", "48", "--workers", "1"]
    assert main([*arguments, "--out", str(tmp_path / "study")]) == 0
    sets = {level: XrayDataset(tmp_path / "study" / level) for level in ("naive", "heuristic", "realistic")}
    for index, view in enumerate(VIEWS):
        naive, heuristic, realistic = (dataset[index] for dataset in sets.values())
        assert np.allclose(naive.world_to_camera, view["world_to_camera"]) and naive.parameters["view"] == view["name"]
        for other in (heuristic, realistic):
            for name in ("mask", "landmarks", "visible", "world_to_camera", "intrinsics"):
                assert np.array_equal(getattr(naive, name), getattr(other, name), equal_nan=name == "landmarks")
            assert not np.array_equal(naive.image, other.image)
        assert naive.mask.any() and 500 < sets["naive"].source_to_isocenter_mm(index) < 800
    assert main([*arguments, "--out", str(tmp_path / "study")]) == 2  # nothing is overwritten
    assert main([*arguments, "--out", str(tmp_path / "study"), "--resume"]) == 0
    assert main([*arguments, "--out", str(tmp_path / "one"), "--level", "heuristic"]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["heuristic"]


def test_a_view_shows_the_specimen_that_it_names(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    cases = tuple(replace(hip_phantom, name=name) for name in ("a", "b"))
    views = read_views(written(tmp_path, {"views": [{**VIEWS[0], "specimen": name} for name in ("b", "a", "b")]}))
    job = ShardJob(tmp_path / "data", HIP, cases, ViewSettings("naive", image_size=32), seed=0, count=3, views=views)
    assert [job.case_of(index) for index in range(3)] == [1, 0, 1]
    spaced = replace(job, cases=(replace(hip_phantom, name="my_case"), *cases), views=(replace(views[0], specimen="My case"), *views[1:]))
    assert [spaced.case_of(index) for index in range(3)] == [0, 1, 2]
    assert [view["specimen"] for view in job.header().configuration["views"]] == ["b", "a", "b"]
    with pytest.raises(SyntheXError, match=r"View 0 shows the specimen 'b', expected one of the cases a\."):
        replace(job, cases=cases[:1])
    with pytest.raises(SyntheXError, match="found 3 views and 5 images"):
        replace(job, count=5)
    with pytest.raises(SyntheXError, match="found variants or a shear"):
        replace(job, task=replace(HIP, variation=replace(HIP.variation, variants=2)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", "expected a list of views, found str"),
        ([], "expected a list of views"),
        ([{"name": "x"}], "view 0: expected an object with 'world_to_camera'"),
        ([{"world_to_camera": [[1, 2], [3, 4]]}], "must be four rows of four numbers"),
        ([{"world_to_camera": np.diag([2.0, 1, 1, 1]).tolist()}], "a matrix that scales or shears"),
        ([VIEWS[0], {"world_to_camera": np.diag([-1.0, 1, 1, 2]).tolist()}], "view 1: .* scales or shears"),
    ],
)
def test_bad_views_are_told(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        read_views(written(tmp_path, content))


def test_one_exported_view_serves_as_it_is(tmp_path: Path) -> None:
    (view,) = read_views(written(tmp_path, {**VIEWS[1], "task": "hip", "shape": [360, 360]}))
    assert view.name == "real 1" and np.allclose(view.matrix, VIEWS[1]["world_to_camera"])


def test_a_table_names_cases_from_its_own_folder(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    assert hip_phantom.ct is not None
    folder = hip_phantom.ct.parent
    table = folder / "cases.csv"
    table.write_text(
        "name,ct,labels,landmarks\nfirst,ct.nii.gz,labels.nii.gz,points.mrk.json\nsecond,ct.nii.gz,labels.nii.gz,\n", encoding="utf-8"
    )
    first, second = read_case_list(table)
    assert first == replace(hip_phantom, name="first") and second == replace(hip_phantom, name="second", landmarks=None)
    arguments = ["simulate", "--cases", str(table), "--count", "4", "--image-size", "32", "--workers", "1", "--level", "naive"]
    assert main([*arguments, "--out", str(tmp_path / "data")]) == 0
    dataset = XrayDataset(tmp_path / "data")
    assert [dataset.parameters(index)["specimen"] for index in range(4)] == ["first", "second"] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ct,label\nct.nii.gz,a\n", "unknown column 'label', expected .* (did you mean 'labels'?)"),
        ("labels\nlabels.nii.gz\n", "expected a column 'ct'"),
        ("ct,labels\n", "found 0 lines"),
        ("ct,labels\n,labels.nii.gz\n", "line 2: expected a CT"),
        ("ct\nnone.nii.gz\n", "line 2: the ct file .*none.nii.gz does not exist"),
        ("ct\nct.nii.gz\nct.nii.gz\n", "two cases have the name 'ct'"),
        ("ct\nct.nii.gz,more\n", "as many cells as there are columns"),
    ],
)
def test_bad_tables_are_told(hip_phantom: CaseFiles, text: str, expected: str) -> None:
    assert hip_phantom.ct is not None
    table = hip_phantom.ct.parent / "bad.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(SyntheXError, match=expected.replace("(did", r"\(did").replace("?)", r"\?\)")):
        read_case_list(table)


def test_a_structure_of_a_view_stands_where_the_view_says(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    motion = np.eye(4)
    motion[:3, 3] = [-20.0, 0.0, 15.0]  # the left femur goes inwards and up
    moved = {**VIEWS[0], "structures": {"left_femur": motion.tolist()}}
    views = read_views(written(tmp_path, [VIEWS[0], moved]))
    job = ShardJob(tmp_path / "data", HIP, (hip_phantom,), ViewSettings("naive", image_size=96), seed=0, count=2, views=views)
    run_local(job, workers=1)
    dataset = XrayDataset(tmp_path / "data")
    before, after = dataset[0], dataset[1]
    names = list(HIP.landmark_names)
    for name in ("FH-r", "ASIS-l"):
        assert np.array_equal(before.landmarks[names.index(name)], after.landmarks[names.index(name)])
    point = load_specimen(hip_phantom, HIP).landmarks["FH-l"]
    camera = task_camera(HIP.c_arm, views[0].matrix, 96)
    assert np.allclose(after.landmarks[names.index("FH-l")], camera.project((point + motion[:3, 3])[None])[0][0], atol=1e-3)
    masks = [structure_masks(sample.mask, len(HIP.structures)) for sample in (before, after)]
    femur = HIP.structure_names.index("left_femur")
    for number in range(len(HIP.structures)):
        assert np.array_equal(masks[0][number], masks[1][number]) == (number != femur)
    rows, columns = (np.array([axis.mean() for axis in np.nonzero(mask[femur])]) for mask in masks)
    assert rows[0] > columns[0]  # up, by 15 mm of the world
    assert read_header(tmp_path / "data").configuration["views"][1]["structures"]["left_femur"] == motion.tolist()
    with pytest.raises(SyntheXError, match="need --renderer own"):
        replace(job, renderer="deepdrr", settings=replace(job.settings, level="realistic"))


def test_a_bad_motion_is_told(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"'structures.left_femur' must be four rows"):
        read_views(written(tmp_path, {**VIEWS[0], "structures": {"left_femur": [1, 2]}}))
