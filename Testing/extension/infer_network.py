"""What the tests of the Infer module share: a stand-in for a trained network."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
IJK_TO_RAS = np.array([[0, -0.5, 0, 10], [-0.7, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1.0]])


class Network:
    """Stands for a trained network: says one thing and keeps what it was shown. `more`: further parts of its predictions."""

    def __init__(self) -> None:
        self.task = HIP
        self.description = SimpleNamespace(training={})
        self.mask = np.zeros((12, 16), np.uint16)
        self.mask[2:5, 3:9] = 1 << 0
        self.mask[4:8, 3:9] |= 1 << 4
        self.landmarks = np.stack([np.arange(14) + 0.25, np.arange(14) / 2], 1).astype(np.float32)
        self.confidence = np.full(14, 0.95, np.float32)
        self.confidence[3] = 0.5
        self.seen: list[Any] = []
        self.more: dict[str, Any] = {}

    def predict(self, images: list[Any], batch: int = 8) -> list[Prediction]:
        self.seen += images
        return [Prediction(self.mask, self.landmarks, self.confidence, np.zeros((12, 16), np.uint8), **self.more) for _ in images]


def masks_on(segmentation: Any, volume: Any) -> dict[str, np.ndarray]:
    """Segment name to (K, H, W) mask on the image."""
    from SyntheXInferLib.result_nodes import segmentMasks

    inner = segmentation.GetSegmentation()
    ids = [inner.GetNthSegmentID(index) for index in range(inner.GetNumberOfSegments())]
    names = [inner.GetSegment(key).GetName() for key in ids]
    return dict(zip(names, segmentMasks(segmentation, ids, volume), strict=True))


def columns_of(table: Any) -> dict[str, dict[str, float]]:
    """Row name to column name to value."""
    inner = table.GetTable()
    titles = [inner.GetColumnName(place) for place in range(1, inner.GetNumberOfColumns())]
    return {
        inner.GetValueByName(row, "name").ToString(): {title: inner.GetValueByName(row, title).ToDouble() for title in titles}
        for row in range(inner.GetNumberOfRows())
    }
