"""A CT made of a label map: textured Hounsfield units for every label, and soft tissue round them where the map holds no body.

What the CT of a patient has and a label map has not (gas, contrast, disease, the fine structure of bone) is not in it: a specimen for
tests and for more shapes of bones, not one to measure densities on.
"""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.texture import smooth_noise

_TABLE = Path(__file__).parent / "tissues.toml"
_AIR_HU = -1000.0
# The envelope: soft tissue between the labels and the skin, gaps between them that are closed, and subcutaneous fat, mm.
_MARGIN_MM, _CLOSING_MM, _FAT_MM = 30.0, 60.0, 14.0
# Grid on which the envelope is made, mm.
_COARSE_MM = 5.0
# Air beside the body, mm, and the blur of a CT's voxels, in voxels.
_AIR_MM, _BLUR_VOXELS = 10.0, 0.5


@dataclass(frozen=True)
class Tissue:
    """What fills a label: mean HU, standard deviation (HU) and grain (mm) of its texture, HU and thickness (mm) of a bone's shell, and by
    which words and numbers of TotalSegmentator it is known."""

    name: str
    hu: float
    sd_hu: float
    grain_mm: float
    words: tuple[str, ...] = ()
    totalsegmentator: tuple[int, ...] = ()
    shell_hu: float = 0.0
    shell_mm: float = 0.0


@lru_cache(maxsize=1)
def tissues() -> tuple[Tissue, ...]:
    """All tissues; the first is what has no label, the last what has an unknown one."""
    rows = tomllib.loads(_TABLE.read_text(encoding="utf-8"))["tissue"]
    return tuple(Tissue(**{**row, "words": tuple(row["words"]), "totalsegmentator": tuple(row["totalsegmentator"])}) for row in rows)


def tissue_of(number: int, name: str | None) -> Tissue:
    """The tissue of a label: by a word of its name where it has one, else by TotalSegmentator's number; unknown ones are organs."""
    known = tissues()
    if name is None:
        return next((one for one in known if number in one.totalsegmentator), known[-1])
    words = set(re.findall(r"[a-z]+", name.lower()))
    if words and words <= set(known[0].words):  # a vertebral body is none
        return known[0]
    return next((one for one in known[1:] if words & set(one.words)), known[-1])


def pseudo_ct(label_image: sitk.Image, names: Mapping[int, str] | None = None, seed: str = "") -> sitk.Image:
    """Hounsfield units for a label map.

    Parameters
    ----------
    label_image
        Label numbers; 0 is nothing.
    names
        Label number to name; None takes TotalSegmentator's numbers. A label named body or skin is the patient's outline.
    seed
        Decides the texture.

    Returns
    -------
    SimpleITK.Image
        int16, on the grid of the label map, which is enlarged where the soft tissue needs it.

    Raises
    ------
    SyntheXError
        When no voxel has a label.
    """
    labels = sitk.GetArrayViewFromImage(label_image)
    if not labels.any():
        raise SyntheXError("Pseudo-CT: expected a label map with labels above 0, found none.")
    numbers = [int(number) for number in np.unique(labels) if number]
    kinds = {number: tissue_of(number, names.get(number, "") if names else None) for number in numbers}
    outlines = [number for number, kind in kinds.items() if kind is tissues()[0]]
    if not outlines:
        label_image = _room_for_skin(label_image)
        labels = sitk.GetArrayViewFromImage(label_image)
    depth = _depth_in(labels != 0, label_image) if outlines else _envelope(labels != 0, label_image)
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    spacing = np.array(label_image.GetSpacing())[::-1]
    hu = _soft_tissue(depth, spacing, rng)
    _fill(hu, labels, {number: kind for number, kind in kinds.items() if number not in outlines}, spacing, rng)
    from scipy.ndimage import gaussian_filter

    made = sitk.GetImageFromArray(np.rint(gaussian_filter(hu, _BLUR_VOXELS, mode="nearest")).astype(np.int16))
    made.CopyInformation(label_image)
    return made


