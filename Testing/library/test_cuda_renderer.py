"""The Warp ray caster, on Warp's CPU device and where there is one on a GPU, against the numpy oracle and closed forms."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.cuda import CudaRenderer, cuda_state
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.reference import ReferenceRenderer
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.rendering.warp_kernel import joseph_kernel
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen, make_specimen

wp = pytest.importorskip("warp", reason="warp-lang is not installed (pip install warp-lang)")
HAS_GPU = wp.is_cuda_available()
# One view for each axis of the CT that may be the dominant one, and one between.
VIEWS = {
    "j": CArmPose(),
    "between": CArmPose(lao_rao_deg=35, cran_caud_deg=-20, roll_deg=12),
    "i": CArmPose(lao_rao_deg=-95),
    "k": CArmPose(cran_caud_deg=80, roll_deg=-40),
}
views = pytest.mark.parametrize("pose", VIEWS.values(), ids=VIEWS)
FIELDS = ("path_length", "hu_integral", "label_bits")


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not HAS_GPU, reason="no CUDA device"))])
def renderer(request: pytest.FixtureRequest) -> CudaRenderer:
    return CudaRenderer(device=request.param)


def view(pose: CArmPose, shape: tuple[int, int] = (61, 77)) -> Camera:
    return CArm(1536, 1536, 0.194, 1020).camera(pose.world_to_camera(np.array([7.0, -5.0, 3.0])), shape=shape)


def water_mm(projection: Projection) -> np.ndarray:
    return (projection.hu_integral + 1000 * projection.path_length).sum(0) / 1000


def rough_specimen(structures: int = 2, seed: int = 5) -> Specimen:
    """Blocks of any HU and overlapping labels, oblique."""
    rng = np.random.default_rng(seed)
    hu = np.kron(rng.uniform(-1500, 3200, (9, 11, 10)), np.ones((4, 4, 4)))
    masks = {f"s{n}": np.kron(rng.uniform(size=(9, 11, 10)) > 0.7, np.ones((4, 4, 4))) > 0 for n in range(structures)}
    return make_specimen("rough", hu, affine(hu.shape, (2.0, 2.2, 2.6), OBLIQUE), masks, list(masks))


def flipped(specimen: Specimen) -> Specimen:
    """The same specimen with its i and k axes turned round."""
    matrix = specimen.ijk_to_ras.copy()
    for column, size in ((0, specimen.hu.shape[2]), (2, specimen.hu.shape[0])):
        matrix[:3, 3] += matrix[:3, column] * (size - 1)
        matrix[:3, column] *= -1
    hu, labels = (np.ascontiguousarray(array[::-1, :, ::-1]) for array in (specimen.hu, specimen.labels))
    return replace(specimen, hu=hu, labels=labels, ijk_to_ras=matrix)


def check(found: Projection | None, expected: Projection | None) -> None:
    assert found is not None and expected is not None
    assert found.path_length.dtype == found.hu_integral.dtype == np.float32
    assert found.label_bits.dtype == expected.label_bits.dtype
    assert np.abs(water_mm(found) - water_mm(expected)).max() < 1e-4 * water_mm(expected).max()
    for name in FIELDS[:2]:
        differs = np.abs(getattr(found, name) - getattr(expected, name)) > 1e-4 * np.abs(getattr(expected, name)).max()
        # The air at the very end of the CT, or a value on a cut, may be counted or not.
        assert differs[0].mean() < 3e-3 and differs[1:].sum() <= 3, name
    assert (found.label_bits != expected.label_bits).mean() < 2e-3


@views
@pytest.mark.parametrize("structures", [0, 2, 16, 20, 32])
def test_it_agrees_with_the_oracle(renderer: CudaRenderer, pose: CArmPose, structures: int) -> None:
    specimen = rough_specimen(max(structures, 1))
    if structures == 0:
        specimen = replace(specimen, labels=np.zeros_like(specimen.labels))
    scene, camera = Scene(specimen), view(pose)
    found = renderer.render(scene, camera)
    check(found, ReferenceRenderer().render(scene, camera))
    assert found is not None and found.label_bits.dtype == (np.uint16 if structures <= 16 else np.uint32)


@views
def test_a_flipped_ct_gives_the_same_picture(renderer: CudaRenderer, pose: CArmPose) -> None:
    specimen, camera = rough_specimen(), view(pose)
    check(renderer.render(Scene(flipped(specimen)), camera), ReferenceRenderer().render(Scene(specimen), camera))


@views
def test_area_densities_agree_within_a_thousandth(renderer: CudaRenderer, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float]) -> None:
    scene, camera = Scene(ball[0]), view(pose)
    found, expected = (r.render(scene, camera) for r in (renderer, ReferenceRenderer()))
    assert found is not None and expected is not None
    assert np.abs(water_mm(found) - water_mm(expected)).max() < 1e-3 * water_mm(expected).max()


@pytest.mark.parametrize("cuts", [(), (350.0,), (-900.0, -800.0, -130.0, 0.0, 350.0, 1000.0, 2000.0)])
def test_any_number_of_classes(renderer: CudaRenderer, cuts: tuple[float, ...]) -> None:
    scene, camera = Scene(rough_specimen()), view(VIEWS["between"])
    found = CudaRenderer(cuts, str(renderer.device)).render(scene, camera)
    assert found is not None and len(found.path_length) == len(cuts) + 1
    check(found, ReferenceRenderer(cuts).render(scene, camera))


@views
def test_without_the_turned_copy_nothing_changes(renderer: CudaRenderer, pose: CArmPose) -> None:
    scene, camera = Scene(rough_specimen(20)), view(pose)
    found, expected = (CudaRenderer(device=str(renderer.device), turn=turn).render(scene, camera) for turn in (False, True))
    assert found is not None and expected is not None
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in FIELDS)


def box_chord(camera: Camera, limits: np.ndarray) -> np.ndarray:
    """Length of every pixel's ray in a box along the axes of the oblique CT, mm."""
    origin, rays = OBLIQUE.T @ camera.source, camera.rays() @ (OBLIQUE.T @ camera.world_to_camera[:3, :3].T).T
    one, two = (limits[0] - origin) / rays, (limits[1] - origin) / rays
    depth = np.maximum(one, two).min(-1) - np.minimum(one, two).max(-1)
    return np.maximum(depth, 0) * np.linalg.norm(rays, axis=-1)


