"""Data sets as tensors, and the order in which they are seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from SyntheXLib.datasets.together import XraySource, check_sources
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.networks.transunet import PATCH
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.tasks.labels import exclusive_labels, structure_masks
from SyntheXLib.training.physics import check_densities, stored_densities


class XrayTensors(Dataset[XrayBatch]):
    """Images of one or more data sets as batches of tensors on the CPU.

    Parameters
    ----------
    sources
        Data sets of one task, image shape and pixel spacing.
    image_size
        Pixels a side that images are resized to; None keeps them.
    densities
        Give the area densities as stored (see `training.physics`) in place of the log images.

    Raises
    ------
    SyntheXError
        When there are no images, the data sets do not go together, or they hold no area densities where those are wanted.
    """

    def __init__(self, sources: Sequence[XraySource], image_size: int | None = None, densities: bool = False) -> None:
        check_sources(sources)
        if densities:
            check_densities(sources)
        self.densities = densities
        self.sources = list(sources)
        first = sources[0]
        self.task = first.task
        shape = tuple(first.image_shape)
        self.shape: tuple[int, int] = (image_size, image_size) if image_size else (shape[0], shape[1])
        if min(self.shape) < PATCH:
            raise SyntheXError(f"The images of {first.folder} must have at least {PATCH} pixels a side, found {shape[0]} x {shape[1]}.")
        if image_size and shape[0] != shape[1]:
            raise SyntheXError(f"Option 'image_size' needs square images, found {shape[0]} x {shape[1]} in {first.folder}.")
        self.pixel_spacing_mm = first.pixel_spacing_mm * shape[1] / self.shape[1]
        self.starts = np.cumsum([0, *(len(source) for source in sources)])
        self.cache: XrayBatch | None = None
        self._rows = torch.empty(0, dtype=torch.long)  # of the cache, by image

    def __len__(self) -> int:
        """Count images of all data sets."""
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> XrayBatch:
        """Batch of one image."""
        return self.load([index])

    def __getitems__(self, indices: list[int]) -> XrayBatch | SyntheXError:
        """Batch for a `DataLoader`; an error travels as a value, since a worker would bury its sentence in a traceback."""
        try:
            return self.load(indices)
        except SyntheXError as error:
            return error

    def load(self, indices: Sequence[int]) -> XrayBatch:
        """Batch of the images `indices`, in their order.

        Raises
        ------
        SyntheXError
            When an image cannot be read or holds values that are no numbers.
        """
        if self.cache is not None:
            chosen = self._rows[torch.as_tensor(indices)]
            return XrayBatch(*(tensor[chosen] for tensor in self.cache))
        samples = [self._sample(index) for index in indices]
        return XrayBatch(*(torch.stack(parts) for parts in zip(*samples, strict=True)))

    def hold_in_memory(self, limit_mib: int, indices: Sequence[int] | None = None) -> bool:
        """Read `indices` (None: everything), the only ones asked for later, once if they take at most `limit_mib` MiB as tensors.

        Says whether they do.
        """
        indices = range(len(self)) if indices is None else indices
        pixel = 1 if self.task.segmentation == "exclusive" else len(self.task.structures)
        pixel += 2 * len(self.sources[0].materials) if self.densities else 4  # type: ignore[attr-defined]
        if len(indices) * self.shape[0] * self.shape[1] * pixel > limit_mib * 2**20:
            return False
        cache: XrayBatch | None = None
        for row, index in enumerate(indices):
            sample = self._sample(index)
            if cache is None:
                cache = XrayBatch(*(part.new_empty(len(indices), *part.shape) for part in sample))
            for whole, part in zip(cache, sample, strict=True):
                whole[row] = part
        self._rows = torch.full((len(self),), -1)
        self._rows[torch.as_tensor(indices, dtype=torch.long)] = torch.arange(len(indices))
        self.cache = cache
        return True

    def _sample(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        place = index - int(self.starts[part])
        source = self.sources[part]
        if self.densities:
            sample = source.read(place, image=False, paths=True)  # type: ignore[attr-defined]
            image = stored_densities(sample.paths)
        else:
            sample = source[place]
            image = torch.from_numpy(np.ascontiguousarray(sample.image, np.float32))[None]
        if image.shape[1:] != tuple(source.image_shape):
            shape = tuple(source.image_shape)
            raise SyntheXError(f"Image {place} of {source.folder} must have the shape {shape}, found {tuple(image.shape[1:])}.")
        bad = image.numel() - int(torch.isfinite(image).sum())
        if bad:
            raise SyntheXError(f"Image {place} of {source.folder} must hold finite numbers alone, found {bad} pixels with NaN or infinity.")
        count = len(self.task.structures)
        exclusive = self.task.segmentation == "exclusive"
        labels = exclusive_labels(sample.mask, count)[None] if exclusive else structure_masks(sample.mask, count).astype(np.uint8)
        masks = torch.from_numpy(labels)
        landmarks = torch.from_numpy(np.array(sample.landmarks, np.float32))
        visible = torch.from_numpy(np.array(sample.visible, bool)) & torch.isfinite(landmarks).all(-1)
        if self.shape != image.shape[1:]:
            scale = self.shape[1] / image.shape[2]
            # The signal is averaged before the logarithm, as larger detector pixels would; area densities, though, before their absorption.
            image = _resized(image, self.shape)
            masks = functional.interpolate(masks[None].float(), self.shape, mode="nearest-exact")[0].to(torch.uint8)
            landmarks = (landmarks + 0.5) * scale - 0.5
        return image if self.densities else log_image(image), masks, landmarks, visible


def _resized(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """(C, H, W) float images or area densities as stored, of another size."""
    floats = image if image.is_floating_point() else (image.to(torch.int32) & 0xFFFF).float()
    whole = functional.interpolate(floats[None], shape, mode="bilinear", antialias=True, align_corners=False)[0]
    return whole if image.is_floating_point() else stored_densities(whole.round().clamp(0, 0xFFFF).numpy().astype(np.uint16))


class EpochSampler(Sampler[int]):
    """Indices in an order that seed and epoch alone decide, so that an interrupted training sees what it would have seen.

    Parameters
    ----------
    indices
        What is to be drawn, each once an epoch.
    seed
        Seed of the training.
    part, parts
        Which of how many processes this is; they share the images out. All get as many, so that some may be drawn twice.
    """

    def __init__(self, indices: Sequence[int], seed: int, part: int = 0, parts: int = 1) -> None:
        self.indices = torch.as_tensor(indices)
        self.seed = seed
        self.part, self.parts = part, parts
        self.epoch = 0

    def __len__(self) -> int:
        """Count the indices of this part."""
        return -(-len(self.indices) // self.parts)

    def __iter__(self) -> Iterator[int]:
        """Draw for the epoch that `epoch` says."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        order = self.indices[torch.randperm(len(self.indices), generator=generator)].tolist()
        return iter([order[place % len(order)] for place in range(self.part, len(self) * self.parts, self.parts)])


def derived_seed(seed: int, purpose: str, number: int, part: int = 0) -> int:
    """Seed (63 bit) for one purpose and epoch, and one of several processes, unrelated to all others."""
    text = f"{seed}/{purpose}/{number}" + (f"/{part}" if part else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def make_loader(data: XrayTensors, sampler: Sampler[int] | Sequence[int], batch: int, workers: int, pin: bool) -> DataLoader[XrayBatch]:
    """Loader of whole batches; data held in memory needs no workers."""
    workers = 0 if data.cache is not None else workers
    return DataLoader(
        data,
        batch_size=batch,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # Its own generator: the loader must not draw from the one that decides dropout.
        generator=torch.Generator().manual_seed(0),
    )


def open_sources(folders: Sequence[Path | str]) -> list[XraySource]:
    """Open data set folders; see `datasets.reader.XrayDataset` for the errors."""
    from SyntheXLib.datasets.reader import XrayDataset

    return [XrayDataset(folder) for folder in folders]


def _as_it_is(batch: Any) -> Any:
    """Collation of what is already a batch."""
    return batch
