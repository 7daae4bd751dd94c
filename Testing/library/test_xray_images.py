"""X-ray images from files, and what the files say of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from toy_network import write_dicom, write_image

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.image_facts import ImageFacts, read_facts
from SyntheXLib.inference.images import find_images, read_frames, read_image, stem


def test_a_log_image_is_turned_bone_bright(tmp_path: Path):
    values = np.array([[0, 100], [200, 255]], np.uint8)
    path = write_image(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_image(path, "bone-bright", "log").pixels, values)
    np.testing.assert_array_equal(read_image(path, "bone-dark", "log").pixels, 255.0 - values)


def test_a_linear_image_becomes_a_signal_of_at_most_one_with_bone_dark(tmp_path: Path):
    values = np.array([[1000, 250], [500, 0]], np.uint16)
    image = read_image(write_image(tmp_path / "a.tiff", values), "bone-dark", "linear")
    np.testing.assert_allclose(image.pixels, [[1, 0.25], [0.5, 0.5 / 1000]], rtol=1e-6)  # 0 is raised to half a grey level
    np.testing.assert_allclose(image.bone_bright(), -np.log(image.pixels), rtol=1e-5)


def test_an_inverted_linear_image_is_inverted_on_its_whole_bits(tmp_path: Path):
    values = np.array([[0, 1023], [3095, 4000]], np.uint16)  # twelve bits: signal = 4095 - value
    image = read_image(write_image(tmp_path / "a.png", values), "bone-bright", "linear")
    np.testing.assert_allclose(image.pixels, np.array([[4095, 3072], [1000, 95]]) / 4095, rtol=1e-6)


def test_spacing_is_known_from_medical_formats_and_unknown_from_pictures(tmp_path: Path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for name in ("a.nrrd", "a.nii.gz", "a.mha", "a.dcm"):
        image = read_image(write_image(tmp_path / name, values, (0.5, 0.25)))
        assert image.shape == (3, 4)
        assert image.pixel_spacing_mm == pytest.approx((0.25, 0.5)), name
    for name in ("a.png", "a.tif"):
        assert read_image(write_image(tmp_path / name, values, (0.5, 0.25))).pixel_spacing_mm is None
    assert read_image(write_image(tmp_path / "b.nrrd", values)).pixel_spacing_mm is None  # ITK's 1 mm of a file that says nothing
    assert read_image(tmp_path / "a.png", pixel_spacing_mm=(0.2, 0.3)).pixel_spacing_mm == (0.2, 0.3)


def test_a_single_slice_and_a_grey_picture_in_three_channels_are_read(tmp_path: Path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_image(write_image(tmp_path / "a.nii", values[None])).pixels, values)
    np.testing.assert_array_equal(read_image(write_image(tmp_path / "b.png", np.stack([values] * 3, -1), vector=True)).pixels, values)
    large = np.stack([np.arange(400).astype(np.uint8).reshape(20, 20)] * 3, -1)
    large[0, 0] = 1, 2, 3  # a small coloured mark
    np.testing.assert_array_equal(read_image(write_image(tmp_path / "c.png", large, vector=True)).pixels, large[..., 0])


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    holes = grey.astype(np.float32)
    holes[0, 0] = np.nan
    cases = {
        "3 frames": write_image(tmp_path / "frames.nrrd", np.stack([grey] * 3)),
        "in colour": write_image(tmp_path / "colour.png", np.stack([grey, grey, grey + 1], -1), vector=True),
        "same value 7 everywhere": write_image(tmp_path / "flat.png", np.full((3, 4), 7, np.uint8)),
        "not finite": write_image(tmp_path / "holes.nrrd", holes),
        "holds text": tmp_path / "text.png",
        "does not exist": tmp_path / "missing.png",
    }
    for message, path in cases.items():
        with pytest.raises(SyntheXError, match=message) as error:
            read_image(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(SyntheXError, match="none below 0"):
        read_image(write_image(tmp_path / "negative.nrrd", grey.astype(np.float32) - 1), "bone-dark", "linear")
    with pytest.raises(SyntheXError, match="Polarity"):
        read_image(cases["3 frames"], polarity="dark")
    with pytest.raises(SyntheXError, match="Intensity"):
        read_image(cases["3 frames"], intensity="LOG")


def test_images_are_found_in_folders_and_their_stems_are_whole(tmp_path: Path):
    for name in ("b.png", "a.nii.gz", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [p.name for p in find_images([tmp_path, "x.dcm"])] == ["a.nii.gz", "b.png", "x.dcm"]
    assert stem(Path("a/b.nii.gz")) == "b" and stem(Path("IM0001")) == "IM0001" and stem(Path("a.b.png")) == "a.b"
    with pytest.raises(SyntheXError, match="no image file"):
        find_images([tmp_path / "notes.txt", tmp_path / "empty"] if (tmp_path / "empty").mkdir() else [tmp_path / "empty"])


RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


def test_dicom_tells_frames_spacing_polarity_intensity_and_window(tmp_path: Path):
    path = write_dicom(
        tmp_path / "run.dcm",
        np.stack([RAMP, RAMP[::-1]]),
        ImagerPixelSpacing=[0.3, 0.2],
        PixelSpacing=[9.0, 9.0],
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        WindowCenter=1000,
        WindowWidth=500,
        FrameTime=66.5,
    )
    facts = read_facts(path)
    expected = ImageFacts((3, 4), 2, (0.3, 0.2), "Imager Pixel Spacing", "MONOCHROME2", "bone-dark", "linear", (1000, 500), 0.0665)
    assert facts == expected and ImageFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == expected
    first, second = read_frames(path, "auto", "auto")
    assert first.intensity == "linear" and first.pixel_spacing_mm == (0.3, 0.2)
    np.testing.assert_allclose(first.pixels[1:], RAMP[1:] / 1100, rtol=1e-6)  # bone is dark already
    np.testing.assert_array_equal(second.pixels, first.pixels[::-1])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_in_dicom_makes_bone_bright_whatever_the_photometric_interpretation(tmp_path: Path, photometric: str, sign: int):
    stored = RAMP if sign == 1 else 4095 - RAMP  # little radiation, so bone, in the first pixel
    path = write_dicom(tmp_path / "a.dcm", stored, photometric, PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=sign)
    (image,) = read_frames(path, "auto", "auto")
    assert image.intensity == "log"
    np.testing.assert_array_equal(image.pixels - image.pixels.min(), 1100 - RAMP.astype(np.float32))


def test_the_photometric_interpretation_alone_does_not_tell_where_bone_is(tmp_path: Path):
    facts = read_facts(write_dicom(tmp_path / "a.dcm", RAMP, "MONOCHROME1"))
    assert (facts.photometric, facts.polarity, facts.intensity, facts.window, facts.frame_time_s) == ("MONOCHROME1", None, None, None, None)
    shown = {"Modality": "DX", "PresentationIntentType": "FOR PRESENTATION"}
    assert read_facts(write_dicom(tmp_path / "b.dcm", RAMP, **shown)).polarity == "bone-bright"
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        assert read_facts(write_dicom(tmp_path / "c.dcm", RAMP, photometric, Modality="CR")).polarity == "bone-bright"
    assert read_facts(write_dicom(tmp_path / "d.dcm", RAMP, Modality="DX")).polarity is None


def test_a_spacing_calibrated_at_the_patient_is_brought_back_to_the_detector(tmp_path: Path):
    tags = {"PixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": 1.5}
    plain = read_facts(write_dicom(tmp_path / "a.dcm", RAMP, **tags))
    calibrated = read_facts(write_dicom(tmp_path / "b.dcm", RAMP, PixelSpacingCalibrationType="FIDUCIAL", **tags))
    assert plain.pixel_spacing_mm == (0.2, 0.1) and plain.spacing_source == "Pixel Spacing"
    assert calibrated.pixel_spacing_mm == pytest.approx((0.3, 0.15))
    assert read_facts(write_dicom(tmp_path / "c.dcm", RAMP)).pixel_spacing_mm is None


def test_a_run_of_a_tiff_has_its_frames(tmp_path: Path):
    from PIL import Image

    frames = [Image.fromarray((RAMP // 10 + number).astype(np.uint8)) for number in range(3)]
    frames[0].save(tmp_path / "run.tif", save_all=True, append_images=frames[1:])
    images = read_frames(tmp_path / "run.tif")
    assert [image.pixels[0, 0] for image in images] == [0, 1, 2] and images[0].shape == (3, 4)
    assert read_facts(tmp_path / "run.tif").frames == 3
