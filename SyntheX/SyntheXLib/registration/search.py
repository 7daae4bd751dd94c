"""Optimisers of a registration: CMA-ES where the landscape is rugged, Nelder-Mead where it is smooth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError

Objective = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search ended: the numbers, the objective there, how often it was asked, and whether the search came to rest by itself."""

    numbers: np.ndarray
    value: float
    evaluations: int
    converged: bool


def cma_es(
    objective: Objective, start: np.ndarray, spread: np.ndarray, population: int, generations: int, seed: int, reach: float = 3.0
) -> Found:
    """Minimise by CMA-ES (package cmaes), beginning with a normal distribution.

    Parameters
    ----------
    objective
        Of (D,) numbers.
    start, spread
        (D,) mean and standard deviation of the first generation.
    population, generations
        Evaluations a generation, and generations at most; it ends when the spread has shrunk to 1/200.
    seed
        Of the random numbers.
    reach
        Nothing farther from the start than so many standard deviations is looked at.

    Raises
    ------
    SyntheXError
        When the package is missing.
    """
    try:
        from cmaes import CMA
    except ImportError:
        raise SyntheXError("2D/3D registration needs the package cmaes, which is not installed: pip install cmaes.") from None
    optimizer = CMA(np.zeros(len(start)), 1.0, np.tile([-reach, reach], (len(start), 1)), population_size=population, seed=seed)
    best, least = np.asarray(start, float), objective(start)
    evaluations, converged = 1, False
    for _ in range(generations):
        solutions = []
        for _ in range(population):
            scaled = optimizer.ask()
            numbers = start + scaled * spread
            value = objective(numbers)
            solutions.append((scaled, value))
            if value < least:
                best, least = numbers, value
        optimizer.tell(solutions)
        evaluations += population
        spread_now = np.std([scaled for scaled, _ in solutions], axis=0)
        if optimizer.should_stop() or spread_now.max() < 5e-3:
            converged = True
            break
    return Found(best, least, evaluations, converged)


def nelder_mead(objective: Objective, start: np.ndarray, spread: np.ndarray, evaluations: int, tolerance: float) -> Found:
    """Minimise by the adaptive simplex of scipy, whose first corners lie `spread` from the start.

    It comes to rest when the corners lie within `tolerance` of the best in every number.
    """
    from scipy.optimize import minimize

    simplex = np.vstack([start, start + np.diag(spread)])
    options = {"initial_simplex": simplex, "maxfev": evaluations, "xatol": tolerance, "fatol": 1e-4, "adaptive": True}
    result = minimize(objective, start, method="Nelder-Mead", options=options)
    return Found(result.x, float(result.fun), int(result.nfev), bool(result.success))
