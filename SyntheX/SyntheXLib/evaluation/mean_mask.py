"""The least that a segmentation must beat: the mean of the training's masks, the same for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.results import split_masks

if TYPE_CHECKING:
    from SyntheXLib.datasets.reader import XrayDataset

_THRESHOLD = 0.5


def mean_masks(dataset: XrayDataset) -> NDArray[np.float32]:
    """(C, H, W) share of the data set's images in which a pixel belongs to each structure; exclusive tasks by their label on top."""
    total = np.zeros((len(dataset.task.structures), *dataset.image_shape), np.float64)
    for index in range(len(dataset)):
        total += split_masks(dataset[index].mask, dataset.task)
    return (total / len(dataset)).astype(np.float32)


def in_frame(means: NDArray[np.float32], shape: tuple[int, int], threshold: float = _THRESHOLD) -> NDArray[np.bool_]:
    """Mean masks as the prediction of an image of another size and aspect: stretched over its frame, then cut at a threshold.

    Parameters
    ----------
    means
        (C, H, W), see `mean_masks`.
    shape
        Rows and columns of the image.
    threshold
        Share from which a pixel counts.

    Returns
    -------
    ndarray
        (C, *shape) bool.
    """
    from skimage.transform import resize

    stretched = [resize(mean, shape, order=1, mode="edge", anti_aliasing=True) for mean in means]
    return np.stack(stretched) >= threshold
