"""How the cost of a fused view grows with pixels, voxels, labels and cores."""

from __future__ import annotations

from timing import interleaved
from workload import CUTS, cameras, chest

from SyntheXLib.rendering.cpu import CpuRenderer, available_cores
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

Curve = list[tuple[int, float]]


def scaling() -> dict[str, Curve]:
    """Milliseconds by what grows, the median over three views of the best of three turns.

    All else stays: 360 x 360 pixels, the CT as it is, six labels, all cores.
    """

    def fused(specimen: Specimen, size: int = 360, threads: int | None = None) -> float:
        renderer, scene = CpuRenderer(CUTS, threads), Scene(specimen)
        return 1e3 * interleaved({"": lambda view: renderer.render(scene, view)}, cameras(specimen, size, 3), 3)[""].quiet(3)

    whole = chest()
    return {
        "pixels a side": [(size, fused(whole, size)) for size in (128, 256, 512, 1024, 1536)],
        "voxels a side": [(side, fused(chest(side))) for side in (128, 256, 384, 512)],
        # Up to 16 labels the field has 16 bits, then 32.
        "labels": [(count, fused(chest(labels=count))) for count in (0, 1, 6, 16, 32)],
        "cores": [
            (threads, fused(whole, threads=threads)) for threads in sorted({1, 2, available_cores()}) if threads <= available_cores()
        ],
    }
