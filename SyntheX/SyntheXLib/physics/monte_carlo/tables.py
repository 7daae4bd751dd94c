"""Interaction tables for the transport, with mixtures made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.monte_carlo.inputs import ENERGY_STEP_KEV, Tables
from SyntheXLib.tasks.task import nearest


@lru_cache(maxsize=1)
def _stored() -> dict[str, np.ndarray]:
    with (resources.files("SyntheXLib.physics") / "tables" / "interactions.npz").open("rb") as file, np.load(file) as table:
        return dict(table)


def materials() -> tuple[str, ...]:
    """Names of the materials that the transport knows."""
    return tuple(str(name) for name in _stored()["materials"])


def energy_grid() -> np.ndarray:
    """(E,) energies of the kernel's tables, keV."""
    first, *_, last = _stored()["energy_kev"].astype(float)
    return np.arange(first, last + ENERGY_STEP_KEV / 2, ENERGY_STEP_KEV)


def transport_tables(mixtures: Sequence[Mapping[str, float]]) -> Tables:
    """Tables of materials or of mixtures of them.

    Parameters
    ----------
    mixtures
        For each row the mass fractions by name of one of `materials()`; ``{"water": 1}`` is plain water.

    Returns
    -------
    Tables
        Atoms scatter independently: cross sections and scattering functions per gram add up by mass fraction. Source:
        ``physics/tables/build.py``.

    Raises
    ------
    SyntheXError
        When a material is unknown.
    """
    stored, names, energies = _stored(), materials(), energy_grid()
    for name in (name for mixture in mixtures for name in mixture):
        if name not in names:
            raise SyntheXError(f"Monte Carlo: unknown material '{name}', expected one of {', '.join(names)}{nearest(name, names)}.")

    def mixed(values: np.ndarray) -> np.ndarray:
        return np.array([sum(part * values[names.index(name)] for name, part in mixture.items()) for mixture in mixtures], float)

    log_grid, log_known = np.log(energies), np.log(stored["energy_kev"].astype(float))
    # Straight in log-log between whole keV, as everywhere in the physics.
    kinds = [
        np.exp([np.interp(log_grid, log_known, np.log(row)) for row in mixed(stored["sections"][:, kind].astype(float))])
        for kind in range(3)
    ]
    photoelectric, compton, _ = kinds
    total = np.sum(kinds, axis=0)
    functions = stored["functions"].astype(float)
    squared_form_factor = mixed(functions[:, 1])
    strips = (squared_form_factor[:, 1:] + squared_form_factor[:, :-1]) / 2 * np.diff(stored["momentum_transfer"].astype(float) ** 2)
    coherent = np.concatenate([np.zeros((len(strips), 1)), np.cumsum(strips, axis=1)], axis=1)
    return Tables(
        total / 10,  # 1/cm to 1/mm
        photoelectric / total,
        (photoelectric + compton) / total,
        mixed(functions[:, 0]),
        coherent,
        float(stored["momentum_transfer"][-1]),
    )
