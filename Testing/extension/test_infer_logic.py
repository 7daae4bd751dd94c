"""From X-ray nodes and predictions to masks and points that lie on them, and to a table of how good they are."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from infer_network import HIP, IJK_TO_RAS, Network, masks_on

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.options import InferOptions
from SyntheXLib.errors import SyntheXError


def under_a_transform(node: Any, slicer_core: ModuleType) -> np.ndarray:
    """Turn and move a node by a parent transform; returns the (4, 4) matrix."""
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    transform = slicer_core.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer_core.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return matrix


def test_the_masks_lie_on_the_image_and_overlap_where_the_task_lets_them(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    network.task = replace(HIP, segmentation="multilabel")
    found = masks_on(SyntheXInferLogic().predict(xray, "model.pt").segmentation, xray)
    assert list(found) == list(HIP.structure_names)
    for structure in HIP.structures:
        np.testing.assert_array_equal(found[structure.name][0], network.mask >> structure.bit & 1, err_msg=structure.name)


def test_exclusive_masks_share_a_layer_and_have_the_colours_of_the_task(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    network.mask = np.where(network.mask > 1, 16, network.mask).astype(np.uint16)
    segmentation = SyntheXInferLogic().predict(xray, "model.pt").segmentation
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 1
    found = masks_on(segmentation, xray)
    np.testing.assert_array_equal(found["left_hemipelvis"][0], network.mask == 1)
    np.testing.assert_array_equal(found["left_femur"][0], network.mask == 16)
    color = segmentation.GetSegmentation().GetNthSegment(4).GetColor()
    assert color == pytest.approx([value / 255 for value in HIP.structures[4].color])


def test_masks_and_points_follow_the_image_under_a_transform(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    matrix = under_a_transform(xray, slicer_core) @ IJK_TO_RAS
    result = SyntheXInferLogic().predict(xray, "model.pt")
    found = masks_on(result.segmentation, xray)["left_femur"]
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
    (markups,) = SyntheXInferLogic().predict(xray, "model.pt", InferOptions(threshold=0.4)).landmarks
    assert all(markups.GetNthControlPointSelected(index) for index in range(14))


def test_the_network_is_shown_the_pixels_with_the_spacing_of_rows_and_columns(network: Network, xray: Any, slicer_core: ModuleType) -> None:
    SyntheXInferLogic().predict(xray, "model.pt", InferOptions(polarity="bone-bright"))
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
    SyntheXInferLogic().predict(xray, "model.pt", InferOptions(polarity="bone-dark"))
    pixels = slicer_core.util.arrayFromVolume(xray)[0].astype(np.float32)
    np.testing.assert_array_equal(network.seen[0].pixels, pixels.max() - pixels)
    with pytest.raises(SyntheXError, match="Polarity must be one of"):
        SyntheXInferLogic().predict(xray, "model.pt", InferOptions(polarity="bones"))


def test_a_volume_is_no_image(network: Network, scene: Any, slicer_core: ModuleType) -> None:
    volume = slicer_core.util.addVolumeFromArray(np.zeros((3, 4, 5)), np.eye(4), "CT")
    with pytest.raises(SyntheXError, match=r"Volume 'CT': expected a single grey image, found an array of shape \(3, 4, 5\)"):
        SyntheXInferLogic().predict(volume, "model.pt")


def test_the_frames_of_a_run_give_a_slice_and_a_list_of_points_each(network: Network, scene: Any, slicer_core: ModuleType) -> None:
    frames = np.arange(3 * 12 * 16, dtype=np.float32).reshape(3, 12, 16)
    run = slicer_core.util.addVolumeFromArray(frames, IJK_TO_RAS, "run")
    found = SyntheXInferLogic().predict(run, "model.pt", InferOptions(polarity="bone-bright"), series=True)
    np.testing.assert_array_equal([image.pixels for image in network.seen], frames)
    assert masks_on(found.segmentation, run)["left_femur"].shape == (3, 12, 16)
    assert [node.GetNthControlPointPosition(0)[2] for node in found.landmarks] == [30, 31, 32]
    assert [node.GetName() for node in found.landmarks] == ["run landmarks 0", "run landmarks 1", "run landmarks 2"]


def test_a_sequence_gives_sequences_with_its_index(network: Network, xray: Any, scene: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "run")
    sequence.SetIndexName("time")
    for value in ("0.5", "1.5"):
        sequence.SetDataNodeAtValue(xray, value)
    before = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    found = SyntheXInferLogic().predictSequence(sequence, "model.pt")
    segmentations, (landmarks,) = found.segmentation, found.landmarks
    assert found.taskOf() == HIP
    for made, kind in ((segmentations, "vtkMRMLSegmentationNode"), (landmarks, "vtkMRMLMarkupsFiducialNode")):
        assert made.GetIndexName() == "time"
        assert [made.GetNthIndexValue(place) for place in range(made.GetNumberOfDataNodes())] == ["0.5", "1.5"]
        assert made.GetNthDataNode(1).IsA(kind)
    assert landmarks.GetNthDataNode(1).GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.9"
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == before


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
        before, after = masks_on(node, xray), masks_on(again, xray)
        assert list(before) == list(after)
        assert all((before[name] == after[name]).all() for name in before)
    else:
        again = slicer_core.mrmlScene.GetNodeByID(slicer_core.modules.markups.logic().LoadMarkups(path, "again"))
        assert not again.GetNthControlPointSelected(3)
        assert again.GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.9"
        np.testing.assert_allclose(again.GetNthControlPointPosition(3), node.GetNthControlPointPosition(3), atol=1e-4)
