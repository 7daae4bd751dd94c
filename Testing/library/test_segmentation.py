"""`synthex segment`: by a network against the direct threshold, and by a stand-in for TotalSegmentator."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, affine, world_grid

from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, ijk_to_ras, itk_image, read_image, read_label_names
from SyntheXLib.segmentation import totalsegmentator
from SyntheXLib.segmentation.label_grid import labels_on_grid
from SyntheXLib.tasks.task import load_task

FLIPPED = OBLIQUE @ np.array([[0.0, -1, 0], [0, 0, 1], [-1, 0, 0]])  # other order and directions of the axes
SHAPE = (30, 40, 34)


def save_ct(path: Path, rotation: np.ndarray) -> np.ndarray:
    """A block of bone with a hook, off centre, in soft tissue and air; returns where HU are above 400."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[2:-2, 3:-3, 4:-4] = 40
    hu[8:20, 6:30, 10:18] = 700
    hu[15:18, 6:12, 18:27] = 900
    sitk.WriteImage(itk_image(hu, affine(SHAPE, (1.5, 2.0, 2.5), rotation)), str(path))
    return np.asarray(hu > 400)


def metadata(**own: object) -> dict:
    channels = {"0": "background", "1": "hip_left"}
    form = {"inputs": {"image": {"spatial_shape": [16, 16, 16]}}, "outputs": {"pred": {"channel_def": channels}}}
    return {"network_data_format": form, "synthex": own}


