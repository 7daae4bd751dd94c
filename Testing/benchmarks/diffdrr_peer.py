"""DiffDRR's trilinear renderer on PyTorch's CPU, in patches; materials x labels by `mask_to_channels` in one pass."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import numpy as np
from nanodrr_peer import torchio_tensor
from peer import exclusive_classes, materials_and_masks

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen

_PATCH = 36
_POINTS = 540  # spread over the depth of the whole box: about one a millimetre


class DiffDrrTrilinear:
    """See `peer.Peer`."""

    note = "one pass, mask_to_channels"
    fused_passes = 0
    clock = staticmethod(time.perf_counter)

    def __init__(self, specimen: Specimen, cuts: tuple[float, ...]) -> None:
        import diffdrr.drr  # noqa: F401  (tells here what is missing)

        self._specimen, self._cuts = specimen, cuts

    def single(self, camera: Camera) -> np.ndarray:
        """See `peer.Peer.single`."""
        return self._render(camera, mask_to_channels=False)[0]

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """See `peer.Peer.fused`."""
        return materials_and_masks(self._render(camera, mask_to_channels=True), len(self._specimen.structures))

    @cached_property
    def _subject(self) -> Any:
        import torch
        from torchio import LabelMap, ScalarImage, Subject

        matrix = self._specimen.ijk_to_ras
        density = ScalarImage(tensor=torchio_tensor(self._specimen.hu + 1000.0), affine=matrix)
        classes = LabelMap(tensor=torchio_tensor(exclusive_classes(self._specimen, self._cuts)), affine=matrix)
        return Subject(volume=density, density=density, mask=classes, reorient=torch.eye(4))

    def _render(self, camera: Camera, mask_to_channels: bool) -> np.ndarray:
        import torch
        from diffdrr.drr import DRR

        height, width = camera.shape
        drr = DRR(
            self._subject,
            camera.source_to_detector_mm,
            height,
            camera.pixel_spacing_mm[1],
            width,
            renderer="trilinear",
            patch_size=_PATCH if height * width > _PATCH**2 else None,
        )
        world = camera.rays().reshape(-1, 3) * camera.source_to_detector_mm @ camera.world_to_camera[:3, :3] + camera.source
        source, target = (torch.from_numpy(points).float()[None] for points in (camera.source[None], world))
        with torch.inference_mode():
            image = drr.render(drr.density, source, target, mask_to_channels, n_points=_POINTS)
        return image.reshape(-1, height, width).numpy()
