"""Registration of a real pair of X-rays: radius and ulna in both views of a biplane system at once.

    python Testing/benchmarks/biplane_wrist.py --data FOLDER [--picture PNG]

The folder is Autoscoper's wrist sample (BrownBiomechanics/Autoscoper, licence of Brown University): two views of one moment with the
calibration of both cameras, and CT crops of radius and ulna. Each bone begins from two points clicked in both views, its distal end and a
place on its shaft; its turn about the shaft is not known. One pose must serve both views. What there is to judge it by: the pose that each
view alone leads to (where the shadow moves in that view, and how far the bone), and the pictures.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import Level, Registration, Uncertainty, register, similarity_at
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.pictures import checkerboard, overlay, write_picture
from SyntheXLib.registration.views import View, camera_after
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.specimen import Specimen

VOXEL_MM = (0.39625, 0.39625, 0.625)
# Rows and columns of the forearm in both views; the image intensifier's round field.
PART = (slice(1040, 1720), slice(560, 1000))
FIELD_CENTER, FIELD_RADIUS = (870, 880), 840
STARTS = 12
COARSE, MIDDLE, FINE = Level(96, None, 1, 30, 25, 1.0), Level(170, 20, 1, 16, 25, 0.2), Level(340, 24, 1, 0, 0, 0.05)


@dataclass(frozen=True)
class Bone:
    """File of the CT crop, colour, and what was clicked: column and row of distal end and shaft in either view, to about 10 px."""

    file: str
    color: tuple[int, int, int]
    distal: tuple[tuple[int, int], tuple[int, int]]
    shaft: tuple[tuple[int, int], tuple[int, int]]


BONES = {
    "radius": Bone("rad_dcm_cropped.tif", (255, 150, 30), ((810, 1185), (700, 1200)), ((880, 1600), (660, 1600))),
    "ulna": Bone("uln_dcm_cropped.tif", (80, 200, 255), ((745, 1220), (853, 1248)), ((762, 1600), (802, 1600))),
}


def main() -> None:
    """Register both bones and say how well the views agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="Autoscoper's wrist sample")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="overlays of both views, to look at")
    options = parser.parse_args()
    views = [read_view(options.data, number) for number in (1, 2)]
    casters: dict[str, BoneCaster] = {}
    found: dict[str, Registration] = {}
    for name, bone in BONES.items():
        started = time.perf_counter()
        specimen = read_bone(options.data, name, bone)
        casters[name] = BoneCaster(specimen, bone_hu=-200.0)  # the crop holds the bone alone, marrow included
        behind = [
            replace(view, background=np.sum([casters[n].image(camera_after(view.camera, r.motion)) for n, r in found.items()], 0))
            if found
            else view
            for view in views
        ]
        found[name], agreeing = both_views(casters[name], specimen, behind, bone)
        seconds = time.perf_counter() - started
        print(f"{name}: similarity {found[name].similarity:.3f}, {agreeing} of {STARTS} starts end there, {seconds:.0f} s")
        disagreement(casters[name], specimen, behind, found[name])
    if options.picture:
        write_picture(options.picture, picture(views, casters, found))
        print(options.picture)


def read_view(folder: Path, number: int) -> View:
    """One view, the forearm alone; world = the calibration's frame, mm."""
    text = (folder / f"xr_calib_wrist_cam0{number}.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in text if line and not line[0].isalpha()]
    values = [np.array(line.split(","), float) for line in lines]  # size, 3 rows of the matrix, 3 of the rotation, 3 shifts
    left, _, right = np.linalg.svd(np.array(values[4:7]))  # printed to 12 digits, so almost a rotation
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = left @ right, np.concatenate(values[7:10])
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"xr_rad_uln_cam0{number}_UND.0099.tif"))).astype(np.float32)
    rows, columns = np.indices(image.shape)
    field = np.hypot(columns - FIELD_CENTER[0], rows - FIELD_CENTER[1]) < FIELD_RADIUS
    # The distance to the detector is not told and does not matter: the matrix is in pixels.
    camera = Camera(pose, np.array(values[1:4]), image.shape, 2000.0)
    shape = (PART[0].stop - PART[0].start, PART[1].stop - PART[1].start)
    return View(image[PART], camera.region(PART[0].start, PART[1].start, shape), field[PART])