@views
def test_label_paths_are_the_chords(renderer: CudaRenderer, pose: CArmPose, box: tuple[Specimen, np.ndarray]) -> None:
    (specimen, limits), camera = box, view(pose)
    found, expected = renderer.render(Scene(specimen), camera, label_paths=True), box_chord(camera, limits)
    assert found is not None and found.label_path is not None and found.label_path.shape == (1, *camera.shape)
    error = np.abs(found.label_path[0] - expected)
    assert error.max() < 2 * specimen.spacing_mm.max() and error.mean() < 0.3  # the ends of a chord fall between planes
    assert np.isclose(found.label_path.sum(), expected.sum(), rtol=2e-3)
    plain = renderer.render(Scene(specimen), camera)
    assert plain is not None and plain.label_path is None
    assert np.array_equal(found.path_length, plain.path_length)


@pytest.mark.parametrize("structures", [3, 32])
def test_label_paths_and_bits_tell_the_same(renderer: CudaRenderer, structures: int) -> None:
    found = renderer.render(Scene(rough_specimen(structures)), view(VIEWS["between"]), label_paths=True)
    assert found is not None and found.label_path is not None and len(found.label_path) == structures
    for bit, lengths in enumerate(found.label_path):
        assert np.array_equal(lengths > 0, (found.label_bits >> bit) & 1 == 1)


@views
def test_every_second_plane_gives_a_preview(renderer: CudaRenderer, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float]) -> None:
    scene, camera = Scene(ball[0]), view(pose)
    whole, preview = (renderer.render(scene, camera, label_paths=True, plane_step=step) for step in (1, 2))
    assert whole is not None and preview is not None and whole.label_path is not None and preview.label_path is not None
    assert np.abs(water_mm(preview) - water_mm(whole)).mean() < 0.02 * water_mm(whole).max()
    for a, b in ((water_mm(preview), water_mm(whole)), (preview.label_path, whole.label_path)):
        assert np.isclose(a.sum(), b.sum(), rtol=0.01)


def test_a_batch_is_its_views(renderer: CudaRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SyntheXLib.rendering.cuda._BATCH_BYTES", 61 * 77 * 4 * 13 * 3)  # three views at a time
    scene, cameras = Scene(rough_specimen()), [view(pose) for pose in VIEWS.values()]
    batch = list(renderer.render_batch(scene, cameras, label_paths=True))
    assert len(batch) == len(cameras)
    for found, camera in zip(batch, cameras, strict=True):
        expected = renderer.render(scene, camera, label_paths=True)
        assert expected is not None
        assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in (*FIELDS, "label_path"))


