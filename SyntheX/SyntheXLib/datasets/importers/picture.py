"""Grey pictures of others as they are: masks, and images whose numbers are taken as stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError


def read_picture(path: Path, side: int | None = None) -> np.ndarray:
    """(H, W) of a picture of any format that SimpleITK reads; equal colours count as grey.

    Raises
    ------
    SyntheXError
        When it cannot be read, is not grey or, where `side` is told, has not that many pixels a side.
    """
    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise SyntheXError(f"File {path} is not an image that can be read.") from error
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[-1] in (3, 4) and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or (side is not None and values.shape != (side, side)):
        expected = "a grey picture" if side is None else f"a grey picture of {side} x {side} pixels"
        raise SyntheXError(f"Image {path}: expected {expected}, found the shape {' x '.join(map(str, values.shape))}.")
    return values
