"""The grey values of a DICOM file (XA, RF, CR, DX and others), as a viewer has them before its window.

Modality LUT and VOI LUT follow DICOM PS3.3, C.11.1 and C.11.2, through `pydicom.pixels`. The modality LUT of XA and RF images is left out:
there it is for subtraction and densitometry, not part of what is seen. Of the VOI transformations, tables and sigmoids are applied,
unless the numbers are the linear detector signal, which a table made for the eye would bend; a plain window is not, as it does nothing
but cut. Presentation LUT Shape is not asked: it says again what the photometric interpretation says (C.8.11.3).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAGIC_AT, _MAGIC = 128, b"DICM"
_WITHOUT_MODALITY_LUT = ("XA", "RF")
#: Enhanced XA and XRF keep per-frame facts in functional groups: the sequences that hold what `image_facts` looks for.
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_PARTS = ("FramePixelDataPropertiesSequence", "PixelMeasuresSequence", "FrameVOILUTSequence")


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10, 7.1)."""
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def dicom_values(path: Path) -> NDArray[np.generic] | None:
    """Grey values of all frames, MONOCHROME1 inverted.

    Returns
    -------
    ndarray
        (K, H, W), integers as long as the transformations keep them whole; (K, H, W, 3) of a colour image. None when pydicom is missing
        or has no decoder for the file's compression; SimpleITK may have one.

    Raises
    ------
    SyntheXError
        When the file holds no pixels, fewer than it says, or other ones than its transfer syntax says.
    """
    try:
        from pydicom.pixels import get_decoder, pixel_array
    except ModuleNotFoundError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every small offence against the standard
        dataset = _read(path)
        if "PixelData" not in dataset:
            raise SyntheXError(f"DICOM file {path} (modality {dataset.get('Modality', 'unknown')}) holds no pixels, expected an image.")
        syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
        if syntax is None:
            raise SyntheXError(f"DICOM file {path} does not say its transfer syntax, expected one (0002,0010).")
        try:
            if not get_decoder(syntax).is_available:
                return None
        except NotImplementedError:
            raise SyntheXError(f"DICOM file {path} has the transfer syntax {syntax.name}, which is none of an image.") from None
        try:
            samples = int(dataset.get("SamplesPerPixel") or 1)
            shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
            stored = pixel_array(dataset)
            return stored.reshape(*shape, samples) if samples > 1 else _seen(stored.reshape(shape), dataset)
        except Exception as error:  # pydicom and its decoders raise many kinds for damaged pixels
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
            raise SyntheXError(
                f"DICOM file {path} is truncated or damaged: its pixels are not the {syntax.name} that it announces ({reason})."
            ) from error


def group_tags(path: Path) -> dict[str, str]:
    """What an enhanced multi-frame file says in the functional groups of its first frame, as ``gggg|eeee`` and text; empty of others."""
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ModuleNotFoundError:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_GROUPS))
            items = [dataset[name].value[0] for name in _GROUPS if name in dataset and dataset[name].value]
            parts = [item[name].value[0] for item in items for name in _PARTS if name in item and item[name].value]
            return {f"{e.tag.group:04x}|{e.tag.element:04x}": _text(e.value) for part in parts for e in part if e.VR != "SQ"}
        except (InvalidDicomError, OSError, EOFError, ValueError, KeyError):
            return {}


def _read(path: Path) -> Dataset:
    from pydicom import dcmread

    try:
        return dcmread(path)
    except Exception as error:  # InvalidDicomError, EOFError, KeyError and more, depending on where the file is cut
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise SyntheXError(f"DICOM file {path} is truncated or damaged ({reason}).") from error


def _seen(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.generic]:
    """Stored values (K, H, W) through the tables and, of MONOCHROME1, inverted."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values: NDArray[Any] = stored
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    ends: tuple[float, float] = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if dataset.get("Modality") not in _WITHOUT_MODALITY_LUT:
        if dataset.get("ModalityLUTSequence"):
            values, ends = apply_modality_lut(values, dataset), _table_ends(dataset.ModalityLUTSequence[0])
        elif "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
            slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
            values = _whole(apply_modality_lut(values, dataset))
            low, high = sorted(end * slope + intercept for end in ends)
            ends = (low, high)
    if dataset.get("PixelIntensityRelationship") != "LIN":
        if dataset.get("VOILUTSequence"):
            values, ends = apply_voi_lut(_whole(values), dataset), _table_ends(dataset.VOILUTSequence[0])
        elif dataset.get("VOILUTFunction") == "SIGMOID":
            values = apply_voi_lut(values, dataset)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        total = ends[0] + ends[1]
        values = total - (values.astype(np.int64) if np.issubdtype(values.dtype, np.integer) and float(total).is_integer() else values)
    return _compact(values)


def _table_ends(table: Dataset) -> tuple[int, int]:
    return 0, 2 ** int(table.LUTDescriptor[2]) - 1


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Floats that are all whole as integers: whether numbers are grey levels decides how a linear signal is inverted."""
    if np.issubdtype(values.dtype, np.integer):
        return values
    return values.astype(np.int32) if (values == np.rint(values)).all() and np.abs(values).max() < 2**31 else values


def _compact(values: NDArray[Any]) -> NDArray[Any]:
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32)
    for kind in (np.uint8, np.uint16, np.int16, np.int32):
        if values.min() >= np.iinfo(kind).min and values.max() <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def _text(value: Any) -> str:
    return "\\".join(str(part) for part in value) if isinstance(value, list | tuple) or hasattr(value, "append") else str(value)
