"""Scattered radiation: a blur of what the object emits, with a width that grows with its thickness; and the anti-scatter grid.

Every part of the object sends scatter of energy A T^alpha (-ln T)^beta per incident energy, T being the primary transmission of its ray,
spread over the detector by three Gaussians that depend on the water-equivalent thickness and the air gap. The narrow one is the forward
peak of Rayleigh and slightly deflected Compton scattering: a few per cent of the energy within one or two centimetres, but half of what a
field of 50 mm scatters to its middle. The numbers come from our own Monte Carlo of water slabs (``tables/build_scatter.py``). Symmetric
kernels of slabs: near the edges of an object and behind bone or metal, which is taken for the water that attenuates as much, the result is
off by some ten per cent (against full Monte Carlo: 6 % RMS behind a slab, 11 % behind an elliptic cylinder).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum

# Side of a cell of the grid on which scatter is computed, mm on the detector; the narrowest kernel of the table has a sigma of 5.5 mm.
_CELL_MM = 5.0
# What transmission counts as none.
LEAST_TRANSMISSION = 1e-12
# The table's beams: mm of aluminium by kV.
_TABLE_FILTRATION = {60.0: 3.5, 90.0: 4.0, 120.0: 4.3}


@dataclass(frozen=True)
class Kernels:
    """The scatter of water slabs for one beam and air gap.

    Attributes
    ----------
    log_attenuation
        (K,) -ln T of the slabs (25 to 300 mm), rising.
    weight
        (K, 3) energy share of the three Gaussians; sums to about 1 (the scatter within 1500 mm is fitted).
    sigma_mm
        (K, 3) their standard deviations in the detector plane, mm.
    emission
        A, alpha and beta of the emitted energy A T^alpha (-ln T)^beta per incident energy.
    mean_energy_kev
        Mean energy of a scattered photon, keV.
    """

    log_attenuation: np.ndarray
    weight: np.ndarray
    sigma_mm: np.ndarray
    emission: tuple[float, float, float]
    mean_energy_kev: float

    def emitted(self, transmission: np.ndarray) -> np.ndarray:
        """Scattered energy that reaches the detector, per incident energy, where the primary transmission is (...)."""
        scale, alpha, beta = self.emission
        clear = np.clip(transmission, LEAST_TRANSMISSION, 1.0)
        return scale * clear**alpha * (-np.log(clear)) ** beta

    def memberships(self, transmission: np.ndarray) -> np.ndarray:
        """(K, ...) shares of the slabs' kernels where the primary transmission is (...): linear in -ln T, the outermost beyond."""
        depth = -np.log(np.clip(transmission, LEAST_TRANSMISSION, 1.0))
        return np.stack([np.interp(depth, self.log_attenuation, row) for row in np.eye(len(self.log_attenuation))])


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Tube voltages (V,), gaps (G,) and the columns, each (V, G, K)."""
    with (resources.files(__package__) / "tables" / "scatter.csv").open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        rows = np.loadtxt(file, delimiter=",")
    kvp, gap = np.unique(rows[:, 0]), np.unique(rows[:, 1])
    return kvp, gap, {name: column.reshape(len(kvp), len(gap), -1) for name, column in zip(names, rows.T, strict=True)}


def equivalent_kvp(beam: Spectrum) -> float:
    """Tube voltage (kV) at which the table's filtration gives the beam's mean energy: what `kernels` takes for any filtration."""
    energies = [tube_spectrum(kvp, aluminium).mean_energy_kev for kvp, aluminium in _TABLE_FILTRATION.items()]
    return float(np.interp(beam.mean_energy_kev, energies, list(_TABLE_FILTRATION)))


@lru_cache(maxsize=64)
def kernels(kvp: float, air_gap_mm: float) -> Kernels:
    """Kernels between the table's, linear in tube voltage and gap.

    Parameters
    ----------
    kvp
        Tube voltage, for another filtration than the table's the `equivalent_kvp`; the table has 60, 90 and 120 kV (3.5, 4 and 4.3 mm
        aluminium), beyond which the nearest serves.
    air_gap_mm
        From the object's exit face to the detector, 50 to 400 mm.

    Raises
    ------
    SyntheXError
        When the gap is out of range.
    """
    voltages, gaps, columns = _table()
    if not gaps[0] <= air_gap_mm <= gaps[-1]:
        raise SyntheXError(f"Scatter: air_gap_mm must lie within {gaps[0]:g} to {gaps[-1]:g} mm, found {air_gap_mm:g}.")
    over_voltage = np.array([np.interp(kvp, voltages, row) for row in np.eye(len(voltages))])
    over_gap = np.array([np.interp(air_gap_mm, gaps, row) for row in np.eye(len(gaps))])

    def mixed(name: str) -> np.ndarray:
        return np.einsum("v,g,vgk->k", over_voltage, over_gap, columns[name])

    return Kernels(
        -np.einsum("v,g,vgk->k", over_voltage, over_gap, np.log(columns["primary"])),
        np.stack([mixed(f"weight{number}") for number in (1, 2, 3)], axis=1),
        np.stack([mixed(f"sigma{number}_mm") for number in (1, 2, 3)], axis=1),
        (float(mixed("yield_a")[0]), float(mixed("yield_alpha")[0]), float(mixed("yield_beta")[0])),
        float(mixed("mean_kev").mean()),
    )


@dataclass(frozen=True)
class Scatter:
    """Parameters of the scatter.

    Attributes
    ----------
    strength
        Factor on the scatter; 0 is none.
    air_gap_mm
        From the patient's exit face to the detector, 50 to 400 mm. C-arm: 320 mm from isocentre to detector less half a pelvis.
    field_mm
        Side of the irradiated square on the detector, mm, centred on the central ray. All of it scatters into the image, also where only
        a part of it is rendered: what lies outside the view is taken to go on as it is at the view's border. A view that reaches beyond
        is lit as a whole.
    """

    strength: float = 1.0
    air_gap_mm: float = 200.0
    field_mm: float = 298.0

    def __post_init__(self) -> None:
        if self.strength < 0 or not self.field_mm > 0:
            raise SyntheXError(
                f"Scatter: strength must not be negative and field_mm above 0, found {self.strength:g} and {self.field_mm:g}."
            )
        kernels(90.0, self.air_gap_mm)  # tells when the gap is out of range


@dataclass(frozen=True)
class AntiScatterGrid:
    """A focused grid in front of the detector, as the shares it lets through.

    Attributes
    ----------
    primary_transmission, scatter_transmission
        0 to 1. The defaults are those of a ratio of 10: our Monte Carlo of an ideal one (40 lines/cm, 0.05 mm lead; 90 kV, 20 cm water,
        gap 100 mm) gives 0.80 and 0.15; both are scaled to the primary transmission of real ones, 0.65 to 0.75.
    """

    primary_transmission: float = 0.70
    scatter_transmission: float = 0.13

    def __post_init__(self) -> None:
        if not (0 < self.primary_transmission <= 1 and 0 <= self.scatter_transmission <= 1):
            raise SyntheXError(
                f"Grid: primary_transmission must be above 0 and both transmissions at most 1, "
                f"found {self.primary_transmission:g} and {self.scatter_transmission:g}."
            )


class ScatterAxis:
    """Cells and pixels along one axis of the detector, mm from the central ray."""

    def __init__(self, pixels_mm: np.ndarray, spacing_mm: float, field_mm: float) -> None:
        count = int(np.clip(np.rint(len(pixels_mm) * spacing_mm / _CELL_MM), 1, len(pixels_mm)))
        self.pixels = pixels_mm
        self.first = np.rint(np.linspace(0, len(pixels_mm), count + 1)).astype(int)  # pixels at which the view's cells begin, and the end
        view = pixels_mm[0] + (self.first - 0.5) * spacing_mm
        low, high = -field_mm / 2, field_mm / 2
        self.before, self.after = (max(0, int(np.ceil(miss / _CELL_MM))) for miss in (view[0] - low, high - view[-1]))
        left = np.linspace(low, view[0], self.before + 1)[:-1] if self.before else view[:0]
        right = np.linspace(view[-1], high, self.after + 1)[1:] if self.after else view[:0]
        edges = np.concatenate([left, view, right]).clip(low, high)
        self.width = np.diff(edges)  # irradiated part of each cell
        self.centre = (edges[1:] + edges[:-1]) / 2
        self.target = np.linspace(view[0], view[-1], max(count + 1, 4))

    def gaussians(self, sigma_mm: np.ndarray) -> np.ndarray:
        """(S, targets, cells) energy per mm that a cell sends to a target, for (S,) sigmas."""
        sigma = sigma_mm[:, None, None]
        distance = self.target[:, None] - self.centre
        return np.exp(-0.5 * (distance / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma) * self.width

    def interpolation(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Four (targets, shares), each (pixels,), that sum up to the cubic (Lagrange) through a pixel's nearest targets; shares float32."""
        step = self.target[1] - self.target[0]
        position = (self.pixels - self.target[0]) / step
        first = np.clip(np.floor(position).astype(int) - 1, 0, len(self.target) - 4)
        nodes, offset = np.arange(4), position - first
        return [
            (first + node, np.prod([(offset - other) / (node - other) for other in nodes if other != node], axis=0).astype(np.float32))
            for node in nodes
        ]


