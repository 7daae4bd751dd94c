"""Photons from the source to where they end. Compiled by numba, so that nothing imports this file before a simulation starts.

Photoelectric absorption (all energy stays in place: no fluorescence, no electron transport), Compton scattering by Klein and Nishina with
the incoherent scattering function (no Doppler broadening), Rayleigh scattering with form factors, unpolarised. Outside the voxels the free
path in air is drawn directly; inside, fictitious collisions make the voxels' borders disappear (Woodcock et al., ANL-7050, 1965).
The random numbers are numba's, a Mersenne twister for each thread, seeded at the start of every call of `transport`.
"""

from __future__ import annotations

import random
from math import cos, exp, log, pi, sin, sqrt

import numpy as np
from numba import njit

from SyntheXLib.physics.monte_carlo.inputs import ENERGY_STEP_KEV, Beam, Plane, Tables, World

_ELECTRON_KEV = 510.99895  # CODATA
_KEV_ANGSTROM = 12.398420  # energy x wavelength of a photon, CODATA
_CUT_OFF_KEV = 1.5  # below it a photon does not leave the place (range in tissue below 10 um)

# What became of a flight.
_LEFT, _HIT = 0, 1
# Rows of the detector's tally.
PRIMARY, COMPTON, RAYLEIGH, MULTIPLE = range(4)

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _at_energy(row: np.ndarray, energy: float) -> float:
    """A table over the energy, linear in between."""
    place = (energy - 1.0) / ENERGY_STEP_KEV
    index = min(max(int(place), 0), len(row) - 2)
    part = place - index
    return row[index] * (1 - part) + row[index + 1] * part


@_compiled
def _at_transfer(row: np.ndarray, transfer: float, greatest: float) -> float:
    """A table over the momentum transfer, linear in its square root."""
    place = sqrt(transfer / greatest) * (len(row) - 1)
    index = min(int(place), len(row) - 2)
    part = place - index
    return row[index] * (1 - part) + row[index + 1] * part


@_compiled
def _free_path() -> float:
    """In mean free paths."""
    return -log(1.0 - random.random())


@_compiled
def _turned(u: float, v: float, w: float, cosine: float) -> tuple[float, float, float]:
    """A unit direction turned by an angle (its cosine) about itself at random."""
    sine, azimuth = sqrt(max(0.0, 1 - cosine * cosine)), 2 * pi * random.random()
    a, b = sine * cos(azimuth), sine * sin(azimuth)
    # Orthonormal basis without a special case but the pole's sign (Duff et al., JCGT 6, 2017).
    sign = 1.0 if w >= 0 else -1.0
    c = -1.0 / (sign + w)
    d = u * v * c
    x = a * (1 + sign * u * u * c) + b * d + cosine * u
    y = a * sign * d + b * (sign + v * v * c) + cosine * v
    z = -a * sign * u - b * v + cosine * w
    norm = 1 / sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm


@_compiled
def compton(incoherent: np.ndarray, greatest: float, energy: float) -> tuple[float, float]:
    """Energy left (keV) and cosine of the angle after a Compton scattering."""
    ratio = energy / _ELECTRON_KEV
    least = 1 / (1 + 2 * ratio)
    logarithm, square = -log(least), (1 - least * least) / 2
    backward = _at_transfer(incoherent, energy / _KEV_ANGSTROM, greatest)
    while True:
        # Klein and Nishina as a mixture of 1/e and e with a rejection (Butcher and Messel, Nucl. Phys. 20, 1960).
        if random.random() * (logarithm + square) < logarithm:
            left = exp(-logarithm * random.random())
        else:
            left = sqrt(least * least + (1 - least * least) * random.random())
        away = (1 - left) / (ratio * left)  # 1 - cosine
        if random.random() > 1 - left * away * (2 - away) / (1 + left * left):
            continue
        # Bound electrons take part as the incoherent scattering function says.
        transfer = energy / _KEV_ANGSTROM * sqrt(max(0.0, away / 2))
        if random.random() * backward < _at_transfer(incoherent, transfer, greatest):
            return energy * left, 1 - away


