"""Dataclasses from the tables of a TOML file; what is wrong is named with its line and the nearest right word."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from SyntheXLib.errors import SyntheXError

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*\"?([\w.\-]+)\"?\s*=")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def line_numbers(text: str) -> dict[str, int]:
    """Line of every table and key of a TOML text by its path, as in ``poses.roll_deg`` or ``structures[2].mirror``."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            path = ""
            *parents, last = header[2].split(".")
            for part in parents:  # a table below the entry of an array that was begun last
                path += part
                path += f"[{counts[path] - 1}]." if path in counts else "."
            path += last
            if header[1] == "[[":
                counts[path] = counts.get(path, 0) + 1
                path = f"{path}[{counts[path] - 1}]"
            lines[path] = number
            table = path + "."
        elif key := _KEY.match(line):
            lines.setdefault(table + key[1], number)
    return lines


class TomlReader:
    """Builds nested dataclasses from plain dictionaries.

    Parameters
    ----------
    where
        What errors call the source.
    text
        The TOML text the values come from, for line numbers; empty where there is none.
    """

    def __init__(self, where: str, text: str = "") -> None:
        self.where = where
        self._lines = line_numbers(text)

    def at(self, path: str) -> str:
        """The source, and the line of a path, or of what holds it, where the text is known."""
        place = path.rstrip(".")
        while place and place not in self._lines:
            place = re.sub(r"\[\d+\]$|\.?[^.\[\]]+$", "", place)
        return f"{self.where}, line {self._lines[place]}" if place else self.where

    def build(self, cls: type, values: Any, path: str = "") -> Any:
        """An object of the dataclass `cls` from a table; `path` is the table's own, with a dot behind it.

        Raises
        ------
        SyntheXError
            When a key is unknown or missing, or a value has the wrong type.
        """
        if not isinstance(values, dict):
            raise SyntheXError(f"{self.at(path)}: '{path.rstrip('.')}' must be a table, found {values!r}.")
        known = {field.name: field for field in fields(cls)}
        for key in values:
            if key not in known:
                raise SyntheXError(f"{self.at(path + key)}: unknown key '{path}{key}'{nearest(key, known)}.")
        hints = typing.get_type_hints(cls)
        arguments = {}
        for name, field in known.items():
            if name in values:
                arguments[name] = self._convert(hints[name], values[name], path + name)
            elif field.default is MISSING and field.default_factory is MISSING:
                raise SyntheXError(f"{self.at(path)}: key '{path}{name}' is missing.")
        return cls(**arguments)

    def _convert(self, hint: Any, value: Any, path: str) -> Any:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is types.UnionType:
            return None if value is None else self._convert(next(kind for kind in inner if kind is not types.NoneType), value, path)
        if is_dataclass(hint) and isinstance(hint, type):
            return self.build(hint, value, path + ".")
        if origin is Literal:
            if value not in inner:
                near = nearest(value, inner) if isinstance(value, str) else ""
                raise SyntheXError(f"{self.at(path)}: '{path}' must be one of {', '.join(inner)}, found {value!r}{near}.")
            return value
        if origin is tuple:
            return self._list(inner, value, path)
        if origin is dict:
            if not isinstance(value, Mapping):
                raise SyntheXError(f"{self.at(path)}: '{path}' must be a table, found {value!r}.")
            return {key: self._convert(inner[1], item, f"{path}.{key}") for key, item in value.items()}
        if hint is Any:
            return value
        accepted = (int, float) if hint is float else (hint,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            raise SyntheXError(f"{self.at(path)}: '{path}' must be of type {hint.__name__}, found {value!r}.")
        return hint(value)

    def _list(self, inner: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
        open_end = inner[-1] is Ellipsis
        if not isinstance(value, list | tuple) or (not open_end and len(value) != len(inner)):
            count = "a list" if open_end else f"a list of {len(inner)}"
            raise SyntheXError(f"{self.at(path)}: '{path}' must be {count}, found {value!r}.")
        kinds = [inner[0]] * len(value) if open_end else inner
        found = tuple(self._convert(kind, item, f"{path}[{place}]") for place, (kind, item) in enumerate(zip(kinds, value, strict=True)))
        # Two numbers are always a range.
        if inner in ((float, float), (int, int)) and found[0] > found[1]:
            raise SyntheXError(f"{self.at(path)}: {path} must be [lower, upper], found {list(found)}.")
        return found
