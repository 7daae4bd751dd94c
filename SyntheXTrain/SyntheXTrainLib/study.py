"""What the Train module asks of ``synthex study``, and reads of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from SyntheXHomeLib.library_command import tail
from SyntheXTrainLib import process
from SyntheXTrainLib.output import failure
from SyntheXTrainLib.process import OUTPUT, RECORD, ProcessRecord

_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.+)$", re.MULTILINE)
_TABLE = "table.md"


@dataclass(frozen=True)
class StudyState:
    """Where a study stands.

    Attributes
    ----------
    status
        ``running``, ``finished``, ``stopped`` (and it goes on when it is started again), ``failed``, or ``none``.
    step, number, steps
        What is done now, or was done last, and the how many-th of how many it is; 0 before the first.
    message
        What went wrong, one sentence; empty otherwise.
    """

    status: str
    step: str = ""
    number: int = 0
    steps: int = 0
    message: str = ""


def studyArguments(study: Path | str, out: Path | str, data: Path | str | None = None) -> list[str]:
    """What stands behind ``synthex`` for a study: its file, its folder, and the folder that it names ``{data}``."""
    return ["study", str(study), "--out", str(out), *(["--data", str(data)] if data else [])]


def studyState(folder: Path) -> StudyState:
    """Where the study in a folder stands, whichever session started it."""
    record = ProcessRecord.read(folder / RECORD)
    if record is None:
        return StudyState("none")
    running = record.running  # asked before the files are read: what it wrote last is then seen
    found = _STEP.findall(tail(folder / OUTPUT))
    number, steps, step = found[-1] if found else ("0", "0", "")
    status = process.exit_status(record)
    message = "" if running else failure(folder / OUTPUT, status)
    finished = status == 0 or (status is None and not message and _newer(folder / _TABLE, folder / RECORD))
    word = "running" if running else "failed" if message else "finished" if finished else "stopped"
    return StudyState(word, step, int(number), int(steps), message)


def studyTable(folder: Path) -> str:
    """The table of a study so far, as Markdown; empty where there is none."""
    try:
        return (folder / _TABLE).read_text(encoding="utf-8")
    except OSError:
        return ""


def _newer(path: Path, other: Path) -> bool:
    return path.is_file() and path.stat().st_mtime >= other.stat().st_mtime
