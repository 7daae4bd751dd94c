"""Labels from one grid onto another."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk


def labels_on_grid(labels: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Bring a label map onto the grid of another image of the same world.

    Where the axes are only turned, every voxel finds its own again. Between voxels of another size each label's mask is interpolated
    linearly, and the label with the largest share wins: borders are smooth, not stepped. (ITK's label gaussian does that alike, but takes
    minutes for a CT.)

    Parameters
    ----------
    labels
        Integers; 0 is the background, which is all around too.
    reference
        Any image.

    Returns
    -------
    SimpleITK.Image
        Of the type of `labels`, on the grid of `reference`.
    """
    if np.allclose(sorted(labels.GetSpacing()), sorted(reference.GetSpacing()), rtol=1e-3):
        return sitk.Resample(labels, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(labels)
    found = np.zeros(reference.GetSize()[::-1], sitk.GetArrayViewFromImage(labels).dtype)
    # The background begins with the share that no label has, kept as the share of all labels: float16 is fine enough for a comparison.
    best = 1 - _share(labels > 0, reference, (slice(0, None),) * 3).astype(np.float16)
    for label in statistics.GetLabels():
        part = _cut(labels, statistics.GetBoundingBox(label))
        place = _place(part, reference)
        share = _share(part == label, reference, place)
        more = share > best[place]
        found[place][more] = label
        best[place][more] = share[more]
    result = sitk.GetImageFromArray(found)
    result.CopyInformation(reference)
    return result


def _cut(labels: sitk.Image, box: tuple[int, ...]) -> sitk.Image:
    """The labels in a box (first i, j, k; size), with a voxel around it to spare where there is one."""
    ranges = [
        (max(start - 1, 0), min(start + size + 1, length)) for start, size, length in zip(box[:3], box[3:], labels.GetSize(), strict=True)
    ]
    i, j, k = (slice(first, last) for first, last in ranges)
    return labels[i, j, k]


def _place(part: sitk.Image, reference: sitk.Image) -> tuple[slice, slice, slice]:
    """Slices (k, j, i) of the reference around another image."""
    ranges = [(-0.5, length - 0.5) for length in part.GetSize()]
    corners = [
        reference.TransformPhysicalPointToContinuousIndex(part.TransformContinuousIndexToPhysicalPoint(corner))
        for corner in product(*ranges)
    ]
    low = np.clip(np.floor(np.min(corners, axis=0)), 0, reference.GetSize()).astype(int)
    high = np.clip(np.ceil(np.max(corners, axis=0)) + 1, 0, reference.GetSize()).astype(int)
    k, j, i = (slice(int(first), int(max(first, last))) for first, last in zip(low[::-1], high[::-1], strict=True))
    return k, j, i


def _share(mask: sitk.Image, reference: sitk.Image, place: tuple[slice, slice, slice]) -> np.ndarray:
    """(K, J, I) float32 in a part of the reference: the mask, interpolated linearly."""
    start = [part.start for part in place[::-1]]
    size = [length if part.stop is None else part.stop - part.start for part, length in zip(place[::-1], reference.GetSize(), strict=True)]
    if min(size) == 0:
        return np.zeros(size[::-1], np.float32)
    resample = sitk.ResampleImageFilter()
    resample.SetOutputPixelType(sitk.sitkFloat32)
    resample.SetSize(size)
    resample.SetOutputOrigin(reference.TransformIndexToPhysicalPoint(start))
    resample.SetOutputSpacing(reference.GetSpacing())
    resample.SetOutputDirection(reference.GetDirection())
    return sitk.GetArrayFromImage(resample.Execute(sitk.Cast(mask, sitk.sitkFloat32)))
