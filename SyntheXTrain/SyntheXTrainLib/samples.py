"""A page of what a training would see, drawn by a child process: torch is not loaded into Slicer for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SyntheXHomeLib.library_command import LibraryCommand

_PAGE = "samples.png"


class SamplesPage(LibraryCommand):
    """One page on its way; its file is temporary, and `close` removes it.

    Parameters
    ----------
    options
        Of ``synthex train``.
    """

    def __init__(self, options: Sequence[str]) -> None:
        super().__init__("train", *options, inputs=lambda folder: ["--preview", str(folder / _PAGE)])

    @property
    def picture(self) -> Path | None:
        """The page, a PNG; None while there is none."""
        page = self.folder / _PAGE
        return page if page.is_file() else None
