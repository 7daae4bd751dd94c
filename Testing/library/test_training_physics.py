"""Physics in the loop: every epoch and image gets its own exposure; a training with it goes on where it was stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import assert_same_weights, config

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.rendering.exposure import Exposure
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task
from SyntheXLib.training.data import XrayTensors
from SyntheXLib.training.inputs import TrainingInputs, make_inputs
from SyntheXLib.training.physics import area_densities, stored_densities
from SyntheXLib.training.pictures import write_samples
from SyntheXLib.training.run import train

QUIET = Exposure().with_values({"open_beam_dose_ugy": 1e7, "detector.readout_noise_quanta": 0.0, "detector.adc_bits": 0})
PHYSICS = {"physics_in_the_loop": True, "exposures": 4, "batch": 4, "validation_fraction": 0.25}


@pytest.fixture(scope="module")
def views(hip_phantom: CaseFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve views of 48 px, images and area densities."""
    folder: Path = tmp_path_factory.mktemp("views") / "both"
    settings = ViewSettings(image_size=48, store="both", exposure=QUIET)
    run_local(ShardJob(folder, load_task("hip"), (hip_phantom,), settings, 1, 12), workers=1)
    return folder


def inputs_of(views: Path, tmp_path: Path, **changes: object) -> tuple[TrainingInputs, XrayBatch]:
    settings = config(views, tmp_path, randomization="none", **PHYSICS, **changes)
    data = XrayTensors([XrayDataset(views)], settings.image_size, densities=True)
    return make_inputs(settings, data, torch.device("cpu")), data.load(range(12))


def test_stored_densities_come_back() -> None:
    paths = np.array([[[0, 1, 32767, 32768, 65535]]], np.uint16)
    torch.testing.assert_close(area_densities(stored_densities(paths)), torch.tensor([[[0.0, 0.001, 32.767, 32.768, 65.535]]]))


def test_an_image_without_ranges_is_the_stored_one(views: Path, tmp_path: Path) -> None:
    inputs, batch = inputs_of(views, tmp_path)
    assert inputs.physics is not None
    inputs.physics._ranges = {}  # every exposure is then the data set's own
    inputs.begin_epoch(1)
    made = inputs(batch).image
    stored = XrayTensors([XrayDataset(views)]).load(range(12)).image
    assert (made - stored).abs().max() < 0.005  # of the logarithm: half a percent of the signal
    assert made.std() > 0.5


def test_every_epoch_and_image_has_its_own_exposure(views: Path, tmp_path: Path) -> None:
    inputs, batch = inputs_of(views, tmp_path, attenuation_spread=0.2)
    repeated = XrayBatch(*(tensor[:1].expand(6, *tensor.shape[1:]) for tensor in batch))
    epochs = []
    for epoch in (1, 2, 1):
        inputs.begin_epoch(epoch)
        epochs.append(inputs(repeated).image)
    assert torch.equal(epochs[0], epochs[2])
    means = torch.stack(epochs[:2]).mean((2, 3, 4)).flatten()
    assert means.sort().values.diff().min() > 1e-5 and means.std() > 0.02


def test_factors_of_attenuation_are_log_normal(views: Path, tmp_path: Path) -> None:
    inputs, batch = inputs_of(views, tmp_path, attenuation_spread=0.3)
    plain, _ = inputs_of(views, tmp_path)
    assert inputs.physics is not None and plain.physics is not None
    seen: list[torch.Tensor] = []
    for one in (inputs, plain):
        one.physics._imaging = lambda densities, *_: seen.append(densities) or torch.ones(len(densities), 1, 48, 48)  # type: ignore[union-attr, assignment]
        one.begin_epoch(1)
    many = XrayBatch(*(tensor[:1].expand(400, *tensor.shape[1:]) for tensor in batch))
    inputs(many), plain(many)
    there = seen[1][0, 3] > 1
    logs = (seen[0] / seen[1])[:, 3, there].log()
    assert logs.std(1).max() < 1e-4  # one factor for all of an image
    assert float(logs[:, 0].mean()) == pytest.approx(0, abs=0.05) and float(logs[:, 0].std()) == pytest.approx(0.3, rel=0.1)


def test_a_stopped_training_with_physics_goes_on_as_if_nothing_had_been(views: Path, tmp_path: Path) -> None:
    whole = train(config(views, tmp_path / "whole", epochs=2, image_size=32, **PHYSICS))
    assert whole.rows[0]["validation_dice"] >= 0
    train(config(views, tmp_path / "run", epochs=2, image_size=32, **PHYSICS), lambda state: state.epoch == 1)
    train(config(views, tmp_path / "run", epochs=2, image_size=32, **PHYSICS))
    assert_same_weights(tmp_path / "whole" / "model.pt", tmp_path / "run" / "model.pt")
    write_samples(config(views, tmp_path / "run", **PHYSICS), tmp_path / "inputs.png")


def test_data_without_densities_are_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"needs area densities, but .*train holds images alone: simulate it with --store paths or both"):
        train(config(toy, tmp_path, **PHYSICS))


def test_the_log_image_of_densities_is_that_of_images(views: Path) -> None:
    dataset = XrayDataset(views)
    assert torch.equal(XrayTensors([dataset]).load([5]).image[0, 0], log_image(torch.from_numpy(dataset[5].image)))
