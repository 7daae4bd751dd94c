"""What the realistic level needs to know of an exposure, as tensors: many exposures drawn once, of which batches take some.

A spectrum, its attenuation and scatter kernels take milliseconds, as long as a training step's share of an image; drawn once an epoch they
cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.geometry import CATHODE_SIDES, heel, relative_fluence
from SyntheXLib.physics.scatter import ScatterAxis, equivalent_kvp, kernels
from SyntheXLib.rendering.exposure import Exposure, draw_values
from SyntheXLib.rendering.realistic import SPECTRUM_BINS, scattering_side
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.device_file import Value


class ExposureConstants(NamedTuple):
    """Constants of N exposures of one view geometry (H x W pixels, E energies, M materials, K slabs, three Gaussians).

    Attributes
    ----------
    attenuation
        (N, E, M) mass attenuation coefficients, cm2/g.
    weight_rows, weight_columns
        (N, E, H) and (N, E, W): their product is a bin's share of the absorbed energy of the open beam of a pixel.
    energy
        (N, E) keV.
    open_beam
        (N, H, W) open beam by absorbed energy relative to the central ray, without collimator.
    incident
        (N, H, W) what of it the collimator lets through.
    quanta
        (N, 3) photons a pixel of the open beam behind the grid, energy absorbed of each (keV), and photons absorbed a pixel.
    scatter
        (N, 7) of the kernels A, alpha, beta, the scatter's mean energy (keV), its strength, its share through the grid, light Swank factor.
    depth
        (N, K) -ln T of the slabs.
    spread_rows, spread_columns
        What a cell sends to a target along each axis, by slab and Gaussian: (N, K, 3 targets, cells) with the Gaussians' energy shares,
        and (N, targets, 3 K cells).
    transfer
        (N, 6) shadow of the focal spot (mm), motion (mm, radians), half value of the scintillator (1/mm; 0 none) and whether its transfer
        is a Gaussian; readout noise of a pixel in absorbed quanta.
    digits
        (N, 3) full scale, counts per signal (0 continuous), and whether the image is flat-fielded.
    cells
        (N, 4) cells of the scatter beyond the view: above, below, left, right; the same for all.
    """

    attenuation: Tensor
    weight_rows: Tensor
    weight_columns: Tensor
    energy: Tensor
    open_beam: Tensor
    incident: Tensor
    quanta: Tensor
    scatter: Tensor
    depth: Tensor
    spread_rows: Tensor
    spread_columns: Tensor
    transfer: Tensor
    digits: Tensor
    cells: Tensor

    def at(self, rows: Tensor) -> ExposureConstants:
        """The exposures of these numbers, (B,), with repetition."""
        return ExposureConstants(*(tensor[rows] for tensor in self))

    def to(self, device: torch.device | str) -> ExposureConstants:
        """On another device."""
        return ExposureConstants(*(tensor.to(device) for tensor in self))


def draw_exposures(base: Exposure, ranges: Mapping[str, tuple[Value, ...]], count: int, seed: int) -> list[Exposure]:
    """`count` exposures with the parameters in `ranges` drawn anew, see `rendering.exposure.draw_values`."""
    rng = np.random.default_rng(seed)
    return [base.with_values(draw_values(ranges, rng)) for _ in range(count)]


def exposure_constants(
    exposures: Sequence[Exposure], camera: Camera, materials: Sequence[str], detector_spacing_mm: float | None = None
) -> ExposureConstants:
    """Constants of exposures for views of one geometry.

    Parameters
    ----------
    exposures
        N of them.
    camera
        Any of the views: pixels, principal point and distance to the detector count, not the pose.
    materials
        What the area densities will be of, in their order.
    detector_spacing_mm
        Side of the detector's own pixels; None takes the image's.
    """
    x, y = camera.detector_axes_mm()
    spacing = camera.pixel_spacing_mm
    cells = [_padding(axis, side, [scattering_side(camera, e) for e in exposures]) for axis, side in zip((y, x), spacing, strict=True)]
    rows = [_constants(exposure, camera, materials, detector_spacing_mm or spacing[0], cells) for exposure in exposures]
    return ExposureConstants(*(torch.from_numpy(np.stack(parts, dtype=np.float32)) for parts in zip(*rows, strict=True)))


def _padding(axis_mm: np.ndarray, spacing_mm: float, sides_mm: Sequence[float]) -> tuple[int, int]:
    """Most cells before and after the view that any of the fields has."""
    axes = [ScatterAxis(axis_mm, spacing_mm, side) for side in sides_mm]
    return max(axis.before for axis in axes), max(axis.after for axis in axes)


def _constants(
    exposure: Exposure, camera: Camera, materials: Sequence[str], native_mm: float, cells: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, ...]:
    detector, beam, scatter = exposure.detector, exposure.spectrum, exposure.scatter
    x, y = camera.detector_axes_mm()
    spacing, distance = camera.pixel_spacing_mm, camera.source_to_detector_mm
    bins = beam.binned(SPECTRUM_BINS)
    absorbed = bins.photons * bins.energy_kev * detector.absorption(bins.energy_kev)
    shares = absorbed / absorbed.sum()
    right, down = CATHODE_SIDES[exposure.cathode_side]
    tube = (exposure.kvp, exposure.aluminium_mm, exposure.copper_mm, exposure.anode_angle_deg)

    def along(axis: np.ndarray, direction: int) -> np.ndarray:
        """(E, length) of the beam along an axis relative to the central ray."""
        ones = np.ones((len(shares), len(axis)))
        return heel(direction * axis, distance, tube, bins.energy_kev) if direction else ones

    over_rows, over_columns = along(y, down), along(x, right)
    profile_rows, profile_columns = shares @ over_rows, shares @ over_columns
    # Single precision where there is a number for each pixel.
    across, downward = x[None, :].astype(np.float32), y[:, None].astype(np.float32)
    profile = profile_rows[:, None].astype(np.float32) * profile_columns.astype(np.float32)
    open_beam = relative_fluence(across, downward, distance) * profile
    incident = open_beam
    if exposure.collimator is not None:
        penumbra = exposure.collimator.penumbra_mm(exposure.blur.focal_spot_mm, distance)
        incident = open_beam * exposure.collimator.opening(across, downward, penumbra)
    missing = SPECTRUM_BINS - len(shares)  # bins without photons are left out
    attenuation = np.stack([mass_attenuation(material, bins.energy_kev) for material in materials], axis=1)

    area = spacing[0] * spacing[1]
    grid = exposure.grid
    quanta = beam.photons_per_mm2(exposure.open_beam_dose_ugy) * area * (grid.primary_transmission if grid else 1.0)
    photons = float(beam.photons @ detector.absorption(beam.energy_kev))
    through = grid.scatter_transmission / grid.primary_transmission if grid else 1.0
    table = kernels(equivalent_kvp(beam), scatter.air_gap_mm)
    side = scattering_side(camera, exposure)
    spreads = []
    for axis_mm, pixel, (before, after) in zip((y, x), spacing, cells, strict=True):
        axis = ScatterAxis(axis_mm, pixel, side)
        found = np.stack([axis.gaussians(sigma) for sigma in table.sigma_mm.T], axis=1)
        spreads.append(np.pad(found, ((0, 0), (0, 0), (0, 0), (before - axis.before, after - axis.after))))
    over_slabs = spreads[0] * table.weight[:, :, None, None]
    return (
        np.pad(attenuation, ((0, missing), (0, 0))),
        np.pad(shares[:, None] * over_rows / profile_rows, ((0, missing), (0, 0))),
        np.pad(over_columns / profile_columns, ((0, missing), (0, 0))),
        np.pad(bins.energy_kev, (0, missing)),
        open_beam,
        incident,
        np.array([quanta, absorbed.sum(), quanta * photons]),
        np.array([*table.emission, table.mean_energy_kev, scatter.strength, through, detector.light_swank]),
        table.log_attenuation,
        over_slabs.reshape(len(over_slabs), -1, over_slabs.shape[3]),
        spreads[1].transpose(2, 0, 1, 3).reshape(spreads[1].shape[2], -1),
        np.array(
            [
                exposure.blur.shadow_mm(distance),
                exposure.blur.motion_mm,
                np.deg2rad(exposure.blur.motion_deg),
                detector.mtf_half_per_mm,
                detector.mtf_shape == "gaussian",
                # Adds up over the detector pixels of an image pixel.
                detector.readout_noise_quanta * np.sqrt(area) / native_mm,
            ]
        ),
        np.array([detector.full_scale, detector.counts_per_signal if detector.adc_bits else 0.0, detector.flat_field]),
        np.array([*cells[0], *cells[1]]),
    )
