"""X-ray images from files: PNG, JPEG, TIFF, NRRD, NIfTI, MetaImage and DICOM, one grey frame each.

What the numbers of a file mean cannot be told from the file, so the caller says it with two words:

polarity
    ``"bone-bright"`` or ``"bone-dark"``, as a plain viewer shows the numbers (high = white). SimpleITK gives DICOM images of type
    MONOCHROME1 already inverted, so for them too it is what a viewer shows.
intensity
    ``"log"`` when the numbers follow attenuation (displayed and exported images, most PNGs), ``"linear"`` when they are proportional to
    the detector's signal (raw fluoroscopy).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.display import log_image

POLARITIES = ("bone-bright", "bone-dark")
INTENSITIES = ("log", "linear")

#: Suffixes of files that are looked for in a folder; a file named by itself may have any.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm")
#: Formats whose spacing is a property of the picture (print or screen resolution), not of the detector.
_WITHOUT_SPACING = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
#: Share of coloured pixels up to which a picture counts as grey: letters and arrows that were drawn on it.
_COLORED_MARK = 0.01
#: ITK's value where the file says nothing, and no plausible detector pixel in mm.
_NO_SPACING = 1.0


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
    """

    pixels: NDArray[np.float32]
    intensity: str
    pixel_spacing_mm: tuple[float, float] | None
    path: Path | None = None

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
    path = Path(path)
    check_meaning(polarity, intensity)
    if not path.is_file():
        raise SyntheXError(f"Image {path} does not exist.")
    image, spacing = _read(path)
    values = sitk.GetArrayFromImage(image)
    values = _grey(values.reshape(values.shape[-3:] if image.GetNumberOfComponentsPerPixel() > 1 else values.shape[-2:]), path)
    return xray_image(values, polarity, intensity, pixel_spacing_mm or spacing, f"Image {path}", path)


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
    if not np.isfinite(pixels).all():
        raise SyntheXError(f"{where} holds {np.count_nonzero(~np.isfinite(pixels))} pixels that are not finite numbers.")
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise SyntheXError(f"{where} has the same value {low:g} everywhere, expected an X-ray image.")
    if intensity == "linear":
        pixels = _signal(pixels, polarity, whole, where)
    elif polarity == "bone-dark":
        pixels = high - pixels
    return XrayImage(pixels.astype(np.float32), intensity, pixel_spacing_mm, path)


def check_meaning(polarity: str, intensity: str) -> None:
    """Refuse words that are not in `POLARITIES` and `INTENSITIES`, with a `SyntheXError`."""
    if polarity not in POLARITIES:
        raise SyntheXError(f"Polarity must be one of {', '.join(POLARITIES)}, found '{polarity}'.")
    if intensity not in INTENSITIES:
        raise SyntheXError(f"Intensity must be one of {', '.join(INTENSITIES)}, found '{intensity}'.")


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
        inside = sorted(p for p in path.iterdir() if p.is_file() and p.name.lower().endswith(IMAGE_SUFFIXES) and not p.name.startswith("."))
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


def _read(path: Path) -> tuple[sitk.Image, tuple[float, float] | None]:
    """Read the file and its spacing (height, width), refusing all but one frame."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        frames = int(np.prod(size[2:])) if len(size) > 2 else 1
        if frames != 1:
            raise SyntheXError(f"Image {path} has {frames} frames or slices, expected a single one.")
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR:").strip()
        raise SyntheXError(f"File {path} is not an image that can be read ({reason.rstrip('.')}).") from error
    width, height = image.GetSpacing()[:2]
    told = path.suffix.lower() not in _WITHOUT_SPACING and (height, width) != (_NO_SPACING, _NO_SPACING)
    return image, (float(height), float(width)) if told else None


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
