"""What a network wants of a CT: axes, voxel size, range of values. The grid is SimpleITK's work, for MONAI needs nibabel for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import ijk_to_ras

if TYPE_CHECKING:
    from SyntheXLib.networks.bundle import Bundle

IMAGE = "image"
_DEFAULT_HU = (-1000.0, 2000.0)
# Steps of a bundle that SyntheX does itself or that change nothing here: the image has been read, has its channel, is brought to its grid.
_DONE = ("LoadImaged", "EnsureChannelFirstd", "AddChanneld", "EnsureTyped", "CastToTyped", "ToTensord")
_ORIENTATION, _SPACING = "Orientationd", "Spacingd"
# Steps on the values, which MONAI does.
_VALUES = ("ScaleIntensityRanged", "ScaleIntensityd", "NormalizeIntensityd", "ThresholdIntensityd", "ScaleIntensityRangePercentilesd")


@dataclass(frozen=True)
class Preprocessing:
    """From a CT to the input of a network.

    Attributes
    ----------
    orientation
        Where the three axes of the input lead to, such as ``"RAS"``; None takes them as they are. Oblique axes go by the nearest.
    spacing_mm
        Voxel size along these axes, mm; None takes it as it is.
    values
        MONAI transform of ``{"image": (1, I, J, K) MetaTensor of HU}``.
    """

    orientation: str | None
    spacing_mm: tuple[float, float, float] | None
    values: Callable[[dict[str, Any]], Any]

    def __call__(self, ct: sitk.Image) -> tuple[Any, np.ndarray]:
        """The input, a float32 tensor (1, I, J, K), and its (4, 4) IJK-to-RAS matrix (mm)."""
        import torch
        from monai.data.meta_tensor import MetaTensor

        image = sitk.DICOMOrient(ct, self.orientation) if self.orientation else ct
        if self.spacing_mm:
            image = _resampled(image, self.spacing_mm)
        hu = np.ascontiguousarray(sitk.GetArrayFromImage(image).astype(np.float32).transpose(2, 1, 0))
        found = self.values({IMAGE: MetaTensor(torch.from_numpy(hu)[None], affine=torch.from_numpy(ijk_to_ras(image)))})[IMAGE]
        return found.as_tensor().float(), np.asarray(found.affine, dtype=float)


def preprocessing_by_options(
    bundle: Bundle, orientation: str | None, spacing_mm: float | None, hu_range: tuple[float, float] | None
) -> Preprocessing:
    """By what the user says, else a table ``synthex`` in the metadata, else RAS, the CT's voxels and -1000 to 2000 HU.

    Raises
    ------
    SyntheXError
        When a value is not right.
    """
    from monai.transforms.intensity.dictionary import ScaleIntensityRanged

    own = bundle.metadata.get("synthex", {})
    axes = str(orientation or own.get("orientation", "RAS")).upper()
    try:
        spacing = float(own.get("spacing_mm", 0) if spacing_mm is None else spacing_mm)
        low, high = map(float, hu_range or own.get("hu_range", _DEFAULT_HU))
        first, last = map(float, bundle.input_format().get("value_range", (0, 1)))
    except (TypeError, ValueError) as error:
        raise SyntheXError(f"Network {bundle.path}: expected numbers for spacing_mm, hu_range and value_range ({error}).") from error
    if spacing < 0 or low >= high:
        raise SyntheXError(
            f"Network {bundle.path}: expected a spacing above 0 and a rising HU range, found {spacing:g} and {low:g}, {high:g}."
        )
    values: Any = ScaleIntensityRanged(IMAGE, low, high, first, last, clip=True)
    return Preprocessing(_axes(axes, bundle), (spacing, spacing, spacing) if spacing else None, values)


def preprocessing_of_bundle(bundle: Bundle, orientation: str | None, spacing_mm: float | None) -> Preprocessing:
    """What the bundle's ``inference.json`` does to an image, unless the user says otherwise of the grid; the grid comes before the values.

    Raises
    ------
    SyntheXError
        When it holds a step that is not known, or an expression that is more than arithmetic.
    """
    import monai.transforms
    from monai.transforms.compose import Compose

    spacing = None if spacing_mm is None else (spacing_mm,) * 3
    values = []
    try:
        for step in bundle.inference["preprocessing"]["transforms"]:
            kind, given = str(step["_target_"]).rpartition(".")[2], {key: part for key, part in step.items() if not key.startswith("_")}
            if kind == _ORIENTATION:
                orientation = orientation or str(bundle.plain(given["axcodes"]))
            elif kind == _SPACING:
                if spacing is None:
                    pixdim = bundle.plain(given["pixdim"])
                    first, second, third = (float(pixdim),) * 3 if isinstance(pixdim, float | int) else map(float, pixdim)
                    spacing = (first, second, third)
            elif kind in _VALUES:
                values.append(getattr(monai.transforms, kind)(**(bundle.plain(given) | {"keys": IMAGE})))
            elif kind not in _DONE:
                raise SyntheXError(
                    f"Network {bundle.path}: the preprocessing of inference.json has the step {kind}, expected {_ORIENTATION}, {_SPACING}, "
                    f"{', '.join(_VALUES)} or what reads the image."
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SyntheXError(
            f"Network {bundle.path}: the preprocessing of inference.json is not as MONAI has it ({type(error).__name__}: {error})."
        ) from error
    return Preprocessing(_axes(orientation.upper(), bundle) if orientation else None, spacing, Compose(values))


def _axes(letters: str, bundle: Bundle) -> str:
    if len(letters) != 3 or not all(any(axis in letters for axis in pair) for pair in ("LR", "PA", "IS")):
        raise SyntheXError(f"Network {bundle.path}: orientation must be three of L/R, P/A and I/S in any order, found '{letters}'.")
    return letters


def _resampled(image: sitk.Image, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """On voxels of another size (linear), which fill the same box."""
    old, new = np.array(image.GetSpacing()), np.array(spacing_mm)
    size = np.maximum(np.rint(np.array(image.GetSize()) * old / new), 1).astype(int)
    filter_ = sitk.ResampleImageFilter()
    filter_.SetReferenceImage(image)
    filter_.SetOutputPixelType(sitk.sitkFloat32)
    filter_.SetUseNearestNeighborExtrapolator(True)
    filter_.SetSize(size.tolist())
    filter_.SetOutputSpacing(new.tolist())
    filter_.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint((0.5 * new / old - 0.5).tolist()))
    return filter_.Execute(image)
