"""A device without enough memory, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from SyntheXLib.errors import SyntheXError


@contextmanager
def memory_errors(
    device: torch.device, batch: int, shape: tuple[int, int], smaller: str, accumulation: int | None = None
) -> Iterator[None]:
    """Turn the end of the device's memory into a sentence that names the batch size to try.

    Parameters
    ----------
    device, batch, shape
        Where what does not fit: images in a batch, and their height and width.
    smaller
        What to try where a batch is one image.
    accumulation
        Batches whose gradients make a step now, where the option ``--accumulation`` can make up for a smaller batch.

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
        half = max(batch // 2, 1)
        advice = smaller if batch == 1 else f"--batch {half}"
        if batch > 1 and accumulation is not None:
            advice += f", with --accumulation {accumulation * -(-batch // half)} for steps of as many images"
        images = f"{batch} images of {shape[0]} x {shape[1]} px"
        raise SyntheXError(f"The memory of {device} does not hold a batch of {images}: try {advice}.") from error
