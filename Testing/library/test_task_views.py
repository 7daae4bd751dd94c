"""Views of the tasks: what they show, and what decides it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine, world_grid

from SyntheXLib.cli import main
from SyntheXLib.datasets.format import read_header
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.levels import naive
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.case_files import CaseFiles, itk_image, load_specimen
from SyntheXLib.scene.poses import sample_pose, shear_about
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.tool_files import tool_from_dict
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.patients import Patients
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.settings import PoseSettings
from SyntheXLib.tasks.task import Task, load_task

TOOLS = {"tool": ("cm_start", "cm_end"), "tool-screw": ("tip", "head"), "tool-k-wire": ("tip", "end")}


@pytest.fixture(scope="session")
def chest_phantom(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """Two lungs in a body of water; TotalSegmentator's numbers."""
    folder = tmp_path_factory.mktemp("chest_phantom")
    shape = (50, 50, 66)
    matrix = affine(shape, (5.0, 5.0, 5.0))
    grid = world_grid(shape, matrix)
    hu = np.where(((grid / [150, 110, 400]) ** 2).sum(-1) < 1, 20.0, -1000.0)
    labels = np.zeros(shape, np.uint8)
    for number, x in ((11, -65), (14, 65)):
        inside = (((grid - [x, 0, 0]) / [50, 70, 95]) ** 2).sum(-1) < 1
        hu[inside], labels[inside] = -850, number
    sitk.WriteImage(itk_image(hu.astype(np.int16), matrix), str(folder / "ct.nii.gz"))
    sitk.WriteImage(itk_image(labels, matrix), str(folder / "labels.nii.gz"))
    return CaseFiles(folder / "ct.nii.gz", folder / "labels.nii.gz")


def views(folder: Path, task: Task, case: CaseFiles, count: int, size: int = 64, seed: int = 3, workers: int = 1) -> list[Sample]:
    job = ShardJob(folder, task, (case,), ViewSettings("naive", image_size=size), seed, count, shard_size=4)
    run_local(job, workers)
    dataset = XrayDataset(folder)
    return [dataset[i] for i in range(count)]


