"""Starts of a registration: a network's landmarks, and the search where landmarks lead nowhere."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from SyntheXLib.cli import main
from SyntheXLib.commands import match
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.registration import estimate, start
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import Registration
from SyntheXLib.registration.motion import MotionSpace, angle_deg
from SyntheXLib.registration.predicted import predicted_landmarks
from SyntheXLib.registration.views import View
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose, sample_pose
from SyntheXLib.tasks.task import load_task


class Network:
    """Knows three landmarks; surer where the first pixel is bright, as of an image with bright bone."""

    task = SimpleNamespace(landmark_names=("a", "b", "c"))

    def predict(self, images: list[XrayImage]) -> list[SimpleNamespace]:
        self.seen = images
        return [
            SimpleNamespace(
                landmarks=np.array([[1, 2], [3, 4], [5, 6]], np.float32) + 10 * (image.pixels[0, 0] < 0),
                confidence=np.array([0.9, 0.4, 0.6]) - 0.05 * (image.pixels[0, 0] < 0),
            )
            for image in images
        ]


def test_the_network_sees_both_polarities_and_its_sure_landmarks_are_taken() -> None:
    camera = task_camera(load_task("hip").c_arm, np.eye(4), 40)
    mask = np.ones((40, 40), bool)
    mask[:5] = False
    view, network = View(np.full((40, 40), -2.0, np.float32), camera, mask), Network()
    found = predicted_landmarks(network, view)
    assert {name: place.tolist() for name, place in found.items()} == {"a": [1, 2], "c": [5, 6]}
    assert [image.pixels[0, 0] for image in network.seen] == [-2, 2]
    assert network.seen[0].pixel_spacing_mm == camera.pixel_spacing_mm and network.seen[0].field is mask
    assert predicted_landmarks(network, view, polarity=1)["a"].tolist() == [11, 12]
    assert list(predicted_landmarks(network, view, threshold=0.8)) == ["a"]


def test_landmarks_that_lead_nowhere_are_followed_by_a_search(hip_phantom: CaseFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    true = task_camera(task.c_arm, CArmPose(8, -6, 4, 5, 3, 10).world_to_camera(np.zeros(3)), 128)
    caster = BoneCaster(specimen)
    view = View(caster.image(true), replace(true, world_to_camera=np.eye(4)), np.ones(true.shape, bool))
    asked = []

    def search(*given: object) -> list[np.ndarray]:
        asked.append(given)
        return [true.world_to_camera @ MotionSpace(np.zeros(3), true.world_to_camera).motion(np.array([2, -2, 2, 3, 3, 1.0]))]

    monkeypatch.setattr(estimate, "likely_poses", search)
    three = {name: np.array([10.0 * n, 7.0]) for n, name in enumerate(("FH-l", "FH-r", "ASIS-l"))}
    with pytest.raises(SyntheXError, match="at least 4"):
        estimate.estimate_from_landmarks(specimen, task, view, three, search=False)
    found = estimate.estimate_from_landmarks(specimen, task, view, three, caster=caster)
    assert len(asked) == 1 and found.landmarks == () and found.trusted
    assert angle_deg(found.camera.world_to_camera, true.world_to_camera) < 0.5
    names = ["FH-l", "FH-r", "ASIS-l", "ASIS-r"]
    right = dict(zip(names, true.project(specimen.landmark_array(names))[0], strict=True))
    found = estimate.estimate_from_landmarks(specimen, task, view, right, caster=caster)
    assert len(asked) == 1 and sorted(found.landmarks) == sorted(names)
    assert angle_deg(found.camera.world_to_camera, true.world_to_camera) < 0.5


def test_one_way_to_begin_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["register", "--image", "a.png", "--out", "a.json", "--model", "m.pt", "--landmarks-2d", "a.csv"]) == 2
    assert "--landmarks-2d and --model are ways to begin: expected one of them" in capsys.readouterr().err
    assert main(["match", "--images", "a", "--out", "b", "--model", "m.pt", "--landmarks-2d", "c"]) == 2
    assert "expected one of them, found both" in capsys.readouterr().err


def test_a_mirrored_file_and_metal_in_the_image_alone_do_not_mislead(hip_phantom: CaseFiles) -> None:
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    true = task_camera(task.c_arm, CArmPose(14, -9, 6, 5, 3, 10).world_to_camera(np.zeros(3)), 128)
    caster = BoneCaster(specimen)
    taken = caster.image(true)
    rows, columns = np.indices(taken.shape)
    taken[np.abs(rows - 20 - 0.7 * columns) < 3] += 3 * taken.max()  # a nail that the CT does not have
    view = View(np.ascontiguousarray(taken[:, ::-1]), replace(true, world_to_camera=np.eye(4)), np.ones(true.shape, bool))
    off = true.world_to_camera @ MotionSpace(np.zeros(3), true.world_to_camera).motion(np.array([2, -3, 2, 4, -3, 1.0]))
    found = estimate.estimate_pose(
        specimen, task, view, off, estimate.Uncertainty(4, 5, 15), ("as-stored", "mirrored"), polarity=1, caster=caster
    )
    assert found.orientation == "mirrored" and found.trusted
    assert angle_deg(found.camera.world_to_camera, true.world_to_camera) < 1.0
    assert np.abs(found.camera.world_to_camera - true.world_to_camera)[:2, 3].max() < 1.0


def test_the_search_hands_on_the_most_similar_poses_that_lie_apart(hip_phantom: CaseFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_POSES", 60)
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    middle, caster = specimen.structure_centroid(task.poses.isocenter), BoneCaster(specimen)
    drawn = [sample_pose(task.poses, rng).world_to_camera(middle) for rng in [np.random.default_rng(3)] for _ in range(60)]
    true = task_camera(task.c_arm, drawn[41], 128)  # one of those that are looked at
    view = View(caster.image(true), replace(true, world_to_camera=np.eye(4)), np.ones(true.shape, bool))
    poses = start.likely_poses(caster, view, middle, task.poses, 4, seed=3)
    np.testing.assert_allclose(poses[0], drawn[41])
    assert len(poses) == 4 and all(angle_deg(a, b) > 15 for a, b in combinations(poses, 2))


def test_images_of_a_sequence_start_from_the_last_that_is_trusted(
    hip_phantom: CaseFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        pixels = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / f"{name}.nrrd"))
    pose = CArmPose().world_to_camera(np.zeros(3))
    starts: list[np.ndarray | None] = []

    def registered(
        options: object, specimen: object, task: object, view: View, first: np.ndarray | None = None, *_: object, **__: object
    ) -> estimate.Estimate:
        starts.append(first)
        similarity = 0.1 if len(starts) == 2 else 0.6  # the second image does not follow the first
        here = pose.copy()
        here[0, 3] += len(starts)
        found = Registration(np.eye(4), similarity, 1, 1, 1, np.full(6, np.nan), True, 1)
        return estimate.Estimate(replace(view.camera, world_to_camera=here), "as-stored", found)

    monkeypatch.setattr(match, "estimate", registered)
    monkeypatch.setattr(match, "write_pictures", lambda *_: None)
    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels), "--landmarks-3d", str(hip_phantom.landmarks)]
    assert main(["match", *case, "--images", str(tmp_path), "--out", str(tmp_path / "out"), "--sequence", "--image-size", "64"]) == 0
    assert [None if one is None else one[0, 3] - pose[0, 3] for one in starts] == [None, 1, None, 3]
    assert len(XrayDataset(tmp_path / "out" / "real")) == 3
