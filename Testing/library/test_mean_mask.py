"""The mean of a data set's masks, worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from SyntheXLib.evaluation.mean_mask import in_frame, mean_masks
from SyntheXLib.tasks.task import load_task


class _Dataset:
    task = load_task("chest-lungs")
    image_shape = (2, 4)
    masks = (np.array([[1, 1, 2, 2], [1, 5, 2, 8]], np.uint16), np.array([[1, 0, 2, 0], [0, 0, 2, 2]], np.uint16))

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(mask=self.masks[index])


def test_the_mean_counts_what_lies_on_top() -> None:
    means = mean_masks(_Dataset())  # type: ignore[arg-type]
    left, right, mediastinum, abdomen = means
    assert left.tolist() == [[1, 0.5, 0, 0], [0.5, 0, 0, 0]]  # 5: the mediastinum hides the lung
    assert right.tolist() == [[0, 0, 1, 0.5], [0, 0, 1, 0.5]]
    assert mediastinum.sum() == pytest.approx(0.5)
    assert abdomen.sum() == pytest.approx(0.5)


def test_the_mean_fills_the_frame_of_another_image() -> None:
    means = np.zeros((1, 4, 4), np.float32)
    means[0, :, :2] = 1
    found = in_frame(means, (20, 40))
    assert found.shape == (1, 20, 40)
    assert found[0, :, :19].all()
    assert not found[0, :, 21:].any()
