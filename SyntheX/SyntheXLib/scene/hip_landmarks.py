"""Landmarks of the hip task, found on a label map by geometry: ``python -m SyntheXLib.scene.hip_landmarks CT LABELS OUT.mrk.json``.

The procedure, its pictures and the uncertainty of each point: Docs/landmarks.md. It starts a set of landmarks; somebody who knows the
anatomy looks at it before it is used (``--pictures FOLDER`` draws it).
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.bone_surface import GRID_MM, BoneField, Frame, StraightBone
from SyntheXLib.scene.case_files import ijk_to_ras as matrix_of
from SyntheXLib.scene.case_files import read_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.scene.sphere import robust_sphere

# TotalSegmentator v2: hip_left, hip_right, femur_left, femur_right.
HIPS = {"l": 77, "r": 78}
FEMORA = {"l": 75, "r": 76}
NAMES = ("FH", "GSN", "IOF", "MOF", "SPS", "IPS", "ASIS")
SIDE = {"l": -1.0, "r": 1.0}  # sign of the coordinate to the right
UNKNOWN = np.full(3, np.nan)

ARTICULAR_MM = 8.0  # a point of the femur this near to the hip bone belongs to the joint
HEAD_RADIUS_MM = (15.0, 35.0)
SPHERE_TOLERANCE_MM = 1.5
WING = 0.4  # the ASIS lies above this share of the height from hip joint to iliac crest, the AIIS below
CAP_MM = 2.0  # an extremal point is the mean of the surface this near to the extreme, put back on the surface
SYMPHYSIS_MM = 5.0  # the symphyseal surface is what faces the other bone at no more than this beyond the smallest distance
GAP_MM = 15.0  # bones farther apart than this do not meet in a symphysis
MIDLINE_MM = 45.0  # pubic bodies with their tubercles lie nearer to the midline than this
BORDER_VOXELS = 1.0  # a point nearer to the image's border than this lies where the image cuts the bone
FORAMEN_GAP_MM = 3.0  # a narrower gap between pubis and ischium is not the foramen


@dataclass
class HipLandmarks:
    """What the procedure found.

    Attributes
    ----------
    points
        ``FH-l`` ... ``ASIS-r`` to (3,), RAS mm; NaN where unknown.
    notes
        Sentence for a point that is unknown or lies where the image ends.
    frame
        Pelvic axes that the extremal points were looked for in.
    bones
        The two hip bones by side, straightened.
    head_radius_mm
        Radius of the femoral head by side.
    """

    points: dict[str, np.ndarray]
    frame: Frame
    bones: dict[str, StraightBone]
    notes: dict[str, str] = field(default_factory=dict)
    head_radius_mm: dict[str, float] = field(default_factory=dict)


def extremal_point(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Point of a surface (N, 3) farthest along `direction` (3,), steadied: the mean of the outermost 2 mm, put back on the surface."""
    height = points @ direction
    return nearest(points, points[height >= height.max() - CAP_MM].mean(axis=0))


