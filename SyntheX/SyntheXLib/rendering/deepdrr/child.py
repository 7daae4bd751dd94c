"""Runs in DeepDRR's own Python, as a script: ``python child.py FOLDER``. Imports nothing of SyntheX. See ``protocol.py``.

It deals with what DeepDRR 1.2.2 does its own way: energies are in eV, pixel centres lie at +1/2, the content of a volume is displaced by
a voxel along each axis, step is in mm, and an image is the mean energy of an incident photon, not relative to the open beam.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL = 1
# mm along the ray: costs 0.3 % of the line integral of 100 mm where the default of 0.1 mm costs 0.05 %, and takes a fifth of the time.
STEP_MM = 0.5
# Air around the CT, voxels: the displacement must not push its border out of the box that DeepDRR samples.
PADDING = 2


class Child:
    """Keeps the volumes; one at a time is on the GPU, since each brings an OpenGL context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes: dict[str, Any] = {}
        self.projector: Any = None
        self.loaded: Any = None

    def hello(self) -> dict[str, Any]:
        """What this environment is and can do."""
        found: dict[str, Any] = {"protocol": PROTOCOL, "deepdrr": None, "device": None, "problem": None}
        try:
            from importlib import metadata

            found["deepdrr"] = metadata.version("deepdrr")
        except metadata.PackageNotFoundError:
            return found | {"problem": "The package deepdrr is not installed in its environment."}
        try:
            import cupy

            count = cupy.cuda.runtime.getDeviceCount()
            name = cupy.cuda.runtime.getDeviceProperties(0)["name"] if count else b""
        except ImportError as error:
            return found | {"problem": f"The package cupy is broken: {one_line(error)}."}
        except Exception as error:  # cupy's own kinds, by which a missing driver shows
            return found | {"problem": f"No CUDA device was found ({one_line(error)}), and DeepDRR renders with CUDA alone."}
        if not count:
            return found | {"problem": "No CUDA device was found, and DeepDRR renders with CUDA alone."}
        if not any(map(shutil.which, ("nvcc", *(f"{os.environ.get(key, '')}/bin/nvcc" for key in ("CUDA_PATH", "CUDA_HOME"))))):
            return found | {"problem": "The CUDA compiler nvcc was not found: install the CUDA toolkit, or set CUDA_PATH to it."}
        try:
            import deepdrr  # noqa: F401
        except Exception as error:
            return found | {"problem": f"Importing deepdrr failed: {one_line(error)}."}
        return found | {"device": name.decode() if isinstance(name, bytes) else str(name)}

    def volume(self, key: str, compounds: dict[str, dict[str, float]], **fields: Any) -> dict[str, Any]:
        """Take note of a volume; it is loaded when an image of it is wanted."""
        from deepdrr import Material

        for name, fractions in compounds.items():
            whole = sum(fractions.values())
            formula = "".join(f"{element}{part / whole:.6f}" for element, part in fractions.items())
            Material.register_map({name: formula})
            Material.from_string(name, compound_string=True)  # from then on the projector finds it by its name
        self.volumes[key] = fields
        return {}

    def forget(self, key: str) -> dict[str, Any]:
        """Drop a volume."""
        self.volumes.pop(key, None)
        if self.loaded is not None and self.loaded[0] == key:
            self.free()
        return {}

    def render(
        self,
        key: str,
        spectrum: list[list[float]],
        world_to_camera: list[list[float]],
        intrinsics: list[list[float]],
        shape: list[int],
        source_to_detector_mm: float,
        image: str,
    ) -> dict[str, Any]:
        """Write the image of a view."""
        from deepdrr import geo

        matrix = np.array(intrinsics, float)
        matrix[:2, 2] += 0.5
        intrinsic = geo.CameraIntrinsicTransform(matrix, sensor_height=shape[0], sensor_width=shape[1])
        projector = self.load(key, np.array(spectrum, float), intrinsic, source_to_detector_mm)
        found = np.asarray(projector(geo.CameraProjection(intrinsic, geo.FrameTransform(np.array(world_to_camera, float)))), float)
        if found.shape != tuple(shape):
            raise RuntimeError(f"DeepDRR gave an image of {found.shape}, expected {tuple(shape)}")
        energy, photons = np.array(spectrum, float).T
        open_beam = float(energy @ photons / photons.sum())  # keV per incident photon
        np.save(self.folder / image, (found / open_beam).astype(np.float32))
        return {}

    def load(self, key: str, spectrum: np.ndarray, intrinsic: Any, source_to_detector_mm: float) -> Any:
        """The projector of a volume, made anew when volume, spectrum or frame changed."""
        wanted = (key, spectrum.tolist(), intrinsic.sensor_size, source_to_detector_mm)
        if self.loaded == wanted:
            return self.projector
        from deepdrr import Projector, Volume

        self.free()
        fields = self.volumes[key]
        # (K, J, I) to DeepDRR's (I, J, K).
        density, labels = (np.pad(np.load(self.folder / fields[name]), PADDING).transpose(2, 1, 0) for name in ("density", "labels"))
        first = np.eye(4)
        first[:3, 3] = -PADDING - np.asarray(fields["shift"], float)
        ijk_to_ras = np.array(fields["ijk_to_ras"], float) @ first
        # The numbers must be the places in the dictionary; air is the first, so that the padding is air.
        names = {name: place for place, name in enumerate(fields["materials"])}
        volume = Volume(
            np.ascontiguousarray(density, np.float32),
            (names, np.ascontiguousarray(labels, np.uint16)),
            anatomical_from_IJK=ijk_to_ras,
            anatomical_coordinate_system="RAS",
        )
        # One volume, since the priorities of several do not work; no noise, no logarithm, no air outside: those are wrong or ours.
        self.projector = Projector(
            volume,
            camera_intrinsics=intrinsic,
            source_to_detector_distance=source_to_detector_mm,
            step=STEP_MM,
            spectrum=spectrum * [1000, 1],
            add_noise=False,
            neglog=False,
            attenuate_outside_volume=False,
            collected_energy=False,
        )
        self.projector.initialize()
        self.loaded = wanted
        return self.projector

    def free(self) -> None:
        """Give the GPU back."""
        if self.projector is not None:
            self.projector.free()
        self.projector = self.loaded = None


def one_line(error: BaseException) -> str:
    """An exception in one line, without the full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300].rstrip(".")


def main(folder: Path) -> None:
    """Answer until the parent closes its end."""
    # Whatever prints, compilers included, must not come between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    child = Child(folder)
    for line in sys.stdin:
        request = json.loads(line)
        number, do = request.pop("id"), request.pop("do")
        try:
            reply = {"id": number, "ok": getattr(child, do)(**request)}
        except Exception as error:
            traceback.print_exc()
            reply = {"id": number, "error": f"DeepDRR could not do '{do}': {one_line(error)}."}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    child.free()
    shutil.rmtree(folder, ignore_errors=True)  # the parent's, but it may have been killed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
