"""Peak memory of one full-detector view of a large CT beyond the CT itself, in a process of its own: ``python peak_memory.py`` (Linux).

The process loads a CT of 512 x 512 x 512 (16-bit HU, 16-bit label field) and resets the kernel's high-water mark. Then it imports and
compiles the renderer, renders one fused view of 1536 x 1536 pixels in six HU classes and, if asked to, makes the realistic image.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from workload import middle

from SyntheXLib.scene.c_arm import load_device
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

_SIDE, _PIXELS = 512, 1536
_PLACES = {"frontal": (20.0, 15.0, 10.0), "lateral": (85.0, 10.0, 10.0)}  # LAO, CRAN, roll; a lateral view needs a turned copy of the CT


def peak_memory() -> dict[str, float]:
    """GB beyond the inputs by what was made; empty where the kernel does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    cases = [(direction, level) for direction in _PLACES for level in ("projection", "realistic")]
    return {f"{level}, {direction}": _in_child(direction, level) for direction, level in cases}


def _in_child(direction: str, level: str) -> float:
    command = [sys.executable, __file__, "--direction", direction, "--level", level]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def _measure(direction: str, level: str) -> float:
    """GB that a view takes at its peak beyond what is there with the CT loaded."""
    specimen = _phantom()
    device = load_device("cios-fusion")
    camera = device.camera(CArmPose(*_PLACES[direction]).world_to_camera(middle(specimen)), shape=(_PIXELS, _PIXELS))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed on the way must not hide a peak
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    loaded = _status("VmRSS")

    from SyntheXLib.rendering.cpu import CpuRenderer
    from SyntheXLib.rendering.levels import make_image

    renderer = CpuRenderer()  # kept, with its copy of the CT, as a user keeps it
    projection = renderer.render(Scene(specimen), camera)
    assert projection is not None
    if level != "projection":
        make_image(level, projection, camera, rng=np.random.default_rng(1))
    return (_status("VmHWM") - loaded) / 1e9


def _phantom() -> Specimen:
    """A water cylinder with a spine of bone, noise in all, six labels, of 0.7 mm voxels."""
    hu = np.full((_SIDE,) * 3, -1000, np.int16)
    labels = np.zeros(hu.shape, np.uint16)
    y, x = np.ogrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    body, spine = x**2 + (y * 1.4) ** 2 < 0.8, x**2 + (y - 0.3) ** 2 < 0.02
    rng = np.random.default_rng(1)
    for k in range(_SIDE):
        noise = rng.integers(-50, 50, body.shape, np.int16)
        hu[k] = np.where(spine, 700, np.where(body, 40, -1000)) + np.where(body, noise, 0)
        labels[k] = np.where(spine, 1 << k * 5 // _SIDE, np.where(body, 32, 0))
    matrix = np.diag([-0.7, -0.7, 0.7, 1.0])
    return Specimen("phantom", hu, matrix, labels, tuple("abcdef"), {})


def _status(key: str) -> int:
    """Bytes of an entry of the kernel's table on this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def main() -> None:
    """Measure all cases, each in a child, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--direction", choices=_PLACES)
    parser.add_argument("--level", choices=("projection", "realistic"), default="projection")
    options = parser.parse_args()
    if options.direction:
        print(json.dumps(_measure(options.direction, options.level)))
        return
    for case, gigabytes in peak_memory().items():
        print(memory_line(case, gigabytes))


def memory_line(case: str, gigabytes: float) -> str:
    """One result as it is printed."""
    return f"peak memory {_PIXELS} view of {_SIDE}^3 CT: {gigabytes:.2f} GB beyond inputs ({case})"


if __name__ == "__main__":
    main()