def nearest(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The one of points (N, 3) that lies nearest to `target` (3,)."""
    return points[np.argmin(((points - target) ** 2).sum(axis=1))]


def pelvic_frame(hips: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray]) -> Frame:
    """Axes of the pelvis: right from the left to the right femoral head, superior in the anterior pelvic plane.

    The anterior pelvic plane touches both iliac spines and the front of the pubis; as these are themselves the foremost points, plane and
    points are found in turns, starting from the patient's axes.

    Parameters
    ----------
    hips
        ``l``, ``r`` to surface points (N, 3), RAS mm.
    heads
        ``l``, ``r`` to centres of the femoral heads (3,), RAS mm; NaN: then the patient's axes and the middle of the hip bones serve.
    """
    origin = (heads["l"] + heads["r"]) / 2
    right = heads["r"] - heads["l"]
    if not np.all(np.isfinite(origin)):
        origin, right = (hips["l"].mean(axis=0) + hips["r"].mean(axis=0)) / 2, np.array([1.0, 0.0, 0.0])
    right = right / np.linalg.norm(right)
    up = np.array([0.0, 0.0, 1.0])
    for _ in range(20):
        up = up - (up @ right) * right
        up = up / np.linalg.norm(up)
        frame = Frame(origin, np.stack([right, np.cross(up, right), up]))
        spines, pubes = [], []
        for points in hips.values():
            local = frame.to_frame(points)
            spines.append(extremal_point(local[local[:, 2] > WING * local[:, 2].max()], np.array([0.0, 1.0, 0.0])))
            low = local[(local[:, 2] < 0) & (np.abs(local[:, 0]) < MIDLINE_MM)]
            if len(low):
                pubes.append(extremal_point(low, np.array([0.0, 1.0, 0.0])))
        if not pubes:
            return frame
        turned = frame.axes.T @ (np.mean(spines, axis=0) - np.mean(pubes, axis=0))
        turned = turned / np.linalg.norm(turned)
        if turned @ up > 1 - 1e-9:
            return frame
        up = turned
    return frame


def notch_apex(bone: StraightBone) -> np.ndarray:
    """Deepest point of the greater sciatic notch of a hip bone, frame coordinates (3,), mm.

    In the lateral silhouette the outline behind has one large bay between the posterior iliac spine and the lower ischium; the apex is the
    point of it that is farthest from the chord which closes the bay.
    """
    side = np.asarray(bone.mask.any(axis=2))
    levels = np.flatnonzero(side.any(axis=1))
    back = side[levels].argmax(axis=1).astype(float)  # rearmost bone at each level
    depth = np.zeros(len(levels))
    lower = 0
    while lower < len(levels) - 1:  # chords of the convex hull, from below
        slope = (back[lower + 1 :] - back[lower]) / (levels[lower + 1 :] - levels[lower])
        upper = lower + 1 + int(np.argmin(slope))
        inner = np.arange(lower, upper + 1)
        chord = back[lower] + slope.min() * (levels[inner] - levels[lower])
        depth[inner] = (back[inner] - chord) / np.hypot(1.0, slope.min())
        lower = upper
    deepest = int(np.argmax(depth))
    apex = bone.start[1:] + np.array([back[deepest], levels[deepest]]) * GRID_MM
    edge = bone.vertices[((bone.vertices[:, 1:] - apex) ** 2).sum(axis=1) <= CAP_MM**2]
    return nearest(bone.vertices, edge.mean(axis=0)) if len(edge) else UNKNOWN


def foramen_points(bone: StraightBone, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Medial and inferior point of the obturator foramen's rim, frame coordinates (3,), mm; NaN where the image does not hold it.

    In the frontal silhouette the foramen is the gap beside the pubis, with the ischium on its other side and the superior ramus above.

    Parameters
    ----------
    bone
        Hip bone.
    side
        -1 for the left, +1 for the right bone.
    """
    from scipy import ndimage

    front, unsure = np.asarray(bone.mask.any(axis=1)), np.asarray(bone.beyond.any(axis=1))
    if side < 0:
        front, unsure = front[:, ::-1], unsure[:, ::-1]  # columns now run from the midline outwards
    column = np.arange(front.shape[1])
    outermost = np.where(front, column, -1).max(axis=1)
    innermost = np.where(front, column, front.shape[1]).min(axis=1)
    between = ~front & (column > innermost[:, None]) & (column < outermost[:, None])
    between &= np.maximum.accumulate(front[::-1], axis=0)[::-1]  # bone above
    between = ndimage.binary_opening(between, np.ones((1, max(1, round(FORAMEN_GAP_MM / GRID_MM)))))
    regions, count = ndimage.label(between)
    below_joint = bone.levels()[:, None] < 0
    sizes = ndimage.sum_labels(between & below_joint, regions, np.arange(1, count + 1)) if count else np.zeros(1)
    if sizes.max() * GRID_MM**2 < 50:
        return UNKNOWN, UNKNOWN
    foramen = regions == np.argmax(sizes) + 1

    def on_rim(level: float, col: float) -> np.ndarray:
        place = front.shape[1] - 1 - col if side < 0 else col
        target = np.array([bone.start[0] + place * GRID_MM, bone.start[2] + level * GRID_MM])
        rim = bone.vertices[((bone.vertices[:, [0, 2]] - target) ** 2).sum(axis=1) <= CAP_MM**2]
        return nearest(bone.vertices, rim.mean(axis=0)) if len(rim) else UNKNOWN

    rows, columns = np.nonzero(foramen)
    # The edge of the bone is known only where no part of the bone that lies outside the image could be seen beyond it.
    known = ~ndimage.binary_dilation(unsure, np.ones((1, 3)))[rows, columns]
    medial = columns[known].min()
    mof = on_rim(rows[known & (columns == medial)].mean(), medial - 0.5)
    lowest = rows.min()
    at = columns[rows == lowest].mean()
    closed = lowest > 0 and front[:lowest, round(at)].any()
    return mof, on_rim(lowest - 0.5, at) if closed else UNKNOWN


def symphysis_points(bones: Mapping[str, StraightBone]) -> dict[str, np.ndarray]:
    """Upper and lower end of the two symphyseal surfaces: ``SPS-l`` ... ``IPS-r`` to frame coordinates (3,), mm; NaN without symphysis.

    The surfaces are the parts of the two bones that face each other; their ends are the extremal points up and forward, and down and back,
    at 45 degrees. (The surface's own long axis would tip over where the image cuts off its lower end.)
    """
    from scipy.spatial import cKDTree

    low = {side: bone.vertices[(bone.vertices[:, 2] < 0) & (np.abs(bone.vertices[:, 0]) < MIDLINE_MM)] for side, bone in bones.items()}
    facing = {}
    unknown = {f"{name}-{side}": UNKNOWN for name in ("SPS", "IPS") for side in bones}
    for side, other in (("l", "r"), ("r", "l")):
        if not (len(low[side]) and len(low[other])):
            return unknown
        distance = cKDTree(low[other]).query(low[side])[0]
        if distance.min() > GAP_MM:
            return unknown
        facing[side] = low[side][distance <= distance.min() + SYMPHYSIS_MM]
    up = np.array([0.0, 1.0, 1.0]) / np.sqrt(2)
    ends = {"SPS": up, "IPS": -up}
    return {f"{name}-{side}": extremal_point(points, way) for name, way in ends.items() for side, points in facing.items()}


def derive_hip_landmarks(
    labels: np.ndarray, ijk_to_ras: np.ndarray, hips: Mapping[str, int] = HIPS, femora: Mapping[str, int] = FEMORA
) -> HipLandmarks:
    """Find the fourteen landmarks of the hip task on a label map.

    Parameters
    ----------
    labels
        (K, J, I) label map.
    ijk_to_ras
        (4, 4): voxel index (i, j, k) to RAS mm; the patient's axes lie roughly along RAS.
    hips, femora
        Label numbers by side (``l``, ``r``); TotalSegmentator's by default.

    Raises
    ------
    SyntheXError
        When a hip bone is missing. A missing femur only leaves its head unknown.
    """
    fields = {side: BoneField(labels, ijk_to_ras, number) for side, number in hips.items()}
    surfaces = {side: bone.surface() for side, bone in fields.items()}
    heads, radii, notes = {}, {}, {}
    for side, number in femora.items():
        heads[side] = UNKNOWN
        try:
            heads[side], radii[side] = femoral_head(BoneField(labels, ijk_to_ras, number).surface(), surfaces[side])
        except SyntheXError as error:
            notes[f"FH-{side}"] = str(error)
    frame = pelvic_frame(surfaces, heads)
    bones = {side: bone.in_frame(frame) for side, bone in fields.items()}
    local = symphysis_points(bones)
    for side, bone in bones.items():
        wing = bone.vertices[bone.vertices[:, 2] > WING * bone.vertices[:, 2].max()]
        local[f"ASIS-{side}"] = extremal_point(wing, np.array([0.0, 1.0, 0.0]))
        local[f"GSN-{side}"] = notch_apex(bone)
        local[f"MOF-{side}"], local[f"IOF-{side}"] = foramen_points(bone, SIDE[side])
    points = {f"{name}-{side}": heads[side] if name == "FH" else frame.to_ras(local[f"{name}-{side}"]) for name in NAMES for side in SIDE}
    for name, point in points.items():
        if not np.all(np.isfinite(point)):
            notes.setdefault(name, "Unknown: the image does not hold this part of the bone.")
        elif border_distance_mm(point, labels.shape, ijk_to_ras) < BORDER_VOXELS * np.linalg.norm(ijk_to_ras[:3, :3], axis=0).max():
            notes[name] = "Lies where the image cuts the bone: the true point may be a few millimetres further on."
    return HipLandmarks(points, frame, bones, notes, radii)


def femoral_head(femur: np.ndarray, hip: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of the sphere in the part of the femur's surface (N, 3) that faces the hip bone's (M, 3), mm.

    Raises
    ------
    SyntheXError
        When there is no such sphere.
    """
    from scipy.spatial import cKDTree

    return robust_sphere(femur[cKDTree(hip).query(femur)[0] <= ARTICULAR_MM], HEAD_RADIUS_MM, SPHERE_TOLERANCE_MM)


def border_distance_mm(point: np.ndarray, shape: tuple[int, ...], ijk_to_ras: np.ndarray) -> float:
    """Distance from a point (3,), RAS mm, to the nearest face of a (K, J, I) volume, mm."""
    index = np.linalg.solve(ijk_to_ras[:3, :3], point - ijk_to_ras[:3, 3])
    gap = np.minimum(index + 0.5, np.array(shape[::-1]) - 0.5 - index)
    return float((gap * np.linalg.norm(ijk_to_ras[:3, :3], axis=0)).min())


def mirror_distances(landmarks: HipLandmarks) -> dict[str, float]:
    """For each pair, the distance between the right point and the left one mirrored on the pelvis's middle plane, mm; NaN where unknown."""
    local = {name: landmarks.frame.to_frame(point) for name, point in landmarks.points.items()}
    return {name: float(np.linalg.norm(local[f"{name}-l"] * (-1.0, 1.0, 1.0) - local[f"{name}-r"])) for name in NAMES}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m SyntheXLib.scene.hip_landmarks", description="Find the landmarks of the hip task on a label map."
    )
    parser.add_argument("ct", type=Path, metavar="CT", help="CT of the pelvis; must have the label map's grid")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label map with TotalSegmentator's numbers (hip 77/78, femur 75/76)")
    parser.add_argument("out", type=Path, metavar="OUT.mrk.json", help="landmark file to write")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the landmarks on bones and CT (needs matplotlib)")
    chosen = parser.parse_args(arguments)
    try:
        ct, label_image = read_image(chosen.ct, "CT"), read_image(chosen.labels, "label map")
        matrix = matrix_of(label_image)
        if ct.GetSize() != label_image.GetSize() or not np.allclose(matrix_of(ct), matrix, atol=1e-2):
            raise SyntheXError(f"{chosen.labels}: the grid of {chosen.ct} was expected (size, spacing, origin, direction), found another.")
        found = derive_hip_landmarks(sitk.GetArrayFromImage(label_image), matrix)
        write_markups(chosen.out, found.points, name="hip", descriptions=found.notes)
        if chosen.pictures:
            from SyntheXLib.scene.landmark_views import draw_bones, draw_ct

            draw_bones(found, chosen.pictures / "landmarks_bones.png")
            draw_ct(ct, found, chosen.pictures / "landmarks_ct.png")
    except SyntheXError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for name, distance in mirror_distances(found).items():
        print(f"{name:5s} left and mirrored right differ by {distance:.1f} mm")
    for name, point in found.points.items():
        print(f"{name:7s} {np.array2string(point, precision=1, suppress_small=True):30s} {found.notes.get(name, '')}")
    print(f"Wrote {chosen.out}. Look at the points before you use them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
