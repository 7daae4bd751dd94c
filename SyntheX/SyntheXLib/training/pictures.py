"""What a training sees and what it finds, as pictures: a page of its inputs, and its validation after an epoch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SyntheXLib.evaluation.contact_sheet import write_page
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.overlay import GAMMA, Layers, compose
from SyntheXLib.networks.heatmaps import ACTIVATION_THRESHOLD, find_peaks, peak_confidence
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.rendering.display import to_gray
from SyntheXLib.tasks.task import Task
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import EpochSampler, XrayTensors, derived_seed, open_sources
from SyntheXLib.training.inputs import make_randomization, prepare_batch
from SyntheXLib.training.run_folder import PICTURES, find_pictures
from SyntheXLib.training.split import split_sources

_SIDE = 256
_COLUMNS = 3
_KEPT = 5


def write_samples(config: TrainingConfig, path: Path, count: int = 6) -> None:
    """Draw the first inputs of a training as its network will see them, each plain and, beneath it, with its masks and landmarks.

    They are randomised and normalised as in the first epoch of `training.run.train` on a CPU, pixel by pixel; a GPU draws other numbers.

    Parameters
    ----------
    config
        Of the training; nothing is written to its folder.
    path
        PNG to write.
    count
        Number of images, less where there are not so many.

    Raises
    ------
    SyntheXError
        As `train`, when data or settings do not allow it.
    """
    sources = open_sources(config.datasets)
    data = XrayTensors(sources, config.image_size)
    fraction = 0.0 if config.validation is not None else config.validation_fraction
    sampler = EpochSampler(split_sources(sources, fraction, config.seed).trained_on, config.seed)
    sampler.epoch = 1
    order, randomize = list(sampler), make_randomization(config)
    device = torch.device("cpu")
    generator = torch.Generator(device).manual_seed(derived_seed(config.seed, "randomization", 1))
    tiles: list[NDArray[np.uint8]] = []
    for first in range(0, min(count, len(order)), config.batch):
        # Whole batches, since the numbers are drawn for all images of one at a time.
        batch = data.load(order[first : first + config.batch])
        images, targets = prepare_batch(batch, device, False, (lambda batch: randomize(batch, generator)) if randomize else None)
        tiles += _input_tiles(images[: count - len(tiles)], targets, data.task)
    write_page(tiles, path, _COLUMNS)


class ValidationPictures:
    """The first images of the validation with the truth and, beneath it, what the network finds; a page an epoch.

    Parameters
    ----------
    folder
        Of the run; the pages go to ``validation/epoch_NNN.png`` in it, the last five are kept, and that of the best epoch is ``best.png``.
    task
        Of the data.
    sigma_px
        Standard deviation of the heatmaps, for the confidence of landmarks.
    count
        Images a page; 0 writes none.
    """

    def __init__(self, folder: Path, task: Task, sigma_px: float, count: int) -> None:
        self.folder = folder
        self.task = task
        self.sigma_px = sigma_px
        self.count = count
        self.begin()

    def begin(self) -> None:
        """Forget what was added: a validation begins."""
        self._tiles: list[NDArray[np.uint8]] = []

    def add(self, images: Tensor, found: NetworkOutput, truth: Targets) -> None:
        """Draw what is still wanted of a batch: normalised images (B, 1, H, W), what was found and what is true."""
        wanted = min(self.count - len(self._tiles), len(images))
        if wanted <= 0:
            return
        found = NetworkOutput(*(maps[:wanted].detach().float() for maps in found))
        peaks = find_peaks(found.heatmaps)
        confident = peak_confidence(found.heatmaps, peaks, self.sigma_px) > ACTIVATION_THRESHOLD
        exclusive = self.task.segmentation == "exclusive"
        labels = found.segmentation.argmax(1, keepdim=True) if exclusive else found.segmentation > 0
        for n, tile in enumerate(_input_tiles(images[:wanted], truth, self.task, plain=False)):
            visible = _visible(truth, n)
            layers = Layers(_masks(labels[n], self.task), peaks[n].cpu().numpy(), confident[n].cpu().numpy(), visible)
            self._tiles.append(np.vstack([tile, compose(_gray(images[n]), self.task, layers, _SIDE)]))

    def write(self, epoch: int, best: bool) -> None:
        """Write the page of an epoch.

        Raises
        ------
        SyntheXError
            When the disk is full or read-only.
        """
        if not self._tiles:
            return
        page = self.folder / PICTURES / f"epoch_{epoch:03d}.png"
        write_page(self._tiles, page, _COLUMNS)
        if best:
            with atomic_write(page.with_name("best.png")) as temporary:
                shutil.copyfile(page, temporary)
        for old in [path for path in find_pictures(self.folder) if path.name != "best.png"][:-_KEPT]:
            old.unlink(missing_ok=True)


def _input_tiles(images: Tensor, truth: Targets, task: Task, plain: bool = True) -> list[NDArray[np.uint8]]:
    """Each image with its truth and, where `plain`, without anything above that."""
    tiles = []
    for n, image in enumerate(images):
        gray = _gray(image)
        tile = compose(gray, task, Layers(_masks(truth.labels[n], task), _visible(truth, n)), _SIDE)
        tiles.append(np.vstack([compose(gray, task, Layers(), _SIDE), tile]) if plain else tile)
    return tiles


def _gray(image: Tensor) -> NDArray[np.uint8]:
    return to_gray(image[0].cpu().numpy(), gamma=GAMMA)


def _masks(labels: Tensor, task: Task) -> NDArray[np.bool_]:
    """(C, H, W) from an exclusive label map (1, H, W) or masks (C, H, W)."""
    if task.segmentation == "exclusive":
        numbers = torch.arange(1, len(task.structures) + 1, device=labels.device)[:, None, None]
        labels = labels == numbers
    return np.asarray((labels > 0).cpu().numpy(), bool)


def _visible(truth: Targets, n: int) -> NDArray[np.floating]:
    """(L, 2) landmarks of image n, NaN where not in the frame."""
    points = torch.where(truth.visible[n, :, None], truth.landmarks[n], torch.nan)
    return np.asarray(points.cpu().numpy(), np.float64)
