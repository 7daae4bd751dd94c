"""A real MRML scene, as the logics find it in Slicer."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def slicer_core() -> ModuleType:
    """The package `slicer` of slicer-core with a scene and `slicer.modules`."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
    from SyntheXHomeLib.headless import ensureScene

    ensureScene()
    return slicer


@pytest.fixture
def scene(slicer_core: ModuleType) -> Iterator[Any]:
    """An empty scene; emptied again afterwards. VTK tells its errors to a window, not to Python: any is a failure."""
    import vtk

    before, window = vtk.vtkOutputWindow.GetInstance(), vtk.vtkStringOutputWindow()
    vtk.vtkOutputWindow.SetInstance(window)
    yield slicer_core.mrmlScene
    slicer_core.mrmlScene.Clear(0)
    vtk.vtkOutputWindow.SetInstance(before)
    assert window.GetOutput() == ""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for a trained network, which any model file loads as."""
    from infer_network import Network

    from SyntheXLib.inference.predictor import Predictor

    network = Network()
    monkeypatch.setattr(Predictor, "load", lambda path, device="auto": network)
    return network


@pytest.fixture
def xray(scene: Any, slicer_core: ModuleType) -> Any:
    """A turned image of 12 x 16 pixels of 0.5 x 0.7 mm."""
    import numpy as np
    from infer_network import IJK_TO_RAS

    return slicer_core.util.addVolumeFromArray(np.arange(12 * 16, dtype=np.uint8).reshape(1, 12, 16), IJK_TO_RAS, "X-ray")


@pytest.fixture(scope="session")
def slicer_gui(slicer_core: ModuleType) -> ModuleType:
    """The stand-in for Slicer's application (see `standin`)."""
    folder = os.environ.get("SLICER_PYTHON_DIR")
    if not folder:
        pytest.skip("SLICER_PYTHON_DIR is not set: give Base/Python/slicer of a checkout of Slicer/Slicer to test the panels")
    if not Path(folder, "ScriptedLoadableModule.py").is_file():
        pytest.fail(f"SLICER_PYTHON_DIR is {folder}, which holds no ScriptedLoadableModule.py")
    pytest.importorskip("PySide6", reason="PySide6 is not installed (pip install 'PySide6-Essentials==6.11.*')")
    from standin import application

    application.start(slicer_core.mrmlScene)
    return slicer_core


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve views of 32 pixels with squares as bones; no ray was cast for it."""
    import numpy as np

    from SyntheXLib.datasets.format import DatasetHeader, write_header
    from SyntheXLib.datasets.writer import write_shard
    from SyntheXLib.tasks.task import load_task

    folder, task, rng = tmp_path_factory.mktemp("data"), load_task("hip"), np.random.default_rng(0)
    configuration = {"image_size": 32, "pixel_spacing_mm": 8.0, "source_to_detector_mm": 1020.0}
    write_header(folder, DatasetHeader(task, ({"name": "squares"},), configuration, 0, 12, 50))
    views = []
    for _ in range(12):
        mask = np.zeros((32, 32), np.uint16)
        mask[8:24, 8:24] = 1
        views.append(
            {
                "image": (1.0 - 0.5 * mask + 0.01 * rng.random((32, 32))).astype(np.float32),
                "mask": mask,
                "landmark": rng.uniform(4, 28, (14, 2)).astype(np.float32),
                "landmark_visible": np.ones(14, bool),
                "world_to_camera": np.eye(4),
                "intrinsics": np.eye(3),
                "parameters": {"source_to_isocenter_mm": 700.0},
            }
        )
    write_shard(folder, 0, 0, views, 1.0)
    return folder
