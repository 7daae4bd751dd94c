"""From an X-ray node and a prediction to a label map and points that lie on it."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
IJK_TO_RAS = np.array([[0, -0.5, 0, 10], [-0.7, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1.0]])


class Network:
    """Stands for a trained network: says one thing and keeps what it was shown."""

    task = HIP

    def __init__(self) -> None:
        self.mask = np.zeros((12, 16), np.uint16)
        self.mask[2:5, 3:9] = 1 << 0
        self.mask[4:8, 3:9] |= 1 << 4
        self.landmarks = np.stack([np.arange(14) + 0.25, np.arange(14) / 2], 1).astype(np.float32)
        self.confidence = np.full(14, 0.95, np.float32)
        self.confidence[3] = 0.5
        self.seen: list[Any] = []

    def predict(self, images: list[Any]) -> list[Prediction]:
        self.seen += images
        return [Prediction(self.mask, self.landmarks, self.confidence, np.zeros((12, 16), np.uint8)) for _ in images]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(Predictor, "load", lambda path, device="auto": network)
    return network


@pytest.fixture
def xray(scene: Any, slicer_core: ModuleType) -> Any:
    pixels = np.arange(12 * 16, dtype=np.uint8).reshape(1, 12, 16)
    return slicer_core.util.addVolumeFromArray(pixels, IJK_TO_RAS, "X-ray")


def test_the_label_map_lies_on_the_image_and_names_the_structures(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    labelmap, _ = SyntheXInferLogic().predict(xray, "model.pt")
    labels = slicer_core.util.arrayFromVolume(labelmap)[0]
    assert set(np.unique(labels)) == {0, 1, 5}
    np.testing.assert_array_equal(labels[4, 3:9], 5)  # the later structure lies on top
    matrix = slicer_core.util.vtkMatrixFromArray(np.eye(4))
    labelmap.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(slicer_core.util.arrayFromVTKMatrix(matrix), IJK_TO_RAS)
    colors = labelmap.GetDisplayNode().GetColorNode()
    assert [colors.GetColorName(value) for value in range(1, 7)] == list(HIP.structure_names)


def test_the_points_lie_on_their_pixels_and_uncertain_ones_are_missing(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    _, markups = SyntheXInferLogic().predict(xray, "model.pt")
    assert [markups.GetNthControlPointLabel(index) for index in range(14)] == list(HIP.landmark_names)
    for index in range(14):
        column, row = network.landmarks[index]
        expected = (10 - 0.5 * row, 20 - 0.7 * column, 30)
        np.testing.assert_allclose(markups.GetNthControlPointPosition(index), expected, atol=1e-5)
    missing = slicer_core.vtkMRMLMarkupsNode.PositionMissing
    assert [index for index in range(14) if markups.GetNthControlPointPositionStatus(index) == missing] == [3]
    assert markups.GetNthControlPointDescription(3) == "confidence 0.500"


def test_the_network_is_shown_the_pixels_with_the_spacing_of_rows_and_columns(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    SyntheXInferLogic().predict(xray, "model.pt")
    (image,) = network.seen
    np.testing.assert_array_equal(image.pixels, slicer_core.util.arrayFromVolume(xray)[0])
    assert image.intensity == "log"
    assert image.pixel_spacing_mm == pytest.approx((0.5, 0.7))


def test_a_picture_without_spacing_is_of_unknown_spacing(network: Network, xray: Any) -> None:
    xray.SetSpacing(1, 1, 1)
    SyntheXInferLogic().predict(xray, "model.pt")
    assert network.seen[0].pixel_spacing_mm is None


def test_an_image_of_the_simulate_module_is_known_to_be_linear(network: Network, xray: Any) -> None:
    xray.SetAttribute("SyntheX.Intensity", "linear")
    SyntheXInferLogic().predict(xray, "model.pt")
    assert network.seen[0].intensity == "linear"


def test_a_volume_is_no_image(network: Network, scene: Any, slicer_core: ModuleType) -> None:
    volume = slicer_core.util.addVolumeFromArray(np.zeros((3, 4, 5)), np.eye(4), "CT")
    with pytest.raises(SyntheXError, match=r"Volume 'CT': expected a single grey image, found an array of shape \(3, 4, 5\)"):
        SyntheXInferLogic().predict(volume, "model.pt")
