"""From the nodes of a case to the data set that the command makes of its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXHomeLib.nodes import nameLabels
from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.dataset import generate
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

SETTINGS = ViewSettings("naive", image_size=32)
TURNED = np.array([[0, -4.0, 0, 30], [3.9, 0, 0.5, -40], [-0.65, 0, 3.0, 10], [0, 0, 0, 1]])  # oblique, axes swapped


@pytest.fixture
def case(scene: Any, slicer_core: Any) -> CaseNodes:
    """Two blocks of bone in a cube of water, in an oblique frame; the labels are named by a colour table."""
    hu = np.zeros((24, 24, 24), np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    hu[:2] = -1000
    for value, side in ((1, slice(4, 10)), (2, slice(14, 20))):
        hu[6:18, 6:18, side] = 900
        labels[6:18, 6:18, side] = value
    volume = slicer_core.util.addVolumeFromArray(hu, TURNED, "blocks")
    labelmap = slicer_core.util.addVolumeFromArray(labels, TURNED, "labels", "vtkMRMLLabelMapVolumeNode")
    nameLabels(labelmap, load_task("hip"))
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    markups.AddControlPoint((TURNED @ [5, 12, 12, 1])[:3], "FH-l")
    markups.AddControlPoint((TURNED @ [16, 12, 12, 1])[:3], "FH-r")
    markups.SetNthControlPointPositionMissing(1)
    return CaseNodes(volume, labelmap, markups)


def test_the_data_set_is_that_of_the_command_for_the_same_case(case: CaseNodes, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    result = generate(tmp_path / "nodes", [case], "hip", 4, 7, SETTINGS, progress=lambda *state: done.append(state))
    assert (result.rendered, result.complete, done[-1]) == (4, True, (4, 4))
    files = writeCase(case, tmp_path / "case", load_task("hip"))
    command = f"simulate --count 4 --seed 7 --level naive --image-size 32 --workers 1 --out {tmp_path / 'files'}".split()
    for name in ("ct", "labels", "landmarks", "label_names"):
        command += ["--" + name.replace("_", "-"), str(getattr(files, name))]
    assert main(command) == 0
    made, expected = XrayDataset(tmp_path / "nodes"), XrayDataset(tmp_path / "files")
    for ours, theirs in zip(made, expected, strict=True):
        assert ours.image.tobytes() == theirs.image.tobytes()
        assert ours.mask.tobytes() == theirs.mask.tobytes()
        assert ours.landmarks.tobytes() == theirs.landmarks.tobytes()
        assert ours.mask.any()
    assert np.isfinite(made[0].landmarks[0]).all() and np.isnan(made[0].landmarks[1]).all()


def test_the_files_hold_the_specimen_that_the_preview_shows(case: CaseNodes, slicer_core: Any, tmp_path: Path) -> None:
    from SyntheXLib.scene.case_files import load_specimen

    transform = slicer_core.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(
        slicer_core.util.vtkMatrixFromArray(np.array([[0, 1, 0, 3], [-1, 0, 0, 5], [0, 0, 1, 7], [0, 0, 0, 1]]))
    )
    for node in (case.volume, case.labels, case.markups):
        node.SetAndObserveTransformNodeID(transform.GetID())
    shown = SyntheXSimulateLogic().specimen(case.volume, case.labels, case.markups, "hip")
    written = load_specimen(writeCase(case, tmp_path, load_task("hip")), load_task("hip"))
    np.testing.assert_array_equal(written.hu, shown.hu)
    np.testing.assert_array_equal(written.labels, shown.labels)
    np.testing.assert_allclose(written.ijk_to_ras, shown.ijk_to_ras, atol=1e-9)
    np.testing.assert_allclose(written.landmarks["FH-l"], shown.landmarks["FH-l"], atol=1e-4)


def test_a_data_set_is_gone_on_with_and_another_case_is_refused(case: CaseNodes, slicer_core: Any, tmp_path: Path) -> None:
    generate(tmp_path, [case], "hip", 2, 1, SETTINGS, cancelled=lambda: True)
    assert generate(tmp_path, [case], "hip", 2, 1, SETTINGS).rendered == 2
    assert generate(tmp_path, [case], "hip", 2, 1, SETTINGS).reused == 2
    slicer_core.util.arrayFromVolume(case.volume)[12, 12, 12] += 1
    with pytest.raises(SyntheXError, match="specimens"):
        generate(tmp_path, [case], "hip", 2, 1, SETTINGS)
