"""The Monte Carlo scatter of a specimen: its voxels, and the image against the kernels."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import density as physics_density
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.monte_carlo.simulation import Screen, Voxels, simulate
from SyntheXLib.physics.scatter import equivalent_kvp, kernels, scatter_signal
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.monte_carlo_scatter import scatter_by_monte_carlo, scatter_voxels
from SyntheXLib.rendering.tool_cells import tool_cells
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.solids import Box, Cylinder, Sphere
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.scene.tools import Tool, ToolPart

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


def box_tool(low: tuple[float, float, float], high: tuple[float, float, float], material: str = "steel_316l") -> Tool:
    return Tool("plate", (ToolPart("plate", Box(low, high), material),))


@pytest.mark.parametrize("rotation", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_cells_hold_the_volume_and_the_place_of_the_tools(rotation: np.ndarray) -> None:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, (12.0, -7.0, 30.0)
    ball, rod = Sphere(9.0, (0, 0, 25)), Cylinder(3.0, -30, 30)
    tools = (Tool("rod", (ToolPart("rod", rod, "titanium"),), {}, pose), Tool("ball", (ToolPart("ball", ball, "steel_316l"),), {}, pose))
    index_to_world = affine((40, 150, 100), (4.0, 2.0, 5.0), OBLIQUE)
    cells = tool_cells(tools, index_to_world)
    assert cells.refine == 5 and cells.materials == ("titanium", "steel_316l")
    volume = cells.share * (4.0 * 2.0 * 5.0 / 5**3)
    cap = np.pi / 3 * (9 - np.sqrt(72)) ** 2 * (2 * 9 + np.sqrt(72))  # of the ball beyond the rod's side
    shared = np.pi * 9 * (5 + np.sqrt(72)) + cap  # rod in ball, up to the rod's end
    assert np.isclose(volume.sum(), np.pi * 9 * 60 + 4 / 3 * np.pi * 729 - shared, rtol=0.01)
    assert np.isclose(volume[cells.material == 0].sum(), np.pi * 9 * 60, rtol=0.03)
    # Its middle, within a tenth of a millimetre.
    k, j, i = (np.arange(n) for n in cells.share.shape)
    middle = [(volume.sum(others) @ axis) / volume.sum() for axis, others in ((i, (0, 1)), (j, (0, 2)), (k, (1, 2)))]
    index = np.array(cells.first) - 0.5 + (np.array(middle) + 0.5) / cells.refine
    ball_volume = 4 / 3 * np.pi * 729
    # The ball's share, less what the rod has of it (the solid of revolution's first moment, by thin discs).
    z = np.linspace(16, 34, 20001)
    disc = np.pi * np.maximum(81 - (z - 25) ** 2, 0)
    free = np.where(z < 30, np.maximum(disc - np.pi * 9, 0), disc)
    assert np.isclose(np.trapezoid(disc, z), ball_volume, rtol=1e-4)
    height = np.trapezoid(free * z, z) / (np.trapezoid(free, z) + np.pi * 9 * 60)
    assert np.allclose(index_to_world[:3] @ [*index, 1], pose[:3] @ [0, 0, height, 1], atol=0.1)


def scatter_and_primary(voxels: Voxels, photons: int = 300_000) -> np.ndarray:
    """Scatter, its error, primary and its error over the middle 200 mm."""
    pytest.importorskip("numba", reason="the Monte Carlo needs numba (extra mc)")
    side = (-100.0, 100.0, -100.0, 100.0)
    tally = simulate(voxels, BEAM, Screen(1020.0, side, side, (1, 1), DETECTOR), photons, 11)
    assert tally is not None
    scatter, primary = slice(1, 4), slice(0, 1)
    return np.array([
        tally.image[scatter].sum(), np.sqrt((tally.image_error[scatter] ** 2).sum()), tally.image[primary].sum(), tally.image_error[0].sum()
    ])  # fmt: skip


def test_a_plate_as_a_tool_does_as_the_same_plate_of_voxels() -> None:
    specimen, view = slab_specimen(depth_mm=100), camera(depth_mm=100)
    plain = scatter_voxels(specimen, view)
    # 96 x 84 mm of one layer of 5 mm in the middle of the slab.
    assert plain.material.shape == (20, 75, 100) and plain.tools is None
    at = (slice(10, 11), slice(27, 48), slice(38, 62))
    material, density = plain.material.copy(), plain.density.copy()
    material[at], density[at] = len(plain.mixtures), physics_density("steel_316l")
    mapped = replace(plain, mixtures=[*plain.mixtures, {"steel_316l": 1.0}], material=material, density=density)
    inverse = np.linalg.inv(view.world_to_camera) @ plain.index_to_camera
    ends = (inverse[:3] @ np.array([[37.5, 26.5, 9.5, 1], [61.5, 47.5, 10.5, 1]]).T).T
    tool = box_tool(tuple(ends.min(0)), tuple(ends.max(0)))
    cells = scatter_voxels(specimen, view, tools=(tool,))
    assert cells.tools is not None and np.isclose((cells.tools.share > 0).sum(), 24 * 21 * cells.tools.refine**3, rtol=1e-6)
    without, by_map, by_tool = (scatter_and_primary(voxels) for voxels in (plain, mapped, cells))
    for kind in (0, 2):
        assert abs(by_tool[kind] - by_map[kind]) < 3.5 * np.hypot(by_tool[kind + 1], by_map[kind + 1])
        assert by_tool[kind] < 0.85 * without[kind]
        assert by_tool[kind + 1] < 0.02 * by_tool[kind]


def test_a_tool_beyond_the_ct_stands_in_air() -> None:
    specimen, view = slab_specimen(), camera()
    tool = box_tool((150.0, 20.0, -10.0), (260.0, 30.0, 200.0))
    plain, voxels = scatter_voxels(specimen, view), scatter_voxels(specimen, view, tools=(tool,))
    grown = np.array(voxels.material.shape) - plain.material.shape
    assert (grown >= 0).all() and grown.any() and (voxels.material == 0).sum() == voxels.material.size - plain.material.size
    # Where the tool is and where the slab is have not moved.
    cells = voxels.tools
    assert cells is not None
    inside = np.argwhere(cells.share > 0.99)[:, ::-1]
    index = np.array(cells.first) - 0.5 + (inside[[0, -1]] + 0.5) / cells.refine
    world = (np.linalg.inv(view.world_to_camera) @ voxels.index_to_camera @ np.c_[index, [1, 1]].T)[:3].T
    assert np.allclose(np.sort(world, axis=0), [[150, 20, -10], [260, 30, 200]], atol=1.0)
    k, j, i = np.argwhere(voxels.material == plain.material[0, 0, 0])[0]
    assert np.allclose(voxels.index_to_camera @ [i, j, k, 1], plain.index_to_camera @ [0, 0, 0, 1])


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
