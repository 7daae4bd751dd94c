"""The interface of all ray casters, and the choice among them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.shared_arrays import ArrayFolder
from SyntheXLib.tasks.task import nearest

if TYPE_CHECKING:
    from SyntheXLib.rendering.exposure import Exposure


class Renderer(Protocol):
    """Casts the rays of a view through a scene."""

    @property
    def name(self) -> str:
        """Backend and kernel variant; identical bytes hold for one name."""

    def render(
        self,
        scene: Scene,
        camera: Camera,
        cancelled: Callable[[], bool] | None = None,
        *,
        label_paths: bool = False,
        plane_step: int = 1,
    ) -> Projection | None:
        """Cast one ray through the centre of every pixel.

        Parameters
        ----------
        scene
            What stands in the beam.
        camera
            The view; ``camera.region(...)`` renders a part of it.
        cancelled
            Asked between chunks; once true, the work ends soon and the result is None.
        label_paths
            Whether to measure the path through every structure too, which takes longer.
        plane_step
            Look at every plane of voxels, or at every second (2) and so on for a quick preview.

        Returns
        -------
        Projection or None
            Path lengths (mm), HU integrals (HU x mm) and label bits; where tools stand in the beam they replace what the CT shows.
        """


def render_views(
    renderer: Renderer, scene: Scene, cameras: Sequence[Camera], cancelled: Callable[[], bool] | None = None
) -> Iterator[Projection]:
    """Projections of a scene from many views, in order; a backend that renders many at once (``render_batch``) is given them all.

    Ends early once `cancelled` says so.
    """
    batch = getattr(renderer, "render_batch", None)
    if batch is not None:
        for projection in batch(scene, cameras):
            if cancelled is not None and cancelled():
                return
            yield projection
        return
    for camera in cameras:
        projection = renderer.render(scene, camera, cancelled)
        if projection is None:
            return
        yield projection


RENDERERS = ("auto", "own", "cpu", "cuda", "reference", "deepdrr")
# What yields an image alone.
_IMAGE_ONLY = ("deepdrr",)


def check_level(name: str, level: str) -> None:
    """Tell when a renderer cannot make images of a realism level.

    Raises
    ------
    SyntheXError
        When it yields an image alone, from which only the realistic level follows.
    """
    if name in _IMAGE_ONLY and level != "realistic":
        raise SyntheXError(f"Renderer '{name}' makes the realistic level alone, found level '{level}': use --renderer own.")


def expose(renderer: Renderer, exposure: Exposure) -> None:
    """Tell a renderer that makes the image itself the exposure of the next views; what the others yield does not depend on it."""
    tell = getattr(renderer, "expose", None)
    if tell is not None:
        tell(exposure)


def make_renderer(
    name: str = "auto", cuts: Sequence[float] = HU_CUTS, threads: int | None = None, share: ArrayFolder | None = None
) -> Renderer:
    """The renderer of that name; ``auto`` (or ``own``) takes the compiled one where llvmlite is installed, else the numpy reference.

    It never takes ``cuda``: the bytes of a data set would depend on whether the machine has a GPU.

    Parameters
    ----------
    name
        One of `RENDERERS`.
    cuts
        Limits of the HU classes, rising.
    threads
        Cores to use; None takes all.
    share
        Folder of the one specimen that processes are to share, on the CPU; see `cpu.CpuRenderer`.

    Raises
    ------
    SyntheXError
        When the name is unknown, its package or environment is missing, or it needs a GPU that is not there.
    """
    from SyntheXLib.rendering.reference import ReferenceRenderer

    if name not in RENDERERS:
        raise SyntheXError(f"Unknown renderer '{name}': expected one of {', '.join(RENDERERS)}{nearest(name, RENDERERS)}.")
    if name == "deepdrr":
        return _deepdrr(cuts, threads, share)
    if name == "cuda":
        from SyntheXLib.rendering.cuda import CudaRenderer

        return CudaRenderer(cuts)
    compiled = importlib.util.find_spec("llvmlite") is not None
    if name == "cpu" and not compiled:
        raise SyntheXError("Renderer 'cpu' needs the package llvmlite, which is not installed: install it or use 'reference'.")
    if name == "reference" or not compiled:
        return ReferenceRenderer(cuts)
    from SyntheXLib.rendering.cpu import CpuRenderer

    return CpuRenderer(cuts, threads, share=share)


def _deepdrr(cuts: Sequence[float], threads: int | None, share: ArrayFolder | None) -> Renderer:
    from SyntheXLib.rendering.deepdrr.backend import DeepDrrRenderer
    from SyntheXLib.rendering.deepdrr.environment import ready

    python, test = ready()
    return DeepDrrRenderer(make_renderer("auto", cuts, threads, share), python, test)
