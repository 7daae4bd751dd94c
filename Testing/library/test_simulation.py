import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.datasets.format import read_header, shard_path, sidecar_path, write_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.exposure import parameter_ranges
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.simulation.job import ShardJob, ShardMaker
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings, binned_bits, ct_coverage, make_view
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")


@pytest.fixture
def job(hip_phantom: CaseFiles, tmp_path: Path) -> ShardJob:
    return ShardJob(tmp_path / "data", HIP, (hip_phantom,), ViewSettings(image_size=32), seed=7, count=10, shard_size=4)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").glob("*.h5"))}


def test_workers_and_order_do_not_change_a_byte(job: ShardJob, tmp_path: Path) -> None:
    assert run_local(job, workers=1).complete
    other = replace(job, folder=tmp_path / "other")
    assert run_local(other, workers=2).rendered == 10
    backwards = replace(job, folder=tmp_path / "backwards")
    maker = ShardMaker(backwards, threads=1)
    write_header(backwards.folder, backwards.header())
    maker.make([2, 1, 0])
    assert len(shards(job.folder)) == 3
    assert shards(job.folder) == shards(other.folder) == shards(backwards.folder)
    assert (job.folder / "dataset.json").read_bytes() == (other.folder / "dataset.json").read_bytes()


def test_an_image_depends_on_seed_and_index_alone(job: ShardJob, hip_phantom: CaseFiles) -> None:
    run_local(replace(job, count=6, shard_size=50), workers=1)
    found = XrayDataset(job.folder)[5]
    specimen = load_specimen(hip_phantom, HIP)
    isocenter = specimen.structure_centroid(HIP.poses.isocenter)

    def image(seed: int, index: int) -> np.ndarray:
        return make_view(specimen, isocenter, HIP, job.settings, make_renderer(), seed, index)["image"]

    images = [image(7, 5), image(8, 5), image(7, 4)]
    assert np.array_equal(found.image, images[0])
    assert not np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def test_landmarks_and_masks_belong_to_the_image(job: ShardJob) -> None:
    run_local(job, workers=1)
    dataset = XrayDataset(job.folder)
    known = [name in ("FH-l", "FH-r", "ASIS-l", "ASIS-r") for name in HIP.landmark_names]
    for sample in (dataset[i] for i in range(len(dataset))):
        assert np.array_equal(np.isfinite(sample.landmarks).all(1), known)
        inside = np.all((sample.landmarks >= -0.5) & (sample.landmarks <= 31.5), axis=1)
        assert np.array_equal(sample.visible, inside)
        assert 0 <= sample.parameters["coverage"] <= 1 and sample.parameters["specimen"] == "ct"
        assert sample.image.min() >= 0 and sample.image.max() < 1.3
        bone = sample.mask > 0
        if bone.any() and not bone.all():
            assert np.median(sample.image[bone]) < np.median(sample.image[~bone])  # linear signal: bone is dark


def test_an_exposure_drawn_for_every_image_is_written_with_it(job: ShardJob, tmp_path: Path) -> None:
    ranges = parameter_ranges("cios-fusion")
    drawn = replace(job, settings=replace(job.settings, exposure_ranges=ranges))
    run_local(drawn, workers=1)
    run_local(replace(drawn, folder=tmp_path / "other"), workers=2)
    run_local(replace(job, folder=tmp_path / "fixed"), workers=1)
    assert shards(drawn.folder) == shards(tmp_path / "other")
    images, fixed = XrayDataset(drawn.folder), XrayDataset(tmp_path / "fixed")
    values = [images[i].parameters["exposure"] for i in range(10)]
    assert len({value["kvp"] for value in values}) == 10 and all(set(value) == set(ranges) for value in values)
    for i in range(10):  # neither pose nor mask knows of the exposure
        assert np.array_equal(images[i].mask, fixed[i].mask) and np.array_equal(images[i].landmarks, fixed[i].landmarks, equal_nan=True)
        assert not np.array_equal(images[i].image, fixed[i].image) and "exposure" not in fixed[i].parameters


