"""X-ray images from files: PNG, JPEG, TIFF, NRRD, NIfTI, MetaImage and DICOM, one grey frame or a run of them.

What the numbers of a file mean is said with two words; with ``"auto"`` what the file says is taken (see `image_facts`), and where it says
nothing ``"bone-bright"`` and ``"log"``:

polarity
    ``"bone-bright"`` or ``"bone-dark"``, as a plain viewer shows the numbers (high = white). DICOM images of type MONOCHROME1 are given
    inverted, so for them too it is what a viewer shows.
intensity
    ``"log"`` when the numbers follow attenuation (displayed and exported images, most PNGs), ``"linear"`` when they are proportional to
    the detector's signal (raw fluoroscopy).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.dicom_images import dicom_values, is_dicom
from SyntheXLib.inference.image_facts import ImageFacts, facts_of, open_image, unreadable
from SyntheXLib.rendering.display import log_image, value_range

POLARITIES = ("bone-bright", "bone-dark")
INTENSITIES = ("log", "linear")
#: Take what the image says of itself.
AUTO = "auto"

#: Suffixes of files that are looked for in a folder; a file named by itself may have any.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm")
#: Share of coloured pixels up to which a picture counts as grey: letters and arrows that were drawn on it.
_COLORED_MARK = 0.01


@dataclass(frozen=True)
class XrayImage:
    """An X-ray image with a stated meaning.

    Attributes
    ----------
    pixels
        (H, W) float32: with intensity ``"linear"`` the detector signal, bone dark, with open beam at most 1; with ``"log"`` bone bright on
        an arbitrary scale.
    intensity
        ``"linear"`` or ``"log"``.
    pixel_spacing_mm
        Height and width of a pixel on the detector in mm; None when it is not known.
    path
        Where it came from.
    field
        (H, W) bool, what the collimator leaves open, see `collimation`; None where all of the image is, or nobody has looked.
    """

    pixels: NDArray[np.float32]
    intensity: str
    pixel_spacing_mm: tuple[float, float] | None
    path: Path | None = None
    field: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def bone_bright(self) -> NDArray[np.float32]:
        """(H, W) float32 log image, bone bright, on an arbitrary scale."""
        return self.pixels if self.intensity == "log" else log_image(self.pixels)


def read_image(
    path: Path | str,
    polarity: str = "bone-bright",
    intensity: str = "log",
    pixel_spacing_mm: tuple[float, float] | None = None,
) -> XrayImage:
    """Read one X-ray image.

    Parameters
    ----------
    path
        File of a format that SimpleITK reads.
    polarity, intensity
        What the numbers mean, see the module.
    pixel_spacing_mm
        Height and width of a pixel on the detector, mm; overrides what the file says. PNG, JPEG, TIFF and BMP say nothing that counts.

    Raises
    ------
    SyntheXError
        When the file is missing or no image, has several frames or colours, has no contrast, or holds numbers that are not finite.
    """
    images = read_frames(path, polarity, intensity, pixel_spacing_mm)
    if len(images) != 1:
        raise SyntheXError(f"Image {path} has {len(images)} frames or slices, expected a single one.")
    return images[0]


def read_frames(
    path: Path | str,
    polarity: str = "bone-bright",
    intensity: str = "log",
    pixel_spacing_mm: tuple[float, float] | None = None,
) -> list[XrayImage]:
    """Read all frames of a file, see `read_image`; ``auto`` may stand for polarity and intensity."""
    path = Path(path)
    check_meaning(polarity, intensity)
    values, facts = read_values(path)
    polarity, intensity = told_meaning(facts, polarity, intensity)
    spacing = pixel_spacing_mm or facts.pixel_spacing_mm
    places = [f"Image {path}"] if len(values) == 1 else [f"Image {path}, frame {number}," for number in range(len(values))]
    return [xray_image(frame, polarity, intensity, spacing, where, path) for frame, where in zip(values, places, strict=True)]


def read_values(path: Path | str) -> tuple[NDArray[np.generic], ImageFacts]:
    """Grey values (K, H, W) of a file, those of DICOM as `dicom_images` has them, and what it says of them.

    Raises
    ------
    SyntheXError
        When the file is missing, no image, or in colour.
    """
    path = Path(path)
    reader = open_image(path)
    try:
        facts = facts_of(reader, path)
        frames = dicom_values(path) if is_dicom(path) else None
        if frames is None:
            image = reader.Execute()
            values = sitk.GetArrayFromImage(image)
            channels = values.shape[-1:] if image.GetNumberOfComponentsPerPixel() > 1 else ()
            frames = values.reshape(facts.frames, *facts.shape, *channels)
    except RuntimeError as error:
        raise SyntheXError(unreadable(path, error)) from error
    return np.stack([_grey(frame, path) for frame in frames]), facts


def told_meaning(facts: ImageFacts, polarity: str, intensity: str) -> tuple[str, str]:
    """Polarity and intensity with ``auto`` replaced by what the image says, or by what is usual."""
    return (
        polarity if polarity != AUTO else facts.polarity or POLARITIES[0],
        intensity if intensity != AUTO else facts.intensity or INTENSITIES[0],
    )


def xray_image(
    values: NDArray[np.generic],
    polarity: str,
    intensity: str,
    pixel_spacing_mm: tuple[float, float] | None,
    where: str,
    path: Path | None = None,
) -> XrayImage:
    """An X-ray image of grey values whose meaning is told.

    Parameters
    ----------
    values
        (H, W) numbers of any type.
    polarity, intensity, pixel_spacing_mm
        As in `read_image`; None where the spacing is not known.
    where
        What errors call the image.
    path
        Where it came from.

    Raises
    ------
    SyntheXError
        When the image has no contrast or holds numbers that are not finite, or negative ones as a linear signal.
    """
    check_meaning(polarity, intensity)
    whole = np.issubdtype(values.dtype, np.integer)
    pixels = values.astype(np.float32)
    _, high = value_range(pixels, where)
    if intensity == "linear":
        pixels = _signal(pixels, polarity, whole, where)
    elif polarity == "bone-dark":
        pixels = high - pixels
    return XrayImage(pixels.astype(np.float32), intensity, pixel_spacing_mm, path)


def check_meaning(polarity: str, intensity: str) -> None:
    """Refuse words that are not `AUTO` or in `POLARITIES` and `INTENSITIES`, with a `SyntheXError`."""
    for name, value, allowed in (("Polarity", polarity, POLARITIES), ("Intensity", intensity, INTENSITIES)):
        if value not in (AUTO, *allowed):
            raise SyntheXError(f"{name} must be one of {', '.join((AUTO, *allowed))}, found '{value}'.")


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """Files, and for each folder the image files straight inside it, sorted by name.

    Raises
    ------
    SyntheXError
        When a folder holds no image file, or nothing is left.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        with os.scandir(path) as entries:  # knows files from folders without asking the disk again, which 50,000 files would make felt
            names = sorted(e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and e.name[0] != "." and e.is_file())
        inside = [path / name for name in names]
        if not inside:
            raise SyntheXError(f"Folder {path} holds no image file ({', '.join(IMAGE_SUFFIXES)}).")
        found += inside
    if not found:
        raise SyntheXError("No image to read was given.")
    return found


