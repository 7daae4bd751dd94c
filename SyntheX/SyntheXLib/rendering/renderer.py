"""The interface of all ray casters, and the choice among them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.task import nearest

if TYPE_CHECKING:
    from SyntheXLib.rendering.realistic import Exposure


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


RENDERERS = ("auto", "own", "cpu", "reference", "deepdrr")
# What to render with when a renderer yields an image alone.
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


def make_renderer(
    name: str = "auto", cuts: Sequence[float] = HU_CUTS, threads: int | None = None, exposure: Exposure | None = None
) -> Renderer:
    """The renderer of that name; ``auto`` (or ``own``) takes the compiled one where llvmlite is installed, else the numpy reference.

    Parameters
    ----------
    name
        One of `RENDERERS`.
    cuts
        Limits of the HU classes, rising.
    threads
        Cores to use; None takes all.
    exposure
        Beam, detector and materials for ``deepdrr``, which makes the image itself; None takes the defaults.

    Raises
    ------
    SyntheXError
        When the name is unknown, or its package or environment is missing.
    """
    from SyntheXLib.rendering.reference import ReferenceRenderer

    if name not in RENDERERS:
        raise SyntheXError(f"Unknown renderer '{name}': expected one of {', '.join(RENDERERS)}{nearest(name, RENDERERS)}.")
    if name == "deepdrr":
        return _deepdrr(cuts, threads, exposure)
    compiled = importlib.util.find_spec("llvmlite") is not None
    if name == "cpu" and not compiled:
        raise SyntheXError("Renderer 'cpu' needs the package llvmlite, which is not installed: install it or use 'reference'.")
    if name == "reference" or not compiled:
        return ReferenceRenderer(cuts)
    from SyntheXLib.rendering.cpu import CpuRenderer

    return CpuRenderer(cuts, threads)


def _deepdrr(cuts: Sequence[float], threads: int | None, exposure: Exposure | None) -> Renderer:
    from SyntheXLib.physics.spectrum import Spectrum, tube_spectrum
    from SyntheXLib.rendering.deepdrr.backend import DeepDrrRenderer
    from SyntheXLib.rendering.deepdrr.environment import ready
    from SyntheXLib.rendering.realistic import Exposure

    python, test = ready()
    exposure = exposure or Exposure()
    beam = tube_spectrum(exposure.kvp, exposure.aluminium_mm, exposure.copper_mm)
    absorbed = Spectrum(beam.energy_kev, beam.photons * exposure.detector.absorption(beam.energy_kev))
    return DeepDrrRenderer(make_renderer("auto", cuts, threads), python, test, absorbed, exposure.decomposition)
