"""The realistic level: from area densities to what a C-arm's detector reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from SyntheXLib.physics.attenuation import density, mass_attenuation
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.geometry import CATHODE_SIDES, heel, relative_fluence
from SyntheXLib.physics.scatter import equivalent_kvp, kernels, scatter_signal
from SyntheXLib.physics.spectrum import Spectrum
from SyntheXLib.rendering.exposure import Exposure
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.scene.c_arm import Camera

SPECTRUM_BINS = 16
# Pixels whose energy bins are summed at a time: what is at hand of them stays in the cache.
_BLOCK_PIXELS = 1 << 15


def realistic(
    projection: Projection,
    camera: Camera,
    exposure: Exposure,
    rng: np.random.Generator | None = None,
    detector_spacing_mm: float | None = None,
    previous: np.ndarray | None = None,
    materials: Mapping[str, np.ndarray] | None = None,
    scatter: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:
    """Spectrum, scatter, blur, absorption, noise and digits, in the order in which they happen. Parameters: see `levels.make_image`.

    Returns
    -------
    numpy.ndarray
        (H, W) float32, relative to the open beam: to that of each pixel when the detector is flat-fielded, else of the central ray.
    """
    spacing, detector = camera.pixel_spacing_mm, exposure.detector
    beam = exposure.spectrum
    densities = area_densities(projection, exposure, materials)
    bins = beam.binned(SPECTRUM_BINS)
    own, photon_energy, open_energy, profile = _primary(densities, bins, detector, _heel(camera, exposure, bins.energy_kev))
    del densities  # some ten images, of a full detector 100 MB
    # Another backend's image tells the primary beam alone; energies and scatter follow from our line integrals.
    transmission = own if projection.primary is None else projection.primary
    x, y = camera.detector_axes_mm()
    open_beam = relative_fluence(x[None, :], y[:, None], camera.source_to_detector_mm) * profile
    incident = open_beam if exposure.collimator is None else open_beam * _opening(camera, exposure, exposure.collimator)
    scattered, scatter_energy = scatter or _scatter(own, incident, camera, exposure, beam)
    scattered = scattered * np.float32(exposure.scatter.strength)
    primary = incident * np.maximum(exposure.blur.apply(transmission, spacing, camera.source_to_detector_mm), 0)
    del own, transmission
    if exposure.grid is not None:  # the open beam is seen through the grid too
        scattered = scattered * np.float32(exposure.grid.scatter_transmission / exposure.grid.primary_transmission)
    signal = primary + scattered

    area = spacing[0] * spacing[1]
    quanta = beam.photons_per_mm2(exposure.open_beam_dose_ugy) * area * (exposure.grid.primary_transmission if exposure.grid else 1.0)
    if rng is not None:
        second_moment = primary * photon_energy + scattered * np.float32(scatter_energy)
        unit = np.float32(quanta * open_energy)  # keV that a pixel absorbs of the open beam
        signal = detector.with_quantum_noise(unit * signal, unit * second_moment, rng) / unit
    signal = detector.blurred(signal, spacing)
    if previous is not None:
        signal = detector.with_lag(signal, previous * open_beam if detector.flat_field else previous)
    if rng is not None:
        native = detector_spacing_mm or spacing[0]
        absorbed = quanta * float(beam.photons @ detector.absorption(beam.energy_kev))
        # Adds up over the detector pixels of an image pixel.
        readout = detector.readout_noise_quanta * np.sqrt(area) / native / absorbed
        signal = signal + np.float32(readout) * rng.standard_normal(signal.shape, np.float32)
    signal = detector.digitized(signal)
    return signal / open_beam if detector.flat_field else signal


def primary_transmission(projection: Projection, camera: Camera, exposure: Exposure) -> np.ndarray:
    """(H, W) float32 primary beam relative to the open one, weighted by the energy that the detector absorbs, from the line integrals."""
    densities = area_densities(projection, exposure)
    bins = exposure.spectrum.binned(SPECTRUM_BINS)
    return _primary(densities, bins, exposure.detector, _heel(camera, exposure, bins.energy_kev))[0]


def _heel(camera: Camera, exposure: Exposure, energy_kev: np.ndarray) -> np.ndarray | None:
    """(E, H, 1) or (E, 1, W) photons of (E,) energies (keV) relative to the central ray's; None without heel effect."""
    x, y = camera.detector_axes_mm()
    right, down = CATHODE_SIDES[exposure.cathode_side]
    if not (right or down):
        return None
    tube = (exposure.kvp, exposure.aluminium_mm, exposure.copper_mm, exposure.anode_angle_deg)
    found = heel(right * x if right else down * y, camera.source_to_detector_mm, tube, energy_kev)
    return found[:, None, :] if right else found[:, :, None]


