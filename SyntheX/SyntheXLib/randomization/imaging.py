"""The realistic level on batches, on the training device: from area densities to what a C-arm's detector reads.

The same steps as `rendering.realistic`, with which it agrees for fixed parameters; there is no lag, since a batch is no sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.physics.blur import padded_sizes
from SyntheXLib.physics.scatter import LEAST_TRANSMISSION, ScatterAxis
from SyntheXLib.randomization.exposure_bank import ExposureConstants
from SyntheXLib.scene.c_arm import Camera

# Pixels times energies that are held at once on a GPU: half a gigabyte.
_MOST_VALUES = 2**27


class BatchImaging:
    """Makes images of area densities of one view geometry.

    Parameters
    ----------
    camera
        Any of the views: pixels, principal point and distance to the detector count, not the pose.
    device
        Where the batches lie.
    """

    def __init__(self, camera: Camera, device: torch.device | str = "cpu") -> None:
        self._shape, self._spacing = camera.shape, camera.pixel_spacing_mm
        axes = [ScatterAxis(axis, side, 0.0) for axis, side in zip(camera.detector_axes_mm()[::-1], self._spacing, strict=True)]
        self._to_cells = [torch.from_numpy(_means(axis)).to(device) for axis in axes]
        self._to_pixels = [torch.from_numpy(_interpolation(axis)).to(device) for axis in axes]

    def __call__(self, densities: Tensor, constants: ExposureConstants, generator: torch.Generator | None = None) -> Tensor:
        """Image a batch.

        Parameters
        ----------
        densities
            (B, M, H, W) g/cm2, in the order of the constants' materials.
        constants
            Of B exposures.
        generator
            Of the noise, on the device; None gives the images without noise.

        Returns
        -------
        Tensor
            (B, 1, H, W) float32, relative to the open beam.
        """
        transmission, photon_energy = self._primary(densities.float(), constants)
        scattered = self._scatter(transmission, constants)
        strength, through = _each(constants.scatter[:, 4]), _each(constants.scatter[:, 5])
        scattered = scattered * strength * through
        primary = constants.incident * self._filtered(transmission, constants, _geometric_transfer).clamp_min(0)
        signal = primary + scattered
        quanta, open_energy, absorbed = (_each(column) for column in constants.quanta.T)
        if generator is not None:
            # Photons of one energy that are as noisy: (sum of n E)^2 / (sum of n E^2), and the scintillator's light.
            second = primary * photon_energy + scattered * _each(constants.scatter[:, 3])
            share = quanta * open_energy * _each(constants.scatter[:, 6])
            effective = (signal * signal).div_(second.clamp_min_(1e-30)).mul_(share).clamp_min_(1e-12)
            signal = signal * _poisson(effective, generator).div_(effective)
        signal = self._filtered(signal, constants, _scintillator_transfer)
        if generator is not None:
            noise = torch.randn(signal.shape, generator=generator, device=signal.device)
            signal = signal + _each(constants.transfer[:, 5]) / absorbed * noise
        full_scale, counts, flat = (_each(column) for column in constants.digits.T)
        signal = torch.minimum(signal.clamp_min(0), full_scale)
        signal = torch.where(counts > 0, (signal * counts).round() / counts.clamp_min(1e-30), signal)
        return torch.where(flat > 0, signal / constants.open_beam, signal)[:, None]

    def _primary(self, densities: Tensor, constants: ExposureConstants) -> tuple[Tensor, Tensor]:
        """Primary transmission and mean photon energy, each (B, H, W)."""
        count, bins = constants.energy.shape
        height, width = self._shape
        # All bins of some images at once: one on a CPU, which then stays in its cache, many on a GPU, as its memory allows.
        at_once = 1 if densities.device.type == "cpu" else max(1, _MOST_VALUES // (bins * height * width))
        weighed = torch.stack([torch.ones_like(constants.energy), constants.energy], dim=1)
        found = densities.new_empty(count, 2, height * width)
        for start in range(0, count, at_once):
            some = slice(start, start + at_once)
            part = torch.bmm(-constants.attenuation[some], densities[some].flatten(2)).exp_()
            of_pixels = part.view(-1, bins, height, width)
            of_pixels *= constants.weight_rows[some, :, :, None]
            of_pixels *= constants.weight_columns[some, :, None, :]
            found[some] = torch.bmm(weighed[some], part)
        signal, second = found.view(count, 2, height, width).unbind(1)
        return signal, second / signal.clamp_min(1e-30)

    def _scatter(self, transmission: Tensor, constants: ExposureConstants) -> Tensor:
        """See `physics.scatter.scatter_signal`; without strength and grid."""
        above, below, left, right = (int(count) for count in constants.cells[0])

        def coarse(image: Tensor) -> Tensor:
            means = self._to_cells[0] @ image @ self._to_cells[1].T
            return functional.pad(means[:, None], (left, right, above, below), mode="replicate")[:, 0]

        scale, alpha, beta = (_each(column) for column in constants.scatter[:, :3].T)
        clear = coarse(transmission).clamp(LEAST_TRANSMISSION, 1.0)
        depth = -clear.log()
        emitted = coarse(constants.incident) * scale * clear**alpha * depth**beta
        by_slab = _memberships(depth, constants.depth) * emitted[:, None]
        # Two large products in place of one for each slab and Gaussian.
        half = (constants.spread_rows @ by_slab).unflatten(2, (-1, constants.spread_columns.shape[1]))  # (B, K, 3, targets, cells)
        found = torch.bmm(half.permute(0, 3, 1, 2, 4).flatten(2), constants.spread_columns.transpose(1, 2))
        return (self._to_pixels[0] @ found @ self._to_pixels[1].T).clamp_min(0)

    def _filtered(self, image: Tensor, constants: ExposureConstants, transfer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """See `physics.blur.apply_mtf`."""
        margins, sizes = padded_sizes(self._shape, self._spacing)
        (top, left), (height, width) = margins, self._shape
        padding = (left, sizes[1] - width - left, top, sizes[0] - height - top)
        padded = functional.pad(image[:, None], padding, mode="replicate")[:, 0]
        v = torch.fft.fftfreq(sizes[0], self._spacing[0], device=image.device)[:, None]
        u = torch.fft.rfftfreq(sizes[1], self._spacing[1], device=image.device)[None, :]
        blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * transfer(u, v, constants.transfer), sizes)
        return blurred[:, top : top + height, left : left + width]


def _each(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1)."""
    return values[:, None, None]


