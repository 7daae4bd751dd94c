"""Read a safetensors file: the length of its JSON header (8 bytes), the header, the bytes of the tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from SyntheXLib.errors import SyntheXError

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32}
_LONGEST_HEADER = 100 * 2**20  # bytes, by the format


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, on the CPU.

    Raises
    ------
    SyntheXError
        When the file is none of that kind, is cut off, or holds a type that is not known.
    """
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LONGEST_HEADER, len(content) - 8):
        raise SyntheXError(f"{path} is no safetensors file: expected a header of its length, found {length} of {len(content)} bytes.")
    try:
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
        entries = {name: (one["dtype"], one["shape"], one["data_offsets"]) for name, one in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SyntheXError(f"{path} is no safetensors file: its header is not as expected ({type(error).__name__}).") from error
    data = memoryview(bytearray(content[8 + length :]))
    return {name: _tensor(path, name, data, *entry) for name, entry in entries.items()}


def _tensor(path: Path, name: str, data: memoryview, kind: str, shape: list[int], place: list[int]) -> Tensor:
    if kind not in _TYPES:
        raise SyntheXError(f"{path}: tensor '{name}' must have one of the types {', '.join(_TYPES)}, found {kind}.")
    start, end = place
    if not 0 <= start <= end <= len(data):
        raise SyntheXError(f"{path} is cut off: tensor '{name}' ends at byte {end} of {len(data)}.")
    if start == end:
        return torch.empty(shape, dtype=_TYPES[kind])
    return torch.frombuffer(data[start:end], dtype=_TYPES[kind]).reshape(shape)
