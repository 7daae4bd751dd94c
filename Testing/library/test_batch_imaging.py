"""The realistic level on batches agrees with the simulator's, and its noise has the simulator's size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.randomization.exposure_bank import draw_exposures, exposure_constants
from SyntheXLib.randomization.imaging import BatchImaging, _poisson
from SyntheXLib.rendering.exposure import Exposure, device_exposure, parameter_ranges
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.realistic import realistic
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera, task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


@pytest.fixture(scope="module")
def view(hip_phantom: CaseFiles) -> tuple[Projection, Camera]:
    camera = task_camera(HIP.c_arm, CArmPose(lao_rao_deg=10, cran_caud_deg=-6, translation_lr_mm=130).world_to_camera(np.zeros(3)), 96)
    projection = make_renderer().render(Scene(load_specimen(hip_phantom, HIP)), camera)
    assert projection is not None
    return projection, camera


def densities(projection: Projection, exposure: Exposure) -> tuple[list[str], torch.Tensor]:
    found = exposure.decomposition.area_densities(projection.path_length, projection.hu_integral)
    return list(found), torch.from_numpy(np.stack(list(found.values())).astype(np.float32))


BASE = Exposure()
EXPOSURES = {
    "defaults": BASE,
    "soft beam": replace(BASE, kvp=55.0, aluminium_mm=3.0, anode_angle_deg=9.0),
    "hard beam": BASE.with_values({"kvp": 120.0, "copper_mm": 0.3, "scatter.air_gap_mm": 120.0, "scatter.strength": 1.5}),
    "no heel, no grid": replace(BASE, cathode_side="none", grid=None),
    "cathode left": replace(BASE, cathode_side="left"),
    "blades": replace(BASE, collimator=Collimator(width_mm=180, height_mm=140, rotation_deg=12)),
    "small iris": replace(BASE, collimator=Collimator(iris_mm=120, center_x_mm=10)),
    "motion, Gaussian": BASE.with_values({"blur.motion_mm": 3.0, "blur.motion_deg": 30.0, "detector.mtf_shape": "gaussian"}),
    "sharp": BASE.with_values({"detector.mtf_half_per_mm": 0.0, "blur.focal_spot_mm": 0.0}),
    "8 bits, saturating": BASE.with_values({"detector.adc_bits": 8, "detector.full_scale": 0.7}),
    "continuous, no flat field": BASE.with_values({"detector.adc_bits": 0}),
}
EXPOSURES["continuous, no flat field"] = replace(BASE, detector=replace(BASE.detector, adc_bits=0, flat_field=False))


def test_fixed_parameters_give_the_simulators_image(view: tuple[Projection, Camera]) -> None:
    projection, camera = view
    materials, areas = densities(projection, BASE)
    batch = areas.expand(len(EXPOSURES), *areas.shape)
    constants = exposure_constants(list(EXPOSURES.values()), camera, materials)
    found = BatchImaging(camera)(batch, constants)[:, 0].numpy()
    for name, exposure, image in zip(EXPOSURES, EXPOSURES.values(), found, strict=True):
        expected = realistic(projection, camera, exposure)
        step = 1.01 / exposure.detector.counts_per_signal if exposure.detector.adc_bits else 0.0  # a rounding may go the other way
        lit = expected > 0.02
        error = np.abs(image - expected).max() - step
        assert error < 5e-4, name
        assert (np.abs(image - expected)[lit] / expected[lit]).max() < 0.005 + step / expected[lit].min(), name


def test_an_image_does_not_depend_on_the_batch(view: tuple[Projection, Camera]) -> None:
    projection, camera = view
    materials, areas = densities(projection, BASE)
    bank = exposure_constants(list(EXPOSURES.values()), camera, materials)
    imaging = BatchImaging(camera)
    rows = torch.tensor([3, 0, 6])
    together = imaging(areas.expand(3, *areas.shape), bank.at(rows))
    for place, row in enumerate(rows):
        alone = imaging(areas[None], bank.at(row[None]))
        torch.testing.assert_close(together[place], alone[0], atol=4e-5, rtol=0)  # two counts of the converter


def test_the_noise_is_the_simulators(view: tuple[Projection, Camera]) -> None:
    projection, camera = view
    materials, areas = densities(projection, BASE)
    count = 48
    exposure = replace(BASE, open_beam_dose_ugy=1.0)
    constants = exposure_constants([exposure], camera, materials, 0.194).at(torch.zeros(count, dtype=torch.long))
    generator = torch.Generator().manual_seed(1)
    noisy = BatchImaging(camera)(areas.expand(count, *areas.shape), constants, generator)[:, 0]
    rng = np.random.default_rng(1)
    expected = np.stack([realistic(projection, camera, exposure, rng, 0.194) for _ in range(count)])
    # Standard deviations of 48 draws are off by a tenth each, averaged over thousands of pixels by little.
    for part in (expected.mean(0) < 0.1, expected.mean(0) > 0.5):
        assert part.sum() > 200
        ours, theirs = (float(np.sqrt(images.var(0)[part].mean())) for images in (noisy.numpy(), expected))
        assert ours == pytest.approx(theirs, rel=0.03)
        assert float(noisy.mean(0).numpy()[part].mean()) == pytest.approx(float(expected.mean(0)[part].mean()), rel=0.005)
    again = BatchImaging(camera)(areas.expand(count, *areas.shape), constants, torch.Generator().manual_seed(1))[:, 0]
    assert torch.equal(again, noisy)


def test_exposures_of_a_device_are_drawn_by_the_seed(view: tuple[Projection, Camera], tmp_path: Path) -> None:
    projection, camera = view
    base, ranges = device_exposure(HIP.c_arm.device), parameter_ranges(HIP.c_arm.device)
    drawn = draw_exposures(base, ranges, 12, seed=4)
    assert drawn == draw_exposures(base, ranges, 12, seed=4) != draw_exposures(base, ranges, 12, seed=5)
    materials, areas = densities(projection, base)
    images = BatchImaging(camera)(areas.expand(12, *areas.shape), exposure_constants(drawn, camera, materials))[:, 0].numpy()
    for exposure, image in zip(drawn, images, strict=True):
        expected = realistic(projection, camera, exposure)
        assert np.abs(image - expected).max() < 2e-3
    assert np.ptp(images.mean((1, 2))) > 0.01


@pytest.mark.parametrize("mean", [0.0, 0.4, 3.0, 40.0])
def test_the_noise_has_the_cumulants_of_a_poisson_number(mean: float) -> None:
    drawn = _poisson(torch.full((2_000_000,), mean), torch.Generator().manual_seed(1)).double()
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.001 + 0.001 * mean)
    assert float(drawn.var()) == pytest.approx(mean, abs=1 / 18 + 0.005 * mean)
    third = float(((drawn - drawn.mean()) ** 3).mean())
    assert third == pytest.approx(mean * min(mean, 1), abs=0.05 + 0.05 * mean)
