"""RTK's Joseph projector on the same rays: one quantity a pass, so nine passes for three materials and six labels."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import numpy as np
from peer import RAS_TO_LPS

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen

# Joseph smooths a label's edge; a path above half a voxel in the plane counts as a hit.
_HIT_MM = 0.35


class RtkJoseph:
    """See `peer.Peer`."""

    note = "nine passes"
    fused_passes = 0
    clock = staticmethod(time.perf_counter)

    def __init__(self, specimen: Specimen, cuts: tuple[float, ...]) -> None:
        import itk

        self._itk = itk
        self._type = itk.Image[itk.F, 3]
        self._specimen, self._cuts = specimen, cuts

    def single(self, camera: Camera) -> np.ndarray:
        """See `peer.Peer.single`."""
        return self._project([self._total], camera)[0]

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """See `peer.Peer.fused`."""
        projections = self._project(self._parts, camera)
        materials = len(self._cuts) + 1
        return projections[:materials], projections[materials:] > _HIT_MM

    @cached_property
    def _total(self) -> Any:
        return self._volume(self._specimen.hu + 1000.0)

    @cached_property
    def _parts(self) -> list[Any]:
        hu = self._specimen.hu
        kind = np.searchsorted(self._cuts, hu, side="right")
        classes = [self._volume(np.where(kind == number, hu + 1000.0, 0)) for number in range(len(self._cuts) + 1)]
        return classes + [self._volume(self._specimen.labels >> bit & 1) for bit in range(len(self._specimen.structures))]

    def _volume(self, values: np.ndarray) -> Any:
        """An ITK image of (K, J, I) values."""
        image = self._itk.image_from_array(np.ascontiguousarray(values, np.float32))
        image.SetSpacing(self._specimen.spacing_mm.tolist())
        image.SetOrigin((self._specimen.ijk_to_ras[:3, 3] * RAS_TO_LPS).tolist())
        return image

    def _project(self, volumes: list[Any], camera: Camera) -> np.ndarray:
        """(V, H, W) line integrals (value x mm)."""
        from itk import RTK as rtk

        rotation = camera.world_to_camera[:3, :3] * RAS_TO_LPS
        source = camera.source * RAS_TO_LPS
        geometry = rtk.ThreeDCircularProjectionGeometry.New()
        center = source + rotation[2] * camera.source_to_detector_mm
        if not geometry.AddProjection(*(vector.tolist() for vector in (source, center, rotation[0], rotation[1]))):
            raise RuntimeError("RTK refuses the geometry")
        height, width = camera.shape
        spacing = camera.pixel_spacing_mm[0]
        projections = []
        for volume in volumes:
            stack = rtk.ConstantImageSource[self._type].New()
            stack.SetOrigin([-(width - 1) / 2 * spacing, -(height - 1) / 2 * spacing, 0.0])
            stack.SetSpacing([spacing, spacing, spacing])
            stack.SetSize([width, height, 1])
            stack.SetConstant(0.0)
            projector = rtk.JosephForwardProjectionImageFilter[self._type, self._type].New()
            projector.SetInput(0, stack.GetOutput())
            projector.SetInput(1, volume)
            projector.SetGeometry(geometry)
            projector.Update()
            projections.append(self._itk.array_from_image(projector.GetOutput())[0])
        return np.stack(projections)
