"""What the Train module asks of ``synthex adapt``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXTrainLib.command_options import namedOptions

#: File that an adaptation leaves, by its method.
RESULTS = {"cyclegan": "translator.pt", "adda": "model.pt"}


def adaptationArguments(config: Mapping[str, Any]) -> list[str]:
    """What stands behind ``synthex`` for an adaptation.

    Parameters
    ----------
    config
        ``method``, ``cyclegan`` or ``adda``, ``source`` (folders), ``target``, ``out``, and further options of ``synthex adapt`` by name,
        with underscores; None leaves one out.
    """
    options = dict(config)
    method, sources = str(options.pop("method")), options.pop("source")
    return ["adapt", method, *map(str, sources), *namedOptions(options)]


class Translation(LibraryCommand):
    """A data set that is being translated; what it has written stays when it is ended, and another goes on there.

    Parameters
    ----------
    translator, dataset, out
        ``translator.pt`` of a CycleGAN, data set of its source domain, and the one to write.
    device
        As ``synthex adapt translate`` names it.
    """

    def __init__(self, translator: Path | str, dataset: Path | str, out: Path | str, device: str = "auto") -> None:
        super().__init__("adapt", "translate", str(translator), str(dataset), "--out", str(out), "--device", device, bar="translate")
