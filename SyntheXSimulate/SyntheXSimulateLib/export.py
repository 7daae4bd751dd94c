"""The current X-ray as files: picture, geometry, DICOM.

DICOM: an X-Ray Angiographic image, 16 bit, linear (65535 = the brightest pixel or the open beam, whichever is more). The source-to-patient
distance is that to the isocentre; positioner angles are DICOM's own (zero has the detector in front of the patient, see
`scene.view_angles.positioner_angles`), and as they cannot hold roll and shift, the whole geometry stands as JSON in Image Comments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.scene.view_angles import positioner_angles
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE

_XA_STORAGE = "1.2.840.10008.5.1.4.1.1.12.1"


def geometryOf(xrayNode: Any) -> dict[str, Any]:
    """The geometry that the Simulate module keeps on an X-ray (see `XrayPreview.geometry`); saved with the scene.

    Raises
    ------
    SyntheXError
        When the node has none.
    """
    text = xrayNode.GetAttribute(GEOMETRY_ATTRIBUTE)
    if not text:
        raise SyntheXError(f"Volume '{xrayNode.GetName()}' has no geometry: expected an X-ray rendered by SyntheX Simulate.")
    return dict(json.loads(text))


def exportXray(xrayNode: Any, path: Path | str) -> Path:
    """Write an X-ray or its geometry; the suffix decides: ``.png`` (8 bit, as displayed, bone bright), ``.json`` or ``.dcm``.

    Raises
    ------
    SyntheXError
        When the suffix is another, the node has no geometry, or the file cannot be written.
    """
    path = Path(path)
    writers = {".png": _writePng, ".json": _writeJson, ".dcm": _writeDicom}
    if path.suffix.lower() not in writers:
        raise SyntheXError(f"Export to {path}: expected a name that ends in {', '.join(writers)}, found '{path.suffix}'.")
    with atomic_write(path) as temporary:
        writers[path.suffix.lower()](xrayNode, temporary)
    return path


def _writePng(xrayNode: Any, path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(to_uint8(slicer.util.arrayFromVolume(xrayNode)[0])), str(path))


def _writeJson(xrayNode: Any, path: Path) -> None:
    path.write_text(json.dumps(geometryOf(xrayNode), indent=2) + "\n", encoding="utf-8")


def _writeDicom(xrayNode: Any, path: Path) -> None:
    try:
        import pydicom
    except ImportError as error:
        raise SyntheXError("DICOM export needs the package pydicom, which Slicer brings: it is not installed here.") from error
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    geometry, image = geometryOf(xrayNode), np.asarray(slicer.util.arrayFromVolume(xrayNode)[0])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(_XA_STORAGE), generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dicom.SOPClassUID, dicom.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID = generate_uid(), generate_uid()
    dicom.PatientName, dicom.PatientID = geometry["specimen"], geometry["specimen"]
    dicom.PatientBirthDate = dicom.PatientSex = dicom.StudyDate = dicom.StudyTime = dicom.StudyID = dicom.AccessionNumber = ""
    dicom.ReferringPhysicianName, dicom.PatientOrientation = "", ""
    dicom.Modality, dicom.ImageType, dicom.Manufacturer = "XA", ["DERIVED", "PRIMARY", "SINGLE PLANE"], "SyntheX"
    dicom.DerivationDescription = f"Simulated from CT, level {geometry['level']}"
    dicom.SeriesDescription, dicom.SeriesNumber, dicom.InstanceNumber = xrayNode.GetName(), 1, 1
    primary, secondary = positioner_angles(np.array(geometry["world_to_camera"]))
    dicom.PositionerMotion = "STATIC"
    dicom.PositionerPrimaryAngle, dicom.PositionerSecondaryAngle = (round(angle, 4) for angle in (primary, secondary))
    dicom.DistanceSourceToDetector = round(geometry["source_to_detector_mm"], 4)
    dicom.DistanceSourceToPatient = round(geometry["pose"]["source_to_isocenter_mm"], 4)
    dicom.ImagerPixelSpacing = [round(value, 6) for value in geometry["pixel_spacing_mm"]]  # rows, then columns
    dicom.KVP, dicom.RadiationSetting = round(geometry["kvp"], 2), "GR"
    dicom.ImageComments = json.dumps(geometry)
    dicom.Rows, dicom.Columns = image.shape
    dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
    dicom.BitsAllocated = dicom.BitsStored = 16
    dicom.HighBit, dicom.PixelRepresentation = 15, 0
    dicom.PixelIntensityRelationship = "LIN"
    scale = 65535 / max(1.0, float(image.max()))
    dicom.PixelData = np.rint(np.clip(image, 0, None) * scale).astype("<u2").tobytes()
    with path.open("wb") as file:
        pydicom.dcmwrite(file, dicom, **({"enforce_file_format": True} if pydicom.__version__ >= "3" else {"write_like_original": False}))
