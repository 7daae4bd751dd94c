"""A device without enough memory, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.training.config import TrainingConfig


@contextmanager
def memory_errors(config: TrainingConfig, shape: tuple[int, int], device: torch.device) -> Iterator[None]:
    """Turn the end of the device's memory into a sentence that names the batch size to try.

    Raises
    ------
    SyntheXError
        When the memory does not suffice.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # torch knows its own kind for accelerators alone.
        if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        what = f"The memory of {device} does not hold a batch of {config.batch} images of {shape[0]} x {shape[1]} px (size {config.size})"
        half = max(config.batch // 2, 1)
        if config.batch == 1:
            raise SyntheXError(f"{what}: try --precision bfloat16, a smaller --image-size or a smaller --size.") from error
        steps = config.accumulation * -(-config.batch // half)
        raise SyntheXError(f"{what}: try --batch {half}, with --accumulation {steps} for steps of as many images.") from error
