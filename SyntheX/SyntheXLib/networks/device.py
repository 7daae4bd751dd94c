"""Which device a network runs on."""

from __future__ import annotations

import torch

from SyntheXLib.errors import SyntheXError


def choose_device(name: str = "auto") -> torch.device:
    """Device by name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    SyntheXError
        When the device that is asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [kind for kind, present in there.items() if present]
    if name == "auto":
        return torch.device(available[0])
    kind, _, number = name.partition(":")
    if kind not in available or (number and not (number.isdigit() and (kind != "cuda" or int(number) < torch.cuda.device_count()))):
        raise SyntheXError(f"Device '{name}' is not available, expected auto or one of {', '.join(available)}.")
    return torch.device(name)
