"""DeepFluoro's full-resolution HDF5 file (Grupp et al., IPCAI 2020): what is in it, in our conventions.

Their camera has its origin in the source, x along the columns, y along the rows and z from the detector to the source, so that what is
in front has negative z and the focal lengths of the intrinsics are negative. Turned to our z, from source to detector, a right-handed frame
becomes a left-handed one: the picture is seen from the detector's side. Such a ``world_to_camera`` has the determinant -1; projection and
rendering take it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from SyntheXLib.datasets.importers.hdf5 import dataset, group, numbers, text
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import Camera

#: Pixels cut off on every side before anything else, as their own small files and the task hip do.
CROP_PX = 50
#: Grey value of the open beam, "about 65,487" in what others use; it cancels when images are normalised.
OPEN_BEAM = 65487.0
#: Name in ``gt-poses`` of the bones with a pose of their own, and the structure that each is.
FEMURS = {"left-femur": "left_femur", "right-femur": "right_femur"}

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NOT_SPECIMENS = ("proj-params",)


@dataclass(frozen=True)
class Detector:
    """``proj-params``: intrinsics and extrinsics of every view in our frame of the camera.

    Attributes
    ----------
    intrinsics
        (3, 3), pixels of the whole detector.
    extrinsic
        (4, 4) from their world to our camera frame, mm.
    shape
        Rows and columns.
    pixel_spacing_mm
        Side of a pixel.
    """

    intrinsics: np.ndarray
    extrinsic: np.ndarray
    shape: tuple[int, int]
    pixel_spacing_mm: float

    def camera(self, object_to_world: np.ndarray, up: bool) -> Camera:
        """Camera of the cropped, upright picture for an object whose CT's LPS their (4, 4) pose carries to the camera's world.

        `up` says whether the picture is turned by 180 degrees.
        """
        world_to_camera = self.extrinsic @ object_to_world @ _LPS_TO_RAS
        rows, columns = self.shape
        distance = self.intrinsics[0, 0] * self.pixel_spacing_mm
        camera = Camera(world_to_camera, self.intrinsics, self.shape, distance).region(
            CROP_PX, CROP_PX, (rows - 2 * CROP_PX, columns - 2 * CROP_PX)
        )
        if not up:
            return camera
        intrinsics = camera.intrinsics.copy()
        intrinsics[:2, 2] = np.array(camera.shape[::-1]) - 1 - intrinsics[:2, 2]
        return Camera(np.diag([-1.0, -1.0, 1.0, 1.0]) @ world_to_camera, intrinsics, camera.shape, distance)


def read_detector(file: Any) -> Detector:
    """Read ``proj-params``.

    Raises
    ------
    SyntheXError
        When something is missing, the detector is smaller than the crop, its pixels are not square, or the matrices are none.
    """
    where = f"{file.filename}:proj-params"
    parameters = group(file, "proj-params")
    intrinsic = numbers(parameters, "intrinsic", 9).reshape(3, 3)
    extrinsic = rigid(numbers(parameters, "extrinsic", 16).reshape(4, 4), f"{where}/extrinsic")
    rows, columns = (int(numbers(parameters, f"num-{name}", 1)[0]) for name in ("rows", "cols"))
    height, width = (float(numbers(parameters, f"pixel-{name}-spacing", 1)[0]) for name in ("row", "col"))
    if min(rows, columns) <= 2 * CROP_PX or rows != columns:
        raise SyntheXError(f"{where}: expected a square detector of more than {2 * CROP_PX} pixels a side, found {rows} x {columns}.")
    if not np.isclose(height, width) or not width > 0:
        raise SyntheXError(f"{where}: expected square pixels, found {height:g} x {width:g} mm.")
    if not np.isfinite(intrinsic).all() or not intrinsic[0, 0] * intrinsic[1, 1] > 0 or not np.isclose(intrinsic[2, 2], 1):
        raise SyntheXError(
            f"{where}: expected an intrinsic matrix with focal lengths of one sign and 1 at its end, found {intrinsic.tolist()}."
        )
    if intrinsic[0, 0] < 0:
        # K p ~ (-K Z)(Z p) with Z = diag(1, 1, -1): z turned round, and the scale of homogeneous pixels with it.
        turn = np.diag([1.0, 1.0, -1.0, 1.0])
        intrinsic, extrinsic = -intrinsic @ turn[:3, :3], turn @ extrinsic
    # Stored as float32: 0.194 mm, not 0.19400000572.
    return Detector(intrinsic, extrinsic, (rows, columns), round(width, 6))


def specimen_names(file: Any) -> list[str]:
    """Groups that are specimens.

    Raises
    ------
    SyntheXError
        When there is none.
    """
    found = [name for name in file if name not in _NOT_SPECIMENS and "projections" in file[name]]
    if not found:
        raise SyntheXError(
            f"{file.filename}: expected specimens with 'projections', 'vol' and 'vol-seg', found {', '.join(map(repr, file)) or 'nothing'}."
        )
    return found


def label_names(specimen: Any) -> dict[int, str]:
    """Number and name of the labels of a specimen, in its CT and in its pictures."""
    names = group(group(specimen, "vol-seg"), "labels-def")
    return {int(number): text(names, number) for number in names if number.isdigit()}


@dataclass(frozen=True)
class Volume:
    """A volume as stored: (K, J, I) values; spacing and origin (3,), direction (3, 3), LPS, mm."""

    values: np.ndarray
    spacing: np.ndarray
    origin: np.ndarray
    direction: np.ndarray

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """(4, 4), mm."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.direction * self.spacing, self.origin
        return _LPS_TO_RAS @ matrix


