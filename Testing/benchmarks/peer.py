"""What a peer must be able to do, and which peers this machine has."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen

# Axes of RAS in LPS, the world of ITK and DICOM.
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# Module and class of each peer.
_PEERS = {
    "rtk": ("rtk_peer", "RtkJoseph"),
    "plastimatch": ("plastimatch_peer", "PlastimatchExact"),
    "nanodrr": ("nanodrr_peer", "NanoDrr"),
    "diffdrr": ("diffdrr_peer", "DiffDrrTrilinear"),
}


class Peer(Protocol):
    """A projector set up for one specimen, whose axes are those of ITK's world (IJK-to-RAS signs -, -, +).

    Attributes
    ----------
    note
        How it does the fused job.
    fused_passes
        How often `single` runs for the fused job, where that is estimated so and `fused` is not to be called; 0 where it is measured.
    """

    note: str
    fused_passes: int

    def clock(self) -> float:
        """Seconds on the clock by which its calls are timed."""
        ...

    def single(self, camera: Camera) -> np.ndarray:
        """(H, W) integral of HU + 1000, HU x mm."""
        ...

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """Integral of HU + 1000 per material (M, H, W), HU x mm, and whether each label is hit (L, H, W)."""
        ...


def installed_peers(specimen: Specimen, cuts: tuple[float, ...], names: list[str] | None = None) -> dict[str, Peer]:
    """The peers that can be imported (of `names`, or all); a line tells why another is left out."""
    peers: dict[str, Peer] = {}
    for name in names or list(_PEERS):
        module, kind = _PEERS[name]
        try:
            peers[name] = getattr(import_module(module), kind)(specimen, cuts)
        except (ImportError, OSError) as reason:
            print(f"{name}: left out, {reason}")
    return peers


def exclusive_classes(specimen: Specimen, cuts: tuple[float, ...]) -> np.ndarray:
    """(K, J, I) int16, material x (labels + 1) + label (0 for none): what a peer that takes one label map needs."""
    number = np.zeros(specimen.labels.shape, np.int16)
    for bit in range(len(specimen.structures)):
        number[(specimen.labels >> bit & 1).astype(bool)] = bit + 1
    return np.searchsorted(cuts, specimen.hu, side="right").astype(np.int16) * np.int16(len(specimen.structures) + 1) + number


def materials_and_masks(channels: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Integrals by material (M, H, W) and label masks (L, H, W) from those of the exclusive classes (M x (labels + 1), H, W)."""
    table = channels.reshape(-1, labels + 1, *channels.shape[1:])
    return table.sum(1), table[:, 1:].sum(0) > 0
