"""Threads, determinism and random generators of torch, which are the whole process's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """Set them for a training on `device` (`threads` None: as they are), and put them back afterwards."""
    before = torch.get_num_threads()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            yield
        finally:
            torch.set_num_threads(before)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