def _poisson(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson numbers by their first three cumulants (Cornish and Fisher 1938), a seventh of the time of exact ones on a CPU.

    The mean is right, the variance within 1/18 of a quantum, the third cumulant within 1/27; below a mean of one quantum the third is the
    mean's square. They are not whole and, below a few quanta, may be negative, which is cut after the readout noise, as that is.
    """
    normal = torch.randn(mean.shape, generator=generator, device=mean.device)
    skewed = (normal * normal).sub_(1).mul_(mean.clamp(max=1) / 6)
    return normal.mul_(mean.sqrt()).add_(skewed).add_(mean)


def _geometric_transfer(u: Tensor, v: Tensor, transfer: Tensor) -> Tensor:
    """See `physics.blur.GeometricBlur.mtf`; (B, H, W)."""
    shadow, motion, angle = (_each(column) for column in transfer[:, :3].T)
    along = motion * (u * torch.cos(angle) + v * torch.sin(angle))
    return torch.sinc(shadow * u) * torch.sinc(shadow * v) * torch.sinc(along)


def _scintillator_transfer(u: Tensor, v: Tensor, transfer: Tensor) -> Tensor:
    """See `physics.detector.Detector.mtf`; (B, H, W)."""
    half, gaussian = (_each(column) for column in transfer[:, 3:5].T)
    squared = (u * u + v * v) / half.clamp_min(1e-6) ** 2
    found = torch.where(gaussian > 0, torch.exp2(-squared), 1 / (1 + squared))
    return torch.where(half > 0, found, torch.ones_like(found))


def _memberships(depth: Tensor, nodes: Tensor) -> Tensor:
    """(B, K, h, w) shares of the slabs at (B, h, w) depths, linear between their (B, K) nodes and the outermost beyond."""
    low, high = nodes[:, :-1, None, None], nodes[:, 1:, None, None]
    risen = ((depth[:, None] - low) / (high - low)).clamp(0, 1)  # (B, K - 1, h, w): how far each step is done
    ones, zeros = torch.ones_like(risen[:, :1]), torch.zeros_like(risen[:, :1])
    return torch.cat([ones, risen], 1) - torch.cat([risen, zeros], 1)


def _means(axis: ScatterAxis) -> np.ndarray:
    """(cells of the view, pixels) that averages the pixels of a cell."""
    matrix = np.zeros((len(axis.first) - 1, len(axis.pixels)), np.float32)
    for cell, (begin, end) in enumerate(pairwise(axis.first)):
        matrix[cell, begin:end] = 1 / (end - begin)
    return matrix


def _interpolation(axis: ScatterAxis) -> np.ndarray:
    """(pixels, targets) that interpolates between targets."""
    matrix = np.zeros((len(axis.pixels), len(axis.target)), np.float32)
    for place, share in axis.interpolation():
        matrix[np.arange(len(place)), place] += share
    return matrix
