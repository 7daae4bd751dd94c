"""What is told of the camera of a real X-ray: a file of intrinsics, or the header of a DICOM file.

Neither need tell the principal point; it is then taken to be in the middle of the image, see `geometry` for what becomes of an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import Camera


def read_intrinsics(path: Path, shape: tuple[int, int]) -> Camera:
    """The camera, at no pose yet, that a JSON file describes.

    It has ``source_to_detector_mm`` and either ``intrinsics`` (3 x 3, px) or ``pixel_spacing_mm`` on the detector (a number, or height and
    width), the latter with ``principal_point`` (column, row; px) where it is known.

    Parameters
    ----------
    path
        The file.
    shape
        Rows and columns of the image.

    Raises
    ------
    SyntheXError
        When the file cannot be read, a key is missing, or a number makes no camera.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        distance = float(values["source_to_detector_mm"])
        if "intrinsics" in values or "pixel_spacing_mm" not in values:
            matrix = np.array(values["intrinsics"], float).reshape(3, 3)
        else:
            height, width = np.broadcast_to(np.array(values["pixel_spacing_mm"], float), 2)
            if not min(height, width) > 0:
                raise ValueError(f"a pixel of {height:g} x {width:g} mm")
            matrix = _matrix(distance, (height, width), values.get("principal_point") or _middle(shape))
        if not (np.isfinite(matrix).all() and min(distance, matrix[0, 0], matrix[1, 1]) > 0):
            raise ValueError("a length that is not above 0")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SyntheXError(
            f"{path}: expected JSON with 'intrinsics' (3 x 3, px) or 'pixel_spacing_mm' (and 'principal_point', where known), and "
            f"'source_to_detector_mm', found a problem with {error}."
        ) from error
    return Camera(np.eye(4), matrix, shape, distance)


def dicom_camera(path: Path, shape: tuple[int, int]) -> Camera:
    """The camera, at no pose yet, of Imager Pixel Spacing (0018,1164) and Distance Source to Detector (0018,1110), mm.

    Raises
    ------
    SyntheXError
        When the file does not tell them.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        height, width = map(float, reader.GetMetaData("0018|1164").split("\\"))
        distance = float(reader.GetMetaData("0018|1110"))
        if min(height, width, distance) <= 0:
            raise ValueError
    except (RuntimeError, ValueError) as error:
        raise SyntheXError(
            f"Image {path}: --dicom expects a DICOM file with Imager Pixel Spacing and Distance Source to Detector, found them not: "
            "give --intrinsics."
        ) from error
    return Camera(np.eye(4), _matrix(distance, (height, width), _middle(shape)), shape, distance)


def _matrix(distance: float, spacing: tuple[float, float], principal_point: Sequence[float]) -> np.ndarray:
    """(3, 3) intrinsics of a distance, the height and width of a pixel (mm), and a column and row."""
    (height, width), (column, row) = spacing, principal_point
    return np.array([[distance / width, 0, column], [0, distance / height, row], [0, 0, 1]], float)


def _middle(shape: tuple[int, int]) -> tuple[float, float]:
    """Column and row of the principal point of a centred detector."""
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2