def threshold_network(path: Path, extra: dict[str, dict], at: float = 0.4) -> Path:
    """TorchScript that says bone above a threshold; HU 0 to 1000 become 0 to 1."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")

    class Threshold(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.at = at

        def forward(self, image):  # type: ignore[no-untyped-def]
            return torch.cat([image <= self.at, image > self.at], 1).float()

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(Threshold()), str(path), _extra_files={name: json.dumps(text) for name, text in extra.items()})
    return path


@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE, FLIPPED], ids=["straight", "oblique", "flipped"])
def test_a_network_that_thresholds_gives_the_threshold(tmp_path: Path, rotation: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    bone = save_ct(tmp_path / "ct.nii.gz", rotation)
    network = threshold_network(tmp_path / "net.ts", {"metadata.json": metadata(hu_range=[0, 1000], orientation="LPS")})
    out = tmp_path / "made" / "seg.nii.gz"
    assert main(["segment", "--ct", str(tmp_path / "ct.nii.gz"), "--out", str(out), "--model", str(network), "--device", "cpu"]) == 0
    found = read_image(out)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), bone)
    np.testing.assert_allclose(ijk_to_ras(found), ijk_to_ras(read_image(tmp_path / "ct.nii.gz")), atol=1e-4)
    assert sorted(path.name for path in out.parent.iterdir()) == ["seg.csv", "seg.nii.gz"]
    assert read_label_names(out.with_name("seg.csv")) == {1: "hip_left"}
    assert "1 of 1 structures (hip_left); names in seg.csv" in capsys.readouterr().out


@pytest.mark.parametrize("rotation", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
def test_the_axes_and_voxels_that_the_network_sees_are_those_it_asked_for(tmp_path: Path, rotation: np.ndarray) -> None:
    pytest.importorskip("torch")
    from SyntheXLib.segmentation.model import ModelOptions, load_model

    bone = save_ct(tmp_path / "ct.nrrd", rotation)
    ct = read_image(tmp_path / "ct.nrrd")
    model = load_model(threshold_network(tmp_path / "net.ts", {"metadata.json": metadata()}), ModelOptions("SAL", 1.0, (0, 1000), 20))
    seen, matrix = model.preprocessing(ct)
    axes = matrix[:3, :3]
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), 1.0, atol=1e-6)
    assert [int(np.abs(axes[:, n]).argmax()) for n in range(3)] == [2, 1, 0]  # S, A, L
    assert [float(np.sign(axes[place, n])) for n, place in enumerate((2, 1, 0))] == [1, 1, -1]
    assert (float(seen.min()), float(seen.max())) == (0, pytest.approx(0.9, abs=1e-3))
    found = sitk.GetArrayFromImage(model.segment(ct, "cpu")) == 1
    assert 2 * (found & bone).sum() / (found.sum() + bone.sum()) > 0.9  # through voxels of another size


def test_a_bundle_brings_its_own_preprocessing_and_window_and_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bone = save_ct(tmp_path / "ct.nii.gz", FLIPPED)
    inference = {
        "image_key": "image",
        "limits": {"high": "$10 * 100"},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "@image_key",
                    "a_min": 0,
                    "a_max": "@limits::high",
                    "b_min": 0,
                    "b_max": 1,
                    "clip": True,
                },
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [12, 14, 16], "overlap": 0.5, "mode": "constant"},
    }
    bundle, out = tmp_path / "bundle", tmp_path / "seg.nrrd"
    threshold_network(bundle / "models" / "model.ts", {})
    (bundle / "configs").mkdir()
    for name, text in (("metadata", metadata()), ("inference", inference)):
        (bundle / "configs" / f"{name}.json").write_text(json.dumps(text), encoding="utf-8")
    command = ["segment", "--ct", str(tmp_path / "ct.nii.gz"), "--out", str(out), "--model", str(bundle), "--device", "cpu"]
    assert main(command) == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(out)), bone)
    for step, expected in (
        ({"_target_": "os.system", "command": "echo"}, "has the step system"),
        ({"_target_": "Spacingd", "pixdim": "$__import__('os').getcwd()"}, "the expression"),
    ):
        inference["preprocessing"]["transforms"].append(step)  # type: ignore[index]
        (bundle / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
        assert main(command) == 2
        assert expected in capsys.readouterr().err
        inference["preprocessing"]["transforms"].pop()  # type: ignore[index]


def test_a_bundle_of_weights_alone_is_built_by_its_definition(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    from SyntheXLib.networks.bundle import load_bundle

    for folder in ("models", "configs"):
        (tmp_path / folder).mkdir()
    network = torch.nn.Conv3d(1, 2, 1)
    torch.save({"model": network.state_dict()}, tmp_path / "models" / "model.pt")
    definition = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    (tmp_path / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}), encoding="utf-8")
    image = torch.rand(1, 1, 3, 4, 5)
    assert torch.equal(load_bundle(tmp_path).network(image), network(image))


def test_slabs_bound_the_memory_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from SyntheXLib.segmentation import model as module

    bone = save_ct(tmp_path / "ct.nrrd", OBLIQUE)
    network = threshold_network(tmp_path / "net.ts", {"metadata.json": metadata(hu_range=[0, 1000])})
    model = module.load_model(network, module.ModelOptions(window=8))
    seen: list[tuple[int, int]] = []
    for budget in (1, 2 << 30):
        monkeypatch.setattr(module, "_SCORES_BYTES", budget)
        seen.clear()
        found = model.segment(read_image(tmp_path / "ct.nrrd"), "cpu", lambda done, total: seen.append((done, total)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), bone)
        assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1)) and len({total for _, total in seen}) == 1


def test_a_model_that_does_not_fit_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_ct(tmp_path / "ct.nii.gz", OBLIQUE)
    good = threshold_network(tmp_path / "net.ts", {"metadata.json": metadata()})
    bare = threshold_network(tmp_path / "bare.ts", {})
    (tmp_path / "three.csv").write_text("0,air\n1,hip_left\n2,hip_right\n", encoding="utf-8")
    (tmp_path / "text.ts").write_text("no network", encoding="utf-8")
    for arguments, expected in (
        (["--model", str(bare)], "in MONAI's metadata or by --channels, found 0"),
        (["--model", str(good), "--channels", str(tmp_path / "three.csv")], "expected 3 output channels"),
        (["--model", str(good), "--orientation", "RAX"], "orientation must be three of"),
        (["--model", str(good), "--hu-range", "5", "5"], "rising HU range"),
        (["--model", str(good), "--device", "abacus"], "Device 'abacus' is not available"),
        (["--model", str(good), "--fast"], "--fast is for --totalsegmentator"),
        (["--model", str(tmp_path / "text.ts")], "is no TorchScript file"),
        (["--model", str(tmp_path / "none")], "expected a TorchScript file or the folder of a MONAI bundle"),
        (["--model", str(good), "--out", str(tmp_path / "seg.png")], "expected a name that ends in"),
        (["--totalsegmentator", "--window", "4"], "are for --model"),
    ):
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "seg.nii.gz")]
        assert main(["segment", "--ct", str(tmp_path / "ct.nii.gz"), *out, *arguments]) == 2
        assert expected in capsys.readouterr().err
    assert not list(tmp_path.glob("*seg*"))


@pytest.mark.parametrize(("coarse", "fine"), [(3.0, 1.0), (2.0, 1.3)])
def test_labels_on_finer_voxels_have_smooth_borders(coarse: float, fine: float) -> None:
    def balls(spacing: float, rotation: np.ndarray) -> sitk.Image:
        """Two balls of 16 mm that touch, and an image that cuts off the second."""
        shape = tuple(round(side / spacing) for side in (60, 60, 66))
        matrix = affine(shape, spacing, rotation)
        points = world_grid(shape, matrix)
        first, second = (np.linalg.norm(points - (x, 2, -1), axis=-1) < 16 for x in (-17, 15))
        return itk_image((first * 1 + second * 200).astype(np.uint8), matrix)

    expected, source = balls(fine, OBLIQUE), balls(coarse, np.eye(3))
    found = labels_on_grid(source, expected)
    assert found.GetSize() == expected.GetSize() and found.GetPixelID() == source.GetPixelID()
    stepped = sitk.Resample(source, expected, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    wrong = [(sitk.GetArrayFromImage(image) != sitk.GetArrayFromImage(expected)).mean() for image in (found, stepped)]
    assert wrong[0] < 0.02 and wrong[0] < 0.8 * wrong[1]


# TotalSegmentator

PROGRAM = """#!{python}
import shutil, subprocess, sys, time
import numpy, SimpleITK
if sys.argv[1:] == ["--version"]:
    print("2.4.0")
    sys.exit()
