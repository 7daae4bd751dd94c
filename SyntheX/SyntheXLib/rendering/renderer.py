"""The interface of all ray casters, and the choice among them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Protocol

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.task import nearest


class Renderer(Protocol):
    """Casts the rays of a view through a scene."""

    @property
    def name(self) -> str:
        """Backend and kernel variant; identical bytes hold for one name."""

    def render(self, scene: Scene, camera: Camera, cancelled: Callable[[], bool] | None = None) -> Projection | None:
        """Cast one ray through the centre of every pixel.

        Parameters
        ----------
        scene
            What stands in the beam.
        camera
            The view.
        cancelled
            Asked between chunks; once true, the work ends soon and the result is None.

        Returns
        -------
        Projection or None
            Path lengths (mm), HU integrals (HU x mm) and label bits.
        """


RENDERERS = ("auto", "cpu", "cuda", "reference")


def make_renderer(name: str = "auto", cuts: Sequence[float] = HU_CUTS, threads: int | None = None) -> Renderer:
    """The renderer of that name; ``auto`` takes the compiled one where llvmlite is installed, else the numpy reference.

    It never takes ``cuda``: the bytes of a data set would depend on whether the machine has a GPU.

    Raises
    ------
    SyntheXError
        When the name is unknown, its package is missing, or it needs a GPU that is not there.
    """
    from SyntheXLib.rendering.reference import ReferenceRenderer

    if name not in RENDERERS:
        raise SyntheXError(f"Unknown renderer '{name}': expected one of {', '.join(RENDERERS)}{nearest(name, RENDERERS)}.")
    if name == "cuda":
        from SyntheXLib.rendering.cuda import CudaRenderer

        return CudaRenderer(cuts)
    compiled = importlib.util.find_spec("llvmlite") is not None
    if name == "cpu" and not compiled:
        raise SyntheXError("Renderer 'cpu' needs the package llvmlite, which is not installed: install it or use 'reference'.")
    if name == "reference" or not compiled:
        return ReferenceRenderer(cuts)
    from SyntheXLib.rendering.cpu import CpuRenderer

    return CpuRenderer(cuts, threads)