@_compiled
def rayleigh(coherent: np.ndarray, greatest: float, energy: float) -> float:
    """Cosine of the angle of a Rayleigh scattering."""
    backward = energy / _KEV_ANGSTROM
    whole = _at_transfer(coherent, backward, greatest)
    while True:
        # The square of the momentum transfer by the squared form factor, then Thomson's (1 + cosine^2) / 2 by rejection.
        wanted = random.random() * whole
        index = min(int(np.searchsorted(coherent, wanted, side="right")), len(coherent) - 1)
        low, high = greatest * ((index - 1) / (len(coherent) - 1)) ** 2, greatest * (index / (len(coherent) - 1)) ** 2
        part = (wanted - coherent[index - 1]) / (coherent[index] - coherent[index - 1])
        squared = low * low + part * (high * high - low * low)
        cosine = 1 - 2 * squared / (backward * backward)
        if cosine >= -1 and random.random() * 2 < 1 + cosine * cosine:
            return cosine


@_compiled
def _clip(start: float, step: float, low: float, high: float, near: float, far: float) -> tuple[float, float]:
    """The part of `near` ... `far` in which start + t step lies within `low` ... `high`."""
    if step == 0:
        return (near, far) if low <= start <= high else (far, far)
    a, b = (low - start) / step, (high - start) / step
    return max(near, min(a, b)), min(far, max(a, b))


@_compiled
def _tool(world: World, i: float, j: float, k: float) -> tuple[int, float]:
    """The tool's material at an index position in the box of tools, and the share of the place that it takes."""
    planes, rows, columns = world.tool_share.shape
    column = min(max(int((i - world.tool_box[0, 0]) * world.tool_refine), 0), columns - 1)
    row = min(max(int((j - world.tool_box[0, 1]) * world.tool_refine), 0), rows - 1)
    plane = min(max(int((k - world.tool_box[0, 2]) * world.tool_refine), 0), planes - 1)
    return world.tool_material[plane, row, column], world.tool_share[plane, row, column]


@_compiled
def _fly(
    world: World, tables: Tables, energy: float, x: float, y: float, z: float, u: float, v: float, w: float
) -> tuple[int, float, int, int]:
    """To the next interaction or out of the world: what became of it, the way (mm), the material and the region (0: around the voxels)."""
    leave = np.inf
    for start, step, low, high in zip((x, y, z), (u, v, w), world.low, world.high):  # noqa: B905 numba knows no strict
        _, leave = _clip(start, step, low, high, 0.0, leave)
    m = world.to_index
    i, di = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3], m[0, 0] * u + m[0, 1] * v + m[0, 2] * w
    j, dj = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3], m[1, 0] * u + m[1, 1] * v + m[1, 2] * w
    k, dk = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3], m[2, 0] * u + m[2, 1] * v + m[2, 2] * w
    planes, rows, columns = world.material.shape
    near, far = _clip(i, di, 0.0, columns, 0.0, leave)
    near, far = _clip(j, dj, 0.0, rows, near, far)
    near, far = _clip(k, dk, 0.0, planes, near, far)
    if near >= far:
        near = far = leave

    air = _at_energy(world.air, energy)
    way = _free_path() / air
    if way < near:
        return _HIT, way, world.air_material, 0
    # Metal asks for a far greater majorant; only in the box of tools.
    first, last = _clip(i, di, world.tool_box[0, 0], world.tool_box[1, 0], near, far)
    first, last = _clip(j, dj, world.tool_box[0, 1], world.tool_box[1, 1], first, last)
    first, last = _clip(k, dk, world.tool_box[0, 2], world.tool_box[1, 2], first, last)
    if first >= last:
        first = last = far
    way = near
    for part in range(3):
        start, end = (near, first) if part == 0 else ((first, last) if part == 1 else (last, far))
        if start >= end:
            continue
        majorant, way = _at_energy(world.majorant[part % 2], energy), start
        while True:
            way += _free_path() / majorant
            if way >= end:
                break
            p, q, r = i + way * di, j + way * dj, k + way * dk
            # Rounding may put a point onto the far edge.
            column, row, plane = min(int(p), columns - 1), min(int(q), rows - 1), min(int(r), planes - 1)
            material, level = world.material[plane, row, column], random.random() * majorant
            share = 0.0
            if part == 1:
                metal, share = _tool(world, p, q, r)
                level -= share * world.tool_density[metal] * _at_energy(tables.total[metal], energy)
                if level < 0:
                    return _HIT, way, metal, world.region[plane, row, column]
            if level < (1 - share) * world.density[plane, row, column] * _at_energy(tables.total[material], energy):
                return _HIT, way, material, world.region[plane, row, column]
    way = far + _free_path() / air
    if way < leave:
        return _HIT, way, world.air_material, 0
    return _LEFT, leave, 0, 0