def _soft_tissue(depth: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(K, J, I) HU of a body without organs, whose skin lies where the depth (mm, inside above 0) is 0."""
    inner, fat = tissues()[0], next(one for one in tissues() if one.name == "fat")
    hu = np.full(depth.shape, _AIR_HU, np.float32)
    texture = smooth_noise(depth.shape, inner.grain_mm / spacing, rng)
    share = np.clip((depth - _FAT_MM) / 4 + 0.5 + 0.7 * texture, 0, 1)  # fat and muscle meet in an irregular layer
    body = depth > 0
    filled = share * (inner.hu + inner.sd_hu * texture) + (1 - share) * (fat.hu + fat.sd_hu * texture)
    hu[body] = filled[body]
    return hu


def _fill(hu: np.ndarray, labels: np.ndarray, kinds: Mapping[int, Tissue], spacing: np.ndarray, rng: np.random.Generator) -> None:
    """Write every label's tissue into `hu`."""
    from scipy.ndimage import find_objects

    boxes = find_objects(labels.astype(np.int32))
    for number, kind in sorted(kinds.items()):
        box = boxes[number - 1]
        mask = labels[box] == number
        values = kind.hu + kind.sd_hu * smooth_noise(mask.shape, kind.grain_mm / spacing, rng)
        if kind.shell_mm:
            # The shell lies within the label's own surface; where the CT ends there is none.
            padded = np.pad(mask, 1, mode="edge")
            image = sitk.GetImageFromArray(padded.astype(np.uint8))
            image.SetSpacing(spacing[::-1].tolist())
            deep = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, True, False, True))[1:-1, 1:-1, 1:-1]
            values += (kind.shell_hu - kind.hu) * np.clip(1.5 - deep / kind.shell_mm, 0, 1)
        hu[box][mask] = values[mask]


def _depth_in(mask: np.ndarray, like: sitk.Image) -> np.ndarray:
    """(K, J, I) depth below the surface of a mask, mm, negative outside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(like.GetSpacing())
    depth = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    # ITK measures from the centres of the outermost voxels.
    return sitk.GetArrayFromImage(depth) + np.float32(np.mean(like.GetSpacing()) / 2)


def _room_for_skin(label_image: sitk.Image) -> sitk.Image:
    """The label map with so much room round its labels, across the body's axis, that skin and some air fit."""
    spacing = np.array(label_image.GetSpacing())
    labels = sitk.GetArrayViewFromImage(label_image)
    direction = np.array(label_image.GetDirection()).reshape(3, 3)
    along = int(np.abs(direction[2]).argmax())  # the axis that runs along S; the body goes on there
    lower, upper = [0, 0, 0], [0, 0, 0]
    for axis in range(3):
        if axis == along:
            continue
        used = np.flatnonzero(labels.any(axis=tuple(2 - other for other in range(3) if other != axis)))
        room = int(np.ceil((_MARGIN_MM + _AIR_MM) / spacing[axis]))
        lower[axis] = max(room - int(used[0]), 0)
        upper[axis] = max(room - (label_image.GetSize()[axis] - 1 - int(used[-1])), 0)
    return sitk.ConstantPad(label_image, lower, upper, 0)


def _envelope(mask: np.ndarray, like: sitk.Image) -> np.ndarray:
    """(K, J, I) depth below the skin of a body round the mask, mm: the mask grown by the margin, its gaps closed."""
    spacing = np.array(like.GetSpacing())[::-1]
    step = np.maximum(np.rint(_COARSE_MM / spacing).astype(int), 1)
    coarse_mm = spacing * step
    room = np.ceil((_MARGIN_MM + _CLOSING_MM) / coarse_mm).astype(int) + 1
    direction = np.array(like.GetDirection()).reshape(3, 3)
    along = 2 - int(np.abs(direction[2]).argmax())
    coarse = mask[:: step[0], :: step[1], :: step[2]]
    for axis in range(3):
        width = [(int(room[axis]),) * 2 if axis == other else (0, 0) for other in range(3)]
        coarse = np.pad(coarse, width, mode="edge" if axis == along else "constant")
    image = sitk.GetImageFromArray(coarse.astype(np.uint8))
    image.SetSpacing(coarse_mm[::-1].tolist())
    image.SetOrigin((-room * coarse_mm)[::-1].tolist())
    grown = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True) >= -(
        _MARGIN_MM + _CLOSING_MM
    )
    depth = sitk.SignedMaurerDistanceMap(grown, insideIsPositive=True, squaredDistance=False, useImageSpacing=True) - _CLOSING_MM
    depth += float(coarse_mm.mean())  # twice measured from the centres of outermost voxels
    fine = sitk.Image(like.GetSize(), sitk.sitkUInt8)
    fine.SetSpacing(like.GetSpacing())
    return sitk.GetArrayFromImage(sitk.Resample(depth, fine, sitk.Transform(), sitk.sitkLinear, -1000.0))
