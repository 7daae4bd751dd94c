"""Weights to start from: checkpoints of SyntheX and TransUNet, Google's npz, timm's safetensors, and our own model files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.model_file import load_safely
from SyntheXLib.networks.pretrained_names import IGNORED, google_name, timm_name
from SyntheXLib.networks.safetensors_file import read_safetensors

_BACKBONE = "transformer."
_POSITIONS = "transformer.embeddings.position_embeddings"
_STEM = "transformer.embeddings.hybrid_model.root.conv.weight"
_HEADS = ("segmentation_head.", "lands_1x1.", "landmark_head.", "presence_head.", "soft_max.")
_CONTAINERS = ("model-state-dict", "model_state_dict", "state_dict", "weights", "model")
_NAMED = 3  # names in an error; the rest are counted


@dataclass(frozen=True)
class Pretrained:
    """What was loaded.

    Attributes
    ----------
    kind
        ``"checkpoint"``, ``"google"`` or ``"timm"``.
    loaded
        How many weights came from the file.
    random
        Names of those that were left as they were: other heads, or all but the transformer.
    """

    kind: str
    loaded: int
    random: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For people."""
        start = f"starting from {self.loaded} weights ({self.kind})"
        parts = sorted({name.split(".")[0] for name in self.random})
        return start + (f", at random: {', '.join(parts)}" if parts else "")


def load_pretrained(network: nn.Module, path: Path | str) -> Pretrained:
    """Fill a network with the weights of a file, as far as they are its own.

    A checkpoint (``.pt``, ``.pth``: SyntheX, TransUNet, or a model file of ours) must have all weights but those of the heads, which stay
    random where it has none or has them for another number of structures or landmarks. A ``.npz`` of Google or ``.safetensors`` of timm
    fills ResNet and transformer; decoder and heads stay random. The position table is resized linearly to the grid of the network.
    Where the network takes one channel and the file three, the filters are summed over them: that is the same as an image repeated
    to three channels, but for one factor a filter where filters are standardised, and the norm that follows takes most of it out.

    Raises
    ------
    SyntheXError
        When the file is missing or no such file, a weight is missing, left over, or of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise SyntheXError(f"Cannot find the pretrained weights {path}.")
    target = network.state_dict()
    if path.suffix == ".npz":
        return _fill(network, "google", path, *_backbone(target, _read_npz(path), google_name, _from_google, path))
    if path.suffix == ".safetensors":
        return _fill(network, "timm", path, *_backbone(target, read_safetensors(path), timm_name, _from_timm, path))
    found, random = _checkpoint(target, load_safely(path, "file of pretrained weights"), path)
    return _fill(network, "checkpoint", path, found, random)


def _fill(network: nn.Module, kind: str, path: Path, found: dict[str, Tensor], random: list[str]) -> Pretrained:
    target = network.state_dict()
    embeddings = getattr(getattr(network, "transformer", None), "embeddings", None)
    grid = getattr(embeddings, "grid", None)
    fitted = {name: _fit(name, tensor.float(), target[name], grid, path) for name, tensor in found.items()}
    network.load_state_dict({**target, **fitted})
    return Pretrained(kind, len(fitted), tuple(random))


def _backbone(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    name_of: Callable[[str], str | None],
    convert: Callable[[str, Tensor], Tensor],
    path: Path,
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of the transformer from a file with names of its own, and the names that stay random."""
    wanted = {name: name_of(name) for name in target if name.startswith(_BACKBONE)}
    if not wanted:
        raise SyntheXError(f"{path} holds weights of a vision transformer, which fit TransUNet alone.")
    missing = [str(theirs) for theirs in wanted.values() if theirs not in source]
    used = set(wanted.values())
    left = [name for name in source if name not in used and not name.startswith(IGNORED)]
    _refuse(path, missing, left)
    found = {ours: convert(ours, source[str(theirs)]) for ours, theirs in wanted.items()}
    return found, [name for name in target if name not in found]


