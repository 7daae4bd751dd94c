"""How the views of a data set are spread: histograms of what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.scene.view_angles import rotation_from_standard_view

# Parameters of a view in the order of the page, with their axes' texts.
_SHOWN = {
    "rotation_deg": "rotation from the standard view, degrees",
    "lao_rao_deg": "LAO/RAO, degrees",
    "cran_caud_deg": "CRAN/CAUD, degrees",
    "roll_deg": "roll, degrees",
    "translation_lr_mm": "left to right, mm",
    "translation_is_mm": "inferior to superior, mm",
    "translation_ap_mm": "anterior to posterior, mm",
    "source_to_isocenter_mm": "source to isocentre, mm",
    "coverage": "share of rays that miss anatomy",
}


def write_pose_figure(dataset: XrayDataset, path: Path) -> None:
    """Write a page of histograms as PNG.

    Raises
    ------
    SyntheXError
        When no image has a known camera, as imported ones may, or the disk is full.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SyntheXError("The histograms need the package matplotlib, which is not installed: pip install 'synthex[train]'.") from None

    values: dict[str, list[float]] = {name: [] for name in _SHOWN}
    cameras = np.array([dataset[index].world_to_camera for index in range(len(dataset))])
    known = np.flatnonzero(np.isfinite(cameras).all((1, 2)))
    if not known.size:
        raise SyntheXError(f"{dataset.folder}: no image has a known camera, so that there are no views to show.")
    values["rotation_deg"] = rotation_from_standard_view(cameras[known]).tolist()
    for index in known.tolist():
        for name, value in dataset.parameters(index).items():
            if name in values and name != "rotation_deg":
                values[name].append(float(value))
    figure = Figure(figsize=(10, 8), layout="constrained")
    for place, (name, text) in enumerate(_SHOWN.items(), 1):
        axes = figure.add_subplot(3, 3, place)
        if values[name]:
            axes.hist(values[name], bins=30, color="#3b6ea8")
        axes.set_xlabel(text)
        axes.set_ylabel("images")
    figure.suptitle(f"{dataset.folder.name}: {len(known)} views, task {dataset.task.name}")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
