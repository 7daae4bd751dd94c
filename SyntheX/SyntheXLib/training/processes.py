"""The processes of a training on several GPUs or machines, as ``torchrun`` starts them; one alone where it did not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from SyntheXLib.networks.device import choose_device

# The others wait for the validation, which the first does.
_PATIENCE = timedelta(hours=3)


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    Attributes
    ----------
    rank, count
        Number of this process, from 0, and how many there are.
    local_rank
        Its number on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @staticmethod
    def from_environment() -> Processes:
        """As ``torchrun`` says in the environment."""
        return Processes(*(int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))))

    @property
    def first(self) -> bool:
        """Whether this one writes files and tells of the training."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Device by name (see `networks.device.choose_device`); of several CUDA devices each process has its own."""
        device = choose_device(name)
        if self.count > 1 and device.type == "cuda" and device.index is None:
            device = choose_device(f"cuda:{self.local_rank}")
        return device

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Meet the other processes, and part from them afterwards."""
        if self.count == 1 or distributed.is_initialized():
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def wrapped(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is trained: its gradients become the mean over all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, [device] if device.type == "cuda" else None)

    def synchronized(self, network: nn.Module, device: torch.device) -> nn.Module:
        """With batch statistics over all processes, where the device can (CUDA); elsewhere those of the first process are kept."""
        if self.count == 1 or device.type != "cuda":
            return network
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        found = torch.tensor(float(flag), device=device)
        distributed.all_reduce(found)
        return bool(found)

    def mean(self, values: dict[str, float], device: torch.device) -> dict[str, float]:
        """Means over all processes; every process gives the same names."""
        if self.count == 1:
            return values
        found = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
        distributed.all_reduce(found)
        return dict(zip(values, (found / self.count).tolist(), strict=True))

    def from_first(self, value: Any) -> Any:
        """What the first process gives (anything that can be pickled), in all of them."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def together(self, values: list[Any]) -> list[Any]:
        """The values (anything that can be pickled) of all processes, one's after the other's."""
        if self.count == 1:
            return values
        found: list[list[Any]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(found, values)
        return [value for part in found for value in part]

    def wait(self) -> None:
        """Until all processes are here."""
        self.from_first(None)
