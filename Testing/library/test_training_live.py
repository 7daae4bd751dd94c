"""Views rendered while the network learns are those of a data set, go on after a stop, and hard ones come more often."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from toy_training import assert_same_weights, config

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.exposure import device_exposure, parameter_ranges
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings, view_pose
from SyntheXLib.tasks.task import load_task
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import XrayTensors, make_loader
from SyntheXLib.training.hard_views import HardViews, LiveSampler
from SyntheXLib.training.live import LiveSource, read_live_file
from SyntheXLib.training.pictures import write_samples
from SyntheXLib.training.run import train

HIP = load_task("hip")


@pytest.fixture(scope="module")
def cases(hip_phantom: CaseFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("live") / "cases.toml"
    lines = [f'{name} = "{getattr(hip_phantom, name).as_posix()}"' for name in ("ct", "labels", "landmarks")]
    path.write_text('task = "hip"\n[[cases]]\n' + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def stored(hip_phantom: CaseFiles, tmp_path_factory: pytest.TempPathFactory) -> XrayDataset:
    """The first views of seed 5, with exposures of the device."""
    device = HIP.c_arm.device
    settings = ViewSettings(exposure=device_exposure(device), exposure_ranges=parameter_ranges(device), image_size=32)
    folder = tmp_path_factory.mktemp("stored") / "data"
    run_local(ShardJob(folder, HIP, (hip_phantom,), settings, 5, 6), workers=1)
    return XrayDataset(folder)


def live(cases: Path, out: Path, **changes: object) -> TrainingConfig:
    values = {"datasets": (), "live": str(cases), "live_images": 6, "live_candidates": 2, "epochs": 2, "image_size": 32, "batch": 3}
    return config(cases, out, **{**values, **changes})


def test_a_live_view_is_that_of_a_data_set(cases: Path, stored: XrayDataset) -> None:
    source = LiveSource(cases, 100, 5, 32)
    assert len(source) == 100 and source.image_shape == stored.image_shape and source.pixel_spacing_mm == stored.pixel_spacing_mm
    data = XrayTensors([source])
    (batch,) = list(make_loader(data, [4, 1], 2, workers=1, pin=False))  # rendered in another process
    expected = XrayTensors([stored]).load([4, 1])
    for found, known in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), known.numpy())


def test_views_depend_on_seed_epoch_and_image_alone() -> None:
    def views(epoch: int, part: int = 0, parts: int = 1, seed: int = 5) -> list[int]:
        sampler = LiveSampler(HIP.poses, 6, 3, seed, part, parts)
        sampler.epoch = epoch
        return list(sampler)

    assert views(2) == views(2) != views(3)
    assert [view // 3 for view in views(2)] == [6, 7, 8, 9, 10, 11]  # one of every image's three candidates
    assert sorted(views(2, 0, 2) + views(2, 1, 2)) == sorted(views(2))
    assert len({view % 3 for epoch in range(1, 5) for view in views(epoch)}) == 3


def test_hard_views_are_drawn_more_often() -> None:
    sampler = LiveSampler(HIP.poses, 2000, 4, 1)
    sampler.epoch = 1
    poses = {view: view_pose(HIP.poses, 1, view) for view in range(8000)}
    for view, pose in list(poses.items())[:2000]:
        sampler.learn([view], [3.0 if pose.lao_rao_deg > 0 else 1.0])
    chosen = Counter(poses[view].lao_rao_deg > 0 for view in sampler)
    before = np.mean([pose.lao_rao_deg > 0 for pose in poses.values()])
    assert before == pytest.approx(0.5, abs=0.03)
    assert 0.62 < chosen[True] / 2000 < 0.75  # three to one, of four candidates
    even = LiveSampler(HIP.poses, 2000, 1, 1)
    even.epoch = 1
    even.hard_views.restore(sampler.hard_views.state())
    assert list(even) == list(range(2000))


def test_the_table_forgets_and_is_bounded() -> None:
    table = HardViews()
    easy, hard, unknown = CArmPose(lao_rao_deg=5), CArmPose(lao_rao_deg=-5), CArmPose(lao_rao_deg=25)
    for _ in range(400):
        table.add(easy, 1.0)
        table.add(hard, 100.0)
    assert table.weight(unknown) == 1 and table.weight(easy) == 0.25 and 1.9 < table.weight(hard) < 2.0
    for _ in range(400):
        table.add(hard, 1.0)
    assert table.weight(hard) == pytest.approx(1.0, abs=0.05)
    again = HardViews()
    again.restore(table.state())
    assert again.weight(hard) == table.weight(hard)


@pytest.mark.parametrize("physics", [False, True])
def test_a_stopped_live_training_goes_on_as_if_nothing_had_been(cases: Path, stored: XrayDataset, tmp_path: Path, physics: bool) -> None:
    options = {"physics_in_the_loop": physics, "exposures": 4, "validation": str(stored.folder)}
    whole = train(live(cases, tmp_path / "whole", **options))
    assert whole.rows[1]["validation_dice"] >= 0
    train(live(cases, tmp_path / "run", **options), lambda state: state.epoch == 1)
    train(live(cases, tmp_path / "run", workers=2, **options))
    assert_same_weights(tmp_path / "whole" / "model.pt", tmp_path / "run" / "model.pt")


def test_live_inputs_can_be_looked_at(cases: Path, tmp_path: Path) -> None:
    write_samples(live(cases, tmp_path), tmp_path / "inputs.png", 2)
    assert (tmp_path / "inputs.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('task = "hip"\n', r"must name a task and at least one \[\[cases\]\]"),
        ('task = "hip"\n[[case]]\nsample = "pelvis"\n', r"unknown entry 'case', expected task and cases \(did you mean 'cases'\?\)"),
        ('task = "hip"\n[[cases]]\nct = "a.nii.gz"\n', "case 1 must name a sample, or ct and labels, found ct"),
        ('task = "hip"\n[[cases]]\nlandmark = "a"\n', r"case 1 has the unknown entry 'landmark', .*did you mean 'landmarks'"),
        ("task =", "must be TOML with a task and cases"),
    ],
)
def test_a_wrong_file_of_cases_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SyntheXError, match=sentence):
        read_live_file(path)


def test_data_sets_and_cases_exclude_each_other(cases: Path, toy: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="'datasets' and 'live' of the training exclude each other"):
        config(toy, tmp_path, live=str(cases))
