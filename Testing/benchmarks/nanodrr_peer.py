"""nanodrr on PyTorch's CPU (eager), in strips of rows, its quickest way there; materials x labels as one label map in one pass."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import numpy as np
from peer import exclusive_classes, materials_and_masks

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen

_STRIP_ROWS = 12
_SAMPLES = 400  # along the part of each ray inside the CT: about one a millimetre


class NanoDrr:
    """See `peer.Peer`."""

    note = "one pass, label map"
    fused_passes = 0
    clock = staticmethod(time.perf_counter)

    def __init__(self, specimen: Specimen, cuts: tuple[float, ...]) -> None:
        import nanodrr.drr  # noqa: F401  (tells here what is missing)

        self._specimen, self._cuts = specimen, cuts

    def single(self, camera: Camera) -> np.ndarray:
        """See `peer.Peer.single`."""
        return self._render(self._plain, camera)[0]

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """See `peer.Peer.fused`."""
        return materials_and_masks(self._render(self._labelled, camera), len(self._specimen.structures))

    @cached_property
    def _plain(self) -> Any:
        return self._subject(None)

    @cached_property
    def _labelled(self) -> Any:
        return self._subject(exclusive_classes(self._specimen, self._cuts))

    def _subject(self, classes: np.ndarray | None) -> Any:
        from nanodrr.data import Subject
        from torchio import LabelMap, ScalarImage

        matrix = self._specimen.ijk_to_ras
        image = ScalarImage(tensor=torchio_tensor(self._specimen.hu + 1000.0), affine=matrix)
        if classes is None:
            return Subject.from_images(image, None, 0, convert_to_mu=False)
        count = (len(self._cuts) + 1) * (len(self._specimen.structures) + 1)
        return Subject.from_images(image, LabelMap(tensor=torchio_tensor(classes), affine=matrix), count - 1, convert_to_mu=False)

    def _render(self, subject: Any, camera: Camera) -> np.ndarray:
        import torch
        from nanodrr.drr import render

        height, width = camera.shape
        distance = camera.source_to_detector_mm
        targets = torch.from_numpy(camera.rays().reshape(1, -1, 3) * distance).float()
        camera_to_world = torch.from_numpy(np.linalg.inv(camera.world_to_camera)).float()[None]
        k_inv = torch.from_numpy(np.linalg.inv(camera.intrinsics)).float()[None]
        source, distances = torch.zeros(1, 1, 3), torch.tensor([float(distance)])
        strips = []
        with torch.inference_mode():
            for row in range(0, height, _STRIP_ROWS):
                rows = min(_STRIP_ROWS, height - row)
                part = targets[:, row * width : (row + rows) * width]
                strips.append(render(subject, k_inv, camera_to_world, distances, rows, width, _SAMPLES, src=source, tgt=part))
        return torch.cat(strips, 2)[0].numpy()


def torchio_tensor(values: np.ndarray) -> Any:
    """(1, I, J, K) float32 tensor, TorchIO's order, of (K, J, I) values."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0), np.float32))[None]
