"""What a training starts from: random weights, or those of a file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.networks.pretrained import Pretrained, load_pretrained
from SyntheXLib.training.config import TrainingConfig

_PRETRAINED_SIZE = "full"


def start_network(network: nn.Module, config: TrainingConfig) -> Pretrained | None:
    """Load the weights that the settings name into a network; None when it starts from the random ones that it has.

    Raises
    ------
    SyntheXError
        See `describe_start`; or the file does not fit.
    """
    describe_start(config)
    return None if config.pretrained is None else load_pretrained(network, config.pretrained)


def describe_start(config: TrainingConfig) -> str | dict[str, str]:
    """For the record of a model: ``"random"``, or name and SHA-256 of the file that it started from.

    Raises
    ------
    SyntheXError
        When the full TransUNet has neither pretrained weights nor the flag for a random start, or there is no such file.
    """
    if config.pretrained is not None:
        if config.random_start:
            raise SyntheXError(f"Options 'pretrained' ({config.pretrained}) and 'random_start' contradict each other: give one of them.")
        return {"file": Path(config.pretrained).name, "sha256": _checksum(config.pretrained)}
    if config.network == "transunet" and config.size == _PRETRAINED_SIZE and not config.random_start:
        raise SyntheXError(
            "The size full starts from pretrained weights: expected a file in 'pretrained' (--pretrained R50+ViT-B_16.npz, timm's "
            "vit_base_r50_s16 as .safetensors, or a checkpoint) or 'random_start' (--random-start), found neither."
        )
    return "random"


def network_options(config: TrainingConfig) -> dict[str, Any]:
    """Options of the network, which the settings hold as JSON.

    Raises
    ------
    SyntheXError
        When that is no JSON table.
    """
    try:
        options = json.loads(config.network_options or "{}")
    except ValueError as error:
        raise SyntheXError(f"Option 'network_options' must be a JSON table, found {config.network_options!r} ({error}).") from error
    if not isinstance(options, dict):
        raise SyntheXError(f"Option 'network_options' must be a JSON table, found {config.network_options!r}.")
    return options


@lru_cache(maxsize=2)
def _checksum(path: str) -> str:
    """Taken once: the record is written every epoch, and the file may have gone by then."""
    if not Path(path).is_file():
        raise SyntheXError(f"Cannot find the pretrained weights {path}.")
    return sha256(path)