def _checkpoint(target: Mapping[str, Tensor], content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of a checkpoint, and the names that stay random."""
    weights = content
    for key in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            weights = content[key]
            break
    if not isinstance(weights, dict) or not weights or not all(isinstance(one, Tensor) for one in weights.values()):
        raise SyntheXError(f"{path} holds no weights: expected a table of tensors, or one under '{_CONTAINERS[0]}'.")
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    other = {
        name
        for name in {*target, *weights}
        if name.startswith(_HEADS) and (name not in weights or name not in target or weights[name].shape != target[name].shape)
    }
    _refuse(
        path,
        [name for name in target if name not in weights and name not in other],
        [name for name in weights if name not in target and name not in other],
    )
    return {name: weights[name] for name in target if name not in other}, [name for name in target if name in other]


def _refuse(path: Path, missing: list[str], left: list[str]) -> None:
    if missing or left:
        parts = [f"{len(names)} {what} ({_list(names)})" for what, names in (("missing", missing), ("unexpected", left)) if names]
        raise SyntheXError(f"{path} does not fit the network: expected all of its weights and no others, found {' and '.join(parts)}.")


def _list(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


def _fit(name: str, tensor: Tensor, target: Tensor, grid: tuple[int, int] | None, path: Path) -> Tensor:
    """A weight in the shape that the network has."""
    if name == _POSITIONS and grid is not None:
        tensor = resize_positions(tensor, grid, path)
    if name == _STEM and tensor.ndim == 4 and tensor.shape[1] == 3 and target.shape[1] == 1:
        tensor = tensor.sum(1, keepdim=True)
    if tensor.shape != target.shape:
        raise SyntheXError(
            f"{path} does not fit the network: the weight '{name}' should have shape {tuple(target.shape)}, found {tuple(tensor.shape)}; "
            "the sizes small and medium are ours and have no published weights."
        )
    return tensor.to(target)


def resize_positions(table: Tensor, grid: tuple[int, int], path: Path | str) -> Tensor:
    """Position table (1, rows x columns, width) of one (1, N, width) of a square grid, with the row of a class token before it or without.

    A table of as many tokens as wanted is taken to be of the same grid.

    Raises
    ------
    SyntheXError
        When the table's grid is neither square nor the wanted one.
    """
    count = table.shape[1]
    if count == grid[0] * grid[1]:
        return table
    if math.isqrt(count) ** 2 != count:
        table, count = table[:, 1:], count - 1
    side = math.isqrt(count)
    if side**2 != count:
        raise SyntheXError(f"The position table of {path} must be of a square grid or of {grid[0]} x {grid[1]} tokens, found {count}.")
    if grid == (side, side):
        return table
    laid_out = table.transpose(1, 2).unflatten(2, (side, side))
    return functional.interpolate(laid_out, grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.array(file[name])) for name in file.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise SyntheXError(f"{path} is no npz file of plain arrays ({type(error).__name__}).") from error


def _from_google(ours: str, tensor: Tensor) -> Tensor:
    """Flax keeps inputs before outputs, and the heads of attention apart."""
    if ours == _POSITIONS:
        return tensor
    if tensor.ndim == 4 and ours.endswith("weight") and ".gn" not in ours:
        return tensor.permute(3, 2, 0, 1)
    if ".attn.out.weight" in ours:
        return tensor.flatten(0, 1).T
    if ".attn." in ours and ours.endswith("weight"):
        return tensor.flatten(1).T
    if tensor.ndim == 2 and (".fc1." in ours or ".fc2." in ours):
        return tensor.T
    return tensor.flatten()


def _from_timm(ours: str, tensor: Tensor) -> Tensor:
    """Query, key and value are one matrix."""
    for place, part in enumerate((".attn.query.", ".attn.key.", ".attn.value.")):
        if part in ours:
            return tensor.chunk(3)[place]
    return tensor
