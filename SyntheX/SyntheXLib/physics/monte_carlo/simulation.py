"""A Monte Carlo run: voxels, beam and detector in, tallies out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import density
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.monte_carlo.inputs import Beam, Plane, Tables, World
from SyntheXLib.physics.monte_carlo.tables import energy_grid, transport_tables
from SyntheXLib.physics.spectrum import Spectrum

AIR_DENSITY = 1.205e-3  # g/cm3, dry air at 20 degrees C, NIST
# Photons of one stream of random numbers: the unit of work, of progress and of the statistical error.
CHUNK_PHOTONS = 20_000
# The air around goes on this far beside the beam and the voxels: what scatters back from further away does not count.
_MARGIN_MM = 300.0
_REGIONS = 256


@dataclass(frozen=True)
class ToolCells:
    """Tools among voxels, in finer cells of a part of their grid: there they take the place of what the voxels hold.

    Attributes
    ----------
    first
        Voxel (i, j, k) whose outer corner is that of the first cell.
    refine
        Cells along a voxel.
    materials
        Names (`tables.materials`), for each index.
    material
        (K', J', I') uint8 index into `materials`.
    share
        (K', J', I') float32 share of the cell's volume inside tools, 0 to 1; the rest is the voxel's. The sides must be multiples of
        `refine`.
    """

    first: tuple[int, int, int]
    refine: int
    materials: tuple[str, ...]
    material: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Voxels:
    """An object of voxels.

    Attributes
    ----------
    mixtures
        Mass fractions by material name (`tables.materials`), for each index.
    material
        (K, J, I) uint8 index into `mixtures`.
    density
        (K, J, I) g/cm3.
    index_to_camera
        (4, 4) voxel index (i, j, k; whole numbers are centres) to the camera's frame (mm).
    region
        (K, J, I) uint8: the number under which the energy imparted to a voxel is tallied; None is 1 everywhere. 0 is also the air around.
    tools
        Tools among the voxels; None for none.
    """

    mixtures: Sequence[Mapping[str, float]]
    material: np.ndarray
    density: np.ndarray
    index_to_camera: np.ndarray
    region: np.ndarray | None = None
    tools: ToolCells | None = None

    def __post_init__(self) -> None:
        if self.material.shape != self.density.shape or (self.region is not None and self.region.shape != self.material.shape):
            raise SyntheXError(
                f"Monte Carlo: material, density and region must have one shape, found {self.material.shape} and {self.density.shape}."
            )
        if self.material.max() >= len(self.mixtures):
            raise SyntheXError(f"Monte Carlo: a voxel has material {self.material.max()}, but there are {len(self.mixtures)} mixtures.")


@dataclass(frozen=True)
class Screen:
    """The irradiated field and the detector's cells, both on the detector plane.

    Attributes
    ----------
    source_to_detector_mm
        Along the central ray, mm.
    field_mm
        Least and greatest x, least and greatest y that the beam lights, mm from the central ray; all zero is a pencil beam.
    cells_mm
        The same for the whole of the cells.
    shape
        Rows and columns of the cells.
    detector
        What absorbs; None absorbs everything.
    """

    source_to_detector_mm: float
    field_mm: tuple[float, float, float, float]
    cells_mm: tuple[float, float, float, float]
    shape: tuple[int, int] = (1, 1)
    detector: Detector | None = None

    def open_photons_per_mm2(self) -> float:
        """Share of the photons per mm2 that would meet the plane at the central ray in a vacuum."""
        left, right, top, bottom = self.field_mm
        distance = self.source_to_detector_mm

        def corner(x: float, y: float) -> float:  # solid angle between the axes and the corner
            return float(np.arctan2(x * y, distance * np.sqrt(x * x + y * y + distance * distance)))

        solid_angle = corner(right, bottom) - corner(left, bottom) - corner(right, top) + corner(left, top)
        return 1 / (solid_angle * distance**2)


@dataclass(frozen=True)
class Tally:
    """What a run gives, all per emitted photon.

    Attributes
    ----------
    photons
        Number of photons followed.
    image
        (4, H, W) energy (keV) that the detector's cells absorb: primary, once Compton scattered, once Rayleigh scattered, the rest.
    image_error
        Its standard error, from the spread between the chunks.
    second_moment
        (4, H, W) sum over the absorbed photons of the square of their energy (keV2).
    imparted_kev, imparted_error
        (256,) energy (keV) imparted to the regions, and its standard error.
    emitted_kev, left_kev
        Energy of a photon, and the energy that left the world (the detector does not take part in the transport).
    """

    photons: int
    image: np.ndarray
    image_error: np.ndarray
    second_moment: np.ndarray
    imparted_kev: np.ndarray
    imparted_error: np.ndarray
    emitted_kev: float
    left_kev: float


@dataclass
class _Sum:
    """A sum over chunks, and what their spread tells about the mean's error."""

    shape: tuple[int, ...]
    total: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.total, self.squares = np.zeros(self.shape), np.zeros(self.shape)

    def add(self, values: np.ndarray, photons: int) -> None:
        self.total += values
        self.squares += values * values / photons

    def mean_and_error(self, photons: int, chunks: int) -> tuple[np.ndarray, np.ndarray]:
        mean = self.total / photons
        variance = np.maximum(self.squares / photons - mean * mean, 0) / max(chunks - 1, 1)
        return mean, np.sqrt(variance)


def world(voxels: Voxels, screen: Screen, air_density: float = AIR_DENSITY) -> tuple[World, Tables]:
    """The kernel's world and tables; `air_density` (g/cm3) of the surroundings."""
    tools = voxels.tools or ToolCells((0, 0, 0), 1, (), np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.float32))
    count = len(voxels.mixtures)
    tables = transport_tables([*voxels.mixtures, {"air": 1.0}, *({name: 1.0} for name in tools.materials)])
    densest = np.array([voxels.density[voxels.material == index].max(initial=0) for index in range(count)])
    tool_density = np.concatenate([np.zeros(count + 1), [density(name) for name in tools.materials]])
    majorant = (densest[:, None] * tables.total[:count]).max(axis=0)
    with_tools = np.maximum(majorant, (tool_density[:, None] * tables.total).max(axis=0))
    box = np.array([tools.first, tools.first], float)
    if voxels.tools is not None:
        box[1] += np.array(tools.share.shape[::-1]) / tools.refine
    size = voxels.material.shape[::-1]
    corners = np.array([[a, b, c, 1] for a in (0, size[0]) for b in (0, size[1]) for c in (0, size[2])]) - [0.5, 0.5, 0.5, 0]
    places = (corners @ voxels.index_to_camera.T)[:, :3]
    left, right, top, bottom = screen.field_mm
    low = np.minimum(places.min(0), [left, top, 0]) - _MARGIN_MM
    high = np.maximum(places.max(0), [right, bottom, 0]) + _MARGIN_MM
    high[2] = screen.source_to_detector_mm
    to_index = np.linalg.inv(voxels.index_to_camera)[:3]
    to_index[:, 3] += 0.5
    region = np.ones(voxels.material.shape, np.uint8) if voxels.region is None else np.ascontiguousarray(voxels.region, np.uint8)
    return World(
        np.ascontiguousarray(to_index),
        np.ascontiguousarray(voxels.material, np.uint8),
        np.ascontiguousarray(voxels.density, np.float32),
        region,
        np.stack([majorant, with_tools]) * (1 + 1e-6),  # float32 densities
        box,
        tools.refine,
        np.ascontiguousarray(tools.material + (count + 1 if tools.materials else 0), np.uint8),
        np.ascontiguousarray(tools.share, np.float32),
        tool_density,
        # A vacuum is air so thin that nothing happens.
        np.maximum(air_density, 1e-30) * tables.total[count],
        count,
        low,
        high,
    ), tables


def simulate(
    voxels: Voxels,
    spectrum: Spectrum,
    screen: Screen,
    photons: int,
    seed: int,
    air_density: float = AIR_DENSITY,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Tally | None:
    """Follow photons through voxels.

    Parameters
    ----------
    voxels, spectrum, screen
        What is seen, by what light, from where.
    photons
        Number of photons; about a million a second and core.
    seed
        With the number of photons it decides every digit, whatever the number of threads.
    air_density
        g/cm3 of the surroundings; 0 is a vacuum.
    threads
        Threads to use; None takes a thread per core.
    progress
        Called with the part that is done, 0 to 1.
    cancelled
        Asked between chunks; when it says yes, the result is None.

    Raises
    ------
    SyntheXError
        When numba is missing or there is no photon.
    """
    if photons < 1:
        raise SyntheXError(f"Monte Carlo: photons must be at least 1, found {photons}.")
    try:
        from SyntheXLib.physics.monte_carlo.transport import transport
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        raise SyntheXError("The Monte Carlo needs numba, which is not installed: pip install numba.") from None
    surroundings, tables = world(voxels, screen, air_density)
    beam = Beam(
        np.asarray(spectrum.energy_kev, float),
        np.cumsum(spectrum.photons) / np.sum(spectrum.photons),
        np.array(screen.field_mm, float),
        float(screen.source_to_detector_mm),
    )
    plane = _plane(screen)
    sizes = [min(CHUNK_PHOTONS, photons - start) for start in range(0, photons, CHUNK_PHOTONS)]
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes))

    def chunk(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        image, moment = np.zeros((4, *screen.shape)), np.zeros((4, *screen.shape))
        imparted, balance = np.zeros(_REGIONS), np.zeros(2)
        transport(sizes[index], int(seeds[index]), tables, surroundings, beam, plane, image, moment, imparted, balance)
        return image, moment, imparted, balance

    image, imparted = _Sum((4, *screen.shape)), _Sum((_REGIONS,))
    second_moment, balance = np.zeros((4, *screen.shape)), np.zeros(2)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        # In the order of the chunks, so that rounding is the same for any number of threads.
        for done, (size, result) in enumerate(zip(sizes, pool.map(chunk, range(len(sizes))), strict=True), 1):
            if cancelled is not None and cancelled():
                pool.shutdown(cancel_futures=True)
                return None
            image.add(result[0], size)
            imparted.add(result[2], size)
            second_moment += result[1]
            balance += result[3]
            if progress is not None:
                progress(done / len(sizes))
    return Tally(
        photons,
        *image.mean_and_error(photons, len(sizes)),
        second_moment / photons,
        *imparted.mean_and_error(photons, len(sizes)),
        *(balance / photons),
    )


def _plane(screen: Screen) -> Plane:
    left, right, top, bottom = screen.cells_mm
    rows, columns = screen.shape
    energies = energy_grid()
    if screen.detector is None:
        depth = np.full(len(energies), 1e3)  # finite, for it is interpolated
    else:  # the detector's table begins at 10 keV, where it absorbs everything
        depth = -np.log(np.maximum(1 - screen.detector.absorption(np.maximum(energies, 10.0)), 1e-30))
    return Plane(np.array([left, top], float), np.array([(right - left) / columns, (bottom - top) / rows]), depth)
