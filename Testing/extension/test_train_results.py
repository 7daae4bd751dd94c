"""What the Train logic does around a training, without a window: summaries, samples, pictures, export, deletion."""

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from train_run import page, run_folder

from SyntheXLib.errors import SyntheXError
from SyntheXTrainLib.logic import SyntheXTrainLogic


@pytest.fixture
def logic(slicer_core: ModuleType) -> SyntheXTrainLogic:
    return SyntheXTrainLogic()


def test_data_sets_are_summarised_and_specimens_counted_once(logic: SyntheXTrainLogic, squares: Path, tmp_path: Path) -> None:
    folders = []
    for name, ct in (("a", "1"), ("a", "2"), ("b", "1")):
        folder = tmp_path / f"{name}{ct}"
        folder.mkdir()
        (folder / "shards").symlink_to(squares / "shards")
        header = json.loads((squares / "dataset.json").read_text(encoding="utf-8"))
        header["specimens"] = [{"name": name, "ct": [ct]}]
        (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
        folders.append(folder)
    summary = logic.datasets(folders)
    assert (summary.images, summary.side, summary.structures, summary.landmarks) == (36, 32, 6, 14)
    assert (len(summary.specimens), summary.problem) == (2, "")
    assert "is not a data set" in logic.datasets([tmp_path]).problem
    assert logic.datasets([squares], tmp_path / "no validation").problem != ""


def test_samples_are_a_page_of_a_process_that_leaves_nothing(logic: SyntheXTrainLogic, squares: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    samples = logic.samples({"datasets": [squares], "out": tmp_path / "run", "threads": 1})
    assert not samples.finished and samples.picture is None and samples.message == ""
    while not samples.finished:
        time.sleep(0.05)
    assert samples.message == "" and samples.picture is not None
    folder = samples.picture.parent
    samples.close()
    assert not folder.exists() and not (tmp_path / "run").exists()
    wrong = logic.samples({"datasets": [squares], "size": "smal", "threads": 1})
    while not wrong.finished:
        time.sleep(0.05)
    assert "did you mean 'small'" in wrong.message and wrong.picture is None
    wrong.close()


def test_a_page_that_is_no_longer_wanted_ends_its_process(logic: SyntheXTrainLogic, squares: Path) -> None:
    samples = logic.samples({"datasets": [squares]})
    samples.close()
    assert samples.finished and not samples._folder.exists()


def test_a_picture_lies_upright_in_an_axial_view(logic: SyntheXTrainLogic, scene: Any, slicer_core: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "run" / "validation").mkdir(parents=True)
    node = logic.picture(page(tmp_path / "run" / "validation" / "epoch_002.png", 120))
    assert node.GetName() == "run epoch_002"
    import vtk

    array = slicer_core.util.arrayFromVolume(node)
    assert array.shape == (1, 40, 60, 3)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)

    def seen(right: float, down: float) -> list[int]:
        """Colour at a share of the view's width and height: an axial view shows the patient's left on the right, anterior on top."""
        i, j = int(right * 59), int((1 - down) * 39)
        r, a = (matrix.MultiplyPoint((i, j, 0, 1))[n] for n in (0, 1))
        r0, a0 = (matrix.MultiplyPoint((0, 0, 0, 1))[n] for n in (0, 1))
        assert r <= r0 and a >= a0
        return list(array[0, j, i])

    assert seen(0.0, 0.0) == [255, 255, 255]  # the picture's first row
    assert seen(0.1, 0.9) == [120, 0, 0]
    assert seen(0.9, 0.9) == [0, 0, 255]
    again = logic.picture(page(tmp_path / "other.png", 50), node)
    assert again is node and slicer_core.util.arrayFromVolume(node).max() == 255
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemName(hierarchy.GetItemParent(item)) == "SyntheX Train"
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"text\.png cannot be read: expected a PNG"):
        logic.picture(tmp_path / "text.png")


def test_curves_lie_in_a_folder_of_the_run(logic: SyntheXTrainLogic, scene: Any, slicer_core: ModuleType) -> None:
    curves = logic.curves("pelvis", [{"epoch": 1.0, "loss": 0.5}])
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))) for node in (curves.table, *curves.charts)}
    assert parents == {"pelvis"}
    assert np.isclose(slicer_core.util.arrayFromTableColumn(curves.table, "loss")[0], 0.5)
    scene.RemoveNode(curves.charts[1])
    assert not curves.inScene


def test_the_best_model_is_exported_whole_or_not_at_all(logic: SyntheXTrainLogic, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (tmp_path / "models").mkdir()
    assert logic.exportModel(folder, tmp_path / "models") == tmp_path / "models" / "best.pt"
    assert logic.exportModel(folder, tmp_path / "new" / "hip.pt").read_bytes() == b"the best"
    with pytest.raises(SyntheXError, match="expected a model file, found none"):
        logic.exportModel(tmp_path / "nothing", tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()


def test_a_run_is_deleted_with_its_folder_unless_something_else_lies_there(logic: SyntheXTrainLogic, tmp_path: Path) -> None:
    alone, shared = run_folder(tmp_path / "alone"), run_folder(tmp_path / "shared")
    (shared / "validation" / "mine.png").write_bytes(b"mine")
    assert [path.name for path in logic.validationPictures(shared)] == ["epoch_001.png", "epoch_002.png", "best.png"]
    logic.deleteRun(alone)
    assert not alone.exists()
    logic.deleteRun(shared)
    assert [path.relative_to(shared).as_posix() for path in sorted(shared.rglob("*"))] == ["validation", "validation/mine.png"]
    logic.deleteRun(tmp_path / "never")
    assert logic.state(shared).status == "none"


def test_a_running_training_is_not_deleted(logic: SyntheXTrainLogic, tmp_path: Path) -> None:
    import os

    from SyntheXTrainLib import process

    mine = {"pid": os.getpid(), "started": process.start_mark(os.getpid()), "command": ["x"]}
    folder = run_folder(tmp_path / "run", record=mine)
    with pytest.raises(SyntheXError, match="A training runs in"):
        logic.deleteRun(folder)
    assert (folder / "best.pt").exists()
