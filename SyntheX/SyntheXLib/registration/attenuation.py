"""The moving image of a registration: the attenuation of bone alone, one number a ray, as fast as the ray caster goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

# Bone begins here. Below, soft tissue lies differently in an X-ray than in a CT; a threshold without a step keeps thin bone smooth.
BONE_HU = 150.0
# Above there is metal, which may stand in one of the two images alone: it counts no more than dense bone does.
_DENSEST_HU = 2000.0


class BoneCaster:
    """Line integrals of HU above the beginning of bone, of some structures or of all bone in the CT.

    Parameters
    ----------
    specimen
        CT with labels; only the box that holds the bone is kept.
    structures
        Those that are seen; None takes whatever is as dense as bone.
    without
        Structures that are left out.
    bone_hu
        Where bone begins, HU.
    threads
        Cores of the ray caster; None takes all.

    Raises
    ------
    SyntheXError
        When a structure is unknown, or nothing is that dense.
    """

    def __init__(
        self,
        specimen: Specimen,
        structures: Sequence[str] | None = None,
        without: Sequence[str] = (),
        bone_hu: float = BONE_HU,
        threads: int | None = None,
    ) -> None:
        excess = np.clip(specimen.hu.astype(np.float32) - bone_hu, 0, _DENSEST_HU - bone_hu)
        if structures is not None:
            excess *= _near(specimen, structures)
        for name in without:
            excess *= ~_near(specimen, [name])
        found = np.argwhere(excess > 0)
        if not len(found):
            raise SyntheXError(
                f"Specimen {specimen.name}: expected voxels above {bone_hu:g} HU{' in ' + ', '.join(structures) if structures else ''}, "
                "found none to register."
            )
        first, last = found.min(0), found.max(0) + 1
        part = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        matrix = specimen.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, :3] @ first[::-1]
        # The caster counts HU from -1000 on.
        hu = np.rint(excess[part] - 1000).astype(np.int16)
        self._scene = Scene(replace(specimen, hu=hu, ijk_to_ras=matrix, labels=np.zeros(hu.shape, np.uint16), structures=(), landmarks={}))
        self._renderer = make_renderer("own", (30000.0,), threads)
        self.center = matrix[:3, :3] @ (found.mean(0) - first)[::-1] + matrix[:3, 3]

    def image(self, camera: Camera, plane_step: int = 1) -> np.ndarray:
        """(H, W) float32, bone bright: HU x m above the beginning of bone along every ray; `plane_step` 2 is a preview."""
        projection = self._renderer.render(self._scene, camera, plane_step=plane_step)
        assert projection is not None  # nobody cancels
        return (projection.hu_integral.sum(0) + 1000 * projection.path_length.sum(0)) / 1000


def _near(specimen: Specimen, structures: Sequence[str]) -> np.ndarray:
    """(K, J, I) bool: within a voxel of the structures, so that their rims keep what they share with their surroundings."""
    from scipy import ndimage

    bits = 0
    for name in structures:
        if name not in specimen.structures:
            raise SyntheXError(f"Specimen {specimen.name}: structure '{name}' is not among {', '.join(specimen.structures)}.")
        bits |= 1 << specimen.structures.index(name)
    mask = (specimen.labels & specimen.labels.dtype.type(bits)) != 0
    others = (specimen.labels != 0) & ~mask
    return ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 1)) & ~others