def read_volume(parent: Any) -> Volume:
    """Read ``pixels``, ``spacing``, ``origin`` and ``dir-mat`` of a group."""
    values = dataset(parent, "pixels", (None, None, None))[()]
    return Volume(values, numbers(parent, "spacing", 3), numbers(parent, "origin", 3), numbers(parent, "dir-mat", 9).reshape(3, 3))


def read_landmarks(specimen: Any) -> dict[str, np.ndarray]:
    """Name to position (RAS, mm) of the landmarks of a specimen's CT."""
    points = group(specimen, "vol-landmarks")
    return {name: _LPS_TO_RAS[:3, :3] @ numbers(points, name, 3) for name in points}


@dataclass(frozen=True)
class View:
    """What is told of one projection besides its pixels.

    Attributes
    ----------
    up
        Whether it is turned by 180 degrees to have the head up.
    camera
        Of the cropped, upright picture, for the pelvis; its world is the CT's RAS.
    good_femurs
        Structure to whether its pose was found in a sufficient field of view.
    motions
        Femur with such a pose to (4, 4), RAS, mm: where the CT's femur stands in the world of the pelvis.
    """

    up: bool
    camera: Camera
    good_femurs: dict[str, bool]
    motions: dict[str, np.ndarray]


def read_view(projection: Any, detector: Detector) -> View:
    """Read the poses of a projection.

    Raises
    ------
    SyntheXError
        When a pose is missing or not rigid.
    """
    poses = group(projection, "gt-poses")
    where = f"{projection.file.filename}:{projection.name[1:]}/gt-poses"

    def pose(name: str) -> np.ndarray:
        return rigid(numbers(poses, f"cam-to-{name}-vol", 16).reshape(4, 4), f"{where}/cam-to-{name}-vol")

    up = bool(numbers(projection, "rot-180-for-up", 1)[0])
    pelvis = pose("pelvis")
    good = {structure: bool(numbers(poses, f"{bone}-good-fov", 1)[0]) for bone, structure in FEMURS.items()}
    motions = {
        structure: _LPS_TO_RAS @ pelvis @ np.linalg.inv(pose(bone)) @ _LPS_TO_RAS for bone, structure in FEMURS.items() if good[structure]
    }
    return View(up, detector.camera(np.linalg.inv(pelvis), up), good, motions)


def upright(pixels: np.ndarray, up: bool) -> np.ndarray:
    """(H, W) of the whole detector, cropped and turned."""
    kept = pixels[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX]
    return kept[::-1, ::-1] if up else kept


def upright_points(points: np.ndarray, shape: tuple[int, int], up: bool) -> np.ndarray:
    """(L, 2) column and row on the whole detector of `shape`, as they lie in the cropped, turned picture."""
    kept = points - CROP_PX
    return np.array(shape[::-1]) - 2 * CROP_PX - 1 - kept if up else kept


def rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    """The rigid transform nearest to a (4, 4) matrix that is one up to the digits it was stored with.

    Raises
    ------
    SyntheXError
        When it is none.
    """
    rotation = matrix[:3, :3]
    last = np.allclose(matrix[3], [0, 0, 0, 1])
    if not (
        np.isfinite(matrix).all() and last and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
    ):
        raise SyntheXError(f"{where}: expected a rigid transform (rotation and translation), found {np.round(matrix, 4).tolist()}.")
    first, _, second = np.linalg.svd(rotation)
    exact = matrix.copy()
    exact[:3, :3] = first @ second
    return exact
