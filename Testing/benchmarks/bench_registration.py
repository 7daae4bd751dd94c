"""2D/3D registration of simulated X-rays of the sample pelvis whose pose is known; ``make bench-registration``.

Each target is a realistic X-ray with noise at a pose of task hip, made of another CT than the registration sees (resampled to 2 mm by cubic
splines), with another step and four rays a pixel. The start is off by a rotation of N(0, 10 degrees) about a random axis through the
isocentre and a shift of N(0, 20 mm) along each axis of the camera; or it comes from landmarks in the image, with noise or as a network
finds them. Error: mean distance of the landmarks from where they are, at right angles to their rays, in the patient (mm); depth is
reported beside it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.estimate import AFTER_LANDMARKS, AFTER_PREDICTION, estimate_from_landmarks, estimate_pose, start_from_landmarks
from SyntheXLib.registration.intensity import ROUGH, TRUSTED_SIMILARITY, Uncertainty
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.predicted import START_TOLERANCE_MM, predicted_landmarks
from SyntheXLib.registration.views import View, open_view
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
    """One registration: errors before and after, whether it was trusted, and its time.

    ``landmarks`` counts those that the pose rests on: -1 where by design on none, 0 where they led nowhere and poses were searched.
    """

    start_mm: float
    start_deg: float
    landmarks: int
    lateral_mm: float
    whole_mm: float
    angle_deg: float
    trusted: bool
    similarity: float
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Start:
    """Where a registration begins; landmarks found in the image by `find` (View, true camera, rng) come before the offset."""

    rotation_sd_deg: float = ROTATION_SD_DEG
    shift_sd_mm: float = SHIFT_SD_MM
    tolerance_mm: float = 8.0
    after: Uncertainty = AFTER_LANDMARKS
    find: Callable[[View, Camera, np.random.Generator], dict[str, np.ndarray]] | None = None


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", type=int, default=100, help="targets (default: 100)")
    parser.add_argument("--size", type=int, default=360, metavar="PX", help="pixels a side of a target (default: 360)")
    parser.add_argument("--seed", type=int, default=9, help="of poses, starts and noise (default: 9; other seeds served for tuning)")
    parser.add_argument("--target-renderer", default="own", help="own (oversampled) or reference, which is slow (default: own)")
    parser.add_argument("--start", choices=("offset", "landmarks"), default="offset", help="where it begins (default: offset)")
    parser.add_argument("--wider", type=float, default=1.0, metavar="K", help="offsets K times as large, to see failures (default: 1)")
    parser.add_argument("--noise", type=float, metavar="MM", help="--start landmarks: the true ones with noise (SD on the detector)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="--start landmarks: as this network finds them")
    options = parser.parse_args()
    if options.start == "landmarks" and (options.noise is None) == (options.model is None):
        parser.error("--start landmarks takes either --noise or --model")
    task = load_task("hip")
    specimen, target = both_specimens(task)
    start = chosen_start(options, specimen, task)
    renderer = make_renderer(options.target_renderer)
    caster = BoneCaster(specimen)
    print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}; {options.poses} targets of {options.size} x {options.size}")
    outcomes = []
    for number in range(options.poses):
        rng = np.random.default_rng([options.seed, number])
        camera, signal = simulated_target(target, task, renderer, options.size, rng)
        outcome = one(specimen, task, caster, camera, signal, rng, start)
        outcomes.append(outcome)
        print(
            f"  {number:3d}  start {outcome.start_mm:5.1f} mm {outcome.start_deg:5.1f} deg"
            f"{'' if outcome.landmarks < 0 else f' of {outcome.landmarks} landmarks'}   lateral {outcome.lateral_mm:6.2f} mm   "
            f"3D {outcome.whole_mm:6.2f} mm   {outcome.angle_deg:6.2f} deg   similarity {outcome.similarity:.3f}"
            f"{'' if outcome.trusted else ' flagged'}   {outcome.seconds:.1f} s, {outcome.cpu_seconds:.1f} s of CPU",
            flush=True,
        )
    summary(outcomes)


def summary(outcomes: list[Outcome]) -> None:
    """Print what came out; the rate of success last."""
    lateral = np.array([outcome.lateral_mm for outcome in outcomes])
    angle = np.array([outcome.angle_deg for outcome in outcomes])
    trusted = np.array([outcome.trusted for outcome in outcomes])
    good = lateral < SUCCESS_MM
    with_start = np.array([outcome.landmarks != 0 for outcome in outcomes])
    begun = [outcome for outcome in outcomes if np.isfinite(outcome.start_mm)]
    if begun:
        print(f"start off by median {np.median([o.start_mm for o in begun]):.1f} mm, {np.median([o.start_deg for o in begun]):.1f} degrees")
    print(f"lateral error {spread(lateral)} mm; 3D, depth included, {spread(np.array([o.whole_mm for o in outcomes]))} mm")
    print(f"rotation error {spread(angle)} degrees, under 1 degree {100 * np.mean(angle < 1):.0f} %")
    if not with_start.all():
        print(
            f"{np.sum(~with_start)} images whose pose came from the search of poses, not from landmarks: "
            f"under 1 degree {np.sum(angle[~with_start] < 1)}; of the {np.sum(with_start)} others {np.sum(angle[with_start] < 1)}"
        )
    print(
        f"time an image median {np.median([o.seconds for o in outcomes]):.1f} s, "
        f"of CPU {np.median([o.cpu_seconds for o in outcomes]):.1f} s, load {os.getloadavg()[0]:.1f}"
    )
    flag(good, np.array([outcome.similarity for outcome in outcomes]), trusted)
    print(f"registration success: {100 * good.mean():.0f} %")


def spread(values: np.ndarray) -> str:
    """Median, 95th percentile and largest."""
    return f"median {np.median(values):.2f} (95 % {np.percentile(values, 95):.2f}, all {values.max():.2f})"


def flag(good: np.ndarray, similarity: np.ndarray, trusted: np.ndarray) -> None:
    """Print how well the similarity tells failures."""
    caught, missed, in_vain = np.sum(~good & ~trusted), np.sum(~good & trusted), np.sum(good & ~trusted)
    print(f"failures {np.sum(~good)}: flagged {caught}, trusted {missed}; successes {np.sum(good)}: flagged in vain {in_vain}")
    if caught + missed and caught + in_vain:
        print(f"the flag at {TRUSTED_SIMILARITY:g}: precision {caught / (caught + in_vain):.2f}, recall {caught / (caught + missed):.2f}")
    if good.any() and not good.all():
        wins = similarity[good][:, None] - similarity[~good]
        print(
            f"area under the ROC curve {np.mean((wins > 0) + 0.5 * (wins == 0)):.3f}; similarity of failures up to "
            f"{similarity[~good].max():.3f}, of successes from {similarity[good].min():.3f}"
        )
    elif good.any():
        print(f"similarity of successes from {similarity[good].min():.3f}")


def chosen_start(options: argparse.Namespace, specimen: Specimen, task: Task) -> Start:
    """What the options ask for."""
    if options.start == "offset":
        return Start(ROTATION_SD_DEG * options.wider, SHIFT_SD_MM * options.wider)
    if options.model:
        from SyntheXLib.inference.predictor import Predictor

        predictor = Predictor.load(options.model, "cpu")
        return Start(
            tolerance_mm=START_TOLERANCE_MM, after=AFTER_PREDICTION, find=lambda view, camera, rng: predicted_landmarks(predictor, view)
        )

    def noisy(view: View, camera: Camera, rng: np.random.Generator) -> dict[str, np.ndarray]:
        pixels, visible = camera.project(specimen.landmark_array(task.landmark_names))
        pixels += rng.normal(0, options.noise / camera.pixel_spacing_mm[0], pixels.shape)
        return {name: place for name, place, inside in zip(task.landmark_names, pixels, visible, strict=True) if inside}

    return Start(tolerance_mm=4 * options.noise, find=noisy)


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
    specimen: Specimen, task: Task, caster: BoneCaster, camera: Camera, signal: np.ndarray, rng: np.random.Generator, how: Start
) -> Outcome:
    """Register one target; where too few landmarks are found the task's poses are searched, as `synthex register` does."""
    isocenter = specimen.structure_centroid(task.poses.isocenter)
    begin: np.ndarray | None = offset_start(camera, isocenter, rng, how)
    uncertainty, used = ROUGH, -1
    if how.rotation_sd_deg != ROTATION_SD_DEG:
        uncertainty = Uncertainty(how.rotation_sd_deg, how.shift_sd_mm, how.shift_sd_mm)
    image = log_image(signal)
    started, cpu = time.perf_counter(), time.process_time()
    view = open_view(image, replace(camera, world_to_camera=np.eye(4)))
    more: dict[str, Any] = {"caster": caster}
    if how.find is None:
        found = estimate_pose(specimen, task, view, begin, uncertainty, **more)
    else:
        pixels = how.find(view, camera, rng)
        found = estimate_from_landmarks(specimen, task, view, pixels, how.tolerance_mm, how.after, **more)
        used = len(found.landmarks)
        begin = start_from_landmarks(specimen, pixels, camera, how.tolerance_mm)[0] if used else None
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    points = specimen.landmark_array(task.landmark_names)
    points = points[np.isfinite(points).all(1)]
    true = camera.world_to_camera
    return Outcome(
        np.nan if begin is None else target_errors(points, true, begin)[0],
        np.nan if begin is None else angle_deg(true, begin),
        used,
        *target_errors(points, true, found.camera.world_to_camera),
        angle_deg(true, found.camera.world_to_camera),
        found.trusted,
        found.registration.similarity,
        seconds,
        cpu,
    )


def offset_start(camera: Camera, isocenter: np.ndarray, rng: np.random.Generator, how: Start) -> np.ndarray:
    """World to camera (4, 4) with the patient turned about the isocentre and shifted."""
    from scipy.spatial.transform import Rotation

    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.normal(0, how.rotation_sd_deg), degrees=True).as_matrix()
    center = camera.world_to_camera[:3, :3] @ isocenter + camera.world_to_camera[:3, 3]
    offset = np.eye(4)
    offset[:3, :3], offset[:3, 3] = turn, center + rng.normal(0, how.shift_sd_mm, 3) - turn @ center
    return offset @ camera.world_to_camera


def target_errors(points: np.ndarray, true: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Mean distance of points (N, 3) from where they are: at right angles to their rays, and in space, mm."""
    here, there = (points @ pose[:3, :3].T + pose[:3, 3] for pose in (true, found))
    error, ray = there - here, here / np.linalg.norm(here, axis=1, keepdims=True)
    lateral = error - ray * (error * ray).sum(1, keepdims=True)
    return float(np.linalg.norm(lateral, axis=1).mean()), float(np.linalg.norm(error, axis=1).mean())


if __name__ == "__main__":
    main()
