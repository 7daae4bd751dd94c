"""The samples in Slicer's module Sample Data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXLib.datasets.sample import SAMPLES

_CATEGORY = "SyntheX"


class Cancelled(Exception):
    """The user ended a download."""


def thumbnail(name: str) -> Path:
    """Picture of a sample; made by ``Docs/thumbnails.py``."""
    return Path(__file__).resolve().parents[1] / "Resources" / "Icons" / f"SyntheX{name.capitalize()}.png"


def register(download: Callable[[str], Any]) -> None:
    """Add the samples to the module Sample Data.

    Parameters
    ----------
    download
        Called with the name of the sample when its picture there is clicked.
    """
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        logic.registerCustomSampleDataCategory(_CATEGORY, title=_CATEGORY)
    there = {source.sampleName for source in logic.sampleDataSourcesByCategory(_CATEGORY)}
    for name in SAMPLES:
        if f"SyntheX{name.capitalize()}" in there:
            continue
        logic.registerCustomSampleDataSource(
            category=_CATEGORY,
            sampleName=f"SyntheX{name.capitalize()}",
            # Not fetched by Sample Data, which wants an address all the same: pip brings it, see `SyntheXLib.datasets.sample`.
            uris=f"synthex:{name}",
            fileNames=f"{name}.nii.gz",
            nodeNames=name,
            thumbnailFileName=str(thumbnail(name)),
            customDownloader=lambda _source, name=name: download(name),
        )


def loadWithDialog(name: str) -> list[Any]:
    """Load a sample with a progress dialog in place of a panel; the nodes, none when the user cancelled."""
    dialog = slicer.util.createProgressDialog(labelText=_("Downloading {name} ...").format(name=name), maximum=100)

    def progress(done: int, total: int) -> None:
        dialog.value = min(99, 100 * done // total)  # at 100 it closes
        slicer.app.processEvents()
        if dialog.wasCanceled:
            raise Cancelled

    try:
        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded.")):
            try:
                nodes = SyntheXLogic().loadSample(name, progress)
            except Cancelled:
                return []
            slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
            return [node for node in nodes if node is not None]
    finally:
        dialog.close()