def stem(path: Path) -> str:
    """Name without the suffix, ``a.nii.gz`` -> ``a``."""
    name = path.name
    for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _grey(values: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """(H, W) of a grey image, also when it is stored as three equal colours (and opacity), with a small coloured mark at most."""
    if values.ndim == 2:
        return values
    channels = values[..., : 3 if values.shape[-1] >= 3 else 1]
    colored = float((channels != channels[..., :1]).any(axis=-1).mean())
    if colored > _COLORED_MARK:
        raise SyntheXError(f"Image {path} is in colour (channels differ in {100 * colored:.0f} % of the pixels), expected grey.")
    return channels[..., 0]


def _signal(pixels: NDArray[np.float32], polarity: str, whole: bool, where: str) -> NDArray[np.float32]:
    """Detector signal, at most 1; values below half a grey level are raised to it, because the logarithm follows."""
    high = float(pixels.max())
    if float(pixels.min()) < 0:
        raise SyntheXError(f"{where} has values down to {pixels.min():g}, expected none below 0 in a linear detector signal.")
    if polarity == "bone-bright":
        # Inverted on a scale of whole bits: 255, 1023, 4095 ... whichever is the first to hold the highest value.
        top = float(2 ** max(8, int(np.ceil(np.log2(high + 1)))) - 1) if whole else high
        pixels = top - pixels
        high = float(pixels.max())
    floor = 0.5 / high if whole else 1e-6
    return np.maximum(pixels / np.float32(high), np.float32(floor))
