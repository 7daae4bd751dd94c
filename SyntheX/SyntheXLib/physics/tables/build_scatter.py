"""Rebuild the scatter kernels: ``python -m SyntheXLib.physics.tables.build_scatter``, some ten minutes. Needs numba and scipy.

scatter.csv
    Our own Monte Carlo (`physics.monte_carlo`): a pencil beam on a water slab of 600 x 600 mm in a vacuum, source to detector 1020 mm,
    energy absorbed in 0.2165 g/cm2 of caesium iodide; 60 kV 3.5 mm Al, 90 kV 4 mm Al, 120 kV 4.3 mm Al. For each gap and thickness:
    primary and scattered energy relative to the open beam, the scatter within a square of 1500 mm; the shares and sigmas (mm, in the
    detector plane) of three Gaussians; the scattered photons' mean energy (keV); and the fit A T^alpha (-ln T)^beta of the scattered energy
    over all thicknesses (residual at most 1.1 %).

What a field scatters to its middle is the part of the kernel that lies within the field. So the Gaussians are fitted to the scatter within
squares of 10 to 1500 mm, by their relative errors (largest: 5.5 % at 20 mm, 2.8 % from 40 mm on). The narrow one is the forward peak:
Rayleigh scattering and little deflected Compton scattering, a few per cent of the energy, but half of what a field of 50 mm scatters to
its middle.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from math import exp
from pathlib import Path

import numpy as np
from numba import njit
from scipy.optimize import least_squares
from scipy.special import erf

from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.monte_carlo.inputs import Tables, World
from SyntheXLib.physics.monte_carlo.simulation import Screen, Voxels, _plane, world
from SyntheXLib.physics.monte_carlo.transport import _at_energy, follow
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum

FOLDER = Path(__file__).parent
BEAMS = {60.0: 3.5, 90.0: 4.0, 120.0: 4.3}
GAPS_MM = np.array([50.0, 100.0, 200.0, 300.0, 400.0])
THICKNESSES_MM = np.array([25.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0])
DISTANCE_MM, SLAB_MM = 1020.0, 600.0
RING_MM, RINGS = 2.5, 300  # square rings: half sides up to 750 mm
FIT_HALF_SIDES_MM = np.array([5, 7.5, 10, 12.5, 15, 20, 25, 30, 40, 50, 60, 75, 100, 125, 150, 200, 250, 300, 400, 500, 750])
CHUNK, SCATTERED = 250_000, 400_000  # photons of a chunk; scattered ones to be detected, at a gap of 50 mm

COLUMNS = (
    "kvp", "gap_mm", "thickness_mm", "primary", "scatter", "weight1", "weight2", "weight3", "sigma1_mm", "sigma2_mm", "sigma3_mm",
    "mean_kev", "yield_a", "yield_alpha", "yield_beta",
)  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def pencil(
    photons: int, seed: int, tables: Tables, surroundings: World, energies: np.ndarray, cumulative: np.ndarray, depth: np.ndarray,
    planes: np.ndarray, rings: np.ndarray, totals: np.ndarray,
) -> None:  # fmt: skip
    """Photons along z: absorbed energy (keV) of the scatter in square rings (G, RINGS) of the planes at z (G,) mm beyond the slab, and
    totals (4,) added to: energy of the beam that the detector would absorb without a slab, of the primary, of the scatter of the first
    plane by the photons' energy, and the number of its photons."""
    random.seed(seed)
    imparted = np.zeros(256)
    for _ in range(photons):
        energy = energies[min(int(np.searchsorted(cumulative, random.random(), side="right")), len(energies) - 1)]
        totals[0] += energy * (1 - exp(-_at_energy(depth, energy)))
        energy, x, y, z, u, v, w, comptons, rayleighs = follow(tables, surroundings, energy, 0.0, 0.0, 1.0, imparted)
        if energy == 0 or w <= 0:
            continue
        absorbed = energy * (1 - exp(-_at_energy(depth, energy) / w))
        if comptons + rayleighs == 0:
            totals[1] += absorbed
            continue
        for place in range(len(planes)):
            way = (planes[place] - z) / w
            ring = int(max(abs(x + way * u), abs(y + way * v)) / RING_MM)
            if way > -1e-6 and ring < RINGS:
                rings[place, ring] += absorbed
                if place == 0:
                    totals[2] += absorbed * energy
                    totals[3] += 1


