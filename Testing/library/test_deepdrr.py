"""DeepDRR as a renderer: protocol, self-test and environment, with stand-ins for the child process and for the package."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import Decomposition
from SyntheXLib.rendering.deepdrr import environment, protocol, self_test
from SyntheXLib.rendering.deepdrr.backend import DeepDrrRenderer
from SyntheXLib.rendering.deepdrr.protocol import DeepDrrProcess
from SyntheXLib.rendering.deepdrr.volume import density_volume
from SyntheXLib.rendering.exposure import Exposure
from SyntheXLib.rendering.projection import HU_CUTS
from SyntheXLib.rendering.realistic import primary_transmission
from SyntheXLib.rendering.renderer import expose, make_renderer
from SyntheXLib.scene.c_arm import Camera, CArm, task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.solids import Cylinder
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.tools import Tool, ToolPart
from SyntheXLib.tasks.task import load_task

HERE = Path(__file__).parent
pytestmark = [pytest.mark.skipif(os.name == "nt", reason="the stand-ins rely on POSIX"), pytest.mark.usefixtures("deepdrr_cache")]


def view(size: int = 48) -> Camera:
    pose = CArmPose(lao_rao_deg=20, cran_caud_deg=-10, source_to_isocenter_mm=700)
    return CArm(rows=size, columns=size, pixel_spacing_mm=150 / size, source_to_detector_mm=1000).camera(pose.world_to_camera(np.zeros(3)))


def gone(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] == "Z":
                return True
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


# --- protocol ---------------------------------------------------------------------------------------------------------------------------


def test_handshake_and_arrays(deepdrr_stand_in: Path) -> None:
    process = DeepDrrProcess(deepdrr_stand_in)
    assert process.hello["device"] == "Stand-in GPU" and process.alive
    assert process.request("render", shape=[2, 3], image="image.npy") == {}
    assert np.array_equal(process.load("image.npy"), np.ones((2, 3)))
    process.close()
    process.close()
    assert not process.alive and not process.folder.exists()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("crash", r"ended during 'render' \(exit status 3\): CUDA ran out of memory\.$"),
        ("orphan", r"ended during 'render' \(exit status 4\)\.$"),
        ("chatter", "answer 'render' with JSON, found 'Loading the kernel ...'"),
        ("error", "no such material"),
        ("hang", "did not answer 'render' within 0.5 s and was ended"),
    ],
)
def test_failures_are_one_sentence_and_leave_nothing(
    deepdrr_stand_in: Path, mode: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STAND_IN", mode)
    monkeypatch.setenv("STAND_IN_PIDS", str(tmp_path / "pids"))
    monkeypatch.setitem(protocol.TIME_LIMITS, "render", 0.5 if mode == "hang" else 20.0)
    process = DeepDrrProcess(deepdrr_stand_in)
    with pytest.raises(SyntheXError, match=expected) as caught:
        process.request("render", shape=[2, 2], image="image.npy")
    assert "\n" not in str(caught.value)
    if mode in ("hang", "orphan"):
        assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split())
    assert process.alive == (mode == "error")  # an error that the child tells is not its end
    process.close()


def test_a_cancel_ends_the_process_and_its_children(deepdrr_stand_in: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    monkeypatch.setenv("STAND_IN_PIDS", str(tmp_path / "pids"))
    process = DeepDrrProcess(deepdrr_stand_in)
    assert process.request("render", lambda: (tmp_path / "pids").exists(), shape=[2, 2], image="image.npy") is None
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split())


def test_another_protocol_is_told(deepdrr_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "protocol")
    with pytest.raises(SyntheXError, match="speaks protocol 99, expected 1"):
        DeepDrrProcess(deepdrr_stand_in)


def test_a_missing_interpreter_is_told(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"Cannot start DeepDRR's Python .*python: No such file"):
        DeepDrrProcess(tmp_path / "python")


def test_an_image_that_was_not_written_is_told(
    deepdrr_stand_in: Path, ball: tuple[Specimen, np.ndarray, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "no image")
    test = self_test.SelfTest("1.2.2", "Stand-in GPU", (0, 0, 0), 0, 1)
    renderer = DeepDrrRenderer(make_renderer("own"), deepdrr_stand_in, test)
    with pytest.raises(SyntheXError, match="expected to write an image"):
        renderer.render(Scene(ball[0]), view())
    renderer.close()


def test_the_end_of_the_parent_is_the_end_of_the_child(tmp_path: Path) -> None:
    """The child finds the end of its input, ends, and removes the folder that the parent could not."""
    import subprocess

    folder = tmp_path / "shared"
    folder.mkdir()
    subprocess.run([sys.executable, protocol.CHILD, folder], stdin=subprocess.DEVNULL, check=True, timeout=30)
    assert not folder.exists()


# --- volume -----------------------------------------------------------------------------------------------------------------------------


def test_every_voxel_attenuates_at_the_cts_energy_as_its_hu_say() -> None:
    hu = np.arange(-1024, 3072, dtype=np.int16).reshape(16, 16, 16)
    volume = density_volume(hu, HU_CUTS, Decomposition())
    assert volume.density.shape == hu.shape and volume.labels.max() == len(volume.materials) - 1
    assert volume.materials[0] == "air" and all(abs(sum(parts.values()) - 1) < 0.02 for parts in volume.compounds.values())
    water = float(mass_attenuation("water", 70.0))
    for name in ("air", "lung", "soft_tissue", "titanium"):
        inside = volume.labels == volume.materials.index(name)
        found = volume.density[inside] * float(mass_attenuation(name, 70.0))
        assert np.allclose(found, np.maximum(water * (1 + hu[inside] / 1000.0), 0), rtol=1e-5)
    bone = volume.density[(hu >= 350) & (hu < 2000)]
    assert 1.0 < bone.min() < 1.4 and 2.0 < bone.max() < 2.4  # g/cm3
    with pytest.raises(SyntheXError, match="six HU classes"):
        density_volume(hu, (0.0,), Decomposition())


# --- self-test and renderer, with the real child and a package that stands in for DeepDRR -----------------------------------------------


@pytest.mark.parametrize(("fake", "found"), [("1", 1), ("0", 0), ("0.5", None), ("2", None)])
def test_the_displacement_is_measured_and_only_a_known_one_accepted(
    deepdrr_installed: Path, monkeypatch: pytest.MonkeyPatch, fake: str, found: int | None
) -> None:
    monkeypatch.setenv("FAKE_SHIFT", fake)
    if found is None:
        with pytest.raises(SyntheXError, match=rf"0 or 1 voxel along each axis, found \({float(fake):.1f}"):
            environment.ready()
        assert self_test.stored_test(deepdrr_installed) is None
        return
    python, test = environment.ready()
    assert (python, test.shift, test.deepdrr) == (deepdrr_installed, found, "1.2.2")
    assert np.allclose(test.displacement, found, atol=0.05) and abs(test.absorption - 1) < 0.03
    assert self_test.stored_test(deepdrr_installed) == test
    monkeypatch.setattr(environment, "DeepDrrProcess", None)  # a stored result needs no process
    assert environment.ready() == (python, test)


@pytest.mark.parametrize("shift", ["0", "1"])
def test_the_primary_beam_is_in_place_and_agrees_with_ours(
    deepdrr_installed: Path, monkeypatch: pytest.MonkeyPatch, ball: tuple[Specimen, np.ndarray, float], shift: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_SHIFT", shift)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log.json"))
    specimen, camera, exposure = ball[0], view(), Exposure(kvp=80)
    renderer = make_renderer("deepdrr")
    expose(renderer, exposure)
    assert renderer.name == f"deepdrr-1.2.2+{make_renderer().name}"
    projection, own = renderer.render(Scene(specimen), camera), make_renderer().render(Scene(specimen), camera)
    assert projection is not None and own is not None and projection.primary is not None
    for name in ("path_length", "hu_integral", "label_bits"):
        assert np.array_equal(getattr(projection, name), getattr(own, name))
    expected = primary_transmission(own, camera, exposure)
    assert projection.primary.dtype == np.float32 and projection.primary.shape == camera.shape
    assert np.abs(projection.primary - expected).mean() < 0.0015  # a voxel's displacement makes it 0.0055
    assert abs(projection.primary.max() - 1) < 1e-3
    record = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    assert not any(record[name] for name in ("add_noise", "neglog", "attenuate_outside_volume", "collected_energy"))
    assert record["step"] == 0.5 and record["distance"] == 1000 and record["border"] == 0
    assert record["shape"] == [size + 4 for size in specimen.hu.shape[::-1]] and record["names"][0] == "air"
    first = specimen.ijk_to_ras @ [*[-2.0 - int(shift)] * 3, 1]
    assert np.allclose(record["origin"], first[:3]) and record["first_eV"] > 1000
    turned = renderer.render(Scene(replace(specimen, name="other")), view(32))  # another specimen, another frame
    assert turned is not None and turned.primary is not None and turned.primary.shape == (32, 32)
    assert renderer.render(Scene(specimen), camera, lambda: True) is None


def test_a_cancel_while_deepdrr_renders_gives_nothing_and_the_next_view_works(
    deepdrr_installed: Path, ball: tuple[Specimen, np.ndarray, float]
) -> None:
    renderer = make_renderer("deepdrr")
    assert isinstance(renderer, DeepDrrRenderer)

    class Own:
        cuts, name = HU_CUTS, "own"

        def __init__(self) -> None:
            self.projection = make_renderer().render(Scene(ball[0]), view())

        def render(self, *_: object) -> object:
            return self.projection

    renderer._own = Own()
    assert renderer.render(Scene(ball[0]), view(), lambda: True) is None
    found = renderer.render(Scene(ball[0]), view())
    assert found is not None and found.primary is not None


def test_data_set_has_our_labels_and_landmarks(
    deepdrr_installed: Path, hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels), "--landmarks", str(hip_phantom.landmarks)]
    options = ["simulate", *case, "--count", "2", "--image-size", "32", "--workers", "1"]
    sets = {}
    for renderer in ("own", "deepdrr"):
        out = tmp_path / renderer
        assert main([*options, "--out", str(out), "--renderer", renderer]) == 0
        sets[renderer] = XrayDataset(out)
    header = json.loads((tmp_path / "deepdrr" / "dataset.json").read_text(encoding="utf-8"))
    assert header["configuration"]["renderer"] == f"deepdrr-1.2.2+{make_renderer().name}"
    for index in range(2):
        own, other = sets["own"][index], sets["deepdrr"][index]
        assert np.array_equal(own.mask, other.mask) and np.array_equal(own.landmarks, other.landmarks, equal_nan=True)
        assert not np.array_equal(own.image, other.image)  # the other image is DeepDRR's ...
        assert np.corrcoef(own.image.ravel(), other.image.ravel())[0, 1] > 0.9  # ... of the same view
    capsys.readouterr()
    bad = [*options, "--out", str(tmp_path / "bad"), "--renderer", "deepdrr", "--level", "naive"]
    assert main(bad) == 2
    assert "makes the realistic level alone, found level 'naive'" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_bone_agrees_with_ours(deepdrr_installed: Path, hip_phantom: CaseFiles) -> None:
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    pose = CArmPose(lao_rao_deg=20, cran_caud_deg=-10, source_to_isocenter_mm=700)
    camera = task_camera(task.c_arm, pose.world_to_camera(specimen.structure_centroid(task.poses.isocenter)), 32)
    projection = make_renderer("deepdrr").render(Scene(specimen), camera)
    assert projection is not None and projection.primary is not None
    expected = primary_transmission(projection, camera, Exposure())
    bone = projection.path_length[4] > 40
    ratio = projection.primary[bone] / expected[bone]
    assert bone.sum() > 50 and abs(np.median(ratio) - 1) < 0.03


def test_tools_are_cut_into_the_image_by_our_own_caster(deepdrr_installed: Path, ball: tuple[Specimen, np.ndarray, float]) -> None:
    wire = Tool("wire", (ToolPart("wire", Cylinder(1.5, -40, 40), "steel_316l"),))
    renderer, camera, exposure = make_renderer("deepdrr"), view(), Exposure()
    bare, with_tool = (renderer.render(Scene(ball[0], tools), camera) for tools in ((), (wire,)))
    assert bare is not None and with_tool is not None and bare.primary is not None and with_tool.primary is not None
    hit = with_tool.tool_path["steel_316l"] > 0
    assert 20 < hit.sum() < 400 and np.array_equal(bare.primary[~hit], with_tool.primary[~hit])
    expected = primary_transmission(with_tool, camera, exposure) / primary_transmission(bare, camera, exposure)
    assert np.allclose(with_tool.primary[hit], (bare.primary * expected)[hit]) and expected[hit].max() < 1
