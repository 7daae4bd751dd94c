"""The scatter of a specimen by Monte Carlo: the reference in place of the kernels of `physics.scatter`. Needs numba (extra ``mc``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import CORTICAL_BONE_DENSITY, SOFT_TISSUE_DENSITY, Decomposition
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.monte_carlo.simulation import AIR_DENSITY, Screen, Voxels, simulate
from SyntheXLib.physics.spectrum import Spectrum
from SyntheXLib.rendering.projection import HU_CUTS
from SyntheXLib.rendering.tool_cells import tool_cells
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.tools import Tool

# Bone comes in this many mixtures from soft tissue to cortical bone.
_BONE_STEPS = 8
# Scatter varies over centimetres: cells of the tally, and the Gaussian that smooths them, mm on the detector.
_CELL_MM, _SMOOTHING_MM = 10.0, 15.0


def scatter_voxels(
    specimen: Specimen,
    camera: Camera,
    decomposition: Decomposition | None = None,
    voxel_mm: float = 4.0,
    air_density: float = AIR_DENSITY,
    tools: Sequence[Tool] = (),
) -> Voxels:
    """A specimen and tools as the transport takes them.

    Parameters
    ----------
    specimen
        The CT.
    camera
        The view, which decides the frame.
    decomposition
        Meaning of the HU; None takes the defaults.
    voxel_mm
        Voxels are averaged in blocks up to about this size, mm.
    air_density
        g/cm3; no voxel is thinner.
    tools
        What takes the place of tissue; air is put around the CT where they reach beyond it.

    Returns
    -------
    Voxels
        Each voxel is of one material: by its mean HU air, lung, adipose or soft tissue, one of nine mixtures of soft tissue and cortical
        bone, or the metal. Its density is the one that attenuates at the CT's energy as its HU says. Tools: see `tool_cells`.
    """
    decomposition = decomposition or Decomposition()
    calibration = decomposition.calibration
    hu, block = _averaged(specimen.hu, np.maximum(np.rint(voxel_mm / specimen.spacing_mm), 1).astype(int)[::-1])
    per_cm = calibration.attenuation_integral(np.full_like(hu, 10), hu * np.float32(10))  # over a path of 1 cm

    # Shares of the volume as in `Decomposition`; by mass for the transport.
    soft, bone = (
        float(mass_attenuation(name, calibration.energy_kev)) * density
        for name, density in (("soft_tissue", SOFT_TISSUE_DENSITY), ("cortical_bone", CORTICAL_BONE_DENSITY))
    )
    step = np.rint(np.clip((per_cm - soft) / (bone - soft), 0, 1) * _BONE_STEPS).astype(np.uint8)
    shares = np.linspace(0, 1, _BONE_STEPS + 1)
    masses = shares * CORTICAL_BONE_DENSITY / (shares * CORTICAL_BONE_DENSITY + (1 - shares) * SOFT_TISSUE_DENSITY)
    mixtures: list[dict[str, float]] = [{"air": 1.0}, {"lung": 1.0}, {"adipose": 1.0}, {"soft_tissue": 1.0}, {decomposition.metal: 1.0}]
    mixtures += [{"soft_tissue": 1 - mass, "cortical_bone": mass} for mass in masses]

    index = np.digitize(hu, HU_CUTS).astype(np.uint8)  # as `decomposition.CLASSES`
    material = np.where(index == 5, 4, np.where(index == 4, 5 + step, index)).astype(np.uint8)
    per_gram = [sum(part * float(mass_attenuation(name, calibration.energy_kev)) for name, part in mixture.items()) for mixture in mixtures]
    density = np.maximum(per_cm / np.array(per_gram, np.float32)[material], air_density).astype(np.float32)
    index_to_index = np.diag([*block[::-1], 1.0])
    index_to_index[:3, 3] = (block[::-1] - 1) / 2
    index_to_world = specimen.ijk_to_ras @ index_to_index
    if not tools:
        return Voxels(mixtures, material, density, camera.world_to_camera @ index_to_world)
    cells = tool_cells(tools, index_to_world)
    first, size = np.array(cells.first), np.array(cells.share.shape[::-1]) // cells.refine
    before = np.maximum(-first, 0)
    beyond = list(zip(before, np.maximum(first + size - material.shape[::-1], 0), strict=True))[::-1]
    index_to_world[:3, 3] -= index_to_world[:3, :3] @ before
    return Voxels(
        mixtures,
        np.pad(material, beyond),
        np.pad(density, beyond, constant_values=air_density),
        camera.world_to_camera @ index_to_world,
        tools=replace(cells, first=tuple((first + before).tolist())),
    )


def _averaged(hu: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (float32) over blocks of (k, j, i) voxels, and the blocks; a last one that is not full is filled with its outermost voxel."""
    block = np.minimum(block, hu.shape)
    missing = -np.array(hu.shape) % block
    # Plane by plane of blocks: the CT is not copied as a whole.
    planes = []
    for first in range(0, hu.shape[0], block[0]):
        slab = np.pad(hu[first : first + block[0]].mean(0, dtype=np.float32), [(0, missing[1]), (0, missing[2])], mode="edge")
        planes.append(slab.reshape(slab.shape[0] // block[1], block[1], -1, block[2]).mean((1, 3)))
    return np.stack(planes), block


def scatter_by_monte_carlo(
    specimen: Specimen,
    camera: Camera,
    spectrum: Spectrum,
    detector: Detector,
    photons: int = 10_000_000,
    seed: int = 0,
    field_mm: float = 298.0,
    decomposition: Decomposition | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    tools: Sequence[Tool] = (),
) -> tuple[np.ndarray, float] | None:
    """Scatter at the detector, without a grid.

    Parameters
    ----------
    specimen, camera, spectrum, detector
        What is seen, from where, by what light, and what absorbs it.
    photons, seed
        Number of photons and seed; together they decide the result. Ten million leave some per cent of noise behind a pelvis.
    field_mm
        Side of the irradiated square on the detector, mm; the whole view is lit at any rate.
    decomposition
        Meaning of the HU.
    threads, progress, cancelled
        See `physics.monte_carlo.simulation.simulate`.
    tools
        Tools among the tissue.

    Returns
    -------
    scatter : numpy.ndarray
        (H, W) float32, detected energy relative to the open beam on the central ray, as `physics.scatter.scatter_signal` gives it. The
        open beam is that behind the air between source and detector.
    mean_energy_kev : float
        Mean energy of the scattered photons by the energy that they deposit, keV.

    None when cancelled.
    """
    x, y = camera.detector_axes_mm()
    height, width = camera.pixel_spacing_mm
    half = field_mm / 2
    view = (x[0] - width / 2, x[-1] + width / 2, y[0] - height / 2, y[-1] + height / 2)
    field = (min(view[0], -half), max(view[1], half), min(view[2], -half), max(view[3], half))
    margin = 3 * _SMOOTHING_MM  # cells beside the view, so that the smoothing has no edge
    cells = (view[0] - margin, view[1] + margin, view[2] - margin, view[3] + margin)
    shape = (int(np.ceil((cells[3] - cells[2]) / _CELL_MM)), int(np.ceil((cells[1] - cells[0]) / _CELL_MM)))
    screen = Screen(camera.source_to_detector_mm, field, cells, shape, detector)
    voxels = scatter_voxels(specimen, camera, decomposition, tools=tools)
    tally = simulate(voxels, spectrum, screen, photons, seed, threads=threads, progress=progress, cancelled=cancelled)
    if tally is None:
        return None
    air = np.exp(-mass_attenuation("air", spectrum.energy_kev) * AIR_DENSITY * camera.source_to_detector_mm / 10)
    absorbed = spectrum.photons * spectrum.energy_kev * detector.absorption(spectrum.energy_kev) * air
    open_beam = float(absorbed.sum()) * screen.open_photons_per_mm2()
    found = tally.image[1:].sum(0)
    area = (cells[1] - cells[0]) / shape[1] * (cells[3] - cells[2]) / shape[0]
    rows, columns = _smoothing(y, cells[2], cells[3], shape[0]), _smoothing(x, cells[0], cells[1], shape[1])
    # Not by BLAS: the same bytes for any number of threads.
    half_way = np.einsum("hk,kl->hl", rows, found / (area * open_beam))
    smooth = np.einsum("hl,wl->hw", half_way, columns).astype(np.float32)
    return smooth, float(tally.second_moment[1:].sum() / max(found.sum(), 1e-30))


def _smoothing(pixels_mm: np.ndarray, low: float, high: float, count: int) -> np.ndarray:
    """(pixels, cells) shares that take means of cells between `low` and `high` to smooth values at the pixels."""
    edges = np.linspace(low, high, count + 1)
    weight = np.exp(-0.5 * ((pixels_mm[:, None] - (edges[1:] + edges[:-1]) / 2) / _SMOOTHING_MM) ** 2)
    return weight / weight.sum(1, keepdims=True)
