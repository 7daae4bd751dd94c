"""What the transport kernel reads. Plain tuples of arrays, which numba takes as they are.

Everything lies in the camera's frame: source in the origin, z towards the detector, mm. Energies are keV; tables over the energy begin at
1 keV and go in `ENERGY_STEP_KEV`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Fine enough that straight lines between the entries follow the photoelectric effect to 0.03 % above 20 keV.
ENERGY_STEP_KEV = 0.25


class Tables(NamedTuple):
    """Interactions of M materials at E energies and X momentum transfers (square roots evenly spaced).

    Attributes
    ----------
    total
        (M, E) attenuation coefficient per density, 1/mm per g/cm3.
    absorbed, absorbed_or_compton
        (M, E) chance that an interaction is a photoelectric absorption, and that it is this or Compton scattering; the rest is Rayleigh.
    incoherent
        (M, X) incoherent scattering function S, any unit.
    coherent
        (M, X) integral of the squared form factor over the square of the momentum transfer, any unit.
    greatest_transfer
        The last momentum transfer, 1/angstrom.
    """

    total: np.ndarray
    absorbed: np.ndarray
    absorbed_or_compton: np.ndarray
    incoherent: np.ndarray
    coherent: np.ndarray
    greatest_transfer: float


class World(NamedTuple):
    """Voxels in a box of air.

    Attributes
    ----------
    to_index
        (3, 4) camera frame (mm) to (i, j, k) counted from the outer edges of the first voxel: voxel n reaches from n to n + 1.
    material
        (K, J, I) uint8 rows of `Tables`.
    density
        (K, J, I) float32, g/cm3.
    region
        (K, J, I) uint8 number under which a voxel's energy is tallied.
    majorant
        (2, E) at least the attenuation coefficient of any voxel, 1/mm: outside the box of tools and inside.
    tool_box
        (2, 3) first and last corner (i, j, k) of the box of tools, counted as `to_index` does; both are the same without tools.
    tool_refine
        Cells of tools along a voxel.
    tool_material
        (K', J', I') uint8 rows of `Tables` in the box of tools.
    tool_share
        (K', J', I') float32 share of a cell's volume that the tool takes, 0 to 1.
    tool_density
        (M,) density of the rows' materials where they are a tool, g/cm3.
    air
        (E,) attenuation coefficient of the air around, 1/mm.
    air_material
        Its row of `Tables`.
    low, high
        (3,) corners of the box, mm; the detector plane is its far side.
    """

    to_index: np.ndarray
    material: np.ndarray
    density: np.ndarray
    region: np.ndarray
    majorant: np.ndarray
    tool_box: np.ndarray
    tool_refine: int
    tool_material: np.ndarray
    tool_share: np.ndarray
    tool_density: np.ndarray
    air: np.ndarray
    air_material: int
    low: np.ndarray
    high: np.ndarray


class Beam(NamedTuple):
    """A point source that shines equally in all directions of a rectangular field.

    Attributes
    ----------
    energy, cumulative
        (P,) photon energies and the cumulative shares of the photons, up to 1.
    field
        (4,) least and greatest x, least and greatest y on the detector plane, mm; all zero is a pencil beam.
    distance
        From the source to the detector plane, mm.
    """

    energy: np.ndarray
    cumulative: np.ndarray
    field: np.ndarray
    distance: float


class Plane(NamedTuple):
    """The detector's cells.

    Attributes
    ----------
    corner
        (2,) outer corner (x, y) of the first cell, mm.
    cell
        (2,) width and height of a cell, mm.
    depth
        (E,) -ln of the share that passes the scintillator at right angles; a large one absorbs all.
    """

    corner: np.ndarray
    cell: np.ndarray
    depth: np.ndarray