def slab(beam: Spectrum, thickness_mm: float, seed: int) -> tuple[float, np.ndarray, float]:
    """Primary and (G, RINGS) scatter relative to the open beam, and the scatter's mean energy, keV."""
    detector = Detector(scintillator_mm=0.2165 / 4.51 / 0.75 * 10)
    front = DISTANCE_MM - GAPS_MM[0] - thickness_mm
    matrix = np.diag([SLAB_MM, SLAB_MM, thickness_mm, 1.0])
    matrix[2, 3] = front + thickness_mm / 2
    voxels = Voxels([{"water": 1.0}], np.zeros((1, 1, 1), np.uint8), np.ones((1, 1, 1), np.float32), matrix)
    screen = Screen(DISTANCE_MM, (0.0,) * 4, (-750.0, 750.0, -750.0, 750.0), (1, 1), detector)
    surroundings, tables = world(voxels, screen, 0.0)
    # A slab from the other planes' point of view: straight on in a vacuum, so that one run serves all gaps.
    planes = DISTANCE_MM - GAPS_MM[0] + GAPS_MM
    cumulative = np.cumsum(beam.photons) / np.sum(beam.photons)
    depth = _plane(screen).depth

    def chunk(number: int) -> tuple[np.ndarray, np.ndarray]:
        rings, totals = np.zeros((len(GAPS_MM), RINGS)), np.zeros(4)
        pencil(
            CHUNK, int(np.random.SeedSequence((seed, number)).generate_state(1)[0]), tables, surroundings,
            np.asarray(beam.energy_kev, float), cumulative, depth, planes, rings, totals,
        )  # fmt: skip
        return rings, totals

    rings, totals, done = np.zeros((len(GAPS_MM), RINGS)), np.zeros(4), 0
    with ThreadPoolExecutor(2) as pool:
        while totals[3] < SCATTERED:
            for more_rings, more_totals in pool.map(chunk, range(done, done + 8)):
                rings, totals = rings + more_rings, totals + more_totals
            done += 8
    return totals[1] / totals[0], rings / totals[0], totals[2] / rings[0].sum()


def within(shares: np.ndarray, sigmas_mm: np.ndarray, half_side_mm: np.ndarray) -> np.ndarray:
    """Share of three Gaussians within squares of (N,) half sides."""
    return (shares * erf(half_side_mm[:, None] / (np.sqrt(2) * sigmas_mm)) ** 2).sum(1)


def gaussians(rings: np.ndarray, scattered: float, start: np.ndarray, tie: float) -> np.ndarray:
    """(6,) logarithms of the shares and the sigmas (mm) of three Gaussians that have what `rings` (RINGS,) have within squares.

    `scattered` is the number of photons that they hold. `tie` holds the fit to its `start` (6,): so many standard errors for a factor e. It
    keeps the broad two, which can stand in for each other, in one order from slab to slab, so that the table can be interpolated.
    """
    within_rings = np.cumsum(rings)
    shares = np.interp(FIT_HALF_SIDES_MM, RING_MM * np.arange(1, RINGS + 1), within_rings) / within_rings[-1]
    error = np.hypot(0.01, 1 / np.sqrt(scattered * shares))

    def misses(found: np.ndarray) -> np.ndarray:
        model = within(np.exp(found[:3]), np.exp(found[3:]), FIT_HALF_SIDES_MM)
        return np.append(np.log(model / shares) / error, tie * (found - start))

    return np.asarray(least_squares(misses, start, x_scale=0.3).x)


def emission(primary: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    """A, alpha and beta of A T^alpha (-ln T)^beta, fitted to the scatter (K,) by its logarithm where the primary is (K,)."""
    depth = -np.log(primary)
    columns = np.stack([np.ones_like(depth), -depth, np.log(depth)], axis=1)
    found = np.linalg.lstsq(columns, np.log(scatter), rcond=None)[0]
    return np.array([np.exp(found[0]), found[1], found[2]])


def rows(kvp: float, slabs: list[tuple[float, np.ndarray, float]]) -> Iterable[list[float]]:
    """The table's rows of one beam from what `slab` gives for every thickness."""
    primary = np.array([found[0] for found in slabs])
    for place, gap in enumerate(GAPS_MM):
        scatter = np.array([found[1][place].sum() for found in slabs])
        yields = emission(primary, scatter)
        # Sigmas from the forward peak to the broad one grow with the gap, of the first slab freely.
        fit, tie = np.log([0.03, 0.3, 0.65, 6 + 0.06 * gap, 30 + 0.25 * gap, 80 + 0.65 * gap]), 0.0
        for thickness, (through, rings, mean_kev) in zip(THICKNESSES_MM, slabs, strict=True):
            fit = gaussians(rings[place], SCATTERED * rings[place].sum() / rings[0].sum(), fit, tie)
            tie = 5.0
            yield [kvp, gap, thickness, through, rings[place].sum(), *np.exp(fit), mean_kev, *yields]


def main() -> None:
    """Write the table."""
    lines = [",".join(COLUMNS)]
    for kvp, aluminium in BEAMS.items():
        beam = tube_spectrum(kvp, aluminium)
        slabs = [slab(beam, float(thickness), int(kvp * 1000 + thickness)) for thickness in THICKNESSES_MM]
        lines += [",".join(f"{value:.6g}" for value in row) for row in rows(kvp, slabs)]
    (FOLDER / "scatter.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
