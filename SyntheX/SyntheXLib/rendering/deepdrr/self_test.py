"""What DeepDRR really does, measured once for each environment on a ball whose image is known.

DeepDRR 1.2.2 shows the content of a volume one voxel too far along each index axis, as a later release may not: the displacement is
measured, and undone only where it is found.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from SyntheXLib.cache import cache_folder
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.tables.build import MATERIALS
from SyntheXLib.rendering.deepdrr.protocol import DeepDrrProcess
from SyntheXLib.scene.c_arm import Camera, CArm

# A ball of soft tissue off the middle of a CT of unequal voxels, mm; seen twice, from directions that show every index axis.
_SHAPE, _SPACING, _RADIUS = (44, 48, 52), np.array([2.0, 2.2, 2.5]), 30.0
_CENTER = np.array([4.0, -3.0, 2.0])
_DEVICE = CArm(rows=128, columns=128, pixel_spacing_mm=1.5, source_to_detector_mm=1000.0)
_ENERGY_KEV = 60.0
# How far a displacement may lie from a whole number, voxels; how far the open beam and the ball's middle may be off, relative.
_SHIFT_ERROR, _BEAM_ERROR, _ABSORPTION_ERROR = 0.2, 0.01, 0.05


@dataclass(frozen=True)
class SelfTest:
    """Result of the test.

    Attributes
    ----------
    deepdrr, device
        Version of DeepDRR and name of the GPU.
    displacement
        Measured displacement along i, j and k, voxels.
    shift
        What is undone, voxels along each axis: 0 or 1.
    absorption
        Absorption in the ball's middle, relative to what the tables say.
    """

    deepdrr: str
    device: str
    displacement: tuple[float, float, float]
    shift: int
    absorption: float


def stored_test(python: Path) -> SelfTest | None:
    """The result that was stored for the environment of an interpreter, or None."""
    try:
        stored = json.loads(_file(python).read_text(encoding="utf-8"))
        return SelfTest(**{**stored, "displacement": tuple(stored["displacement"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget_test(python: Path) -> None:
    """Remove the stored result."""
    _file(python).unlink(missing_ok=True)


def run_self_test(process: DeepDrrProcess, python: Path) -> SelfTest:
    """Measure, and store the result for the interpreter's environment.

    Raises
    ------
    SyntheXError
        When DeepDRR cannot render, or its image is neither right nor displaced by one voxel.
    """
    forget_test(python)
    if not process.hello.get("device"):
        raise SyntheXError(process.hello.get("problem") or "No CUDA device was found, and DeepDRR renders with CUDA alone.")
    ijk_to_ras = np.diag([*_SPACING, 1.0])
    ijk_to_ras[:3, 3] = -_SPACING * (np.array(_SHAPE[::-1]) - 1) / 2
    fields = {
        "key": "self-test",
        "density": process.save("self-test-density", _ball(ijk_to_ras)),
        "labels": process.save("self-test-labels", np.ones(_SHAPE, np.uint16)),
        "materials": ["air", "soft_tissue"],
        "compounds": {name: MATERIALS[name] for name in ("air", "soft_tissue")},
        "ijk_to_ras": ijk_to_ras.tolist(),
    }
    process.request("volume", shift=0, **fields)
    equations, differences, absorptions = [], [], []
    for camera in _cameras():
        image = _render(process, camera)
        corner = float(np.median([image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]))
        if abs(corner - 1) > _BEAM_ERROR:
            raise SyntheXError(f"DeepDRR's open beam was expected to be 1, found {corner:.3f}: this version needs another treatment.")
        integral = -np.log(np.clip(image, 1e-6, 1))
        chord = _chords(camera, _CENTER)
        differences.append(_centroid(integral) - _centroid(chord))
        steps = ijk_to_ras[:3, :3].T  # a voxel along i, j and k, mm
        equations.append(np.stack([_centroid(_chords(camera, _CENTER + step)) - _centroid(chord) for step in steps], 1))
        per_mm = float(mass_attenuation("soft_tissue", _ENERGY_KEV)) / 10  # at 1 g/cm3
        absorptions.append(float(integral.sum() / (chord.sum() * per_mm)))
    process.request("forget", key="self-test")
    for name in ("density", "labels"):
        process.remove(str(fields[name]))
    displacement = np.linalg.lstsq(np.concatenate(equations), np.concatenate(differences), rcond=None)[0]
    absorption = float(np.mean(absorptions))
    shift = int(np.rint(displacement.mean()))
    if shift not in (0, 1) or np.abs(displacement - shift).max() > _SHIFT_ERROR:
        found = ", ".join(f"{value:.2f}" for value in displacement)
        raise SyntheXError(f"DeepDRR was expected to displace a volume by 0 or 1 voxel along each axis, found ({found}).")
    if abs(absorption - 1) > _ABSORPTION_ERROR:
        raise SyntheXError(f"DeepDRR was expected to absorb in soft tissue what the tables say, found {absorption:.3f} times as much.")
    i, j, k = (round(float(value), 3) for value in displacement)
    test = SelfTest(str(process.hello["deepdrr"]), str(process.hello["device"]), (i, j, k), shift, round(absorption, 4))
    with atomic_write(_file(python)) as part:
        part.write_text(json.dumps(asdict(test), indent=1), encoding="utf-8")
    return test


def _file(python: Path) -> Path:
    return cache_folder() / "deepdrr" / f"self_test-{hashlib.sha256(str(python).encode()).hexdigest()[:12]}.json"


def _ball(ijk_to_ras: np.ndarray) -> np.ndarray:
    """(K, J, I) float32, 1 g/cm3 inside, by subdivision of the voxels on the surface."""
    axes = [ijk_to_ras[axis, 3] + _SPACING[axis] * np.arange(_SHAPE[2 - axis]) - _CENTER[axis] for axis in range(3)]
    total = np.zeros(_SHAPE)
    parts = (np.arange(4) + 0.5) / 4 - 0.5
    for a in parts:
        for b in parts:
            for c in parts:
                x, y, z = (axis + part * size for axis, part, size in zip(axes, (a, b, c), _SPACING, strict=True))
                total += x**2 + (y**2)[:, None] + (z**2)[:, None, None] < _RADIUS**2
    return (total / len(parts) ** 3).astype(np.float32)


def _cameras() -> tuple[Camera, Camera]:
    # Rows of the rotation: right, down and away from the source, in the world.
    front = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
    side = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)
    matrices = []
    for rotation in (front, side):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[2, 3] = 700.0
        matrices.append(matrix)
    return _DEVICE.camera(matrices[0]), _DEVICE.camera(matrices[1])


def _chords(camera: Camera, center: np.ndarray) -> np.ndarray:
    """(H, W) mm of each ray inside the ball about `center` (RAS, mm)."""
    rays = camera.rays()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    point = camera.world_to_camera[:3, :3] @ center + camera.world_to_camera[:3, 3]
    distance = point @ point - (rays @ point) ** 2  # squared, of the centre from the ray
    return 2 * np.sqrt(np.maximum(_RADIUS**2 - distance, 0))


def _centroid(image: np.ndarray) -> np.ndarray:
    """(2,) column and row."""
    rows, columns = np.indices(image.shape)
    return np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum()


def _render(process: DeepDrrProcess, camera: Camera) -> np.ndarray:
    process.request(
        "render",
        key="self-test",
        spectrum=[[_ENERGY_KEV, 1.0]],
        world_to_camera=camera.world_to_camera.tolist(),
        intrinsics=camera.intrinsics.tolist(),
        shape=list(camera.shape),
        source_to_detector_mm=camera.source_to_detector_mm,
        image="self-test.npy",
    )
    return process.load("self-test.npy").astype(float)
