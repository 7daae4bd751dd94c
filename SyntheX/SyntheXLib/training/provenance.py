"""What a model file and a checkpoint say of where they come from."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import ignite
import monai
import numpy as np
import torch

import SyntheXLib
from SyntheXLib.datasets.format import content_checksum
from SyntheXLib.datasets.together import XraySource
from SyntheXLib.networks.heatmaps import heatmap_sigma_px
from SyntheXLib.networks.model_file import ModelDescription
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import XrayTensors
from SyntheXLib.training.start import describe_start, network_options


def describe_sources(sources: Sequence[XraySource]) -> dict[str, Any]:
    """Number of images and checksum of each data set, by its place; folders are left out, they may move."""
    return {f"data set {n + 1}": f"{len(source)} images, {_checksum(source)}" for n, source in enumerate(sources)}


def _checksum(source: XraySource) -> str:
    own = getattr(source, "checksum", None)  # of what is not a folder
    return str(own()) if own is not None else content_checksum(source.folder)


def describe_model(config: TrainingConfig, data: XrayTensors, epoch: int, images: int, held_out: Sequence[str] = ()) -> ModelDescription:
    """Description of the network after `epoch` epochs on `images` images, without the specimens `held_out`."""
    task = data.task
    near, far = task.poses.source_to_isocenter_mm
    detector = getattr(data.sources[0], "source_to_detector_mm", None)
    return ModelDescription(
        size=config.size,
        image_size=data.shape,
        pixel_spacing_mm=data.pixel_spacing_mm,
        task=task.to_dict(),
        heatmap_sigma_px=heatmap_sigma_px(task.heatmap_sigma_mm, data.pixel_spacing_mm),
        source_to_detector_mm=None if detector is None or not np.isfinite(detector) else float(detector),
        source_to_isocenter_mm=near if near == far else None,
        architecture=config.network,
        options=network_options(config),
        training={
            "datasets": [{"folder": str(source.folder), "images": len(source), "checksum": _checksum(source)} for source in data.sources],
            "images": images,
            "held_out": list(held_out),
            "epoch": epoch,
            "start": describe_start(config),
            "config": config.to_dict(),
            "versions": versions(),
        },
    )


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    return {
        "synthex": SyntheXLib.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
        "ignite": ignite.__version__,
        "numpy": np.__version__,
    }