@pytest.mark.parametrize("name", TOOLS)
def test_the_mask_is_the_tools_projection_and_landmarks_lie_on_it(name: str, hip_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task(name)
    case = CaseFiles(hip_phantom.ct, None)  # no label map is needed
    for sample in views(tmp_path / "data", task, case, 4, size=240):
        (drawn,) = sample.parameters["tools"]
        values = {key: value for key, value in drawn.items() if key not in ("shape",)}
        tool = tool_from_dict(values)
        camera = Camera(sample.world_to_camera, sample.intrinsics, (240, 240), 1020.0)
        directions = camera.rays().reshape(-1, 3) @ camera.world_to_camera[:3, :3]
        seen = np.zeros(240 * 240, bool)
        for part, body in zip(tool.parts, tool.intersect(camera.source, directions), strict=True):
            if part.structure == task.structures[0].name:
                seen[body.ray] = True
        assert seen.any() and np.array_equal(sample.mask == 1, seen.reshape(240, 240))
        assert np.allclose(sample.landmarks, camera.project(np.array([tool.world_landmarks()[m] for m in TOOLS[name]]))[0], atol=1e-3)
        rows, columns = np.nonzero(sample.mask)
        for point, visible in zip(sample.landmarks, sample.visible, strict=True):
            # The ends of a centreline lie in the silhouette or, at a notch or a thin tip, within a device's radius of it.
            assert not visible or np.hypot(columns - point[0], rows - point[1]).min() < 4


def test_bends_are_shared_by_the_data_set_and_the_drill_is_in_or_out(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("tool")
    two = replace(task, scene=replace(task.scene, tools=(replace(task.scene.tools[0], shapes=2),)))
    drawn = [sample.parameters["tools"][0] for sample in views(tmp_path / "two", two, CaseFiles(hip_phantom.ct, None), 12, size=16)]
    bends = {one["shape"]: tuple(one["control_angles_deg"]) for one in drawn}
    assert len(bends) == 2 and bends[0] != bends[1]
    assert all(tuple(one["control_angles_deg"]) == bends[one["shape"]] for one in drawn)
    assert {one["drill"] for one in drawn} == {True, False}
    assert len({str(one["to_world"]) for one in drawn}) == 12


def test_an_impossible_tool_is_told_before_anything_is_rendered(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("tool-screw")
    (one,) = task.scene.tools
    for change, expected in (
        (
            {"ranges": {"diameter_mm": (4.0, 90.0)}},
            r"tool 1 of the task \(screw\): A screw needs core_diameter_mm < diameter_mm < length_mm",
        ),
        ({"parameters": {"pitch_mm": "coarse"}}, r"tool 1 of the task \(screw\): pitch_mm must be a number, found 'coarse'"),
    ):
        bad = replace(task, scene=replace(task.scene, tools=(replace(one, **change),)))
        with pytest.raises(SyntheXError, match=expected):
            views(tmp_path / "data", bad, CaseFiles(hip_phantom.ct, None), 1)
        assert not (tmp_path / "data").exists()


def test_normal_shifts_are_added_to_uniform_ones() -> None:
    settings = PoseSettings((), translation_lr_sd_mm=10.0, translation_is_mm=(-5.0, 5.0))
    rng = np.random.default_rng(0)
    poses = [sample_pose(settings, rng) for _ in range(2000)]
    shifts = np.array([(pose.translation_lr_mm, pose.translation_is_mm, pose.translation_ap_mm) for pose in poses])
    assert np.allclose(shifts.std(0), [10, 10 / np.sqrt(12), 0], atol=0.5) and np.allclose(shifts.mean(0), 0, atol=0.7)


def test_shear_moves_what_lies_higher_to_the_side() -> None:
    center = np.array([5.0, 7.0, 11.0])
    matrix = shear_about(center, 30.0)
    assert np.allclose(matrix @ [*center, 1], [*center, 1])
    assert np.allclose((matrix @ [5, 7, 21, 1])[:3], [5 + 10 * np.tan(np.pi / 6), 7, 21])
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_a_sheared_view_is_the_view_of_the_sheared_ct(chest_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("chest-paper")
    whole = replace(task.structures[0], source="labels", totalsegmentator=(11,))
    task = replace(task, structures=(whole,), poses=replace(task.poses, isocenter=("lesion",)))
    sheared = views(tmp_path / "sheared", task, chest_phantom, 3)
    specimen = load_specimen(chest_phantom, task)
    for sample in sheared:
        angle, center = sample.parameters["shear_deg"], np.array(sample.parameters["isocenter_ras_mm"])
        assert 0 < abs(angle) <= 30
        shear = shear_about(center, angle)
        rigid = sample.world_to_camera @ np.linalg.inv(shear)
        assert np.allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-9)
        # The same by hand: the CT's voxels put elsewhere, and a rigid camera.
        moved = replace(specimen, ijk_to_ras=shear @ specimen.ijk_to_ras)
        projection = make_renderer("reference").render(Scene(moved), Camera(rigid, sample.intrinsics, (64, 64), 1020.0))
        assert projection is not None
        assert np.mean(sample.mask != projection.label_bits) < 0.002
        assert np.allclose(sample.image, naive(projection), rtol=2e-3, atol=1e-5)


def test_chest_shows_lungs_and_synthetic_lesions(chest_phantom: CaseFiles, tmp_path: Path) -> None:
    task = load_task("chest")
    task = replace(task, simulation=replace(task.simulation, views_per_specimen=2), scene=replace(task.scene, shear_deg=(0.0, 0.0)))
    samples = views(tmp_path / "data", task, chest_phantom, 6)
    for sample in samples:
        lesion, lung = (sample.mask & 4) != 0, (sample.mask & 3) != 0
        assert lung.any() and not np.any(lesion & ~lung)
    patterns = [sample.parameters["lesions"]["pattern"] for sample in samples]
    assert patterns == [0, 0, 1, 1, 2, 2]
    added = [sample.parameters["lesions"]["added"] for sample in samples]
    assert added[0] == added[1] != added[2]
    assert any(((sample.mask & 4) != 0).any() for sample in samples)


def test_labelled_lesions_are_taken_as_they_are(chest_phantom: CaseFiles, tmp_path: Path) -> None:
    mask = sitk.ReadImage(str(chest_phantom.labels)) == 11
    sitk.WriteImage(mask, str(tmp_path / "lesions.nii.gz"))
    case = replace(chest_phantom, lesions=tmp_path / "lesions.nii.gz")
    patient = Patients(load_task("chest"), (case,), 0).of_image(0)
    assert patient.record == {} and np.array_equal((patient.specimen.labels & 4) != 0, (patient.specimen.labels & 1) != 0)
    paper = load_task("chest-paper")
    alone = load_specimen(replace(case, labels=None), paper)
    assert np.count_nonzero(alone.labels) == np.count_nonzero(sitk.GetArrayFromImage(mask))
    with pytest.raises(SyntheXError, match="needs a label map with lesion"):
        load_specimen(CaseFiles(chest_phantom.ct, None), paper)
    with pytest.raises(SyntheXError, match="none of the structures of task 'chest-paper'"):
        load_specimen(chest_phantom, paper)


def test_variants_follow_seed_and_index_alone(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    hip = load_task("hip")
    task = replace(hip, variation=replace(hip.variation, variants=2), simulation=replace(hip.simulation, views_per_specimen=2))
    samples = views(tmp_path / "one", task, hip_phantom, 8, size=16)
    assert [sample.parameters["variant"]["number"] for sample in samples] == [0, 0, 1, 1, 0, 0, 1, 1]
    kinds = [{key: value for key, value in sample.parameters["variant"].items() if key != "number"} for sample in samples]
    assert kinds[0] == kinds[1] == kinds[4] and kinds[2] == kinds[6] and kinds[0] != kinds[2]
    for sample, twin in zip(samples, views(tmp_path / "two", task, hip_phantom, 8, size=16, workers=2), strict=True):
        assert np.array_equal(sample.image, twin.image) and sample.parameters == twin.parameters
    plain = views(tmp_path / "plain", hip, hip_phantom, 2, size=16)
    assert "variant" not in plain[0].parameters and not np.array_equal(plain[0].image, samples[0].image)
    with pytest.raises(SyntheXError, match="a map of materials needs the CT as it is"):
        Patients(task, (replace(hip_phantom, materials=hip_phantom.labels),), 0)


def test_the_command_knows_views_a_ct_variants_sizes_and_coarse_cts(
    hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(out: str, *options: str) -> int:
        return main(["simulate", "--level", "naive", "--workers", "1", "--out", str(tmp_path / out), *options])

    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels)]
    assert run("ladder", *case, *case, "--views-per-ct", "3", "--image-size", "16", "--vary", "2") == 0
    header = read_header(tmp_path / "ladder")
    assert header.count == 6 and header.task.variation.variants == 2
    assert "voxels of 5 x 5 x 5 mm, coarser than the 0.5 to 1 mm of task 'hip'" in capsys.readouterr().out
    assert run("full", *case, "--count", "1", "--image-size", "full") == 0
    header = read_header(tmp_path / "full")
    assert header.configuration["image_size"] == 1536 and header.configuration["pixel_spacing_mm"] == pytest.approx(0.194)
    assert run("pseudo", "--pseudo-ct", str(hip_phantom.labels), "--count", "1", "--image-size", "16") == 0
    assert XrayDataset(tmp_path / "pseudo")[0].parameters["specimen"] == "labels"
    for bad, expected in (
        (["--image-size", "big"], "a number of pixels or full, found 'big'"),
        (["--vary", "-1"], "--vary must be at least 0"),
        (["--views-per-ct", "0"], "--views-per-ct must be at least 1"),
    ):
        assert run("bad", *case, *bad) == 2
        assert expected in capsys.readouterr().err


def test_lesions_can_come_from_a_network(chest_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")

    class Dense(torch.nn.Module):  # above 200 HU, on a scale of 0 to 1 for -1000 to 2000 HU
        def forward(self, image):  # type: ignore[no-untyped-def]
            return torch.cat([image < 0.4, image >= 0.4], 1).float()

    def network(name: str) -> str:
        form = {"inputs": {"image": {"spatial_shape": [32, 32, 32]}}, "outputs": {"pred": {"channel_def": {"0": "background", "1": name}}}}
        extra = {"metadata.json": json.dumps({"network_data_format": form})}
        torch.jit.save(torch.jit.script(Dense()), str(tmp_path / f"{name}.ts"), _extra_files=extra)
        return str(tmp_path / f"{name}.ts")

    assert chest_phantom.ct is not None
    ct = sitk.ReadImage(str(chest_phantom.ct))
    ct[20:26, 30:34, 22:30] = 400
    sitk.WriteImage(sitk.DICOMOrient(ct, "RSA"), str(tmp_path / "ct.nii.gz"))  # axes of the file in another order
    options = ["simulate", "--task", "chest-paper", "--ct", str(tmp_path / "ct.nii.gz"), "--count", "1", "--workers", "1"]
    assert main([*options, "--out", str(tmp_path / "data"), "--lesion-network", network("infection")]) == 0
    sample = XrayDataset(tmp_path / "data")[0]
    assert sample.mask.any()
    found = load_specimen(
        CaseFiles(tmp_path / "ct.nii.gz", None, lesions=tmp_path / "data" / "lesions" / "000.nrrd"), load_task("chest-paper")
    )
    assert np.array_equal(found.labels == 1, found.hu == 400)
    assert main([*options, "--out", str(tmp_path / "bad"), "--lesion-network", network("liver")]) == 2
    assert "expected a channel called lesion, lesions, infection" in capsys.readouterr().err
