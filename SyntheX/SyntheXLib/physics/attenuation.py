"""Mass attenuation coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import nearest

# Mean energy at which a CT scanner's Hounsfield scale is defined here: effective energy of a 120 kVp beam in the patient, about 70 keV.
CT_ENERGY_KEV = 70.0

# g/cm3. Elements: NIST; nitinol and steel 316L: their usual data sheets.
_DENSITY = {"aluminium": 2.699, "copper": 8.96, "titanium": 4.51, "nitinol": 6.45, "steel_316l": 8.0}

# What else people call the materials.
_ALIASES = {
    "bone": "cortical_bone", "tissue": "soft_tissue", "fat": "adipose", "background": "air", "steel": "steel_316l", "niti": "nitinol",
}  # fmt: skip


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with (resources.files(__package__) / "tables" / "attenuation.csv").open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        values = np.loadtxt(file, delimiter=",")
    return values[:, 0], {name: values[:, column] for column, name in enumerate(names) if column}


def materials() -> tuple[str, ...]:
    """Names of the materials in the table."""
    return tuple(_table()[1])


def material_name(name: str) -> str:
    """The material that a name means: case, spaces, dashes and underscores do not count, and bone, fat and the like are known.

    Raises
    ------
    SyntheXError
        When it means none.
    """
    known = {_plain(material): material for material in materials()} | _ALIASES
    if _plain(name) not in known:
        raise SyntheXError(f"Unknown material '{name}': expected one of {', '.join(materials())}{nearest(name, materials())}.")
    return known[_plain(name)]


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def density(material: str) -> float:
    """Density (g/cm3) of a metal: what filters and tools are made of.

    Raises
    ------
    SyntheXError
        When it is not known.
    """
    if material not in _DENSITY:
        raise SyntheXError(f"No density of '{material}' is known: expected one of {', '.join(_DENSITY)}{nearest(material, _DENSITY)}.")
    return _DENSITY[material]


def mass_attenuation(material: str, energy_kev: np.ndarray | float) -> np.ndarray:
    """Total mass attenuation coefficient.

    Parameters
    ----------
    material
        One of `materials()`.
    energy_kev
        Photon energies, 10 to 150 keV, any shape.

    Returns
    -------
    numpy.ndarray
        cm2/g, interpolated linearly in log-log between the table's whole keV. Source: ``tables/build.py``.

    Raises
    ------
    SyntheXError
        When the material is unknown or an energy lies outside the table.
    """
    energies, table = _table()
    if material not in table:
        raise SyntheXError(f"Unknown material '{material}': expected one of {', '.join(table)}{nearest(material, table)}.")
    energy = np.asarray(energy_kev, float)
    if energy.size and (energy.min() < energies[0] or energy.max() > energies[-1]):
        raise SyntheXError(
            f"Photon energy must lie within {energies[0]:g} to {energies[-1]:g} keV, found {energy.min():g} to {energy.max():g} keV."
        )
    return np.exp(np.interp(np.log(energy), np.log(energies), np.log(table[material])))


def transmission(area_densities: Sequence[np.ndarray], names: Sequence[str], energy_kev: float) -> np.ndarray:
    """exp(-sum of (mu/rho) x area density), for one energy (keV) and area densities (g/cm2) of the named materials."""
    exponent = sum(mass_attenuation(name, energy_kev) * density for name, density in zip(names, area_densities, strict=True))
    return np.exp(-np.asarray(exponent))
