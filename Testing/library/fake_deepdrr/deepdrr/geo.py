"""Stands in for DeepDRR's geometry."""

import numpy as np


class FrameTransform:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data


class CameraIntrinsicTransform:
    def __init__(self, data: np.ndarray, sensor_height: int, sensor_width: int) -> None:
        self.data, self.sensor_size = data, (sensor_width, sensor_height)


class CameraProjection:
    def __init__(self, intrinsic: CameraIntrinsicTransform, extrinsic: FrameTransform) -> None:
        self.intrinsic, self.extrinsic = intrinsic, extrinsic
