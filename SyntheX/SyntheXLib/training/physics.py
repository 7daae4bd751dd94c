"""Physics in the loop: images made anew in every epoch, on the training device, from stored area densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from SyntheXLib.datasets.format import PATH_STEP
from SyntheXLib.datasets.together import XraySource
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.exposure_bank import ExposureConstants, draw_exposures, exposure_constants
from SyntheXLib.randomization.imaging import BatchImaging
from SyntheXLib.rendering.exposure import Exposure, parameter_ranges
from SyntheXLib.scene.c_arm import load_device, task_camera
from SyntheXLib.tasks.task import Task


class PhysicsInTheLoop:
    """Turns batches of area densities into batches of log images.

    Tube, filtration, dose, grid, scatter, blur and detector are drawn for a number of exposures an epoch, from the ranges of the data's
    device; every image gets one of them and its own noise.

    Parameters
    ----------
    task
        Whose device it is.
    configuration
        Of a data set that holds area densities, see `datasets.format.DatasetHeader`: its materials, image size and exposure, which holds
        for what the device gives no range.
    shape
        (H, W) of the batches.
    device
        Where they lie.
    exposures
        How many exposures are drawn an epoch.
    attenuation_spread
        Standard deviation of the logarithm of a factor on each material's density, drawn for each image; 0 leaves the densities.
    """

    def __init__(
        self,
        task: Task,
        configuration: dict[str, Any],
        shape: tuple[int, int],
        device: torch.device,
        exposures: int = 64,
        attenuation_spread: float = 0.0,
    ) -> None:
        self.materials = tuple(configuration["materials"])
        self.device = device
        self.exposures = exposures
        self.attenuation_spread = attenuation_spread
        self._camera = task_camera(task.c_arm, np.eye(4), configuration["image_size"]).resized(shape)
        self._base, self._ranges = Exposure.from_dict(configuration["exposure"]), parameter_ranges(task.c_arm.device)
        self._native_mm = load_device(task.c_arm.device).pixel_spacing_mm
        self._imaging = BatchImaging(self._camera, device)
        self._bank: ExposureConstants | None = None

    def begin_epoch(self, seed: int) -> None:
        """Draw the exposures of an epoch."""
        drawn = draw_exposures(self._base, self._ranges, self.exposures, seed)
        self._bank = exposure_constants(drawn, self._camera, self.materials, self._native_mm).to(self.device)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """Image a batch.

        Parameters
        ----------
        batch
            Its image holds the area densities as stored, (B, M, H, W), see `stored_densities`.
        generator
            On the device; decides exposures, factors and noise.
        """
        assert self._bank is not None  # an epoch has begun
        densities = area_densities(batch.image)
        count = len(densities)
        if self.attenuation_spread:
            normal = torch.randn(densities.shape[:2], generator=generator, device=self.device)
            densities = densities * (self.attenuation_spread * normal).exp()[:, :, None, None]
        rows = torch.randint(self.exposures, (count,), generator=generator, device=self.device)
        return batch._replace(image=log_image(self._imaging(densities, self._bank.at(rows), generator)))


def stored_densities(paths: np.ndarray) -> Tensor:
    """Area densities (M, H, W) uint16, as data sets store them, as a tensor of the same bytes: torch does little with uint16."""
    return torch.from_numpy(np.ascontiguousarray(paths).view(np.int16))


def area_densities(stored: Tensor) -> Tensor:
    """g/cm2, float32, of what `stored_densities` gives."""
    # The highest bit turned over, unsigned numbers are signed ones with an offset.
    return stored.bitwise_xor(-(2**15)).to(torch.float32).add_(2.0**15).mul_(PATH_STEP)


def check_densities(sources: Sequence[XraySource]) -> None:
    """Refuse data sets without area densities of the same materials.

    Raises
    ------
    SyntheXError
        Naming the first.
    """
    known: tuple[str, ...] = ()
    for source in sources:
        materials = getattr(source, "materials", ())  # data sets and live rendering have them
        if not materials:
            raise SyntheXError(
                f"Physics in the loop needs area densities, but {source.folder} holds images alone: simulate it with --store paths or both."
            )
        known = known or materials
        if materials != known:
            raise SyntheXError(
                f"Data sets {sources[0].folder} and {source.folder} must hold the same materials, "
                f"found {', '.join(known)} and {', '.join(materials)}."
            )
