"""A tool described in TOML: its kind, its sizes, its pose.

::

    kind = "screw"              # or "continuum_manipulator", "k_wire", "stl"
    length_mm = 45.0            # the other keys are the parameters of the function of that name
    origin_mm = [10, -20, 35]   # place of the tool's origin, RAS
    axis = [0, 1, 0.2]          # where its z points; or all of the pose at once: to_world = [[...], [...], [...], [...]]
    roll_deg = 30.0
"""

from __future__ import annotations

import inspect
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.continuum_manipulator import ManipulatorShape, continuum_manipulator
from SyntheXLib.scene.implants import k_wire, screw, stl_tool
from SyntheXLib.scene.tools import Tool, pose_along
from SyntheXLib.tasks.task import nearest

KINDS: dict[str, Callable[..., Tool]] = {
    "continuum_manipulator": continuum_manipulator,
    "screw": screw,
    "k_wire": k_wire,
    "stl": stl_tool,
}
POSE_KEYS = ("to_world", "origin_mm", "axis", "roll_deg")


def read_tool(path: Path) -> Tool:
    """The tool that a TOML file describes; a surface it names is looked for beside it.

    Raises
    ------
    SyntheXError
        When the file is missing or not right; the sentence names the file and the key.
    """
    path = Path(path)
    if not path.is_file():
        raise SyntheXError(f"The tool file {path} does not exist.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SyntheXError(f"Tool file {path} is not valid TOML: {error}.") from error
    return tool_from_dict(values, str(path), path.parent)


def tool_from_dict(values: Mapping[str, Any], where: str = "tool", folder: Path | None = None) -> Tool:
    """The tool that a table describes.

    Parameters
    ----------
    values
        ``kind``, the parameters of its function, and its pose; see this file's head.
    where
        What errors call the table: its file.
    folder
        Where relative paths start; by default the working directory.
    """
    kind = str(values.get("kind", "")).replace("-", "_")
    if kind not in KINDS:
        raise SyntheXError(f"{where}: kind must be one of {', '.join(KINDS)}, found '{values.get('kind', '')}'{nearest(kind, KINDS)}.")
    make = KINDS[kind]
    hints = typing.get_type_hints(make)
    parameters = inspect.signature(make).parameters
    known = ("kind", *parameters, *POSE_KEYS)
    for key in values:
        if key not in known:
            raise SyntheXError(f"{where}: unknown key '{key}' of a {kind}{nearest(key, known)}.")
    arguments = {}
    for name, parameter in parameters.items():
        if name in values:
            arguments[name] = _convert(values[name], hints[name], f"{where}: {name}", folder or Path())
        elif parameter.default is inspect.Parameter.empty:
            raise SyntheXError(f"{where}: key '{name}' of a {kind} is missing.")
    try:
        return make(**arguments).placed(_pose(values, where))
    except SyntheXError as error:
        raise SyntheXError(f"{where}: {error}") from error


def _pose(values: Mapping[str, Any], where: str) -> np.ndarray:
    if "to_world" in values:
        if others := [key for key in POSE_KEYS[1:] if key in values]:
            raise SyntheXError(f"{where}: to_world is the whole pose, expected no other key of it, found {', '.join(others)}.")
        return _numbers(values["to_world"], f"{where}: to_world", (4, 4))
    origin = _numbers(values.get("origin_mm", (0, 0, 0)), f"{where}: origin_mm", (3,))
    axis = _numbers(values.get("axis", (0, 0, 1)), f"{where}: axis", (3,))
    return pose_along(origin, axis, float(_numbers(values.get("roll_deg", 0), f"{where}: roll_deg", ())))


def _numbers(value: Any, what: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """`value` as an array of finite numbers, of that shape if one is given."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (shape is not None and array.shape != shape):
        expected = "numbers" if shape is None else " x ".join(map(str, shape)) + " numbers" if shape else "a number"
        raise SyntheXError(f"{what} must be {expected}, found {value!r}.")
    return array.astype(float)


def _convert(value: Any, hint: Any, what: str, folder: Path) -> Any:
    """`value` as what a parameter with the type `hint` takes."""
    wanted = set(typing.get_args(hint)) or {hint}
    if float in wanted:
        return float(_numbers(value, what, ()))
    if np.ndarray in wanted:
        return _numbers(value, what)
    if ManipulatorShape in wanted:
        return ManipulatorShape(**_table(value, what, tuple(field.name for field in fields(ManipulatorShape)), ()))
    if any(typing.get_origin(one) is Mapping for one in wanted):
        return _table(value, what, None, (3,))
    if bool in wanted:
        if not isinstance(value, bool):
            raise SyntheXError(f"{what} must be true or false, found {value!r}.")
        return value
    if not isinstance(value, str):
        raise SyntheXError(f"{what} must be a text, found {value!r}.")
    return folder / value if Path in wanted else value


def _table(value: Any, what: str, known: tuple[str, ...] | None, shape: tuple[int, ...]) -> dict[str, Any]:
    """A table of numbers, or of arrays of them."""
    if not isinstance(value, Mapping):
        raise SyntheXError(f"{what} must be a table, found {value!r}.")
    for key in value:
        if known is not None and key not in known:
            raise SyntheXError(f"{what}: unknown key '{key}'{nearest(key, known)}.")
    arrays = {key: _numbers(item, f"{what}.{key}", shape) for key, item in value.items()}
    return arrays if shape else {key: float(item) for key, item in arrays.items()}
