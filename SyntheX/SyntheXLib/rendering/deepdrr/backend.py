"""DeepDRR's image with our labels and path lengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.decomposition import Decomposition
from SyntheXLib.rendering.deepdrr.protocol import DeepDrrProcess
from SyntheXLib.rendering.deepdrr.self_test import SelfTest
from SyntheXLib.rendering.deepdrr.volume import density_volume
from SyntheXLib.rendering.exposure import Exposure
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.realistic import primary_transmission
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

_KEYS = itertools.count(1)
# Renderers of several specimens share the process of their interpreter, and with it the GPU.
_processes: WeakValueDictionary[Path, DeepDrrProcess] = WeakValueDictionary()


class DeepDrrRenderer:
    """Renders the primary beam with DeepDRR, in a process that starts with the first image; all else is our own ray caster's.

    Parameters
    ----------
    own
        Our renderer: path lengths, HU integrals and labels.
    python
        Interpreter of the environment that holds DeepDRR.
    test
        What its self-test found.
    exposure
        Beam, detector and materials; None takes the defaults.
    """

    def __init__(
        self,
        own: Any,
        python: Path,
        test: SelfTest,
        exposure: Exposure | None = None,
    ) -> None:
        self._own, self._python, self._test, self._exposure = own, python, test, exposure or Exposure()
        self._process: DeepDrrProcess | None = None
        self._loaded: tuple[Specimen, Decomposition] | None = None
        self._key = ""

    @property
    def name(self) -> str:
        """Version of DeepDRR, and the ray caster beside it."""
        return f"deepdrr-{self._test.deepdrr}+{self._own.name}"

    def expose(self, exposure: Exposure) -> None:
        """Set beam, detector and materials of the next views."""
        self._exposure = exposure

    def render(
        self,
        scene: Scene,
        camera: Camera,
        cancelled: Callable[[], bool] | None = None,
        *,
        label_paths: bool = False,
        plane_step: int = 1,
    ) -> Projection | None:
        """See `renderer.Renderer.render`; the projection has `primary` too.

        Raises
        ------
        SyntheXError
            When DeepDRR fails.
        """
        options: dict[str, Any] = {"label_paths": True} if label_paths else {}
        if plane_step != 1:
            options["plane_step"] = plane_step
        projection: Projection | None = self._own.render(scene, camera, cancelled, **options)
        if projection is None:
            return None
        exposure = self._exposure
        process = self._with_volume(scene.specimen, exposure.decomposition)
        # DeepDRR gives the energy per photon; a detector that absorbs only some photons sees the energy of those.
        photons = exposure.spectrum.photons * exposure.detector.absorption(exposure.spectrum.energy_kev)
        done = process.request(
            "render",
            cancelled,
            key=self._key,
            spectrum=np.stack([exposure.spectrum.energy_kev, photons], 1).tolist(),
            world_to_camera=camera.world_to_camera.tolist(),
            intrinsics=camera.intrinsics.tolist(),
            shape=list(camera.shape),
            source_to_detector_mm=camera.source_to_detector_mm,
            image=f"image-{self._key}.npy",
        )
        if done is None:
            return None
        primary = process.load(f"image-{self._key}.npy")
        if primary.shape != camera.shape or not np.isfinite(primary).all():
            raise SyntheXError(f"DeepDRR was expected to give finite values of shape {camera.shape}, found {primary.shape} or others.")
        primary = primary.astype(np.float32, copy=False)
        if scene.tools:
            # Two volumes replace each other's whole boxes in 1.2.2, and the CT's grid is coarse for a wire: DeepDRR is given the CT alone,
            # and what the tools change is our own caster's.
            bare = self._own.render(Scene(scene.specimen), camera, cancelled)
            if bare is None:
                return None
            without = primary_transmission(bare, exposure)
            primary = primary * (primary_transmission(projection, exposure) / np.maximum(without, np.float32(1e-30)))
        return replace(projection, primary=primary)

    def close(self) -> None:
        """End the process, which the renderers of one interpreter share."""
        if self._process is not None:
            self._process.close()
        self._process = self._loaded = None

    def _with_volume(self, specimen: Specimen, decomposition: Decomposition) -> DeepDrrProcess:
        """The process with the specimen's volume in it."""
        loaded = self._loaded is not None and self._loaded[0] is specimen and self._loaded[1] == decomposition
        if self._process is not None and self._process.alive and loaded:
            return self._process
        process = _processes.get(self._python)
        if process is None or not process.alive:
            process = DeepDrrProcess(self._python)
            self._check(process)
            _processes[self._python] = process
        if self._process is process and self._loaded is not None:
            process.request("forget", key=self._key)
            for file in (f"density-{self._key}.npy", f"labels-{self._key}.npy"):
                process.remove(file)
        self._key = str(next(_KEYS))
        volume = density_volume(specimen.hu, getattr(self._own, "cuts", HU_CUTS), decomposition)
        process.request(
            "volume",
            key=self._key,
            density=process.save(f"density-{self._key}", volume.density),
            labels=process.save(f"labels-{self._key}", volume.labels),
            materials=list(volume.materials),
            compounds=volume.compounds,
            ijk_to_ras=specimen.ijk_to_ras.tolist(),
            shift=self._test.shift,
        )
        self._process, self._loaded = process, (specimen, decomposition)
        return process

    def _check(self, process: DeepDrrProcess) -> None:
        hello = process.hello
        if not hello.get("device") or hello.get("deepdrr") != self._test.deepdrr:
            process.close()
            problem = hello.get("problem") or f"DeepDRR {hello.get('deepdrr')} was not tested yet (the test was of {self._test.deepdrr})."
            raise SyntheXError(f"{problem} Run 'synthex doctor', or use --renderer own.")