def test_a_killed_run_resumes_to_the_same_bytes_and_renders_nothing_twice(job: ShardJob, tmp_path: Path) -> None:
    expected = replace(job, folder=tmp_path / "expected")
    run_local(expected, workers=1)
    # A child makes shard 0, begins shard 1 and is killed in the middle of writing it.
    script = tmp_path / "child.py"
    script.write_text(
        "import os, pickle, sys, time\n"
        "import SyntheXLib.simulation.job as module\n"
        "from SyntheXLib.datasets.format import write_header\n"
        "job = pickle.load(open(sys.argv[1], 'rb'))\n"
        "write_header(job.folder, job.header())\n"
        "maker = module.ShardMaker(job, threads=1)\n"
        "maker.make([0])\n"
        "def half(folder, shard, *_):\n"
        "    path = module.shard_is_valid.__globals__['shard_path'](folder, shard)\n"
        "    path.with_name(f'.{path.stem}.{os.getpid()}.part.h5').write_bytes(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "module.write_shard = half\n"
        "maker.make([1])\n",
        encoding="utf-8",
    )
    (tmp_path / "job.pickle").write_bytes(__import__("pickle").dumps(job))
    child = subprocess.Popen([sys.executable, str(script), str(tmp_path / "job.pickle")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    child.wait()
    folder = job.folder / "shards"
    assert shard_path(job.folder, 0).exists() and list(folder.glob(".00001*")) and list(folder.glob("*.claim"))
    finished = shard_path(job.folder, 0).stat().st_mtime_ns
    time.sleep(0.01)
    result = run_local(job, workers=1)
    assert (result.rendered, result.reused, result.complete) == (6, 4, True)
    assert shard_path(job.folder, 0).stat().st_mtime_ns == finished
    assert shards(job.folder) == shards(expected.folder)
    assert sorted(p.suffix for p in folder.iterdir()) == [".h5"] * 3 + [".json"] * 3  # no leftovers


def test_a_truncated_shard_is_rendered_anew(job: ShardJob) -> None:
    run_local(job, workers=1)
    expected = shards(job.folder)
    shard_path(job.folder, 1).write_bytes(b"short")
    result = run_local(job, workers=1)
    assert (result.rendered, result.reused) == (4, 6)
    assert shards(job.folder) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancel_leaves_finished_shards_and_nothing_else(job: ShardJob, workers: int) -> None:
    job = replace(job, count=400)
    seen: list[int] = []
    result = run_local(job, workers, lambda done, total: seen.append(done), lambda: bool(seen) and seen[-1] >= 6)
    assert not result.complete and 0 < result.rendered < 400
    names = {path.stem for path in (job.folder / "shards").iterdir()}
    assert all(shard_path(job.folder, int(n)).exists() and sidecar_path(job.folder, int(n)).exists() for n in names)
    assert result.rendered == 4 * len(names)


def test_a_bad_case_is_told_before_anything_is_written(job: ShardJob, tmp_path: Path) -> None:
    bad = replace(job, cases=(replace(job.cases[0], ct=tmp_path / "none.nii.gz"),))
    with pytest.raises(SyntheXError, match=r"The ct file .*none.nii.gz of case none does not exist"):
        run_local(bad, workers=1)
    assert not (job.folder / "dataset.json").exists()


def test_an_error_in_a_worker_reaches_the_caller(job: ShardJob, tmp_path: Path) -> None:
    text = tmp_path / "text.nii.gz"
    text.write_text("not an image", encoding="utf-8")
    with pytest.raises(SyntheXError, match="cannot be read"):
        run_local(replace(job, cases=(replace(job.cases[0], ct=text),)), workers=2)


def test_a_view_that_misses_the_ct_is_told(job: ShardJob, hip_phantom: CaseFiles) -> None:
    far = replace(HIP, poses=replace(HIP.poses, translation_lr_mm=(5000.0, 5000.0)))
    with pytest.raises(SyntheXError, match="Image 0: no ray hits the CT of ct"):
        run_local(replace(job, task=far), workers=1)


def test_coverage_is_the_share_of_rays_through_a_cut_end(hip_phantom: CaseFiles) -> None:
    specimen = load_specimen(hip_phantom, HIP)  # a body of 100 x 200 mm axes that leaves the CT at both ends (z = -120, 120 mm)
    center = np.zeros(3)
    inside = ct_coverage(specimen, task_camera(HIP.c_arm, CArmPose().world_to_camera(center)))
    assert inside == (0.0, True)  # the beam is +-109 mm high where it leaves the body
    low = CArmPose(translation_is_mm=140.0)
    share, hit = ct_coverage(specimen, task_camera(HIP.c_arm, low.world_to_camera(center)))
    assert hit and 0.1 < share < 0.9
    along = CArmPose(cran_caud_deg=89.0)
    assert ct_coverage(specimen, task_camera(HIP.c_arm, along.world_to_camera(center)))[0] > 0.8


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"count": 0}, "count must be at least 1, found 0"), ({"seed": -1}, "must not be negative"), ({"cases": ()}, "at least one case")],
)
def test_impossible_jobs_are_told(job: ShardJob, change: dict, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        replace(job, **change)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"level": "real"}, "did you mean 'realistic'"),
        ({"level": "naive", "exposure_ranges": {"kvp": (60.0, 90.0)}}, "drawn for the realistic level alone"),
        ({"poisson_photons": 0}, "poisson_photons must be above 0"),
        ({"image_size": 4}, "at least 16 px"),
        ({"image_dtype": "int8"}, "float32 or float16"),
    ],
)
def test_impossible_views_are_told(change: dict, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        ViewSettings(**change)


def test_a_tool_and_finer_rays_change_the_images_and_are_written_down(job: ShardJob, tmp_path: Path) -> None:
    tool = tmp_path / "wire.toml"
    tool.write_text('kind = "k_wire"\nlength_mm = 100.0\norigin_mm = [0, 0, 0]\naxis = [0, 0, 1]\n', encoding="utf-8")
    plain = ViewSettings("naive", image_size=32)
    images = {}
    for name, chosen in (("plain", plain), ("tool", replace(plain, oversample=2, tool_files=(str(tool),)))):
        one = replace(job, folder=tmp_path / name, settings=chosen, count=1)
        run_local(one, workers=1)
        images[name] = XrayDataset(one.folder)[0].image
    assert images["tool"].shape == images["plain"].shape
    assert (images["plain"] - images["tool"]).max() > 0.05
    written = read_header(tmp_path / "tool").configuration
    assert written["oversample"] == 2 and "k_wire" in written["tool_files"][0]["text"]
    with pytest.raises(SyntheXError, match="1 to 8 rays"):
        ViewSettings(oversample=0)
    with pytest.raises(SyntheXError, match="does not exist"):
        ViewSettings(tool_files=("missing.toml",))


def test_bits_are_binned_by_half_of_the_rays() -> None:
    bits = np.zeros((4, 4), np.uint16)
    bits[0, 0] = bits[0, 1] = 1
    bits[2:, 2:] = 2
    bits[2, 0] = 3
    assert np.array_equal(binned_bits(bits, 2, 2), [[1, 0], [0, 2]])


def test_scatter_can_come_from_photons_followed_one_by_one(job: ShardJob, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    images = []
    for name, photons in (("kernels", None), ("transport", 20_000), ("again", 20_000)):
        one = replace(job, folder=tmp_path / name, settings=replace(job.settings, scatter_photons=photons), count=1)
        run_local(one, workers=1)
        images.append(XrayDataset(one.folder)[0].image)
    assert np.array_equal(images[1], images[2]) and not np.array_equal(images[0], images[1])
    assert np.isclose(images[0].mean(), images[1].mean(), rtol=0.2)
    with pytest.raises(SyntheXError, match="realistic level"):
        ViewSettings("naive", scatter_photons=10)
