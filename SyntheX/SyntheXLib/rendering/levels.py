"""The realism levels: from one projection to the detector's signal, as naive, heuristic or realistic.

All give the linear signal relative to the open beam (1 where nothing stands in the way), float32; bone is dark.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import Decomposition
from SyntheXLib.physics.spectrum import tube_spectrum
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.tasks.task import nearest

LEVELS = ("naive", "heuristic", "realistic")

# Attenuation of water at 40 keV and of air, per mm (NIST), on which xreg's ray casting and so the paper's naive and heuristic levels rest.
_MU_WATER, _MU_AIR = 0.02683, 2.485e-6
_MU_PER_HU = (_MU_WATER - _MU_AIR) / 1000
# Anatomy begins at -130 HU in the heuristic level.
_ANATOMY_HU = -130.0

_SPECTRUM_BINS = 16


@dataclass(frozen=True)
class Exposure:
    """The parameters of the realistic level.

    Attributes
    ----------
    kvp
        Tube voltage, kV.
    aluminium_mm, copper_mm
        Total filtration, mm.
    open_beam_dose_ugy
        Air kerma at the detector without an object, uGy an image. The default gives some 40 nGy behind 20 cm of water, as in fluoroscopy.
    readout_noise_quanta
        Standard deviation of the electronic noise of one detector pixel, in absorbed quanta of mean energy.
    """

    kvp: float = 90.0
    aluminium_mm: float = 4.0
    copper_mm: float = 0.0
    open_beam_dose_ugy: float = 5.0
    readout_noise_quanta: float = 2.0

    def __post_init__(self) -> None:
        if not self.open_beam_dose_ugy > 0 or self.readout_noise_quanta < 0:
            raise SyntheXError(
                f"Exposure: open_beam_dose_ugy must be above 0 and readout_noise_quanta not below, "
                f"found {self.open_beam_dose_ugy} and {self.readout_noise_quanta}."
            )
        tube_spectrum(self.kvp, self.aluminium_mm, self.copper_mm)  # tells what is out of range before anything is rendered

    def to_dict(self) -> dict[str, Any]:
        """Names and numbers, for JSON."""
        return asdict(self)


def make_image(
    level: str,
    projection: Projection,
    camera: Camera,
    exposure: Exposure | None = None,
    rng: np.random.Generator | None = None,
    detector_spacing_mm: float | None = None,
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
        Source of the noise of ``realistic``; None gives the image without noise.
    detector_spacing_mm
        Side of the detector's own pixels, several of which are read for a larger image pixel; None takes the image's pixels for them.

    Returns
    -------
    numpy.ndarray
        (H, W) float32, open beam = 1.

    Raises
    ------
    SyntheXError
        When the level is unknown.
    """
    if level == "naive":
        return naive(projection)
    if level == "heuristic":
        return heuristic(projection)
    if level == "realistic":
        return realistic(projection, camera, exposure or Exposure(), rng, detector_spacing_mm)
    raise SyntheXError(f"Unknown realism level '{level}': expected one of {', '.join(LEVELS)}{nearest(level, LEVELS)}.")


def naive(projection: Projection) -> np.ndarray:
    """One energy, one material, no noise: all that is above -1000 HU attenuates linearly."""
    return _ray_cast(projection, -1000.0)


def heuristic(projection: Projection) -> np.ndarray:
    """As naive, after a linear threshold that parts air from anatomy: attenuation begins at -130 HU."""
    return _ray_cast(projection, _ANATOMY_HU)


def _ray_cast(projection: Projection, lower_hu: float) -> np.ndarray:
    length, total = projection.above(lower_hu)
    return np.exp(-_MU_PER_HU * (total - lower_hu * length)).astype(np.float32)


def realistic(
    projection: Projection,
    camera: Camera,
    exposure: Exposure,
    rng: np.random.Generator | None = None,
    detector_spacing_mm: float | None = None,
) -> np.ndarray:
    """Polychromatic spectrum, an energy-integrating detector, quantum and readout noise. See `make_image`."""
    spectrum = tube_spectrum(exposure.kvp, exposure.aluminium_mm, exposure.copper_mm)
    bins = spectrum.binned(_SPECTRUM_BINS)
    densities = Decomposition().area_densities(projection.path_length, projection.hu_integral)
    # Energy-integrating detector: the signal is the sum of E n, its variance the sum of E^2 n (compound Poisson).
    # Bin by bin keeps the memory small, and no BLAS means the same bytes for any number of threads.
    signal, variance = (np.zeros(camera.shape, np.float32) for _ in range(2))
    for energy, share in zip(bins.energy_kev, bins.photons, strict=True):
        exponent = sum(np.float32(mass_attenuation(name, energy)) * density for name, density in densities.items())
        photons = np.exp(-exponent) * np.float32(share)
        signal += np.float32(energy) * photons
        variance += np.float32(energy**2) * photons
    open_signal = bins.mean_energy_kev
    if rng is not None:
        area = camera.pixel_spacing_mm[0] * camera.pixel_spacing_mm[1]
        quanta = spectrum.photons_per_mm2(exposure.open_beam_dose_ugy) * area
        # Poisson numbers with the compound's ratio of mean to standard deviation.
        effective = np.maximum(quanta * signal**2 / np.maximum(variance, 1e-30), 1e-12)
        signal *= (rng.poisson(effective) / effective).astype(np.float32)
        native = detector_spacing_mm or camera.pixel_spacing_mm[0]
        readout = exposure.readout_noise_quanta * np.sqrt(area) / native / quanta  # sums over the detector pixels of an image pixel
        signal = np.maximum(signal / open_signal + readout * rng.standard_normal(signal.shape), 0)
        return signal.astype(np.float32)
    return (signal / open_signal).astype(np.float32)
