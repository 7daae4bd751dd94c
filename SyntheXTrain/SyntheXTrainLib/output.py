"""What a `synthex train`, `adapt` or `study` in the background leaves of itself: where it stands, what it printed, and why it ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from SyntheXHomeLib.library_command import tail

_COMMAND = re.compile(r"^synthex \w+: ")  # how a command begins the sentence that says what is wrong


def lastLine(path: Path) -> dict[str, Any]:
    """The last whole line of a file of JSON lines; empty where there is none."""
    lines = tail(path).split("\n")[:-1]
    for line in reversed(lines):
        try:
            value: dict[str, Any] = json.loads(line)
        except ValueError:  # cut off by the tail or by a kill
            continue
        return value
    return {}


def failure(printed: Path, status: int | None) -> str:
    """The sentence in which the command or Python itself says why it ended; empty after a good end or a stop.

    Parameters
    ----------
    printed
        File with what it printed.
    status
        Its exit status; None when another session started it: then only its last words tell.
    """
    lines = tail(printed).strip().splitlines()
    last = _COMMAND.sub("", lines[-1]) if lines else ""
    if status == 0 or (status is not None and status < 0) or status == 130 or "interrupted; what is finished stays" in last:
        return ""
    if status is None:
        said = lines and (_COMMAND.match(lines[-1]) or "Error" in lines[-1])
        return last if said else ""
    return last or f"It ended with status {status}; see {printed}."
