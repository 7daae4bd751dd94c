"""plastimatch's exact (Siddon) projector: a command that reads a volume and writes one image."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from peer import RAS_TO_LPS

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen


class PlastimatchExact:
    """See `peer.Peer`. It is timed by what it says itself, which leaves out the start of the command and the reading of the CT."""

    note = "one pass x 9 (estimated)"
    fused_passes = 9

    def __init__(self, specimen: Specimen, cuts: tuple[float, ...]) -> None:
        self._command = Path(sys.executable).parent / "plastimatch"
        if not self._command.exists():
            raise ImportError("no plastimatch command beside this Python")
        self._folder = TemporaryDirectory()
        image = sitk.GetImageFromArray(specimen.hu.astype(np.float32) + 1000)
        image.SetSpacing(specimen.spacing_mm.tolist())
        image.SetOrigin((specimen.ijk_to_ras[:3, 3] * RAS_TO_LPS).tolist())
        sitk.WriteImage(image, str(Path(self._folder.name) / "ct.mha"))
        self._busy_s = 0.0

    def clock(self) -> float:
        """See `peer.Peer.clock`."""
        return self._busy_s

    def single(self, camera: Camera) -> np.ndarray:
        """See `peer.Peer.single`."""
        return self._drr(camera) * 10  # it integrates over centimetres

    def fused(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """See `peer.Peer.fused`."""
        raise NotImplementedError

    def _drr(self, camera: Camera) -> np.ndarray:
        rotation, source = camera.world_to_camera[:3, :3] * RAS_TO_LPS, camera.source * RAS_TO_LPS
        height, width = camera.shape
        half = camera.source_to_detector_mm / 2  # any point on the central ray serves as isocentre
        folder = Path(self._folder.name)
        options = {
            "-i": "exact",
            "-t": "raw",
            "-P": "none",
            "-n": _text(-rotation[2]),
            "--vup": _text(-rotation[1]),
            "--sad": f"{half}",
            "--sid": f"{camera.source_to_detector_mm}",
            "-z": _text(np.array(camera.shape) * camera.pixel_spacing_mm),
            "-r": f"{height} {width}",
            "-o": _text(source + half * rotation[2]),
            "-O": f"{folder / 'out'}",
        }
        arguments = [part for option in options.items() for part in option]
        command = [str(self._command), "drr", *arguments, str(folder / "ct.mha")]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self._busy_s += float(said.split("Total time:")[1].split()[0])
        path = next(folder.glob("out*.raw"))
        image = np.fromfile(path, np.float32).reshape(height, width)
        path.unlink()
        return image


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
