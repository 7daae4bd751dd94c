"""The C-arm as a pinhole camera: device presets, camera matrices, projection of points.

Camera frame: origin in the X-ray source, z from the source to the detector, x to the right (column u), y down (row v), mm.
Pixel (0, 0) is the CENTRE of the first pixel, so the principal point of a centred detector is ((W - 1) / 2, (H - 1) / 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.device_file import DeviceFile, device_files, read_device_file
from SyntheXLib.tasks.task import CArmSettings, nearest


@dataclass(frozen=True)
class Camera:
    """One view.

    Attributes
    ----------
    world_to_camera
        (4, 4) rigid transform from world (RAS, mm) to the camera frame (mm). Its determinant is 1, and the picture as seen from the source,
        or -1: as seen from the detector's side.
    intrinsics
        (3, 3) matrix from camera coordinates to pixels (column, row, 1), up to scale.
    shape
        Rows and columns of the image.
    source_to_detector_mm
        Distance from the source to the detector plane along z, mm.
    """

    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    shape: tuple[int, int]
    source_to_detector_mm: float

    @property
    def source(self) -> np.ndarray:
        """(3,) position of the source in the world, mm."""
        rotation = self.world_to_camera[:3, :3]
        return -rotation.T @ self.world_to_camera[:3, 3]

    @property
    def pixel_spacing_mm(self) -> tuple[float, float]:
        """Height and width of a pixel on the detector, mm."""
        return self.source_to_detector_mm / self.intrinsics[1, 1], self.source_to_detector_mm / self.intrinsics[0, 0]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project world points onto the detector.

        Parameters
        ----------
        points
            (N, 3) world coordinates (RAS, mm); NaN for unknown ones.

        Returns
        -------
        pixels : numpy.ndarray
            (N, 2) column and row; NaN where the point is unknown or not in front of the source.
        inside : numpy.ndarray
            (N,) bool, whether the pixel lies inside the frame (its outermost half pixels included).
        """
        points = np.asarray(points, float).reshape(-1, 3)
        camera = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = np.where(camera[:, 2:] > 0, camera[:, 2:], np.nan)
            pixels = (camera @ self.intrinsics.T)[:, :2] / depth
            height, width = self.shape
            inside = np.all((pixels >= -0.5) & (pixels <= [width - 0.5, height - 0.5]), axis=1)
        return pixels, inside

    def rays(self) -> np.ndarray:
        """(H, W, 3) directions from the source to every pixel centre in the camera frame, scaled to z = 1."""
        height, width = self.shape
        x = (np.arange(width) - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        y = (np.arange(height) - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        directions = np.ones((height, width, 3))
        directions[..., 0], directions[..., 1] = x[None, :], y[:, None]
        return directions

    def detector_axes_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """(W,) x and (H,) y of the pixel centres on the detector, mm from the central ray."""
        (height, width), rows, columns = self.pixel_spacing_mm, *self.shape
        return (np.arange(columns) - self.intrinsics[0, 2]) * width, (np.arange(rows) - self.intrinsics[1, 2]) * height

    def resized(self, shape: tuple[int, int]) -> Camera:
        """The same field of view on another number of pixels (rows, columns)."""
        scale = np.array([shape[1] / self.shape[1], shape[0] / self.shape[0], 1.0])
        intrinsics = self.intrinsics * scale[:, None]
        # Pixel edges keep their place, not pixel centres: edge coordinate = centre coordinate + 1/2.
        intrinsics[:2, 2] = (self.intrinsics[:2, 2] + 0.5) * scale[:2] - 0.5
        return Camera(self.world_to_camera, intrinsics, shape, self.source_to_detector_mm)

    def region(self, row: int, column: int, shape: tuple[int, int]) -> Camera:
        """The part of the image that begins at `row` and `column` and has `shape` rows and columns."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, 2] -= [column, row]
        return Camera(self.world_to_camera, intrinsics, shape, self.source_to_detector_mm)


@dataclass(frozen=True)
class CArm:
    """A C-arm: a flat square-pixel detector facing a source on its central axis.

    Attributes
    ----------
    rows, columns
        Detector pixels.
    pixel_spacing_mm
        Side of a detector pixel, mm.
    source_to_detector_mm
        Distance from the source to the detector, mm.
    """

    rows: int
    columns: int
    pixel_spacing_mm: float
    source_to_detector_mm: float

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "pixel_spacing_mm", "source_to_detector_mm"):
            if not getattr(self, name) > 0:
                raise SyntheXError(f"C-arm: {name} must be above 0, found {getattr(self, name)}.")

    def camera(self, world_to_camera: np.ndarray, crop_px: int = 0, shape: tuple[int, int] | None = None) -> Camera:
        """Camera of this device at a pose.

        Parameters
        ----------
        world_to_camera
            (4, 4) rigid transform, mm; of determinant -1 where the picture is as seen from the detector's side.
        crop_px
            Detector pixels cut off on every side.
        shape
            Rows and columns to which the rest is resized; None keeps the detector's pixels.

        Raises
        ------
        SyntheXError
            When the crop leaves nothing, or the transform scales or shears.
        """
        world_to_camera = np.asarray(world_to_camera, float)
        rotation = world_to_camera[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
            raise SyntheXError("Camera: world_to_camera must be a rigid transform (rotation and translation), found scaling or shear.")
        rows, columns = self.rows - 2 * crop_px, self.columns - 2 * crop_px
        if rows < 1 or columns < 1:
            raise SyntheXError(f"C-arm: crop_px {crop_px} leaves nothing of a detector of {self.rows} x {self.columns} pixels.")
        focal = self.source_to_detector_mm / self.pixel_spacing_mm
        intrinsics = np.array([[focal, 0, (columns - 1) / 2], [0, focal, (rows - 1) / 2], [0, 0, 1.0]])
        camera = Camera(world_to_camera, intrinsics, (rows, columns), self.source_to_detector_mm)
        return camera if shape is None else camera.resized(shape)


# The devices that come with the library.
DEVICES = {name: CArm(**read_device_file(path).geometry) for name, path in device_files().items()}


def device_file(name: str) -> DeviceFile | None:
    """The device file that `name` means: a preset's, or a TOML file's path; None for a device written as numbers."""
    path = device_files().get(name) or (Path(name) if name.endswith(".toml") else None)
    return None if path is None else read_device_file(path)


def load_device(name: str) -> CArm:
    """The preset of that name, a device file (``.toml``), or a device written as ``ROWSxCOLUMNS,SPACING_MM,SOURCE_TO_DETECTOR_MM``.

    Raises
    ------
    SyntheXError
        When it is none of them, or the file is not right.
    """
    if name in DEVICES:
        return DEVICES[name]
    file = device_file(name)
    if file is not None:
        return CArm(**file.geometry)
    try:
        size, spacing, distance = name.split(",")
        rows, columns = size.lower().split("x")
        return CArm(int(rows), int(columns), float(spacing), float(distance))
    except ValueError:
        raise SyntheXError(
            f"Unknown device '{name}': expected one of {', '.join(DEVICES)}, a .toml file or numbers like '1024x1024,0.3,1100' "
            f"(rows x columns, mm a pixel, mm source to detector){nearest(name, DEVICES)}."
        ) from None


def task_camera(settings: CArmSettings, world_to_camera: np.ndarray, image_size: int | None = None) -> Camera:
    """Camera of a task's device, cropped and resized as the task says; `image_size` (pixels a side) overrides the task's."""
    size = image_size or settings.image_size
    return load_device(settings.device).camera(world_to_camera, settings.crop_px, (size, size))
