"""From X-ray nodes and predictions to masks and points that lie on them, and to a table of how good they are."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
IJK_TO_RAS = np.array([[0, -0.5, 0, 10], [-0.7, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1.0]])


class Network:
    """Stands for a trained network: says one thing and keeps what it was shown."""

    def __init__(self) -> None:
        self.task = HIP
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


def masks(segmentation: Any, volume: Any, slicer_core: ModuleType) -> dict[str, np.ndarray]:
    """Segment name to (K, H, W) mask on the image."""
    inner = segmentation.GetSegmentation()
    ids = [inner.GetNthSegmentID(index) for index in range(inner.GetNumberOfSegments())]
    return {
        inner.GetSegment(key).GetName(): slicer_core.util.arrayFromSegmentBinaryLabelmap(segmentation, key, volume).astype(bool)
        for key in ids
    }


def under_a_transform(node: Any, slicer_core: ModuleType) -> np.ndarray:
    """Turn and move a node by a parent transform; returns the (4, 4) matrix."""
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    transform = slicer_core.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer_core.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return matrix


def test_the_masks_lie_on_the_image_and_overlap_where_the_task_lets_them(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    network.task = replace(HIP, segmentation="multilabel")
    found = masks(SyntheXInferLogic().predict(xray, "model.pt").segmentation, xray, slicer_core)
    assert list(found) == list(HIP.structure_names)
    for structure in HIP.structures:
        np.testing.assert_array_equal(found[structure.name][0], network.mask >> structure.bit & 1, err_msg=structure.name)


def test_exclusive_masks_share_a_layer_and_have_the_colours_of_the_task(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    network.mask = np.where(network.mask > 1, 16, network.mask).astype(np.uint16)
    segmentation = SyntheXInferLogic().predict(xray, "model.pt").segmentation
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 1
    found = masks(segmentation, xray, slicer_core)
    np.testing.assert_array_equal(found["left_hemipelvis"][0], network.mask == 1)
    np.testing.assert_array_equal(found["left_femur"][0], network.mask == 16)
    color = segmentation.GetSegmentation().GetNthSegment(4).GetColor()
    assert color == pytest.approx([value / 255 for value in HIP.structures[4].color])


def test_masks_and_points_follow_the_image_under_a_transform(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    matrix = under_a_transform(xray, slicer_core) @ IJK_TO_RAS
    result = SyntheXInferLogic().predict(xray, "model.pt")
    found = masks(result.segmentation, xray, slicer_core)["left_femur"]
    np.testing.assert_array_equal(found[0], network.mask >> 4 & 1)
    column, row = network.landmarks[5]
    np.testing.assert_allclose(result.landmarks[0].GetNthControlPointPosition(5), (matrix @ [column, row, 0, 1])[:3], atol=1e-5)


def test_the_points_lie_on_their_pixels_and_uncertain_ones_are_deselected(network: Network, xray: Any) -> None:
    (markups,) = SyntheXInferLogic().predict(xray, "model.pt").landmarks
    assert [markups.GetNthControlPointLabel(index) for index in range(14)] == list(HIP.landmark_names)
    for index in range(14):
        column, row = network.landmarks[index]
        expected = (10 - 0.5 * row, 20 - 0.7 * column, 30)
        np.testing.assert_allclose(markups.GetNthControlPointPosition(index), expected, atol=1e-5)
    assert [index for index in range(14) if not markups.GetNthControlPointSelected(index)] == [3]
    assert markups.GetNthControlPointDescription(2) == "confidence 0.9500"
    assert markups.GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.9"


def test_the_threshold_decides_what_is_certain(network: Network, xray: Any) -> None:
    (markups,) = SyntheXInferLogic().predict(xray, "model.pt", threshold=0.4).landmarks
    assert all(markups.GetNthControlPointSelected(index) for index in range(14))


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


def test_what_the_numbers_mean_may_be_told(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    SyntheXInferLogic().predict(xray, "model.pt", polarity="bone-dark")
    pixels = slicer_core.util.arrayFromVolume(xray)[0].astype(np.float32)
    np.testing.assert_array_equal(network.seen[0].pixels, pixels.max() - pixels)
    with pytest.raises(SyntheXError, match="Polarity must be one of"):
        SyntheXInferLogic().predict(xray, "model.pt", polarity="bones")


def test_a_volume_is_no_image(network: Network, scene: Any, slicer_core: ModuleType) -> None:
    volume = slicer_core.util.addVolumeFromArray(np.zeros((3, 4, 5)), np.eye(4), "CT")
    with pytest.raises(SyntheXError, match=r"Volume 'CT': expected a single grey image, found an array of shape \(3, 4, 5\)"):
        SyntheXInferLogic().predict(volume, "model.pt")


def test_the_frames_of_a_run_give_a_slice_and_a_list_of_points_each(network: Network, scene: Any, slicer_core: ModuleType) -> None:
    frames = np.arange(3 * 12 * 16, dtype=np.float32).reshape(3, 12, 16)
    run = slicer_core.util.addVolumeFromArray(frames, IJK_TO_RAS, "run")
    found = SyntheXInferLogic().predict(run, "model.pt", series=True)
    np.testing.assert_array_equal([image.pixels for image in network.seen], frames)
    assert masks(found.segmentation, run, slicer_core)["left_femur"].shape == (3, 12, 16)
    assert [node.GetNthControlPointPosition(0)[2] for node in found.landmarks] == [30, 31, 32]
    assert [node.GetName() for node in found.landmarks] == ["run landmarks 0", "run landmarks 1", "run landmarks 2"]


def test_a_sequence_gives_sequences_with_its_index(network: Network, xray: Any, scene: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "run")
    sequence.SetIndexName("time")
    for value in ("0.5", "1.5"):
        sequence.SetDataNodeAtValue(xray, value)
    before = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    segmentations, landmarks = SyntheXInferLogic().predictSequence(sequence, "model.pt")
    for made, kind in ((segmentations, "vtkMRMLSegmentationNode"), (landmarks, "vtkMRMLMarkupsFiducialNode")):
        assert made.GetIndexName() == "time"
        assert [made.GetNthIndexValue(place) for place in range(made.GetNumberOfDataNodes())] == ["0.5", "1.5"]
        assert made.GetNthDataNode(1).IsA(kind)
    assert landmarks.GetNthDataNode(1).GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.9"
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == before


def columns_of(table: Any) -> dict[str, dict[str, float]]:
    """Row name to column name to value."""
    inner = table.GetTable()
    titles = [inner.GetColumnName(place) for place in range(1, inner.GetNumberOfColumns())]
    return {
        inner.GetValueByName(row, "name").ToString(): {title: inner.GetValueByName(row, title).ToDouble() for title in titles}
        for row in range(inner.GetNumberOfRows())
    }


def test_the_evaluation_gives_dice_and_millimetres_of_what_has_a_reference(network: Network, xray: Any, scene: Any) -> None:
    network.task = replace(HIP, segmentation="multilabel")
    logic = SyntheXInferLogic()
    found = logic.predict(xray, "model.pt")
    network.mask = np.zeros((12, 16), np.uint16)
    network.mask[2:5, 3:6] = 1
    network.landmarks = network.landmarks + np.array([3.0, -4.0], np.float32)  # 3 columns of 0.7 mm, 4 rows of 0.5 mm
    reference = logic.predict(xray, "model.pt")
    reference.landmarks[0].RemoveNthControlPoint(7)
    rows = columns_of(logic.evaluate(xray, found, reference))
    assert rows["left_hemipelvis"]["dice"] == pytest.approx(2 * 9 / (9 + 18))
    assert rows["left_hemipelvis"]["frames"] == 1
    assert np.isnan(rows["left_femur"]["dice"]) and rows["left_femur"]["frames"] == 0  # not in the reference: nothing to compare
    outside, inside = HIP.landmark_names[2], HIP.landmark_names[9]  # references at rows -3 and 0.5
    assert np.isnan(rows[outside]["error_detector_mm"]) and rows[outside]["frames"] == 0
    assert HIP.landmark_names[7] not in rows
    assert rows[inside]["error_detector_mm"] == pytest.approx(np.hypot(3 * 0.7, 4 * 0.5), abs=1e-3)
    assert (rows[inside]["confidence"], rows[inside]["activated"]) == (0.95, 1)


def test_nothing_to_compare_is_an_error(network: Network, xray: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    found = logic.predict(xray, "model.pt")
    with pytest.raises(SyntheXError, match="Nothing to evaluate"):
        logic.evaluate(xray, found, FoundNodes(None, ()))


@pytest.mark.parametrize("what", ["segmentation", "landmarks"])
def test_what_was_found_comes_back_from_files(network: Network, xray: Any, slicer_core: ModuleType, tmp_path: Path, what: str) -> None:
    found = SyntheXInferLogic().predict(xray, "model.pt")
    node = found.segmentation if what == "segmentation" else found.landmarks[0]
    path = str(tmp_path / ("found.seg.nrrd" if what == "segmentation" else "found.mrk.json"))
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(path)
    assert storage.WriteData(node)
    if what == "segmentation":
        again = slicer_core.modules.segmentations.logic().LoadSegmentationFromFile(path)
        before, after = masks(node, xray, slicer_core), masks(again, xray, slicer_core)
        assert list(before) == list(after)
        assert all((before[name] == after[name]).all() for name in before)
    else:
        again = slicer_core.mrmlScene.GetNodeByID(slicer_core.modules.markups.logic().LoadMarkups(path, "again"))
        assert not again.GetNthControlPointSelected(3)
        assert again.GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.9"
        np.testing.assert_allclose(again.GetNthControlPointPosition(3), node.GetNthControlPointPosition(3), atol=1e-4)
