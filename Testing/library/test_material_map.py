"""Materials by label map and by network, against closed forms."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine

from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import area_density
from SyntheXLib.rendering.levels import Exposure, make_image
from SyntheXLib.rendering.material_map import MaterialCaster, MaterialMap, read_material_map, write_material_map
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.case_files import CaseFiles, itk_image
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen, make_specimen

SHAPE = (30, 40, 34)


@pytest.fixture(scope="module")
def layers() -> tuple[Specimen, MaterialMap]:
    """Air, then 24 mm of fat, 20 mm of muscle and 12 mm of bone one behind the other (along A), 2 mm voxels."""
    hu, index = np.full(SHAPE, -1000.0), np.zeros(SHAPE, np.uint8)
    for place, (first, last, value) in enumerate(((5, 17, -90), (17, 27, 60), (27, 33, 900)), 1):
        hu[:, first:last], index[:, first:last] = value, place
    specimen = make_specimen("layers", hu, affine(SHAPE, (2.0, 2.0, 2.0)), {"bone": index == 3}, ["bone"])
    return specimen, MaterialMap(index, ("air", "adipose", "soft_tissue", "cortical_bone"))


def camera() -> Camera:
    return CArm(24, 24, 2.0, 1020.0).camera(CArmPose().world_to_camera(np.zeros(3)))


def obliqueness(view: Camera) -> np.ndarray:
    return np.linalg.norm(view.rays(), axis=-1)


@pytest.mark.parametrize("renderer", ["reference", "cpu"])
def test_area_densities_are_density_times_chord(layers: tuple[Specimen, MaterialMap], renderer: str) -> None:
    specimen, materials = layers
    view = camera()
    found = MaterialCaster(specimen, materials, renderer=renderer).area_densities(Scene(specimen), view)
    water = float(mass_attenuation("water", 70.0))
    assert set(found) == {"adipose", "soft_tissue", "cortical_bone"}  # air of -1000 HU weighs nothing
    for name, millimetres, hu in (("adipose", 24, -90), ("soft_tissue", 20, 60), ("cortical_bone", 12, 900)):
        density = (1 + hu / 1000) * water / float(mass_attenuation(name, 70.0))
        # Whole mg/cm3.
        assert np.allclose(found[name], density * millimetres / 10 * obliqueness(view), rtol=1e-3, atol=1e-4), name


def test_one_material_is_what_the_hu_make_of_it(ball: tuple[Specimen, np.ndarray, float]) -> None:
    specimen, _, _ = ball
    view = camera()
    projection = make_renderer("auto", ()).render(Scene(specimen), view)
    assert projection is not None
    expected = area_density("soft_tissue", projection.path_length[0], projection.hu_integral[0])
    whole = MaterialMap(np.zeros(specimen.hu.shape, np.uint8), ("soft_tissue",))
    found = MaterialCaster(specimen, whole).area_densities(Scene(specimen), view)
    assert np.allclose(found["soft_tissue"], expected, rtol=1e-3, atol=3e-3)
    # Split at random in two of one name, nothing changes.
    split = MaterialMap(np.random.default_rng(1).integers(0, 2, specimen.hu.shape, np.uint8), ("soft_tissue", "soft_tissue"))
    again = MaterialCaster(specimen, split).area_densities(Scene(specimen), view)
    assert np.array_equal(again["soft_tissue"], found["soft_tissue"])


def test_the_image_follows_the_map(layers: tuple[Specimen, MaterialMap]) -> None:
    specimen, materials = layers
    view, exposure = camera(), replace(Exposure(), grid=None)
    projection = make_renderer().render(Scene(specimen), view)
    assert projection is not None
    by_hu = make_image("realistic", projection, view, exposure)
    by_map = make_image(
        "realistic", projection, view, exposure, materials=MaterialCaster(specimen, materials).area_densities(Scene(specimen), view)
    )
    assert np.allclose(by_map, by_hu, rtol=0.1) and not np.allclose(by_map, by_hu, rtol=0.005)
    own = exposure.decomposition.area_densities(projection.path_length, projection.hu_integral)
    assert make_image("realistic", projection, view, exposure, materials=own).tobytes() == by_hu.tobytes()


def test_maps_are_written_and_read(layers: tuple[Specimen, MaterialMap], tmp_path: Path) -> None:
    specimen, materials = layers
    path = tmp_path / "map.nrrd"
    write_material_map(path, materials, specimen.ijk_to_ras)
    found = read_material_map(path, specimen)
    assert found.names == materials.names and np.array_equal(found.index, materials.index)
    # Other numbers, other names for the same, another grid.
    coarse = np.array([0, 7, 9, 4], np.uint8)[materials.index][:, :, ::2]
    matrix = specimen.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 0] / 2
    matrix[:3, 0] *= 2
    sitk.WriteImage(itk_image(coarse, matrix), str(tmp_path / "coarse.nii.gz"))
    (tmp_path / "names.csv").write_text("7,Fat\n9,Soft Tissue\n4,bone\n", encoding="utf-8")
    found = read_material_map(tmp_path / "coarse.nii.gz", specimen, tmp_path / "names.csv")
    assert [found.names[i] for i in found.index[10, ::5, 10]] == [materials.names[i] for i in materials.index[10, ::5, 10]]
    (tmp_path / "names.csv").write_text("7,fat\n9,muscel\n4,bone\n", encoding="utf-8")
    for table, expected in ((tmp_path / "names.csv", "Unknown material 'muscel'"), (None, "no name for the number 4")):
        with pytest.raises(SyntheXError, match=expected):
            read_material_map(tmp_path / "coarse.nii.gz", specimen, table)


def threshold_network(path: Path, metadata: dict | None) -> Path:
    """A network of two thresholds, -200 and 400 HU on a scale of -1000 to 2000, as TorchScript."""
    torch = pytest.importorskip("torch")

    class Thresholds(torch.nn.Module):
        def forward(self, image):  # type: ignore[no-untyped-def]
            return torch.cat([image < 0.26667, (image >= 0.26667) & (image < 0.46667), image >= 0.46667], 1).float()

    path.parent.mkdir(parents=True, exist_ok=True)
    extra = {} if metadata is None else {"metadata.json": json.dumps(metadata)}
    torch.jit.save(torch.jit.script(Thresholds()), str(path), _extra_files=extra)
    return path


CHANNELS = {"0": "background", "1": "soft tissue", "2": "bone"}
METADATA: dict = {
    "network_data_format": {
        "inputs": {"image": {"spatial_shape": [16, 16, 16], "value_range": [0, 1]}},
        "outputs": {"pred": {"channel_def": CHANNELS}},
    }
}


@pytest.mark.parametrize("bundle", [False, True])
def test_a_network_maps_materials_window_by_window(layers: tuple[Specimen, MaterialMap], tmp_path: Path, bundle: bool) -> None:
    pytest.importorskip("monai")
    from SyntheXLib.networks.material_network import load_material_network

    specimen, _ = layers
    if bundle:
        threshold_network(tmp_path / "models" / "model.ts", None)
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    network = load_material_network(tmp_path if bundle else threshold_network(tmp_path / "net.ts", METADATA))
    assert network.materials == ("air", "soft_tissue", "cortical_bone") and network.window == (16, 16, 16)
    index = network.segment(specimen.hu, specimen.spacing_mm, "cpu")
    assert index.dtype == np.uint8 and np.array_equal(index, np.searchsorted([-200, 400], specimen.hu, side="right"))
    finer = replace(network, spacing_mm=1.0).segment(specimen.hu, specimen.spacing_mm, "cpu")
    assert finer.shape == index.shape and (finer == index).mean() > 0.95


def test_a_network_that_is_none_is_told(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    from SyntheXLib.networks.material_network import load_material_network

    (tmp_path / "text.ts").write_text("no network", encoding="utf-8")
    hole = json.loads(json.dumps(METADATA).replace('"1"', '"5"'))
    for path, expected in (
        (tmp_path / "none.ts", "expected a TorchScript file or the folder of a MONAI bundle"),
        (tmp_path / "text.ts", "is no TorchScript file"),
        (threshold_network(tmp_path / "bare.ts", None), "expected metadata.json"),
        (threshold_network(tmp_path / "odd.ts", {"network_data_format": {}}), "not as MONAI has it"),
        (threshold_network(tmp_path / "hole.ts", hole), "channels 0 to 2, found 0, 2, 5"),
        (threshold_network(tmp_path / "wide.ts", METADATA | {"synthex": {"hu_range": [0]}}), "a range or the spacing in metadata.json"),
    ):
        with pytest.raises(SyntheXError, match=expected):
            load_material_network(path)


def test_simulate_with_maps_by_network_or_file(hip_phantom: CaseFiles, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    network = threshold_network(tmp_path / "net.ts", METADATA)
    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels), "--count", "2", "--image-size", "32", "--workers", "1"]
    plain, by_network, by_file = (tmp_path / name for name in ("plain", "network", "file"))
    assert main(["simulate", *case, "--out", str(plain)]) == 0
    assert main(["simulate", *case, "--out", str(by_network), "--material-network", str(network)]) == 0
    assert main(["simulate", *case, "--out", str(by_network), "--material-network", str(network), "--resume"]) == 0
    assert main(["simulate", *case, "--out", str(by_file), "--materials", str(by_network / "materials" / "000.nrrd")]) == 0
    images = [XrayDataset(folder)[1] for folder in (plain, by_network, by_file)]
    assert np.array_equal(images[1].image, images[2].image) and not np.array_equal(images[0].image, images[1].image)
    assert np.array_equal(images[0].mask, images[1].mask)
    assert np.corrcoef(images[0].image.ravel(), images[1].image.ravel())[0, 1] > 0.98
    assert main(["simulate", *case, "--out", str(tmp_path / "x"), "--materials", "a.nrrd", "--materials", "b.nrrd"]) == 2