@_compiled
def _direction(beam: Beam) -> tuple[float, float, float]:
    """A direction of the beam: places on the detector plane kept by cos^3, which is what reaches them."""
    left, right, top, bottom = beam.field
    while True:
        x, y = left + (right - left) * random.random(), top + (bottom - top) * random.random()
        w = beam.distance / sqrt(x * x + y * y + beam.distance * beam.distance)
        if random.random() < w * w * w:
            return x / beam.distance * w, y / beam.distance * w, w


@_compiled
def follow(
    tables: Tables, world: World, energy: float, u: float, v: float, w: float, imparted: np.ndarray
) -> tuple[float, float, float, float, float, float, float, int, int]:
    """Follow a photon from the source until it is absorbed or leaves the world, and add the energy (keV) that it imparts on the way.

    Returns
    -------
    Energy left (keV), 0 when absorbed; the place (mm) and direction in which it leaves; how often it was Compton and Rayleigh scattered.
    """
    x = y = z = 0.0
    comptons = rayleighs = 0
    while True:
        fate, way, material, region = _fly(world, tables, energy, x, y, z, u, v, w)
        x, y, z = x + way * u, y + way * v, z + way * w
        if fate == _LEFT:
            return energy, x, y, z, u, v, w, comptons, rayleighs
        kind = random.random()
        if kind < _at_energy(tables.absorbed[material], energy):
            imparted[region] += energy
            return 0.0, x, y, z, u, v, w, comptons, rayleighs
        if kind < _at_energy(tables.absorbed_or_compton[material], energy):
            left, cosine = compton(tables.incoherent[material], tables.greatest_transfer, energy)
            imparted[region] += energy - left
            energy = left
            comptons += 1
            if energy < _CUT_OFF_KEV:
                imparted[region] += energy
                return 0.0, x, y, z, u, v, w, comptons, rayleighs
        else:
            cosine = rayleigh(tables.coherent[material], tables.greatest_transfer, energy)
            rayleighs += 1
        u, v, w = _turned(u, v, w, cosine)


@_compiled
def transport(
    photons: int,
    seed: int,
    tables: Tables,
    world: World,
    beam: Beam,
    plane: Plane,
    image: np.ndarray,
    second_moment: np.ndarray,
    imparted: np.ndarray,
    balance: np.ndarray,
) -> None:
    """Follow photons and add up what they leave.

    Parameters
    ----------
    photons, seed
        How many, and the seed (32 bit) of this call's random numbers.
    tables, world, beam, plane
        See `inputs`.
    image
        (4, H, W) energy (keV) absorbed by the detector, added to: primary, once Compton scattered, once Rayleigh scattered, the rest.
    second_moment
        (4, H, W) sum over the absorbed photons of the square of their energy (keV2), added to.
    imparted
        (256,) energy (keV) imparted to the regions, added to; region 0 includes the air around the voxels.
    balance
        (2,) energy (keV) emitted and energy that left the world, added to.
    """
    random.seed(seed)
    height, width = image.shape[1:]
    for _ in range(photons):
        energy = beam.energy[min(int(np.searchsorted(beam.cumulative, random.random(), side="right")), len(beam.energy) - 1)]
        balance[0] += energy
        u, v, w = _direction(beam)
        energy, x, y, z, u, v, w, comptons, rayleighs = follow(tables, world, energy, u, v, w, imparted)
        if energy == 0:
            continue
        balance[1] += energy
        if z < beam.distance - 1e-6 or w <= 0:
            continue
        column, row = int(np.floor((x - plane.corner[0]) / plane.cell[0])), int(np.floor((y - plane.corner[1]) / plane.cell[1]))
        if 0 <= column < width and 0 <= row < height:
            order = MULTIPLE
            if comptons + rayleighs < 2:
                order = COMPTON if comptons else (RAYLEIGH if rayleighs else PRIMARY)
            absorbed = energy * (1 - exp(-_at_energy(plane.depth, energy) / w))  # the way through the scintillator is slanted
            image[order, row, column] += absorbed
            second_moment[order, row, column] += absorbed * energy