def scatter_signal(
    transmission: np.ndarray, incident: np.ndarray, x_mm: np.ndarray, y_mm: np.ndarray, spectrum_kernels: Kernels, field_mm: float
) -> np.ndarray:
    """Scatter at the detector.

    Parameters
    ----------
    transmission
        (H, W) primary transmission (detected energy, with object to without).
    incident
        (H, W) open beam relative to the central ray's.
    x_mm, y_mm
        (W,), (H,) evenly spaced pixel centres on the detector, mm from the central ray.
    spectrum_kernels
        From `kernels`.
    field_mm
        Side of the irradiated square, mm; see `Scatter`.

    Returns
    -------
    numpy.ndarray
        (H, W) float32, detected energy relative to the open beam on the central ray.

    Raises
    ------
    SyntheXError
        When the view is smaller than 2 x 2 pixels.
    """
    if min(transmission.shape) < 2:
        raise SyntheXError(f"Scatter needs a view of at least 2 x 2 pixels, found {transmission.shape[0]} x {transmission.shape[1]}.")
    column, row = (ScatterAxis(pixels, float(pixels[1] - pixels[0]), field_mm) for pixels in (x_mm, y_mm))

    def coarse(image: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(np.add.reduceat(image, row.first[:-1], axis=0), column.first[:-1], axis=1)
        means = sums / np.outer(np.diff(row.first), np.diff(column.first))
        return np.pad(means, ((row.before, row.after), (column.before, column.after)), mode="edge")

    through = coarse(transmission)
    emitted = coarse(incident) * spectrum_kernels.emitted(through)
    by_slab = spectrum_kernels.memberships(through) * emitted
    found = np.zeros((len(row.target), len(column.target)), np.float32)
    for weight, sigma in zip(spectrum_kernels.weight.T, spectrum_kernels.sigma_mm.T, strict=True):
        # Two steps without BLAS: the same bytes for any number of threads.
        half = np.einsum("k,kai,kij->kaj", weight, row.gaussians(sigma), by_slab)
        found += np.einsum("kaj,kbj->ab", half, column.gaussians(sigma)).astype(np.float32)
    along_rows = sum(found[:, place] * share for place, share in column.interpolation())
    result = sum(along_rows[place] * share[:, None] for place, share in row.interpolation())
    return np.maximum(result, 0)
