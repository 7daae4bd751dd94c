"""The Monte Carlo scatter of a specimen: its voxels, and the image against the kernels."""

import sys

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.scatter import equivalent_kvp, kernels, scatter_signal
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.monte_carlo_scatter import scatter_by_monte_carlo, scatter_voxels
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.specimen import Specimen, make_specimen

BEAM, DETECTOR = tube_spectrum(90, 4.0), Detector()


def slab_specimen(rotation: np.ndarray | None = None, depth_mm: float = 200.0) -> Specimen:
    """Water, 400 x 300 mm wide, in voxels of 4 x 2 x 5 mm."""
    shape = (round(depth_mm / 5), 150, 100)
    hu = np.zeros(shape)
    return make_specimen("slab", hu, affine(shape, (4.0, 2.0, 5.0), rotation), {"all": hu == 0}, ["all"])


def camera(rotation: np.ndarray | None = None, depth_mm: float = 200.0, gap_mm: float = 200.0) -> Camera:
    """From straight above the slab's 400 x 300 mm face."""
    pose = np.eye(4)
    pose[:3, :3] = np.eye(3) if rotation is None else rotation.T
    pose[2, 3] = 1020 - gap_mm - depth_mm / 2
    return CArm(1536, 1536, 0.194, 1020.0).camera(pose, shape=(48, 48))


def test_voxels_attenuate_as_the_hounsfield_units_say() -> None:
    hu = np.array([-1000, -990, -900, -500, -300, -100, 0, 60, 349, 351, 700, 1200, 1560, 1999, 2500, 3071], float)
    specimen = make_specimen("row", np.tile(hu, (2, 2, 1)), affine((2, 2, 16), 4.0), {"all": np.ones((2, 2, 16), bool)}, ["all"])
    voxels = scatter_voxels(specimen, camera())
    water = float(mass_attenuation("water", 70.0))
    found = [
        float(density) * sum(part * float(mass_attenuation(name, 70.0)) for name, part in voxels.mixtures[index].items())
        for index, density in zip(voxels.material[0, 0], voxels.density[0, 0], strict=True)
    ]
    assert np.allclose(found[1:], water * (1 + hu[1:] / 1000), rtol=1e-4)
    assert voxels.density[0, 0, 0] == pytest.approx(1.205e-3)
    names = [max(voxels.mixtures[index], key=voxels.mixtures[index].__getitem__) for index in voxels.material[0, 0]]
    assert (
        names == ["air"] * 3 + ["lung"] * 2 + ["adipose"] + ["soft_tissue"] * 3 + ["soft_tissue"] + ["cortical_bone"] * 4 + ["titanium"] * 2
    )
    bone = voxels.density[0, 0, 9:13]
    assert np.all(np.diff(bone) > 0) and 1.1 < bone[0] < 1.3 and bone[3] == pytest.approx(1.92, rel=0.01)


def test_voxels_are_averaged_in_blocks_and_keep_their_place() -> None:
    shape, spacing = (5, 9, 12), (1.0, 1.4, 3.0)
    matrix = affine(shape, spacing, OBLIQUE)
    hu = np.random.default_rng(1).integers(-1000, 300, shape).astype(float)
    specimen = make_specimen("noise", hu, matrix, {"all": hu == hu}, ["all"])
    view = camera()
    voxels = scatter_voxels(specimen, view, voxel_mm=4.0)
    assert voxels.material.shape == (5, 3, 3)  # blocks of 1 x 3 x 4
    first = (view.world_to_camera @ matrix @ [1.5, 1.0, 0.0, 1.0])[:3]  # centre of the first block
    assert np.allclose((voxels.index_to_camera @ [0, 0, 0, 1])[:3], first)
    mean = hu[2, 3:6, 4:8].mean()
    found = voxels.density[2, 1, 1] * mass_attenuation(next(iter(voxels.mixtures[voxels.material[2, 1, 1]])), 70.0)
    assert np.isclose(found, mass_attenuation("water", 70.0) * (1 + mean / 1000), rtol=1e-4)


@pytest.mark.parametrize("rotation", [None, OBLIQUE], ids=["straight", "oblique"])
def test_scatter_of_a_slab_is_that_of_the_kernels(rotation: np.ndarray | None) -> None:
    pytest.importorskip("numba", reason="the Monte Carlo needs numba (extra mc)")
    view, progress = camera(rotation), []
    result = scatter_by_monte_carlo(slab_specimen(rotation), view, BEAM, DETECTOR, 600_000, 3, progress=progress.append)
    assert result is not None
    scatter, mean_energy = result
    x, y = view.detector_axes_mm()
    secant = np.sqrt(1 + (x**2 + y[:, None] ** 2) / 1020**2)
    energy = BEAM.energy_kev * BEAM.photons * DETECTOR.absorption(BEAM.energy_kev)
    through = (energy @ np.exp(-mass_attenuation("water", BEAM.energy_kev) * 20) / energy.sum()) ** secant
    table = kernels(equivalent_kvp(BEAM), 200.0)
    expected = scatter_signal(through, secant**-3, x, y, table, 298.0)
    assert scatter.shape == (48, 48) and scatter.dtype == np.float32
    assert np.isclose(scatter.mean(), expected.mean(), rtol=0.08)
    assert np.sqrt(np.mean((scatter / expected - 1) ** 2)) < 0.15  # noise of some 9 %, kernels 6 %
    assert abs(mean_energy - table.mean_energy_kev) < 4
    assert progress == sorted(progress) and len(progress) == 30 and progress[-1] == 1


def test_a_cancelled_run_gives_nothing() -> None:
    pytest.importorskip("numba", reason="the Monte Carlo needs numba (extra mc)")
    done: list[float] = []
    found = scatter_by_monte_carlo(
        slab_specimen(), camera(), BEAM, DETECTOR, 10_000_000, progress=done.append, cancelled=lambda: len(done) >= 2
    )
    assert found is None and len(done) == 2


def test_a_missing_numba_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "SyntheXLib.physics.monte_carlo.transport", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(SyntheXError, match="needs numba, which is not installed"):
        scatter_by_monte_carlo(slab_specimen(), camera(), BEAM, DETECTOR, 10)
