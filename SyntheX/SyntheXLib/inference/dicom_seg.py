"""Masks as a DICOM Segmentation object (PS3.3, A.51) that refers to the image it was made from.

Written with pydicom alone: highdicom 0.28 takes X-ray images neither of several frames nor of the classic XA and RF classes. An X-ray image
has no frame of reference, so a segment's frame says by reference which frame of the image it covers, pixel on pixel.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SyntheXLib import __version__
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.dicom_images import is_dicom
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
#: Of patient and study, which the segmentation shares with the image; elements that are not there are written empty.
_SHARED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def write_seg(path: Path, image_path: Path, masks: Sequence[NDArray[np.unsignedinteger]], task: Task) -> None:
    """Write the masks of all frames of one DICOM image file.

    Parameters
    ----------
    path
        File to write, whole or not there.
    image_path
        The DICOM image.
    masks
        (H, W) bit field of each of its frames.
    task
        Names of the structures, which become segments 1, 2 ... in their order.

    Raises
    ------
    SyntheXError
        When pydicom is missing, the image is no DICOM file, or the disk refuses.
    """
    if not is_dicom(image_path):
        raise SyntheXError(f"Image {image_path} is not a DICOM file, which a DICOM SEG must refer to; ask for PNG or NIfTI masks.")
    try:
        from pydicom import dcmread
        from pydicom.pixels import pack_bits
    except ModuleNotFoundError:
        raise SyntheXError("DICOM SEG output needs the package pydicom, which is not installed: pip install pydicom.") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = dcmread(image_path, stop_before_pixels=True)
        made = _header(source, task)
        # Segment after segment, in each the frames in their order.
        planes = structure_masks(np.stack(masks), len(task.structures)).swapaxes(0, 1)
        made.Rows, made.Columns = planes.shape[-2:]
        made.NumberOfFrames = planes.shape[0] * planes.shape[1]
        made.PerFrameFunctionalGroupsSequence = [
            _frame(source, segment + 1, frame, len(masks)) for segment in range(planes.shape[0]) for frame in range(planes.shape[1])
        ]
        made.PixelData = pack_bits(planes.reshape(-1).astype(np.uint8))
        with atomic_write(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)


def _header(source: Dataset, task: Task) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if "SpecificCharacterSet" in source:
        made.SpecificCharacterSet = source.SpecificCharacterSet
    for name in _SHARED:
        setattr(made, name, source.get(name))
    made.SOPClassUID, made.SOPInstanceUID = _CLASS, generate_uid()
    made.Modality, made.SeriesInstanceUID, made.SeriesDescription = "SEG", generate_uid(), f"SyntheX {task.title}"[:64]
    made.SeriesNumber, made.InstanceNumber = int(source.get("SeriesNumber") or 0) + 1000, 1
    made.Manufacturer, made.ManufacturerModelName, made.DeviceSerialNumber, made.SoftwareVersions = "SyntheX", task.name, "0", __version__
    now = datetime.now()
    made.ContentDate = made.SeriesDate = f"{now:%Y%m%d}"
    made.ContentTime = made.SeriesTime = f"{now:%H%M%S}"
    made.ContentLabel, made.ContentDescription, made.ContentCreatorName = "SYNTHEX", task.title[:64], "SyntheX"
    made.ImageType, made.LossyImageCompression = ["DERIVED", "PRIMARY"], "00"
    made.SegmentationType, made.SamplesPerPixel, made.PhotometricInterpretation = "BINARY", 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    made.SegmentSequence = []
    for structure in task.structures:
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = structure.bit + 1, structure.name
        segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", "SyntheX"
        segment.SegmentedPropertyCategoryCodeSequence = [_code("123037004", "SCT", "Anatomical Structure")]
        segment.SegmentedPropertyTypeCodeSequence = [_code("123037004", "SCT", "Anatomical Structure")]
        made.SegmentSequence.append(segment)
    organization, series, instance = Dataset(), Dataset(), _reference(source)
    organization.DimensionOrganizationUID = generate_uid()
    made.DimensionOrganizationSequence = [organization]
    made.DimensionIndexSequence = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00209057, 0x00209111)):  # segment number, place in the run
        index = Dataset()
        index.DimensionOrganizationUID, index.DimensionIndexPointer = organization.DimensionOrganizationUID, pointer
        index.FunctionalGroupPointer = group
        made.DimensionIndexSequence.append(index)
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = source.get("SeriesInstanceUID"), [instance]
    made.ReferencedSeriesSequence = [series]
    made.SharedFunctionalGroupsSequence = [Dataset()]
    return made


def _frame(source: Dataset, segment: int, frame: int, frames: int) -> Dataset:
    from pydicom.dataset import Dataset

    item, content, named, derivation, image = Dataset(), Dataset(), Dataset(), Dataset(), _reference(source)
    content.DimensionIndexValues = [segment, frame + 1]
    content.StackID, content.InStackPositionNumber = "1", frame + 1
    named.ReferencedSegmentNumber = segment
    if frames > 1:
        image.ReferencedFrameNumber = frame + 1
    image.PurposeOfReferenceCodeSequence = [_code("121322", "DCM", "Source image for image processing operation")]
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = [_code("113076", "DCM", "Segmentation")]
    item.FrameContentSequence, item.SegmentIdentificationSequence, item.DerivationImageSequence = [content], [named], [derivation]
    return item


def _reference(source: Dataset) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.get("SOPClassUID"), source.get("SOPInstanceUID")
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