def test_chunks_of_a_render_that_may_be_cancelled_change_nothing(renderer: CudaRenderer) -> None:
    scene, camera = Scene(rough_specimen()), view(VIEWS["between"], (300, 40))
    found, expected = renderer.render(scene, camera, cancelled=lambda: False), renderer.render(scene, camera)
    assert found is not None and expected is not None
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in FIELDS)


@pytest.mark.parametrize("answers", [(True,), (False, True), (False, False, False, True)])
def test_a_cancelled_render_gives_nothing(renderer: CudaRenderer, answers: tuple[bool, ...]) -> None:
    asked = iter(answers)
    assert renderer.render(Scene(rough_specimen()), view(VIEWS["j"], (300, 40)), cancelled=lambda: next(asked)) is None


def test_torch_takes_the_arrays_without_a_copy(renderer: CudaRenderer) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if renderer.device.is_cuda and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    scene, cameras = Scene(rough_specimen()), [view(pose) for pose in VIEWS.values()]
    views = renderer.cast(scene, cameras, label_paths=True)
    path, total, bits, lengths = views.torch()
    assert path.data_ptr() == views.path_length.ptr and bits.data_ptr() == views.label_bits.ptr
    assert path.shape == total.shape == (4, len(HU_CUTS) + 1, 61, 77) and bits.shape == (4, 61, 77) and lengths.shape == (4, 2, 61, 77)
    host = views.host()
    assert np.array_equal(path[2].cpu().numpy(), host[2].path_length)
    assert np.array_equal(bits[2].cpu().numpy(), host[2].label_bits)
    del views  # the tensors keep the memory
    assert np.array_equal(total[1].cpu().numpy(), host[1].hu_integral)


def test_views_of_several_sizes_are_told(renderer: CudaRenderer) -> None:
    scene = Scene(rough_specimen())
    with pytest.raises(SyntheXError, match=r"one image size, found \[\(20, 20\), \(30, 20\)\]"):
        renderer.cast(scene, [view(VIEWS["i"], (20, 20)), view(VIEWS["i"], (30, 20))])
    with pytest.raises(SyntheXError, match=r"one image size, found no camera"):
        renderer.cast(scene, [])


def test_a_ct_beyond_32_bits_is_told(renderer: CudaRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SyntheXLib.rendering.cuda._MOST_VOXELS", 1000)
    with pytest.raises(SyntheXError, match=r"CT of rough: the CUDA renderer takes at most 1000 voxels"):
        CudaRenderer(device=str(renderer.device)).render(Scene(rough_specimen()), view(VIEWS["i"]))


def test_the_name_tells_the_device(renderer: CudaRenderer) -> None:
    assert renderer.name == ("cuda-warp" if renderer.device.is_cuda else "warp-cpu")


@pytest.mark.skipif(HAS_GPU, reason="there is a CUDA device")
def test_a_missing_gpu_is_told() -> None:
    with pytest.raises(SyntheXError, match=r"'cuda' needs an NVIDIA GPU"):
        make_renderer("cuda")
    assert cuda_state().startswith("none: ")


def test_an_unknown_device_is_told() -> None:
    with pytest.raises(SyntheXError, match=r"Unknown device 'gpu'|needs an NVIDIA GPU"):
        CudaRenderer(device="gpu")


def test_a_missing_warp_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(SyntheXError, match=r"needs the package warp-lang"):
        make_renderer("cuda")


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA device")
@views
def test_gpu_and_cpu_give_the_same(pose: CArmPose) -> None:
    scene, camera = Scene(rough_specimen(20)), view(pose)
    check(make_renderer("cuda").render(scene, camera), CudaRenderer(device="cpu").render(scene, camera))


@pytest.mark.skipif(sys.platform == "darwin", reason="Warp for macOS has no CUDA compiler")
@pytest.mark.parametrize("structures", [0, 32])
def test_the_kernel_compiles_for_a_gpu_and_keeps_its_sums_in_registers(tmp_path: Path, structures: int) -> None:
    kernel = joseph_kernel((-500.0, *HU_CUTS[1:], 3000.0, 4000.0, 5000.0), True, structures, 1)  # eight classes
    wp.compile_aot_module(kernel.module, arch=90, module_dir=tmp_path, use_ptx=True)  # an H100's; no GPU is needed for that
    (code,) = (path.read_bytes() for path in tmp_path.glob("*.ptx"))
    assert b"ld.global" in code and b".local" not in code
