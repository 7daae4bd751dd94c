"""Masks as a DICOM Segmentation object (PS3.3, A.51) that refers to the image it was made from. Needs the package highdicom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SyntheXLib import __version__
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.inference.dicom_images import is_dicom
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import Task


def check_seg_possible() -> None:
    """Refuse, with a `SyntheXError`, when highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ModuleNotFoundError:
        raise SyntheXError("DICOM SEG output needs the package highdicom, which is not installed: pip install highdicom.") from None


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
        When highdicom is missing, the image is no DICOM file, or lacks what every DICOM image has to have.
    """
    check_seg_possible()
    if not is_dicom(image_path):
        raise SyntheXError(f"Image {image_path} is not a DICOM file, which a DICOM SEG must refer to; ask for PNG or NIfTI masks.")
    import highdicom
    from pydicom import dcmread
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    algorithm = highdicom.AlgorithmIdentificationSequence("SyntheX", codes.DCM.ArtificialIntelligence, __version__)
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=structure.bit + 1,
            segment_label=structure.name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.AnatomicalStructure,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for structure in task.structures
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = dcmread(image_path)
            pixels = np.moveaxis(structure_masks(np.stack(masks), len(task.structures)), 1, -1).astype(np.uint8)
            made = highdicom.seg.Segmentation(
                source_images=[source],
                pixel_array=pixels if int(source.get("NumberOfFrames") or 1) > 1 else pixels[:1],
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=segments,
                series_instance_uid=generate_uid(),
                series_number=int(source.get("SeriesNumber") or 0) + 1000,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="SyntheX",
                manufacturer_model_name=task.name,
                software_versions=__version__,
                device_serial_number="0",
                omit_empty_frames=False,
            )
        except (AttributeError, KeyError, ValueError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise SyntheXError(f"DICOM file {image_path} cannot be referred to by a DICOM SEG ({reason}).") from error
        with atomic_write(path) as temporary:
            made.save_as(temporary)
