"""From settings by name to what stands on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def commandOptions(config: Mapping[str, Any]) -> list[str]:
    """What stands behind ``synthex train`` for settings as `SyntheXTrainLogic.trainingCommand` takes them."""
    options = dict(config)
    folders, more = options.pop("datasets"), options.pop("more", None) or ()
    return [*map(str, folders), *namedOptions(options), *more]


def namedOptions(options: Mapping[str, Any]) -> list[str]:
    """Options by name with underscores: None and False leave one out, True stands for a switch."""
    found: list[str] = []
    for name, value in options.items():
        if value is not None and value is not False:
            option = "--" + name.replace("_", "-")
            found += [option] if value is True else [option, str(value)]
    return found