def read_bone(folder: Path, name: str, bone: Bone) -> Specimen:
    """The CT crop with its middle in the world's origin; values are HU + 1000, 0 outside the bone."""
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / bone.file))).astype(int)
    matrix = np.diag([*VOXEL_MM, 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ np.argwhere(values > 0).mean(0)[::-1]
    hu = np.where(values > 0, values - 1000, -1000).astype(np.int16)
    return Specimen(name, hu, matrix, (values > 0).astype(np.uint16), ("bone",), {})


def both_views(caster: BoneCaster, specimen: Specimen, views: list[View], bone: Bone) -> tuple[Registration, int]:
    """The best of `STARTS` registrations, and how many of them end where it does."""
    distal, shaft = (triangulated(views, points) for points in (bone.distal, bone.shaft))
    rng = np.random.default_rng(0)
    starts = [start_motion(distal, shaft - distal, specimen, rng) for _ in range(1200)]
    scored = sorted(starts, key=lambda motion: similarity_at(caster, views, motion, COARSE))  # bone is dark: the lowest first
    chosen: list[np.ndarray] = []
    for motion in scored:
        if all(angle_deg(motion, other) > 10 for other in chosen):
            chosen.append(motion)
        if len(chosen) == STARTS:
            break
    levels, open_by = (COARSE, MIDDLE, FINE), Uncertainty(10.0, 8.0, 8.0)
    ends = [register(caster, views, None, motion, open_by, -1, levels, most_starts=1) for motion in chosen]
    best = max(ends, key=lambda end: end.similarity)
    return best, sum(angle_deg(end.motion, best.motion) < 1 for end in ends)


def start_motion(distal: np.ndarray, along: np.ndarray, specimen: Specimen, rng: np.random.Generator) -> np.ndarray:
    """(4, 4) that lays the bone's first slice at the distal end and its axis about along the shaft, turned anyhow."""
    z = along / np.linalg.norm(along) + rng.normal(0, 0.12, 3)
    z /= np.linalg.norm(z)
    x = np.cross(rng.normal(size=3), z)
    x /= np.linalg.norm(x)
    motion = np.eye(4)
    motion[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
    motion[:3, 3] = distal + rng.normal(0, 6, 3) - motion[:3, 2] * specimen.ijk_to_ras[2, 3]
    return motion


def triangulated(views: list[View], points: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """(3,) world: nearest to the rays of a point in both whole images (least squares)."""
    rows = []
    for view, (column, row) in zip(views, points, strict=True):
        matrix = view.camera.intrinsics @ view.camera.world_to_camera[:3]
        rows += [(column - PART[1].start) * matrix[2] - matrix[0], (row - PART[0].start) * matrix[2] - matrix[1]]
    system = np.array(rows)
    return np.linalg.lstsq(system[:, :3], -system[:, 3], rcond=None)[0]


def disagreement(caster: BoneCaster, specimen: Specimen, views: list[View], joint: Registration) -> None:
    """Print how far each view alone would move the bone from the common pose."""
    voxels = np.argwhere(specimen.labels)[::50, ::-1]
    points = voxels @ specimen.ijk_to_ras[:3, :3].T + specimen.ijk_to_ras[:3, 3]
    points = points @ joint.motion[:3, :3].T + joint.motion[:3, 3]
    for number, view in enumerate(views, 1):
        alone = register(caster, [view], None, joint.motion, Uncertainty(3.0, 2.0, 10.0), -1, (MIDDLE, FINE), most_starts=1)
        extra = alone.motion @ np.linalg.inv(joint.motion)
        moved = points @ extra[:3, :3].T + extra[:3, 3]
        shift = np.linalg.norm(view.camera.project(moved)[0] - view.camera.project(points)[0], axis=1)
        depth = (points @ view.camera.world_to_camera[2, :3] + view.camera.world_to_camera[2, 3]).mean()
        in_bone = shift.mean() * depth / view.camera.intrinsics[0, 0]
        print(
            f"  view {number} alone: shadow {shift.mean():.1f} px from the common pose ({in_bone:.2f} mm at the bone), bone "
            f"{np.linalg.norm(moved - points, axis=1).mean():.1f} mm in space, {angle_deg(np.eye(4), extra):.1f} degrees"
        )


def picture(views: list[View], casters: dict[str, BoneCaster], found: dict[str, Registration]) -> np.ndarray:
    """(h, w, 3): overlay and checkerboard of both views side by side."""
    parts = []
    for view in views:
        shadows = {name: casters[name].image(camera_after(view.camera, end.motion)) for name, end in found.items()}
        together = np.sum(list(shadows.values()), 0)
        masks = [(shadow > 0.02 * shadow.max(), BONES[name].color) for name, shadow in shadows.items()]
        board = checkerboard(-view.image, together, view.mask)
        parts += [overlay(-view.image, together, masks), np.repeat(board[..., None], 3, 2)]
    return np.concatenate(parts, 1)


if __name__ == "__main__":
    main()
