"""Grey values of DICOM files: tables, inversion, and files that are damaged or no images."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, RLELossless
from toy_network import exclusive, toy_task, toy_view, write_dicom

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.dicom_seg import write_seg
from SyntheXLib.inference.image_facts import read_facts
from SyntheXLib.inference.images import find_images, read_frames, read_values

VALUES = np.array([[0, 1], [2, 3]], np.uint16)


def table(entries: list[int], bits: int = 16) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries), 0, bits], entries
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    item.ModalityLUTType = "US"
    return item


def test_a_modality_table_is_applied_but_not_to_fluoroscopy(tmp_path: Path):
    lut = [table([0, 10, 100, 1000])]
    radiograph = write_dicom(tmp_path / "cr.dcm", VALUES, Modality="CR", ModalityLUTSequence=lut)
    np.testing.assert_array_equal(read_values(radiograph)[0][0], [[0, 10], [100, 1000]])
    run = write_dicom(tmp_path / "xa.dcm", VALUES, ModalityLUTSequence=lut)
    np.testing.assert_array_equal(read_values(run)[0][0], VALUES)


def test_rescaling_is_applied_and_whole_numbers_stay_whole(tmp_path: Path):
    path = write_dicom(tmp_path / "a.dcm", VALUES, Modality="DX", RescaleSlope="2", RescaleIntercept="-3", RescaleType="US")
    values = read_values(path)[0][0]
    np.testing.assert_array_equal(values, [[-3, -1], [1, 3]])
    assert np.issubdtype(values.dtype, np.integer)


def test_a_table_for_the_eye_is_applied_unless_the_numbers_are_the_signal(tmp_path: Path):
    lut = [table([5, 6, 60, 600])]
    shown = write_dicom(tmp_path / "a.dcm", VALUES, Modality="DX", VOILUTSequence=lut)
    np.testing.assert_array_equal(read_values(shown)[0][0], [[5, 6], [60, 600]])
    signal = write_dicom(tmp_path / "b.dcm", VALUES, Modality="DX", VOILUTSequence=lut, PixelIntensityRelationship="LIN")
    np.testing.assert_array_equal(read_values(signal)[0][0], VALUES)


def test_a_plain_window_cuts_nothing(tmp_path: Path):
    path = write_dicom(tmp_path / "a.dcm", VALUES, Modality="DX", WindowCenter="1", WindowWidth="1")
    np.testing.assert_array_equal(read_values(path)[0][0], VALUES)


def test_monochrome1_is_inverted_on_its_bits_or_on_those_of_its_table(tmp_path: Path):
    np.testing.assert_array_equal(read_values(write_dicom(tmp_path / "a.dcm", VALUES, "MONOCHROME1"))[0][0], 4095 - VALUES.astype(int))
    path = write_dicom(tmp_path / "b.dcm", VALUES, "MONOCHROME1", Modality="CR", VOILUTSequence=[table([0, 1, 20, 200], 8)])
    np.testing.assert_array_equal(read_values(path)[0][0], [[255, 254], [235, 55]])
    signed = write_dicom(tmp_path / "c.dcm", VALUES, "MONOCHROME1", PixelRepresentation=1)
    np.testing.assert_array_equal(read_values(signed)[0][0], -1 - VALUES.astype(int))


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless", "JPEGLossless"])
def test_compressed_files_hold_the_same_values(tmp_path: Path, syntax: str):
    values = np.random.default_rng(5).integers(0, 4096, (48, 40)).astype(np.uint16)
    path = tmp_path / "a.dcm"
    if syntax == "RLELossless":
        dataset = pydicom.dcmread(write_dicom(path, values, Modality="DX"))
        dataset.compress(RLELossless)
        dataset.save_as(path)
    else:  # pydicom does not write these, and reads them where a decoder is installed; SimpleITK does both
        image = sitk.GetImageFromArray(values[None])
        image.SetMetaData("0008|0060", "DX")
        sitk.WriteImage(image, str(path), useCompression=True, compressor=syntax.removesuffix("Lossless"))
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name.startswith(
        {"RLELossless": "RLE Lossless", "JPEG2000Lossless": "JPEG 2000", "JPEGLossless": "JPEG Lossless"}[syntax]
    )
    np.testing.assert_array_equal(read_values(path)[0][0], values)


def test_an_enhanced_run_tells_its_spacing_in_functional_groups(tmp_path: Path):
    shared, properties = Dataset(), Dataset()
    properties.ImagerPixelSpacing = [0.3, 0.2]
    properties.PixelIntensityRelationship = "LIN"
    properties["PixelIntensityRelationship"].VR = "CS"
    shared.FramePixelDataPropertiesSequence = [properties]
    path = write_dicom(tmp_path / "a.dcm", np.stack([VALUES, VALUES + 4]), SharedFunctionalGroupsSequence=[shared])
    facts = read_facts(path)
    assert (facts.frames, facts.intensity) == (2, "linear")
    assert facts.pixel_spacing_mm == pytest.approx((0.3, 0.2))


def test_damaged_files_and_files_that_are_no_images_are_told_apart(tmp_path: Path):
    good = write_dicom(tmp_path / "good.dcm", np.arange(4096, dtype=np.uint16).reshape(64, 64))
    content = good.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:-1000])
    (tmp_path / "text.dcm").write_text("A list of images, and no image.", encoding="utf-8")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "magic.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish")
    bare = pydicom.dcmread(good)
    del bare.PixelData
    bare.save_as(tmp_path / "bare.dcm")
    for name, syntax in (("j2k.dcm", JPEG2000), ("rle.dcm", RLELossless)):
        wrong = pydicom.dcmread(good)
        wrong.PixelData = encapsulate([wrong.PixelData])
        wrong["PixelData"].VR, wrong["PixelData"].is_undefined_length = "OB", True
        wrong.file_meta.TransferSyntaxUID = syntax
        wrong.save_as(tmp_path / name)
    told = {
        "cut.dcm": "truncated or damaged",
        "text.dcm": "holds text",
        "empty.dcm": "is empty",
        "magic.dcm": "holds no pixels|damaged",
        "bare.dcm": "holds no pixels",
        "j2k.dcm": "not the JPEG 2000 Image Compression that it announces",
        "rle.dcm": "not the RLE Lossless that it announces",
    }
    for name, words in told.items():
        with pytest.raises(SyntheXError, match=words) as error:
            read_frames(tmp_path / name, "auto", "auto")
        assert name in str(error.value) and "\n" not in str(error.value)


def test_fifty_thousand_names_are_listed_in_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os
    import time
    from contextlib import contextmanager

    from SyntheXLib.inference.predict_images import _names

    class Entry:
        def __init__(self, n: int) -> None:
            self.name = f"image{n % 25000}.{'png' if n < 25000 else 'dcm'}"

        def is_file(self) -> bool:
            return True

    @contextmanager
    def scandir(_: object):
        yield iter([Entry(n) for n in range(50000)])

    monkeypatch.setattr(os, "scandir", scandir)
    start = time.process_time()
    names = _names(find_images([tmp_path]))
    assert time.process_time() - start < 10
    assert len(set(names)) == 50000 and "image7_2" in names


@pytest.mark.parametrize("frames", [1, 3])
def test_a_dicom_segmentation_refers_to_the_frames_and_gives_the_masks_back(tmp_path: Path, frames: int):
    views = [toy_view(n)[1] for n in range(frames)]
    image = write_dicom(tmp_path / "a.dcm", np.stack(views) * 100 if frames > 1 else views[0] * 100)
    write_seg(tmp_path / "a_seg.dcm", image, views, toy_task())
    found = pydicom.dcmread(tmp_path / "a_seg.dcm")
    assert found.SOPClassUID.name == "Segmentation Storage"
    assert found.StudyInstanceUID == pydicom.dcmread(image).StudyInstanceUID
    assert [(one.SegmentNumber, one.SegmentLabel) for one in found.SegmentSequence] == [(1, "cube"), (2, "bar")]
    pixels = found.pixel_array
    for n, group in enumerate(found.PerFrameFunctionalGroupsSequence):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = source.get("ReferencedFrameNumber", 1)
        assert source.ReferencedSOPInstanceUID == pydicom.dcmread(image).SOPInstanceUID
        np.testing.assert_array_equal(pixels[n], views[frame - 1] >> (segment - 1) & 1)
    assert exclusive(views[0]).max() == 2


def test_a_segmentation_needs_a_dicom_image(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(SyntheXError, match="not a DICOM file"):
        write_seg(tmp_path / "a_seg.dcm", tmp_path / "a.png", [VALUES], toy_task())