place = lambda name: sys.argv[sys.argv.index(name) + 1]
open({told!r}, "w", encoding="utf-8").write("\\n".join(sys.argv[1:]))
print("Predicting part 1 of 2 ...", flush=True)
print("100%|####| 4/4\\rPredicting part 2 of 2 ...\\r 50%|##  | 2/4", flush=True)
{then}
ct = SimpleITK.ReadImage(place("-i"))
hu = SimpleITK.GetArrayFromImage(ct)
labels = ((hu > 400) * (77 + (numpy.indices(hu.shape)[2] > hu.shape[2] // 2))).astype(numpy.uint8)
labels[0, 0, 0] = 5  # the liver was not asked for
image = SimpleITK.GetImageFromArray(labels)
image.CopyInformation(ct)
SimpleITK.WriteImage(image, place("-o"))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Install a stand-in for TotalSegmentator that does something before it gives its result; returns where its arguments are kept."""
    if os.name != "posix":
        pytest.skip("the stand-in is a script with a shebang")

    def install(then: str = "") -> Path:
        path, told = tmp_path / "bin" / "TotalSegmentator", tmp_path / "told.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROGRAM.format(python=sys.executable, told=str(told), then=then), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv(totalsegmentator.VARIABLE, str(path))
        return told

    return install


def test_totalsegmentator_is_asked_for_the_tasks_structures_alone(tmp_path: Path, program, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    told = program()
    bone = save_ct(tmp_path / "ct.nrrd", FLIPPED)
    out = tmp_path / "seg.nii.gz"
    command = ["segment", "--ct", str(tmp_path / "ct.nrrd"), "--out", str(out), "--totalsegmentator", "--fast", "--device", "cuda:1"]
    assert main(command) == 0
    arguments = told.read_text(encoding="utf-8").splitlines()
    assert arguments[arguments.index("--task") + 1] == "total" and "--ml" in arguments and "--fast" in arguments
    assert arguments[arguments.index("--device") + 1] == "gpu:1"
    subset = set(arguments[arguments.index("--roi_subset") + 1 : arguments.index("--fast")])
    assert subset == {"hip_left", "hip_right", "femur_left", "femur_right", "vertebrae_S1", *(f"vertebrae_L{n}" for n in range(1, 6))}
    found = sitk.GetArrayFromImage(read_image(out))
    np.testing.assert_array_equal(found > 0, bone)
    assert set(np.unique(found)) == {0, 77, 78}
    names = read_label_names(tmp_path / "seg.csv")
    assert len(names) == 10 and names[77] == "hip_left" and names[27] == "vertebrae_L5"
    printed = capsys.readouterr()
    assert "2 of 10 structures (hip_left, hip_right)" in printed.out
    assert "TotalSegmentator: Predicting part 2 of 2 ..." in printed.err


def test_progress_of_totalsegmentator_counts_its_parts(tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    program()
    save_ct(tmp_path / "ct.nrrd", OBLIQUE)
    seen: list[tuple[int, int]] = []
    totalsegmentator.segment_by_totalsegmentator(
        read_image(tmp_path / "ct.nrrd"), load_task("hip"), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(50, 100), (75, 100), (100, 100)]


def test_what_totalsegmentator_says_when_it_fails_is_told(tmp_path: Path, program, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    program("print('no weights'); sys.exit(3)")
    save_ct(tmp_path / "ct.nrrd", OBLIQUE)
    command = ["segment", "--ct", str(tmp_path / "ct.nrrd"), "--out", str(tmp_path / "seg.nrrd"), "--totalsegmentator"]
    assert main(command) == 2
    assert "TotalSegmentator failed with status 3: no weights." in capsys.readouterr().err
    program("sys.exit()")
    assert main(command) == 2
    assert "ended without a result" in capsys.readouterr().err
    assert not (tmp_path / "seg.nrrd").exists()


def test_an_interrupt_ends_totalsegmentator_and_its_children(tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    child = tmp_path / "child"
    program(
        f"p = subprocess.Popen(['sleep', '60']); open({str(child)!r} + '.part', 'w').write(str(p.pid)); "
        f"shutil.move({str(child)!r} + '.part', {str(child)!r}); time.sleep(60)"
    )
    save_ct(tmp_path / "ct.nrrd", OBLIQUE)
    command = ["segment", "--ct", str(tmp_path / "ct.nrrd"), "--out", str(tmp_path / "seg.nrrd"), "--totalsegmentator"]
    run = subprocess.Popen([sys.executable, "-m", "SyntheXLib.cli", *command], stderr=subprocess.PIPE, encoding="utf-8")
    deadline = time.monotonic() + 60
    while not child.exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.05)
    run.terminate()  # which `synthex` takes as Ctrl-C; a shell's background jobs would ignore that
    _, printed = run.communicate(timeout=20)
    assert run.returncode == 130 and "interrupted" in printed
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(int(child.read_text(encoding="utf-8")), 0)
            time.sleep(0.05)
    assert not (tmp_path / "seg.nrrd").exists()


def test_without_totalsegmentator_it_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totalsegmentator, "find_spec", lambda name: None)
    monkeypatch.delenv(totalsegmentator.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SyntheXError, match=r"not installed: run 'pip install TotalSegmentator'.*SYNTHEX_TOTALSEGMENTATOR.*--model"):
        totalsegmentator.find_program()
    monkeypatch.setenv(totalsegmentator.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(SyntheXError, match="found no program there"):
        totalsegmentator.find_program()


def test_an_old_totalsegmentator_is_refused(program, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    told = program()
    path = told.with_name("bin") / "TotalSegmentator"
    path.write_text(path.read_text(encoding="utf-8").replace("2.4.0", "1.5.7"), encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"expected version 2 or later, found 1\.5\.7"):
        totalsegmentator.require_version_2(totalsegmentator.find_program())
    path.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n", encoding="utf-8")
    with pytest.raises(SyntheXError, match="does not tell its version"):
        totalsegmentator.require_version_2(totalsegmentator.find_program())


def test_the_made_label_map_is_a_case(hip_phantom: CaseFiles, tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    program()
    out = tmp_path / "seg.nii.gz"
    assert main(["segment", "--ct", str(hip_phantom.ct), "--out", str(out), "--totalsegmentator"]) == 0
    options = ["--ct", str(hip_phantom.ct), "--labels", str(out), "--label-names", str(tmp_path / "seg.csv"), "--count", "1"]
    assert main(["simulate", *options, "--image-size", "32", "--workers", "1", "--out", str(tmp_path / "data")]) == 0
    assert XrayDataset(tmp_path / "data")[0].mask.any()
