"""Device files: a C-arm's geometry, and the defaults and ranges of its exposure. Read from TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.task import nearest

Value = float | int | str
_KEYS = ("title", "source", "geometry", "exposure")
_GEOMETRY: dict[str, type] = {"rows": int, "columns": int, "pixel_spacing_mm": float, "source_to_detector_mm": float}


@dataclass(frozen=True)
class Parameter:
    """One number (or word) of an exposure.

    Attributes
    ----------
    unit
        For people.
    default
        What is taken when nothing is said.
    range
        Lowest and highest number, or the words, from which it is drawn uniformly; whole numbers stay whole.
    """

    unit: str
    default: Value
    range: tuple[Value, ...]


@dataclass(frozen=True)
class DeviceFile:
    """What a device file says.

    Attributes
    ----------
    path, title, source
        The file; words for people; where the numbers come from.
    geometry
        Rows, columns, pixel_spacing_mm and source_to_detector_mm.
    parameters
        By their place in `rendering.exposure.Exposure`, such as ``kvp`` or ``blur.focal_spot_mm``.
    lines
        The line of the file where a key stands, 1 for the first.
    """

    path: Path
    title: str
    source: str
    geometry: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """File and line of a parameter, for messages."""
        return _where(self.path, self.lines, f"exposure.{key}")


def device_files() -> dict[str, Path]:
    """The devices that come with the library: name and file."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "devices").glob("*.toml"))}


def read_device_file(path: Path) -> DeviceFile:
    """Read and check a device file, unless it is as it was when it was last read.

    Raises
    ------
    SyntheXError
        When it cannot be read, a key is unknown or missing, or a value is not right; the sentence names file, line and nearest
        right key.
    """
    return _read(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> DeviceFile:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SyntheXError(f"Device file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SyntheXError(f"Device file {path} is not valid TOML: {error}.") from error
    lines = _lines(text)
    _check_keys(path, lines, values, _KEYS, "")
    geometry = values["geometry"]
    _check_keys(path, lines, geometry, tuple(_GEOMETRY), "geometry.")
    for key, kind in _GEOMETRY.items():
        if not _is_number(geometry[key]) or (kind is int and not isinstance(geometry[key], int)):
            raise SyntheXError(
                f"{_where(path, lines, f'geometry.{key}')}: '{key}' must be a {'whole ' * (kind is int)}number, found {geometry[key]!r}."
            )
    parameters = _parameters(path, lines, values["exposure"], "exposure.")
    return DeviceFile(path, str(values["title"]), str(values["source"]), geometry, parameters, lines)


def _parameters(path: Path, lines: Mapping[str, int], table: Mapping[str, Any], prefix: str) -> dict[str, Parameter]:
    """The parameters of a table and the tables within, by their dotted names below ``exposure``."""
    found: dict[str, Parameter] = {}
    for key, entry in table.items():
        where = _where(path, lines, prefix + key)
        if not isinstance(entry, dict):
            raise SyntheXError(f"{where}: '{key}' must be a table of unit, default and range, found {entry!r}.")
        if all(isinstance(inner, dict) for inner in entry.values()):
            found |= _parameters(path, lines, entry, f"{prefix}{key}.")
            continue
        _check_keys(path, lines, entry, ("unit", "default", "range"), f"{prefix}{key}.")
        default, limits = entry["default"], entry["range"]
        words = isinstance(default, str)
        fitting = isinstance(limits, list) and all(isinstance(limit, str) if words else _is_number(limit) for limit in limits)
        if not (words or _is_number(default)) or not fitting or (not words and len(limits) != 2):
            raise SyntheXError(
                f"{where}: '{key}' must have a number and a range [lowest, highest], or a word and a list of words, "
                f"found {default!r} and {limits!r}."
            )
        if not (default in limits if words else limits[0] <= default <= limits[1]):
            raise SyntheXError(f"{where}: the default of '{key}' must lie in its range {limits}, found {default!r}.")
        found[f"{prefix}{key}".removeprefix("exposure.")] = Parameter(str(entry["unit"]), default, tuple(limits))
    return found


def _check_keys(path: Path, lines: Mapping[str, int], table: Any, known: tuple[str, ...], prefix: str) -> None:
    if not isinstance(table, dict):
        raise SyntheXError(f"{_where(path, lines, prefix.rstrip('.'))}: '{prefix.rstrip('.')}' must be a table, found {table!r}.")
    for key in table:
        if key not in known:
            raise SyntheXError(f"{_where(path, lines, prefix + key)}: unknown key '{prefix}{key}'{nearest(key, known)}.")
    for key in known:
        if key not in table:
            raise SyntheXError(f"{_where(path, lines, prefix.rstrip('.'))}: key '{prefix}{key}' is missing.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(text: str) -> dict[str, int]:
    """Dotted name of each table and key to its line."""
    found, table = {}, ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([\w.-]+)\]", line):
            table = header[1] + "."
            found[header[1]] = number
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            found[table + key[1]] = number
    return found


def _where(path: Path, lines: Mapping[str, int], key: str) -> str:
    """File and line of a key, or of the table that holds it."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"Device file {path}" + (f", line {lines[key]}" if key else "")
