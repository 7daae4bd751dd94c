"""The scripts of Docs/batch in plain Python; `make batch` runs them end to end."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXLib.datasets.reader import XrayDataset

SCRIPTS = Path(__file__).resolve().parents[2] / "Docs/batch"


@pytest.mark.parametrize("name", ["simulate", "train", "infer"])
def test_a_script_describes_itself(name: str) -> None:
    done = subprocess.run([sys.executable, str(SCRIPTS / f"{name}.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout


@pytest.fixture
def infer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("batch_infer", SCRIPTS / "infer.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_truth_of_a_data_set_as_nodes_agrees_with_itself(infer: ModuleType, squares: Path, scene: Any, slicer_core: ModuleType) -> None:
    dataset = XrayDataset(squares)
    volume = infer.loadImages(dataset)
    np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(volume)[3], dataset[3].image)
    truth = infer.loadTruth(dataset, volume)
    table = SyntheXInferLogic().evaluate(volume, truth, truth)
    dice, errors = (slicer_core.util.arrayFromTableColumn(table, name) for name in ("dice", "error_detector_mm"))
    assert dice[0] == 1.0 and np.isnan(dice[1:]).all()  # the squares are a left hemipelvis
    np.testing.assert_allclose(errors[6:], 0.0, atol=1e-9)
    rows = infer.landmarkRows(volume, truth)
    assert len(rows) == 12 * 14
    np.testing.assert_allclose([float(rows[14 * 5 + 2][place]) for place in (2, 3)], dataset[5].landmarks[2], atol=6e-4)