def _opening(camera: Camera, exposure: Exposure, collimator: Collimator) -> np.ndarray:
    """(H, W) float32 share of the beam that the collimator lets through."""
    x, y = camera.detector_axes_mm()
    return collimator.opening(x[None, :], y[:, None], collimator.penumbra_mm(exposure.blur.focal_spot_mm, camera.source_to_detector_mm))


def area_densities(projection: Projection, exposure: Exposure, materials: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Area densities (H, W) by material, g/cm2: of the CT, as given by `materials` or else from the HU classes, with those of the tools."""
    if materials is None:
        materials = exposure.decomposition.area_densities(projection.path_length, projection.hu_integral)
    whole = dict(materials)
    for material, path in projection.tool_path.items():
        tool = path * np.float32(density(material) / 10)
        whole[material] = whole[material] + tool if material in whole else tool
    return whole


def _primary(
    densities: dict[str, np.ndarray], bins: Spectrum, detector: Detector, heel: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Transmission, mean energy, open beam's energy and its profile.

    Primary transmission (H, W) by absorbed energy, relative to the open beam of the place; the absorbed photons' mean energy by energy
    (H, W), keV; the open beam's absorbed energy per photon on the central ray, keV; and the open beam by absorbed energy relative to the
    central ray, of a shape that broadcasts to (H, W): what `heel` (see `_heel`), which also hardens the beam, makes of it.

    The detector integrates energy: its signal is the sum of E n, its variance the sum of E^2 n (compound Poisson).
    """
    present = {name: column for name, column in densities.items() if column.any()}
    shape = next(iter(densities.values())).shape
    signal, second = (np.zeros(shape, np.float32) for _ in range(2))
    absorbed = bins.photons * bins.energy_kev * detector.absorption(bins.energy_kev)
    open_energy = float(absorbed.sum())
    shares = (absorbed / open_energy).astype(np.float32)
    if heel is None:
        heel = np.ones((len(shares), 1, 1), np.float32)
    profile = (shares[:, None, None] * heel).sum(0)
    weights = shares[:, None, None] * heel / profile
    # Bin by bin keeps the memory small, and no BLAS means the same bytes for any number of threads.
    coefficients = {name: mass_attenuation(name, bins.energy_kev).astype(np.float32) for name in present}
    rows = max(1, _BLOCK_PIXELS // shape[1])
    for block in (slice(first, first + rows) for first in range(0, shape[0], rows)):
        for index, energy in enumerate(bins.energy_kev):
            exponent = np.zeros(signal[block].shape, np.float32)
            for name, column in present.items():
                exponent -= coefficients[name][index] * column[block]
            part = np.exp(exponent, out=exponent)
            part *= weights[index][block] if weights.shape[1] > 1 else weights[index]
            signal[block] += part
            part *= np.float32(energy)
            second[block] += part
    return signal, second / np.maximum(signal, np.float32(1e-30)), open_energy, profile


def _scatter(own: np.ndarray, incident: np.ndarray, camera: Camera, exposure: Exposure, beam: Spectrum) -> tuple[np.ndarray, float]:
    """Scatter (H, W) relative to the open beam on the central ray, and its photons' mean energy, keV."""
    scatter = exposure.scatter
    table = kernels(equivalent_kvp(beam), scatter.air_gap_mm)
    if scatter.strength == 0:
        return np.zeros_like(own), table.mean_energy_kev
    x, y = camera.detector_axes_mm()
    return scatter_signal(own, incident, x, y, table, scattering_side(camera, exposure)), table.mean_energy_kev


def scattering_side(camera: Camera, exposure: Exposure) -> float:
    """Side (mm) of the square on the detector from which scatter comes."""
    collimator = exposure.collimator
    axes = camera.detector_axes_mm()[::-1]
    reach = max(np.abs(axis).max() + spacing / 2 for axis, spacing in zip(axes, camera.pixel_spacing_mm, strict=True))
    side = max(exposure.scatter.field_mm, 2 * reach)  # all of the view is lit
    if collimator is not None and collimator.leakage == 0:
        penumbra = collimator.penumbra_mm(exposure.blur.focal_spot_mm, camera.source_to_detector_mm)
        side = min(side, 2 * collimator.reach_mm + penumbra)  # but for what the blades keep dark
    return float(side)
