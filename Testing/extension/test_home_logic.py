"""Samples in the scene, and what is installed."""

import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXHomeLib.logic import PACKAGES, SyntheXLogic
from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXLib.datasets import sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, itk_image, load_specimen
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
MATRIX = np.array([[0, -2.0, 0, 50], [1.5, 0, 0, -60], [0, 0, 3.0, 70], [0, 0, 0, 1]])
POINT = np.array([46.0, -55.5, 76.0])


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sample.SampleCase:
    """A small case in files, which `fetch_sample` is made to give."""
    hu = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[1:3, 1:3, 1:4], labels[3:5, 4:6, 5:7] = 2, 1
    case = sample.SampleCase(
        "pelvis", tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz", tmp_path / "points.mrk.json", tmp_path / "names.csv", "own"
    )
    sitk.WriteImage(itk_image(hu, MATRIX), str(case.ct))
    sitk.WriteImage(itk_image(labels, MATRIX), str(case.labels))
    assert case.landmarks is not None
    write_markups(case.landmarks, {"FH-l": POINT})
    lines = ["LabelValue,Name,Color_R,Color_G,Color_B,Color_A", "1,hip_right,250,10,20,255", "2,hip_left,30,240,40,255"]
    case.label_names.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(sample, "fetch_sample", lambda name: case)
    return case


def test_a_sample_comes_into_the_scene_with_geometry_names_and_landmarks(
    case: sample.SampleCase, scene: Any, slicer_core: ModuleType
) -> None:
    volume, labelmap, markups = SyntheXLogic().loadSample("pelvis")
    assert volume.GetName() == "pelvis"
    np.testing.assert_allclose(ijkToWorld(volume), MATRIX, atol=1e-5)
    np.testing.assert_allclose(ijkToWorld(labelmap), MATRIX, atol=1e-5)
    np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(volume), sitk.GetArrayFromImage(sitk.ReadImage(str(case.ct))))
    assert labelNames(labelmap) == {1: "hip_right", 2: "hip_left"}
    assert list(pointsInWorld(markups)) == ["FH-l"]
    np.testing.assert_allclose(pointsInWorld(markups)["FH-l"], POINT, atol=1e-5)


def test_a_sample_makes_the_same_specimen_by_way_of_the_scene_and_from_its_files(case: sample.SampleCase, scene: Any) -> None:
    by_scene = SyntheXSimulateLogic().specimen(*SyntheXLogic().loadSample("pelvis"), "hip")
    from_files = load_specimen(CaseFiles(case.ct, case.labels, case.landmarks, case.label_names, "pelvis"), load_task("hip"))
    np.testing.assert_array_equal(by_scene.hu, from_files.hu)
    np.testing.assert_array_equal(by_scene.labels, from_files.labels)
    np.testing.assert_allclose(by_scene.ijk_to_ras, from_files.ijk_to_ras, atol=1e-5)
    np.testing.assert_allclose(by_scene.landmarks["FH-l"], from_files.landmarks["FH-l"], atol=1e-5)
    assert by_scene.warnings == from_files.warnings


def test_a_sample_without_landmarks_gives_none(case: sample.SampleCase, scene: Any) -> None:
    object.__setattr__(case, "landmarks", None)
    assert SyntheXLogic().loadSample("pelvis")[2] is None


def test_a_file_that_slicer_cannot_load_is_named(case: sample.SampleCase, scene: Any) -> None:
    import vtk

    vtk.vtkOutputWindow.SetInstance(vtk.vtkStringOutputWindow())  # VTK's errors are meant here
    case.ct.write_bytes(b"no image")
    with pytest.raises(SyntheXError, match=re.escape(f"cannot load {case.ct}")):
        SyntheXLogic().loadSample("pelvis")


def test_removing_samples_removes_what_the_library_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    kept = sample.sample_folder() / "pelvis" / "ct.nii.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"12345")
    assert SyntheXLogic().removeSamples() == 5
    assert not kept.exists()


def test_every_package_that_the_project_needs_is_looked_for() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=~\[ ]", line)[0] for line in project["dependencies"] + project["optional-dependencies"]["train"]}
    assert set(PACKAGES) == needed - {"numpy", "SimpleITK", "vtk"}  # Slicer brings these


def test_a_package_that_is_missing_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SyntheXHomeLib.logic.PACKAGES", ("numpy", "no-such-package"))
    assert SyntheXLogic().installed() == {"numpy": np.__version__, "no-such-package": None}
