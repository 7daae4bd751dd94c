"""The Train module's own test: one epoch on twelve small views."""

from __future__ import annotations

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from SyntheXLib.tasks.task import load_task
from SyntheXTrainLib.curves import make_curves
from SyntheXTrainLib.logic import SyntheXTrainLogic

_NEEDED = ("torch", "monai", "h5py", "ignite")
_SIDE, _PATIENCE_S = 32, 300.0


class SyntheXTrainTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def test_the_command_runs_the_library_with_the_options(self) -> None:
        """Needs no package."""
        command = SyntheXTrainLogic().trainingCommand({"datasets": ["a b"], "out": "run", "learning_rate": 0.1, "validation": None})
        self.assertEqual(command[1:], ["-m", "SyntheXLib.cli", "train", "a b", "--out", "run", "--learning-rate", "0.1"])

    def test_an_epoch_is_trained_and_its_curve_shown(self) -> None:
        """In a process of its own, as from the panel; passed over where the packages are not installed."""
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            self.skipTest(f"{', '.join(missing)}: not installed")
        logic = SyntheXTrainLogic()
        with tempfile.TemporaryDirectory(prefix="SyntheX-") as folder:
            data, out = Path(folder, "data"), Path(folder, "run")
            writeViews(data, 12)
            options = {"epochs": 1, "batch": 4, "threads": 1, "size": "small", "device": "cpu", "validation_fraction": 0.25}
            logic.start({"datasets": [data], "out": out, **options})
            deadline = time.monotonic() + _PATIENCE_S
            while logic.isRunning(out) and time.monotonic() < deadline:
                time.sleep(0.1)
            state = logic.state(out)
            logic.stop(out)
            self.assertEqual((state.status, state.message), ("finished", ""))
            model = logic.modelPath(out)
            self.assertTrue(model is not None and model.is_file())
            curves = make_curves("self test")
            curves.update(logic.history(out))
        self.assertEqual(curves.table.GetNumberOfRows(), 1)
        self.assertGreater(float(curves.table.GetCellText(0, 1)), 0.0)


def writeViews(folder: Path, count: int) -> None:
    """A data set of views of 32 pixels with squares as bones; no ray is cast for it."""
    from SyntheXLib.datasets.format import DatasetHeader, write_header
    from SyntheXLib.datasets.writer import write_shard

    task, rng = load_task("hip"), np.random.default_rng(0)
    configuration = {"image_size": _SIDE, "pixel_spacing_mm": 8.0, "source_to_detector_mm": 1020.0}
    folder.mkdir()
    write_header(folder, DatasetHeader(task, ({"name": "squares"},), configuration, 0, count, count))
    mask = np.zeros((_SIDE, _SIDE), np.uint16)
    mask[8:24, 8:24] = 1
    landmarks = len(task.landmarks)
    views = [
        {
            "image": (1.0 - 0.5 * mask + 0.01 * rng.random(mask.shape)).astype(np.float32),
            "mask": mask,
            "landmark": rng.uniform(4, 28, (landmarks, 2)).astype(np.float32),
            "landmark_visible": np.ones(landmarks, bool),
            "world_to_camera": np.eye(4),
            "intrinsics": np.eye(3),
            "parameters": {"source_to_isocenter_mm": 700.0},
        }
        for _ in range(count)
    ]
    write_shard(folder, 0, 0, views, 1.0)
