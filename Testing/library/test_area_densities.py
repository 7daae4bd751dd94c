"""Stored area densities give back the simulator's image, on reading and in the training's own imaging."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from SyntheXLib.datasets.area_densities import stored_paths
from SyntheXLib.datasets.derived import merge_datasets
from SyntheXLib.datasets.format import PATH_STEP, read_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.physics.decomposition import METALS
from SyntheXLib.randomization.exposure_bank import exposure_constants
from SyntheXLib.randomization.imaging import BatchImaging
from SyntheXLib.rendering.exposure import Exposure, parameter_ranges
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
# So much dose that no noise is left, and no steps of a converter: what is compared is the physics.
QUIET = Exposure().with_values({"open_beam_dose_ugy": 1e7, "detector.readout_noise_quanta": 0.0, "detector.adc_bits": 0})


def simulated(case: CaseFiles, folder: Path, count: int = 4, **settings: object) -> XrayDataset:
    run_local(ShardJob(folder, HIP, (case,), ViewSettings(image_size=96, **settings), 3, count), workers=1)  # type: ignore[arg-type]
    return XrayDataset(folder)


def test_an_exposure_survives_its_dictionary() -> None:
    for exposure in (Exposure(), replace(QUIET, grid=None, collimator=Collimator(iris_mm=120))):
        assert Exposure.from_dict(exposure.to_dict()) == exposure


def test_fixed_parameters_give_the_stored_image(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    dataset = simulated(hip_phantom, tmp_path, exposure=QUIET, store="both")
    assert dataset.materials == ("air", "lung", "adipose", "soft_tissue", "cortical_bone", "titanium")
    samples = [dataset.read(index, paths=True) for index in range(len(dataset))]
    densities = torch.from_numpy(np.stack([sample.paths for sample in samples]).astype(np.float32) * PATH_STEP)
    assert densities[:, 4].amax() > 2 and densities[:, 5].amax() == 0
    camera = task_camera(HIP.c_arm, np.eye(4), 96)
    constants = exposure_constants([QUIET], camera, dataset.materials).at(torch.zeros(len(dataset), dtype=torch.long))
    found = BatchImaging(camera)(densities, constants)[:, 0].numpy()
    for image, sample in zip(found, samples, strict=True):
        assert 0.002 < sample.image.min() < 0.2 and sample.image.max() > 0.9
        assert np.abs(image / sample.image - 1).max() < 0.005


def test_paths_alone_are_read_as_the_simulators_image(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    ranges = parameter_ranges(HIP.c_arm.device)
    image = simulated(hip_phantom, tmp_path / "image", exposure_ranges=ranges)
    paths = simulated(hip_phantom, tmp_path / "paths", exposure_ranges=ranges, store="paths")
    for index in range(len(image)):
        ours, theirs = paths[index], image[index]
        assert ours.parameters == theirs.parameters
        assert np.array_equal(ours.mask, theirs.mask) and np.array_equal(ours.landmarks, theirs.landmarks, equal_nan=True)
        difference = np.abs(ours.image - theirs.image)
        assert np.median(difference) < 1e-3 and (difference < 0.005).mean() > 0.97  # a rounded density may draw another count of photons
    with pytest.raises(SyntheXError, match="must hold area densities, found images alone"):
        image.read(0, paths=True)


def test_images_are_stored_as_before_where_nothing_else_is_asked_for(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    dataset = simulated(hip_phantom, tmp_path, count=1)
    assert dataset.materials == ()
    assert not {"store", "materials"} & set(read_header(tmp_path).configuration)


def test_merged_data_sets_keep_the_area_densities_that_all_have(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    both = simulated(hip_phantom, tmp_path / "both", count=2, store="both")
    paths = simulated(hip_phantom, tmp_path / "paths", count=2, store="paths")
    images = simulated(hip_phantom, tmp_path / "images", count=2)
    merge_datasets([both.folder, paths.folder], tmp_path / "merged")
    merged = XrayDataset(tmp_path / "merged")
    for index, (source, place) in enumerate([(both, 0), (both, 1), (paths, 0), (paths, 1)]):
        found, expected = merged.read(index, paths=True), source.read(place, paths=True)
        assert found.paths is not None and np.array_equal(found.paths, expected.paths) and np.array_equal(found.image, expected.image)
    merge_datasets([both.folder, images.folder], tmp_path / "less")
    less = XrayDataset(tmp_path / "less")
    assert less.materials == () and np.array_equal(less[0].image, both[0].image)


def test_what_cannot_be_stored_is_told() -> None:
    density = np.full((2, 2), 0.0304)
    assert np.array_equal(stored_paths({"air": density, "lung": -density}, ["air", "lung"]), [[[30, 30]] * 2, [[0, 0]] * 2])
    with pytest.raises(SyntheXError, match="found 'gold' too"):
        stored_paths({"air": density, "gold": density}, ["air"])
    with pytest.raises(SyntheXError, match="realistic level alone, found level 'naive'"):
        ViewSettings(level="naive", store="paths")
    with pytest.raises(SyntheXError, match="image, paths, both, found 'path'"):
        ViewSettings(store="path")


def test_tools_that_a_task_draws_have_their_metal_stored(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("tool-screw")
    settings = ViewSettings(image_size=48, store="paths", oversample=1)
    run_local(ShardJob(tmp_path / "data", task, (CaseFiles(hip_phantom.ct, None),), settings, seed=1, count=2), workers=1)
    dataset = XrayDataset(tmp_path / "data")
    metals = [dataset.materials.index(name) for name in METALS]
    densest = 0.0
    for index in range(2):
        paths = dataset.read(index, paths=True).paths
        assert paths is not None
        densest = max(densest, float(paths[metals].max()) * PATH_STEP)
    assert densest > 0.5  # g/cm2: a millimetre of titanium is 0.45
