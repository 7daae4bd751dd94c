"""Networks that others made: TorchScript, or the folder of a MONAI bundle, of whose configuration nothing is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.bundle_network import _Plain, load_bundle_network

_METADATA, _INFERENCE = "metadata.json", "inference.json"


@dataclass(frozen=True)
class Bundle:
    """A network and what comes with it.

    Attributes
    ----------
    path
        File or folder that the user named.
    network
        In evaluation mode, on the CPU.
    metadata
        MONAI's ``metadata.json``; empty where there is none.
    inference
        MONAI's ``inference.json`` (preprocessing, inferer ...), as it is written; empty where there is none.
    """

    path: Path
    network: torch.nn.Module
    metadata: dict[str, Any]
    inference: dict[str, Any]

    def plain(self, value: Any) -> Any:
        """A value of `inference` with its references followed and its arithmetic done.

        Raises
        ------
        SyntheXError
            When it holds more than that, see `bundle_network`.
        """
        return _Plain(self.path / "configs" / _INFERENCE, self.inference).of(value)

    def input_format(self) -> dict[str, Any]:
        """What the metadata says of the input (``spatial_shape``, ``value_range`` ...); empty where it says nothing."""
        found = self.metadata
        for key in ("network_data_format", "inputs", "image"):
            found = found.get(key, {})
            if not isinstance(found, dict):
                raise SyntheXError(f"Network {self.path}: {_METADATA} is not as MONAI has it: expected a table '{key}', found {found!r}.")
        return found

    def channel_names(self) -> dict[int, str]:
        """Names of the output's channels by the metadata; empty where it does not tell.

        Raises
        ------
        SyntheXError
            When the metadata is not as MONAI has it.
        """
        try:
            channels = self.metadata["network_data_format"]["outputs"]["pred"]["channel_def"] if self.metadata else {}
            return {int(number): str(name) for number, name in channels.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SyntheXError(f"Network {self.path}: {_METADATA} is not as MONAI has it ({type(error).__name__}: {error}).") from error


def load_bundle(path: Path) -> Bundle:
    """Load TorchScript (``.ts``, ``.pt``, with MONAI's metadata in it or without) or a bundle folder.

    In a folder, ``models/model.ts`` is taken, else ``models/model.pt`` with the ``network_def`` of ``configs/inference.json``, see
    `bundle_network`.

    Raises
    ------
    SyntheXError
        When there is no such file, it is no network, or the configuration does not fit.
    """
    if not path.is_dir():
        if not path.is_file():
            raise SyntheXError(f"Network {path}: expected a TorchScript file or the folder of a MONAI bundle, found none.")
        return _script(path, path, {}, {})
    metadata, inference = (_read_json(path / "configs" / name) for name in (_METADATA, _INFERENCE))
    script, weights = path / "models" / "model.ts", path / "models" / "model.pt"
    if script.is_file():
        return _script(script, path, metadata, inference)
    if not weights.is_file():
        raise SyntheXError(f"MONAI bundle {path}: expected models/model.ts or models/model.pt, found neither.")
    return Bundle(path, load_bundle_network(path).eval(), metadata, inference)


def _script(file: Path, path: Path, metadata: dict[str, Any], inference: dict[str, Any]) -> Bundle:
    extra = {_METADATA: "", _INFERENCE: ""}
    try:
        network = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise SyntheXError(f"Network {file} is no TorchScript file: {_first_line(error)}.") from error
    inside = [_json(extra[name], f"{file}, {name}") if extra[name] else {} for name in (_METADATA, _INFERENCE)]
    return Bundle(path, network.eval(), inside[0] or metadata, inside[1] or inference)


def _read_json(path: Path) -> dict[str, Any]:
    return _json(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}


def _json(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SyntheXError(f"{where} is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise SyntheXError(f"{where}: expected a table, found {type(found).__name__}.")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
