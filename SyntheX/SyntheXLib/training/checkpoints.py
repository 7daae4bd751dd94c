"""Checkpoints of a training: written whole, two kept, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.networks.model_file import load_safely
from SyntheXLib.training.run_folder import find_checkpoints

_FORMAT = "synthex-checkpoint"
_VERSION = 1
_KEPT = 2


def write_checkpoint(folder: Path, epoch: int, content: dict[str, Any]) -> Path:
    """Write ``checkpoint-<epoch>.pt`` and remove all but the last two.

    Raises
    ------
    SyntheXError
        When the disk is full or read-only; what was there before stays.
    """
    path = folder / f"checkpoint-{epoch:05d}.pt"
    with atomic_write(path) as temporary:
        torch.save({"format": _FORMAT, "version": _VERSION, "epoch": epoch, **content}, temporary)
    for old in find_checkpoints(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def read_last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Content of the newest checkpoint that can be read, None where there is none.

    Raises
    ------
    SyntheXError
        When there are checkpoints and none can be read, or they come from another version.
    """
    error: SyntheXError | None = None
    for path in reversed(find_checkpoints(folder)):
        try:
            content = load_safely(path, "checkpoint")
        except SyntheXError as problem:
            error = error or problem
            continue
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
            raise SyntheXError(f"{path} is not a checkpoint of this version of SyntheX; choose another folder for the run.")
        return content
    if error:
        raise error
    return None


def check_same(found: dict[str, Any], wanted: dict[str, Any], where: Path, what: str) -> None:
    """Refuse to go on with a run of other settings or data.

    Raises
    ------
    SyntheXError
        Naming the first difference.
    """
    for name in sorted(set(found) | set(wanted)):
        if found.get(name) != wanted.get(name):
            raise SyntheXError(
                f"Cannot go on with the run in {where}: its {what} '{name}' was {_short(found.get(name))}, "
                f"now it is {_short(wanted.get(name))}; "
                "use the old one, another folder, or begin anew."
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
