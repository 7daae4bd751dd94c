"""2D/3D registration of simulated X-rays of the sample pelvis whose pose is known; ``make bench-registration``.

Each target is a realistic X-ray with noise at a pose of task hip, made of another CT than the registration sees (resampled to 2 mm by cubic
splines), with another step and four rays a pixel. The start is off by a rotation of N(0, 10 degrees) about a random axis through the
isocentre and a shift of N(0, 20 mm) along each axis of the camera; or it comes from the landmarks in the image with noise. Error: mean
distance of the landmarks from where they are, at right angles to their rays, in the patient (mm); depth is reported beside it.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.estimate import AFTER_LANDMARKS, estimate_pose, start_from_landmarks
from SyntheXLib.registration.field import field_mask
from SyntheXLib.registration.intensity import ROUGH
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.views import View
from SyntheXLib.rendering.cpu import available_cores
from SyntheXLib.rendering.display import log_image
from SyntheXLib.rendering.levels import make_image
from SyntheXLib.rendering.renderer import Renderer, make_renderer
from SyntheXLib.scene.c_arm import Camera, load_device, task_camera
from SyntheXLib.scene.case_files import read_image, read_label_names, specimen_from_images
from SyntheXLib.scene.landmarks import read_markups
from SyntheXLib.scene.poses import sample_pose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.simulation.view import binned
from SyntheXLib.tasks.task import Task, load_task

ROTATION_SD_DEG, SHIFT_SD_MM = 10.0, 20.0
TARGET_SPACING_MM = 2.0
SUCCESS_MM = 2.0


@dataclass(frozen=True)
class Outcome:
    """One registration: errors before and after, whether it was trusted, and its time."""

    start_mm: float
    lateral_mm: float
    whole_mm: float
    angle_deg: float
    trusted: bool
    similarity: float
    seconds: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", type=int, default=100, help="targets (default: 100)")
    parser.add_argument("--size", type=int, default=360, metavar="PX", help="pixels a side of a target (default: 360)")
    parser.add_argument("--seed", type=int, default=9, help="of poses, starts and noise (default: 9; other seeds served for tuning)")
    parser.add_argument("--target-renderer", default="own", help="own (oversampled) or reference, which is slow (default: own)")
    parser.add_argument("--from-landmarks", type=float, metavar="MM", help="start from landmarks with so much noise (SD on the detector)")
    options = parser.parse_args()
    task = load_task("hip")
    specimen, target = both_specimens(task)
    renderer = make_renderer(options.target_renderer)
    caster = BoneCaster(specimen)
    print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}; {options.poses} targets of {options.size} x {options.size}")
    outcomes = []
    for number in range(options.poses):
        rng = np.random.default_rng([options.seed, number])
        camera, signal = simulated_target(target, task, renderer, options.size, rng)
        outcome = one(specimen, task, caster, camera, signal, rng, options.from_landmarks)
        outcomes.append(outcome)
        print(
            f"  {number:3d}  start {outcome.start_mm:5.1f} mm   lateral {outcome.lateral_mm:6.2f} mm   3D {outcome.whole_mm:6.2f} mm   "
            f"{outcome.angle_deg:6.2f} deg   similarity {outcome.similarity:.3f}{'' if outcome.trusted else ' flagged'}   "
            f"{outcome.seconds:.1f} s",
            flush=True,
        )
    summary(outcomes)


def summary(outcomes: list[Outcome]) -> None:
    """Print what came out; the rate of success last."""
    lateral = np.array([outcome.lateral_mm for outcome in outcomes])
    trusted = np.array([outcome.trusted for outcome in outcomes])
    good = lateral < SUCCESS_MM
    print(f"lateral error median {np.median(lateral):.2f} mm; 3D, depth included, {np.median([o.whole_mm for o in outcomes]):.2f} mm")
    print(
        f"rotation error median {np.median([o.angle_deg for o in outcomes]):.2f} degrees, "
        f"under 1 degree {100 * np.mean([o.angle_deg < 1 for o in outcomes]):.0f} %"
    )
    print(f"time an image median {np.median([o.seconds for o in outcomes]):.1f} s, load {os.getloadavg()[0]:.1f}")
    print(f"failures {np.sum(~good)}, of them flagged {np.sum(~good & ~trusted)}; successes flagged in vain {np.sum(good & ~trusted)}")
    print(f"registration success: {100 * good.mean():.0f} %")


def both_specimens(task: Task) -> tuple[Specimen, Specimen]:
    """The sample as it is, for the registration, and resampled, for the targets."""
    sample = fetch_sample("pelvis")
    ct, labels = read_image(sample.ct), read_image(sample.labels)
    names = read_label_names(sample.label_names)
    landmarks = read_markups(sample.landmarks) if sample.landmarks else {}

    def resampled(image: sitk.Image, how: int, outside: float) -> sitk.Image:
        size = [int(count * spacing / TARGET_SPACING_MM) for count, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)]
        grid = (image.GetOrigin(), [TARGET_SPACING_MM] * 3, image.GetDirection())
        return sitk.Resample(image, size, sitk.Transform(), how, *grid, outside)

    fine = sitk.Clamp(resampled(sitk.Cast(ct, sitk.sitkFloat32), sitk.sitkBSpline, -1000.0), sitk.sitkFloat32, -1024, 3500)
    fine_labels = resampled(labels, sitk.sitkNearestNeighbor, 0)
    return (
        specimen_from_images("pelvis", ct, labels, names, landmarks, task),
        specimen_from_images("pelvis", fine, fine_labels, names, landmarks, task),
    )


def simulated_target(target: Specimen, task: Task, renderer: Renderer, size: int, rng: np.random.Generator) -> tuple[Camera, np.ndarray]:
    """A camera at a drawn pose and the (H, W) detector signal."""
    isocenter = target.structure_centroid(task.poses.isocenter)
    camera = task_camera(task.c_arm, sample_pose(task.poses, rng).world_to_camera(isocenter), size)
    fine = camera.resized((2 * size, 2 * size))
    projection = renderer.render(Scene(target), fine)
    assert projection is not None
    spacing = load_device(task.c_arm.device).pixel_spacing_mm
    return camera, binned(make_image("realistic", projection, fine, None, rng, spacing), 2)


def one(
    specimen: Specimen, task: Task, caster: BoneCaster, camera: Camera, signal: np.ndarray, rng: np.random.Generator, noise_mm: float | None
) -> Outcome:
    """Register one target."""
    isocenter = specimen.structure_centroid(task.poses.isocenter)
    start, uncertainty = offset_start(camera, isocenter, rng), ROUGH
    if noise_mm is not None:
        pixels, visible = camera.project(specimen.landmark_array(task.landmark_names))
        pixels += rng.normal(0, noise_mm / camera.pixel_spacing_mm[0], pixels.shape)
        seen = {name: place for name, place, inside in zip(task.landmark_names, pixels, visible, strict=True) if inside}
        with suppress(SyntheXError):  # with fewer than four landmarks in the frame the rough start stays
            start, uncertainty = start_from_landmarks(specimen, seen, camera, 4 * noise_mm)[0], AFTER_LANDMARKS
    image = log_image(signal)
    started = time.perf_counter()
    view = View(image, replace(camera, world_to_camera=np.eye(4)), field_mask(image))
    found = estimate_pose(specimen, task, view, start, uncertainty, caster=caster)
    seconds = time.perf_counter() - started
    points = specimen.landmark_array(task.landmark_names)
    points = points[np.isfinite(points).all(1)]
    lateral, whole = target_errors(points, camera.world_to_camera, found.camera.world_to_camera)
    return Outcome(
        target_errors(points, camera.world_to_camera, start)[0],
        lateral,
        whole,
        angle_deg(camera.world_to_camera, found.camera.world_to_camera),
        found.trusted,
        found.registration.similarity,
        seconds,
    )


def offset_start(camera: Camera, isocenter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """World to camera (4, 4) with the patient turned about the isocentre and shifted."""
    from scipy.spatial.transform import Rotation

    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.normal(0, ROTATION_SD_DEG), degrees=True).as_matrix()
    center = camera.world_to_camera[:3, :3] @ isocenter + camera.world_to_camera[:3, 3]
    offset = np.eye(4)
    offset[:3, :3], offset[:3, 3] = turn, center + rng.normal(0, SHIFT_SD_MM, 3) - turn @ center
    return offset @ camera.world_to_camera


def target_errors(points: np.ndarray, true: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Mean distance of points (N, 3) from where they are: at right angles to their rays, and in space, mm."""
    here, there = (points @ pose[:3, :3].T + pose[:3, 3] for pose in (true, found))
    error, ray = there - here, here / np.linalg.norm(here, axis=1, keepdims=True)
    lateral = error - ray * (error * ray).sum(1, keepdims=True)
    return float(np.linalg.norm(lateral, axis=1).mean()), float(np.linalg.norm(error, axis=1).mean())


if __name__ == "__main__":
    main()
