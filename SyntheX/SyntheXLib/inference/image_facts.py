"""What an image file says of itself: frames, pixel spacing, polarity, intensity and display window.

Only DICOM says more than sizes and spacing. Polarity is found from Pixel Intensity Relationship Sign (0028,1041) with Photometric
Interpretation (0028,0004), intensity from Pixel Intensity Relationship (0028,1040); DICOM PS3.3, C.8.7.1 and C.8.11.3. An image that has
only a photometric interpretation does not tell which way bone goes: C-arms store both.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.dicom_images import dicom_values, group_tags, is_dicom

#: Formats whose spacing is a property of the picture (print or screen resolution), not of the detector.
_WITHOUT_SPACING = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
#: ITK's value where the file says nothing, and no plausible detector pixel in mm.
_NO_SPACING = 1.0

_SOURCE_TO_DETECTOR = "0018|1110"
_MODALITY, _INTENT = "0008|0060", "0008|0068"
_FRAME_TIME, _MAGNIFICATION, _IMAGER_SPACING = "0018|1063", "0018|1114", "0018|1164"
_PHOTOMETRIC, _PIXEL_SPACING = "0028|0004", "0028|0030"
_RELATIONSHIP, _SIGN = "0028|1040", "0028|1041"
_CENTER, _WIDTH, _CALIBRATED = "0028|1050", "0028|1051", "0028|0a02"


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image or a run of frames before anybody looks at it.

    Attributes
    ----------
    shape
        Rows and columns.
    frames
        Number of frames.
    pixel_spacing_mm
        Height and width of a pixel on the detector in mm; None when it is not known.
    spacing_source
        Where it was found, ``Imager Pixel Spacing``, ``Pixel Spacing`` or ``file``; empty when it is not known.
    photometric
        ``MONOCHROME1`` or ``MONOCHROME2``; empty when it is no DICOM image.
    polarity
        ``bone-bright`` or ``bone-dark`` as SimpleITK and Slicer give the numbers (MONOCHROME1 inverted); None when nothing tells.
    intensity
        ``linear`` or ``log``; None when nothing tells.
    window
        Centre and width of the display window; None without one.
    frame_time_s
        Time from frame to frame; None when it is not known.
    source_to_detector_mm
        Distance from the X-ray source to the detector; None when it is not known.
    """

    shape: tuple[int, int]
    frames: int = 1
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_source: str = ""
    photometric: str = ""
    polarity: str | None = None
    intensity: str | None = None
    window: tuple[float, float] | None = None
    frame_time_s: float | None = None
    source_to_detector_mm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ImageFacts:
        """The facts that `to_dict` gave."""
        kept: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return ImageFacts(**kept)


def read_facts(path: Path | str) -> ImageFacts:
    """Read what a file says of itself, without its pixels.

    Raises
    ------
    SyntheXError
        When the file is missing or no image.
    """
    path = Path(path)
    return facts_of(open_image(path), path)


def open_image(path: Path) -> sitk.ImageFileReader:
    """A reader that has read all of a file but its pixels.

    Raises
    ------
    SyntheXError
        When the file is missing or no image.
    """
    if not path.is_file():
        raise SyntheXError(f"Image {path} does not exist.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise SyntheXError(unreadable(path, error)) from error
    return reader


def facts_of(reader: sitk.ImageFileReader, path: Path) -> ImageFacts:
    """The facts of a file whose information the reader has read."""
    tags = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys() if "|" in key}
    if is_dicom(path):
        tags = group_tags(path) | tags
    size = reader.GetSize()
    frames = 1
    for count in size[2:]:
        frames *= count
    spacing, source = _detector_spacing(tags)
    if spacing is None and path.suffix.lower() not in _WITHOUT_SPACING:
        width, height = (float(value) for value in reader.GetSpacing()[:2])
        if (height, width) != (_NO_SPACING, _NO_SPACING):
            spacing, source = (height, width), "file"
    center, width_of_window = _numbers(tags, _CENTER), _numbers(tags, _WIDTH)
    time, distance = _numbers(tags, _FRAME_TIME), _numbers(tags, _SOURCE_TO_DETECTOR)
    photometric = tags.get(_PHOTOMETRIC, "")
    return ImageFacts(
        shape=(size[1], size[0]),
        frames=frames,
        pixel_spacing_mm=spacing,
        spacing_source=source,
        photometric=photometric if photometric.startswith("MONOCHROME") else "",
        polarity=_polarity(tags),
        intensity={"LIN": "linear", "LOG": "log"}.get(tags.get(_RELATIONSHIP, "")),
        window=(center[0], width_of_window[0]) if center and width_of_window else None,
        frame_time_s=time[0] / 1000 if frames > 1 and time and time[0] > 0 else None,
        source_to_detector_mm=distance[0] if distance and distance[0] > 0 else None,
    )


def unreadable(path: Path, error: RuntimeError) -> str:
    """Why SimpleITK cannot read a file, as a sentence: its own is many lines long and does not tell an empty file from a text."""
    if path.stat().st_size == 0:
        return f"File {path} is empty, expected an image."
    if is_dicom(path):
        try:
            dicom_values(path)
        except SyntheXError as known:
            return str(known)
    elif _is_text(path):
        return f"File {path} holds text, expected an image."
    reason = re.sub(r"(ITK ERROR: )|\(0x[0-9a-f]+\)", "", str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR:").strip())
    return f"File {path} is not an image that can be read, or is truncated ({reason.rstrip('.')})."


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(1024)
    try:
        return all(character.isprintable() or character.isspace() for character in start.decode("utf-8", errors="strict"))
    except UnicodeDecodeError:
        return False


def _detector_spacing(tags: dict[str, str]) -> tuple[tuple[float, float] | None, str]:
    """Height and width of a pixel on the detector.

    Pixel Spacing that was calibrated at the patient is brought back to the detector by the magnification, where that is known.
    """
    imager = _numbers(tags, _IMAGER_SPACING)
    if len(imager) == 2 and min(imager) > 0:
        return (imager[0], imager[1]), "Imager Pixel Spacing"
    plain = _numbers(tags, _PIXEL_SPACING)
    if len(plain) == 2 and min(plain) > 0:
        magnification = (_numbers(tags, _MAGNIFICATION) or [1.0])[0] if tags.get(_CALIBRATED) else 1.0
        return (plain[0] * magnification, plain[1] * magnification), "Pixel Spacing"
    return None, ""


def _polarity(tags: dict[str, str]) -> str | None:
    inverted = tags.get(_PHOTOMETRIC, "") == "MONOCHROME1"
    sign = tags.get(_SIGN, "")
    if sign in ("1", "-1"):  # 1: little radiation has low stored values, so bone is dark in them
        return "bone-bright" if (sign == "1") == inverted else "bone-dark"
    # Radiographs are shown so. CR has no intent (PS3.3, A.2); DX for processing may be anything.
    if tags.get(_MODALITY) == "CR" or (tags.get(_MODALITY) == "DX" and tags.get(_INTENT) == "FOR PRESENTATION"):
        return "bone-bright"
    return None


def _numbers(tags: dict[str, str], key: str) -> list[float]:
    with suppress(ValueError):
        return [float(part) for part in tags.get(key, "").split("\\") if part.strip()]
    return []
