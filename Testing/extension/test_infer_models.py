"""Models as files and as bundle folders, what they say of themselves, and reports on a data set."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("torch", reason="torch is not installed")

from infer_network import HIP

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.models import isModel, modelFacts, modelStamp
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.report import ReportRun
from SyntheXLib.errors import SyntheXError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of 32 pixels, with a record."""
    from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model

    training = {
        "epoch": 7,
        "images": 300,
        "datasets": [{"folder": "/data/pelvis_1000", "images": 300, "checksum": "ab"}],
        "held_out": ["specimen 3"],
        "start": {"file": "R50+ViT-B_16.npz", "sha256": "cd"},
    }
    description = ModelDescription("small", (32, 32), 8.0, HIP.to_dict(), 2.0, training=training)
    path = tmp_path_factory.mktemp("model") / "best.pt"
    save_model(path, build_network(description), description)
    return path


@pytest.fixture(scope="module")
def bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a MONAI bundle."""
    from SyntheXLib.inference.bundle import write_bundle

    return write_bundle(model, tmp_path_factory.mktemp("bundles") / "hip_bundle")


def test_a_file_and_a_bundle_say_what_they_were_trained_on(model: Path, bundle: Path) -> None:
    file, folder = modelFacts(model), modelFacts(bundle)
    assert (file.task, file.structures, file.shape, file.size, file.epochs) == (HIP.title, HIP.structure_names, (32, 32), "small", 7)
    assert (file.datasets, file.held_out, file.start) == (("pelvis_1000",), ("specimen 3",), "R50+ViT-B_16.npz")
    assert (file.bundle, folder.bundle) == (False, True)
    assert (folder.landmarks, folder.datasets, folder.start) == (file.landmarks, file.datasets, file.start)
    assert isModel(model) and isModel(bundle) and not isModel("") and not isModel(bundle / "models")
    assert len(modelStamp(bundle)) >= 2 and modelStamp(bundle / "none") == ()


def test_what_could_run_code_is_not_opened(tmp_path: Path) -> None:
    import torch

    torch.save({"format": "synthex-model", "version": 1, "description": {}, "weights": Path("/")}, tmp_path / "odd.pt")
    with pytest.raises(SyntheXError, match=r"odd\.pt is not opened: expected plain numbers, found what could run code; do not trust it"):
        modelFacts(tmp_path / "odd.pt")


def test_a_bundle_and_a_file_are_asked_together_and_a_new_file_is_read_again(
    model: Path, bundle: Path, scene: Any, slicer_core: Any, tmp_path: Path
) -> None:
    import os
    import shutil

    pixels = np.random.default_rng(0).uniform(0.1, 1, (1, 32, 32)).astype(np.float32)
    volume = slicer_core.util.addVolumeFromArray(pixels, np.diag([-8.0, -8.0, 1, 1]), "X-ray")
    volume.SetAttribute("SyntheX.Intensity", "linear")
    logic, options = SyntheXInferLogic(), InferOptions(device="cpu", collimation="none")
    copy = tmp_path / "copy.pt"
    shutil.copy(model, copy)
    both = logic.predict(volume, [bundle, copy], options)
    assert both.spread() == (0.0, 0.0)  # of the same network twice
    first = logic._loaded
    logic.predict(volume, [bundle, copy], options)
    assert logic._loaded is first
    os.utime(copy, (1, 1))
    logic.predict(volume, [bundle, copy], options)
    assert logic._loaded is not first


@pytest.mark.parametrize("mode", [pytest.param("strict", marks=pytest.mark.slow), "released-code"])
def test_a_report_of_a_model_on_a_data_set(model: Path, squares: Path, scene: Any, tmp_path: Path, mode: str) -> None:
    import json

    run = SyntheXInferLogic().startReport(model, squares, tmp_path / "out", mode, InferOptions(device="cpu"))
    until, steps = time.monotonic() + 300, set()
    while not run.finished():
        steps.add(run.evaluating)
        assert time.monotonic() < until
        time.sleep(0.1)
    report = run.result()
    assert report == tmp_path / "out/report.html" and "</html>" in report.read_text(encoding="utf-8") and steps == {False, True}
    numbers = json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))
    assert (numbers["mode"], numbers["model"]) == (mode, model.parent.name)
    described = json.loads((tmp_path / f"out/predictions/{model.parent.name}/predictions.json").read_text(encoding="utf-8"))
    assert described["heatmaps"] is (mode != "strict")


def test_a_report_that_cannot_be_made_says_why(model: Path, squares: Path, scene: Any, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"holds no data set: dataset\.json is missing"):
        ReportRun([model], tmp_path, tmp_path / "out", "strict", InferOptions())
    with pytest.raises(SyntheXError, match="mode must be one of"):
        ReportRun([model], squares, tmp_path / "out", "lenient", InferOptions())
    run = ReportRun([tmp_path / "none.pt"], squares, tmp_path / "out", "strict", InferOptions(device="cpu"))
    until = time.monotonic() + 120
    while not run.finished():
        assert time.monotonic() < until
        time.sleep(0.1)
    with pytest.raises(SyntheXError, match=r"none\.pt"):
        run.result()
