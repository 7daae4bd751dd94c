"""A page of what a training would see, drawn by a child process: torch is not loaded into Slicer for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from SyntheXTrainLib import process
from SyntheXTrainLib.output import failure


class SamplesPage:
    """One page on its way. Its files are temporary: `close` removes them.

    Parameters
    ----------
    command
        Gives the command that draws a page to the path it is given.
    """

    def __init__(self, command: Callable[[Path], list[str]]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
        self._page = self._folder / "samples.png"
        try:
            self._record = process.start(command(self._page), self._folder / "output.log", process.library_environment())
        except BaseException:
            self.close()
            raise

    @property
    def finished(self) -> bool:
        """Whether the process has ended."""
        return not self._record.running

    @property
    def picture(self) -> Path | None:
        """The page, a PNG; None while there is none."""
        return self._page if self._page.is_file() else None

    @property
    def message(self) -> str:
        """What went wrong, one sentence; empty otherwise."""
        return failure(self._folder / "output.log", process.exit_status(self._record)) if self.finished else ""

    def close(self) -> None:
        """End the process, if it still runs, and remove the page."""
        if hasattr(self, "_record"):
            process.end_tree(self._record, 1.0)
        shutil.rmtree(self._folder, ignore_errors=True)
