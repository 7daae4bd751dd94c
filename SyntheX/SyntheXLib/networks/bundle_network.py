"""The network of a MONAI bundle that comes as weights and a configuration, without running what a stranger wrote.

A configuration may name any Python function as its ``_target_`` and carry Python in its ``$`` expressions, and a pickle may do anything. Of
both, only what describes a network is taken: classes of networks of `monai.networks` and `torch.nn`, plain values, references to plain
values, arithmetic; and weights.
"""

from __future__ import annotations

import ast
import json
import operator
import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from SyntheXLib.errors import SyntheXError

_CONFIGURATIONS = ("inference.json", "inference.yaml", "inference.yml")
_NETWORK = "network_def"
_PACKAGES = ("monai.networks", "torch.nn")
_SHORT_NAMES = "monai.networks.nets"  # where MONAI finds a name without dots
# Names of arguments that make a network fetch weights of its own.
_FETCHING = ("pretrained", "url", "path", "file", "download")
# Where the weights may lie in a checkpoint.
_CHECKPOINT_KEYS = ("state_dict", "model", "network", "net")
_MOST_NESTED = 20
_ARITHMETIC: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip


def load_bundle_network(folder: Path) -> torch.nn.Module:
    """Build the network of ``configs/inference.json`` (or ``.yaml``) and load ``models/model.pt`` into it.

    Raises
    ------
    SyntheXError
        When there is no configuration or it cannot be read, it holds more than the description of a network, or the weights are not those
        of the network or a pickle of more than weights.
    """
    path = next((folder / "configs" / name for name in _CONFIGURATIONS if (folder / "configs" / name).is_file()), None)
    if path is None:
        raise SyntheXError(f"MONAI bundle {folder}: expected configs/{_CONFIGURATIONS[0]} (or .yaml) beside models/model.pt, found none.")
    configuration = _read(path)
    if not isinstance(configuration, dict) or not isinstance(configuration.get(_NETWORK), dict):
        raise SyntheXError(f"MONAI bundle: {path} must describe the network as {_NETWORK}, found no such table.")
    plain = PlainConfiguration(path, configuration).of(configuration[_NETWORK])
    from monai.bundle.config_parser import ConfigParser

    try:
        network = ConfigParser({_NETWORK: plain}).get_parsed_content(_NETWORK)
    except Exception as error:  # whatever the network says about its arguments, in MONAI's wrapping
        reason = str(error.__cause__ or error).splitlines()[0]
        raise SyntheXError(f"MONAI bundle: the network of {path} cannot be built: {reason}.") from error
    if not isinstance(network, torch.nn.Module):
        raise SyntheXError(f"MONAI bundle: {_NETWORK} of {path} must be a network, found {type(network).__name__}.")
    weights = _weights(folder / "models" / "model.pt")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise SyntheXError(f"MONAI bundle {folder}: models/model.pt does not fit the network of {path.name}: {reason}") from error
    return network


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            return json.loads(text)
        try:
            import yaml
        except ModuleNotFoundError:
            raise SyntheXError(f"MONAI bundle: {path} needs PyYAML, which is not installed: pip install pyyaml.") from None
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    except ValueError as error:
        raise SyntheXError(f"MONAI bundle: {path} cannot be read: {str(error).splitlines()[0]}.") from error


class PlainConfiguration:
    """Takes values out of a configuration of MONAI, without references and expressions, of which nothing is run.

    Parameters
    ----------
    path
        Its file, for messages.
    configuration
        What the file holds.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self._path, self._configuration = path, configuration

    def _refused(self, what: str) -> SyntheXError:
        return SyntheXError(
            f"MONAI bundle: {self._path} is not run because its network has {what}; expected networks of "
            f"{' or '.join(_PACKAGES)} with plain values."
        )

    def of(self, value: Any, depth: int = 0) -> Any:
        """A value of the configuration with its references followed and its arithmetic done.

        Raises
        ------
        SyntheXError
            When it holds more than that, or a ``_target_`` that is no network.
        """
        if depth > _MOST_NESTED:
            raise self._refused("references that go in circles")
        if isinstance(value, dict):
            return {key: self._entry(key, part, depth) for key, part in value.items() if key != "_desc_"}
        if isinstance(value, list):
            return [self.of(part, depth + 1) for part in value]
        if not isinstance(value, str):
            return value
        if value.startswith("$"):
            return self._calculated(value)
        if value.startswith("@"):
            return self.of(self._referred(value), depth + 1)
        if value.startswith("%") or "@" in value:
            raise self._refused(f"'{value}'")
        return value

    def _entry(self, key: Any, value: Any, depth: int) -> Any:
        if key == "_target_":
            return self._target(value)
        if not isinstance(key, str) or key.startswith("_"):
            raise self._refused(f"the entry '{key}'")
        plain = self.of(value, depth + 1)
        if isinstance(plain, bool | str) and plain and any(word in key.lower() for word in _FETCHING):
            raise self._refused(f"the argument {key}, which fetches or reads files")
        return plain

    def _target(self, name: Any) -> str:
        """The full name of a network's class. Not what the name says counts but what it leads to: modules hold other modules."""
        if isinstance(name, str):
            module, _, short = (name if "." in name else f"{_SHORT_NAMES}.{name}").rpartition(".")
            if module.startswith(_PACKAGES):
                try:
                    found = getattr(import_module(module), short, None)
                except ImportError:
                    found = None
                home = getattr(found, "__module__", "")
                own = any(home == package or home.startswith(f"{package}.") for package in _PACKAGES)
                if isinstance(found, type) and issubclass(found, torch.nn.Module) and own:
                    return f"{module}.{short}"
        raise self._refused(f"the target '{name}'")

    def _referred(self, reference: str) -> Any:
        value: Any = self._configuration
        for key in reference[1:].replace("#", "::").split("::"):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise self._refused(f"the reference '{reference}' to nothing")
        return value

    def _calculated(self, expression: str) -> Any:
        def value(node: ast.AST) -> Any:
            match node:
                case ast.Constant(value=bool() | int() | float() | None as constant):
                    return constant
                case ast.List(elts=parts) | ast.Tuple(elts=parts):
                    return [value(part) for part in parts]
                case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _ARITHMETIC:
                    return _ARITHMETIC[type(kind)](number(operand))
                case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _ARITHMETIC:
                    return _ARITHMETIC[type(kind)](number(left), number(right))
            raise ValueError(expression)

        def number(node: ast.AST) -> float:
            found = value(node)
            if not isinstance(found, int | float):
                raise ValueError(expression)
            return found

        try:
            found = value(ast.parse(expression[1:].strip(), mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
            raise self._refused(f"the expression '{expression}'") from None
        return found


def _weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SyntheXError(f"MONAI bundle: {path} holds more than weights, which could run code, and is not loaded.") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise SyntheXError(f"MONAI bundle: {path} cannot be read as weights: {str(error).splitlines()[0]}.") from error
    if isinstance(found, dict):
        inner = next((found[key] for key in _CHECKPOINT_KEYS if isinstance(found.get(key), dict)), found)
        if inner and all(isinstance(tensor, torch.Tensor) for tensor in inner.values()):
            return dict(inner)
    raise SyntheXError(f"MONAI bundle: {path} must hold the weights of a network (a state_dict), found {type(found).__name__}.")
