"""The realism levels: from one projection to the detector's signal, as naive, heuristic or realistic.

All give the linear signal relative to the open beam (1 where nothing stands in the way), float32; bone is dark.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.exposure import Exposure
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.realistic import realistic
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.tasks.task import nearest

LEVELS = ("naive", "heuristic", "realistic")

# Attenuation of water at 40 keV and of air, per mm (NIST), on which xreg's ray casting and so the paper's naive and heuristic levels rest.
_MU_WATER, _MU_AIR = 0.02683, 2.485e-6
_MU_PER_HU = (_MU_WATER - _MU_AIR) / 1000
# Anatomy begins at -130 HU in the heuristic level.
_ANATOMY_HU = -130.0
# Tools of any metal, as in the paper's simulation of the continuum manipulator.
_TOOL_HU = 8000.0


def make_image(
    level: str,
    projection: Projection,
    camera: Camera,
    exposure: Exposure | None = None,
    rng: np.random.Generator | None = None,
    detector_spacing_mm: float | None = None,
    poisson_photons: float | None = None,
    previous: np.ndarray | None = None,
    materials: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """The detector's signal at a realism level.

    Parameters
    ----------
    level
        ``naive``, ``heuristic`` or ``realistic``.
    projection
        From a renderer.
    camera
        The view that was rendered; its pixels' area scales the photon number.
    exposure
        For ``realistic``; None takes the defaults.
    rng
        Source of the noise; None gives the image without noise.
    detector_spacing_mm
        Side of the detector's own pixels, several of which are read for a larger image pixel; None takes the image's pixels for them.

    poisson_photons
        For ``naive`` and ``heuristic``: photons that a pixel counts of the open beam, with Poisson noise; None leaves out noise. xreg's
        fluoroscopy tool takes 2000, the simulation of the continuum manipulator 5000.
    previous
        For ``realistic``: (H, W) the image before in a sequence, of which the detector's lag keeps a part; None is the first.
    materials
        For ``realistic``: area densities (H, W) of the CT by material, g/cm2, as `material_map.MaterialCaster` gives them; None takes them
        from the HU classes.

    Returns
    -------
    numpy.ndarray
        (H, W) float32, open beam = 1 (of the central ray alone, where `exposure` leaves out flat-fielding).

    Raises
    ------
    SyntheXError
        When the level is unknown or the number of photons not above 0.
    """
    if level in ("naive", "heuristic"):
        signal = naive(projection) if level == "naive" else heuristic(projection)
        return signal if rng is None or poisson_photons is None else counted(signal, poisson_photons, rng)
    if level == "realistic":
        return realistic(projection, camera, exposure or Exposure(), rng, detector_spacing_mm, previous, materials)
    raise SyntheXError(f"Unknown realism level '{level}': expected one of {', '.join(LEVELS)}{nearest(level, LEVELS)}.")


def naive(projection: Projection) -> np.ndarray:
    """One energy, one material, no noise: all that is above -1000 HU attenuates linearly."""
    return _ray_cast(projection, -1000.0)


def heuristic(projection: Projection) -> np.ndarray:
    """As naive, after a linear threshold that parts air from anatomy: attenuation begins at -130 HU."""
    return _ray_cast(projection, _ANATOMY_HU)


def counted(signal: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise of a signal of any shape relative to the open beam, of which a pixel counts `photons`; float32.

    Raises
    ------
    SyntheXError
        When `photons` is not above 0.
    """
    if not photons > 0:
        raise SyntheXError(f"poisson_photons must be above 0, found {photons:g}.")
    return (rng.poisson(signal * photons) / photons).astype(np.float32)


def _ray_cast(projection: Projection, lower_hu: float) -> np.ndarray:
    length, total = projection.above(lower_hu)
    excess = total - lower_hu * length  # HU x mm
    for path in projection.tool_path.values():
        excess = excess + np.float32(_TOOL_HU - lower_hu) * path
    return np.exp(-_MU_PER_HU * excess).astype(np.float32)
