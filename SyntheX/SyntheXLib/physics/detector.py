"""The flat-panel detector: absorption, quantum noise, the scintillator's blur, readout noise, saturation and digits, in this order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.blur import apply_mtf

_CAESIUM_IODIDE_DENSITY = 4.51  # g/cm3, NIST
MTF_SHAPES = ("lorentzian", "gaussian")


@dataclass(frozen=True)
class Detector:
    """An indirect detector: columnar CsI on a photodiode matrix. The defaults suit a C-arm's.

    Attributes
    ----------
    scintillator_mm, packing
        Thickness of the CsI layer, mm, and the share of it that is CsI.
    light_swank
        Share of the DQE that fluctuations of the light yield leave (Swank factor of the light transport), up to 1; that of the absorbed
        spectrum comes on top. 0.8 to 0.9 for columnar CsI.
    mtf_half_per_mm
        Frequency (cycles/mm) at which the scintillator transfers half the contrast; 0 turns its blur off. The default is typical of
        0.6 mm of CsI, not measured on one device.
    mtf_shape
        ``lorentzian``, 1 / (1 + (f / f_half)^2), as of CsI; or ``gaussian``, 2^-(f / f_half)^2.
    readout_noise_quanta
        Standard deviation of the electronic noise of one detector pixel, in absorbed quanta of mean energy.
    full_scale
        Signal, relative to the open beam on the central ray, at which a pixel saturates.
    adc_bits
        Bits of the converter, which spans 0 to `full_scale`; 0 leaves the signal continuous (it still saturates).
    lag
        Share of an image's signal that is left over from the image before, 0 to below 1; over a sequence it decays exponentially.
    flat_field
        Whether the image is divided by that of the open beam (noise and saturation are not undone).
    """

    scintillator_mm: float = 0.6
    packing: float = 0.75
    light_swank: float = 0.9
    mtf_half_per_mm: float = 1.4
    mtf_shape: str = "lorentzian"
    readout_noise_quanta: float = 2.0
    full_scale: float = 1.25
    adc_bits: int = 16
    lag: float = 0.0
    flat_field: bool = True

    def __post_init__(self) -> None:
        for name in ("scintillator_mm", "packing", "light_swank", "full_scale"):
            if not getattr(self, name) > 0:
                raise SyntheXError(f"Detector: {name} must be above 0, found {getattr(self, name):g}.")
        for name in ("mtf_half_per_mm", "readout_noise_quanta"):
            if getattr(self, name) < 0:
                raise SyntheXError(f"Detector: {name} must not be negative, found {getattr(self, name):g}.")
        if self.packing > 1 or self.light_swank > 1:
            raise SyntheXError(f"Detector: packing and light_swank must be at most 1, found {self.packing:g} and {self.light_swank:g}.")
        if not 0 <= self.adc_bits <= 24:
            raise SyntheXError(f"Detector: adc_bits must lie within 0 (continuous) to 24, found {self.adc_bits}.")
        if not 0 <= self.lag < 1:
            raise SyntheXError(f"Detector: lag must lie within 0 to below 1, found {self.lag:g}.")
        if self.mtf_shape not in MTF_SHAPES:
            raise SyntheXError(f"Detector: mtf_shape must be {' or '.join(MTF_SHAPES)}, found '{self.mtf_shape}'.")

    @property
    def counts_per_signal(self) -> float:
        """Gain: the converter's counts at a signal of 1."""
        return (2**self.adc_bits - 1) / self.full_scale

    def absorption(self, energy_kev: np.ndarray | float) -> np.ndarray:
        """Share of photons absorbed, for energies (keV) of any shape; all their energy is taken to stay (no escape of K fluorescence)."""
        area_density = _CAESIUM_IODIDE_DENSITY * self.packing * self.scintillator_mm / 10  # g/cm2
        return 1 - np.exp(-mass_attenuation("caesium_iodide", energy_kev) * area_density)

    def mtf(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The scintillator's transfer at frequencies u along the rows and v along the columns, cycles/mm."""
        squared = (u * u + v * v) / self.mtf_half_per_mm**2
        return 1 / (1 + squared) if self.mtf_shape == "lorentzian" else np.exp2(-squared)

    def with_quantum_noise(self, energy: np.ndarray, second_moment: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the energy that pixels absorb, before the scintillator blurs it.

        Parameters
        ----------
        energy, second_moment
            (...) expected sums over the absorbed photons of their energy (keV) and of its square (keV2), per pixel.
        rng
            Source of the noise.

        Returns
        -------
        numpy.ndarray
            (...) float32, keV: Poisson numbers with the ratio of mean to standard deviation of the compound Poisson process and of the
            light's fluctuation.
        """
        effective = np.maximum(energy * energy / np.maximum(second_moment, 1e-30) * self.light_swank, 1e-12)
        return (energy / effective * rng.poisson(effective)).astype(np.float32)

    def blurred(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
        """The scintillator's blur of an (H, W) image of pixels of height and width `spacing_mm`."""
        return apply_mtf(image, self.mtf, spacing_mm) if self.mtf_half_per_mm else image

    def with_lag(self, signal: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        """What is read of a signal when the image before read `previous` (both of any one shape); None is the first of a sequence."""
        if previous is None or self.lag == 0:
            return signal
        return np.float32(1 - self.lag) * signal + np.float32(self.lag) * previous

    def digitized(self, signal: np.ndarray) -> np.ndarray:
        """What the converter makes of a signal (any shape, open beam = 1): clipped to 0 ... `full_scale`, in whole counts; float32."""
        clipped = np.clip(signal, 0, self.full_scale)
        if self.adc_bits:
            clipped = np.rint(clipped * self.counts_per_signal) / self.counts_per_signal
        return clipped.astype(np.float32)
