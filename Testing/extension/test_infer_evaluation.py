"""What was found held against a reference: numbers, table, activation curve, files."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

import SimpleITK as sitk
from infer_network import HIP, Network, columns_of

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXLib.errors import SyntheXError


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


def test_the_activation_curve_is_a_chart_of_error_against_share(network: Network, xray: Any, scene: Any, slicer_core: Any) -> None:
    logic = SyntheXInferLogic()
    xray.SetSpacing(1.5, 1.5, 1)
    network.confidence = np.linspace(0.99, 0.5, 14).astype(np.float32)
    found = logic.predict(xray, "model.pt")
    network.landmarks = network.landmarks + np.array([4.0, 0], np.float32)
    comparison = logic.compare(xray, found, logic.predict(xray, "model.pt"))
    chart = logic.curve(xray, comparison)
    series = chart.GetNthPlotSeriesNode(0)
    table = series.GetTableNode()
    share, error, threshold = (
        slicer_core.util.arrayFromTableColumn(table, name) for name in ("activated_percent", "mean_error_mm", "threshold")
    )
    visible = int((network.landmarks[:, 0] <= 15.5).sum())
    assert visible == 12  # the others lie outside
    np.testing.assert_allclose(share, 100 * np.arange(1, visible + 1) / visible)
    np.testing.assert_allclose(error, 6.0, atol=1e-3)  # 4 px of 1.5 mm each
    np.testing.assert_allclose(threshold, network.confidence[:visible], atol=1e-4)
    assert (series.GetXColumnName(), series.GetYColumnName()) == ("activated_percent", "mean_error_mm")
    logic.removeCurve(chart)
    assert chart.GetScene() is None and series.GetScene() is None and table.GetScene() is None


def test_a_corrected_pixel_spacing_counts(network: Network, xray: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    found = logic.predict(xray, "model.pt")
    network.landmarks = network.landmarks + np.array([3.0, -4.0], np.float32)
    comparison = logic.compare(xray, found, logic.predict(xray, "model.pt"), (2.0, 1.0))
    np.testing.assert_allclose(np.nanmax(comparison.errors), np.hypot(3 * 1.0, 4 * 2.0), atol=1e-3)


def test_errors_are_in_pixels_where_the_spacing_is_unknown(network: Network, xray: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    xray.SetSpacing(1, 1, 1)
    found = logic.predict(xray, "model.pt")
    network.landmarks = network.landmarks + np.array([3.0, -4.0], np.float32)
    comparison = logic.compare(xray, found, logic.predict(xray, "model.pt"))
    assert not comparison.millimetres and np.nanmax(comparison.errors) == pytest.approx(5, abs=1e-3)
    assert logic.curve(xray, comparison).GetYAxisTitle() == "mean error, pixels"


def test_the_frames_of_a_sequence_are_evaluated_together(network: Network, xray: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    run = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "run")
    for value in ("0.5", "1.5", "2.5"):
        run.SetDataNodeAtValue(xray, value)
    found = logic.predictSequence(run, "model.pt")
    network.landmarks = network.landmarks + np.array([1.0, 0], np.float32)
    network.mask = np.where(network.mask == 1, 0, network.mask).astype(np.uint16)
    network.mask[2:4, 3:9] = 1
    reference = logic.predictSequence(run, "model.pt")
    rows = columns_of(logic.evaluate(run, found, logic.reference(reference.segmentation, reference.landmarks[0])))
    assert rows["left_hemipelvis"]["frames"] == 3
    assert rows["left_hemipelvis"]["dice"] == pytest.approx(1.0)  # the mask of the pelvis has two rows of its own in both
    assert rows["FH-l"]["frames"] == 3 and rows["FH-l"]["activated"] == 3
    assert rows["FH-l"]["error_detector_mm"] == pytest.approx(0.7, abs=1e-3)
    with pytest.raises(SyntheXError, match="expected a sequence of vtkMRMLSegmentationNode"):
        logic.reference(run, None)


@pytest.mark.parametrize("segmentation", ["exclusive", "multilabel"])
def test_a_result_is_written_as_it_stands_in_the_scene(network: Network, xray: Any, tmp_path: Path, segmentation: str) -> None:
    from PIL import Image

    network.task = replace(HIP, segmentation=segmentation)
    network.mask = np.where(network.mask > 1, 16, network.mask).astype(np.uint16)
    logic = SyntheXInferLogic()
    found = logic.predict(xray, "model.pt")
    reference = logic.predict(xray, "model.pt")
    found.landmarks[0].SetNthControlPointPosition(0, 10, 20, 30)  # to pixel (0, 0), by hand
    made = logic.export(tmp_path / "out", xray, found, 0.9, logic.compare(xray, found, reference))
    assert sorted(path.name for path in made) == sorted(path.name for path in (tmp_path / "out").iterdir())
    names = {path.name for path in made}
    assert {"X-ray_landmarks.mrk.json", "X-ray_overlay.png", "landmarks.csv", "evaluation.csv", "activation.csv"} <= names
    if segmentation == "exclusive":
        image = sitk.ReadImage(str(tmp_path / "out/X-ray_labels.nii.gz"))
        labels = np.asarray(Image.open(tmp_path / "out/X-ray_labels.png"))
        np.testing.assert_array_equal(labels, np.select([network.mask == 1, network.mask == 16], [1, 5]))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[0], labels)
        np.testing.assert_allclose(image.GetSpacing()[:2], (0.7, 0.5), atol=1e-6)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((2, 1, 0)), (-(10 - 0.5), -(20 - 1.4), 30), atol=1e-5)  # LPS
    else:
        femur = np.asarray(Image.open(tmp_path / "out/X-ray_left_femur.png"))
        np.testing.assert_array_equal(femur, 255 * (network.mask == 16))
        assert "X-ray_left_femur.nii.gz" in names
    with (tmp_path / "out/landmarks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["landmark"], float(rows[0]["column"]), float(rows[0]["row"])) == ("FH-l", 0.0, 0.0)
    assert [row["activated"] for row in rows] == ["1"] * 3 + ["0"] + ["1"] * 10
    points = json.loads((tmp_path / "out/X-ray_landmarks.mrk.json").read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    assert (points[3]["label"], points[3]["description"]) == (HIP.landmark_names[3], "confidence 0.5000, not above 0.9")
    with (tmp_path / "out/evaluation.csv").open(encoding="utf-8") as file:
        evaluation = {row["name"]: row for row in csv.DictReader(file)}
    assert float(evaluation["left_femur"]["dice"]) == 1.0
    assert Image.open(tmp_path / "out/X-ray_overlay.png").size == (1024, 768)


def of_several_models(network: Network) -> None:
    """Let the network answer as an ensemble that tells presence does."""
    network.more = {
        "presence": np.linspace(0, 1, 14).astype(np.float32),
        "landmark_spread": (np.arange(14) / 10).astype(np.float32),
        "structure_spread": np.array([0.02, 0.04, np.nan, np.nan, np.nan, np.nan], np.float32),
    }


def test_presence_and_spread_are_told_kept_and_written(network: Network, xray: Any, tmp_path: Path) -> None:
    of_several_models(network)
    logic = SyntheXInferLogic()
    found = logic.predict(xray, "model.pt")
    (points,) = found.landmarks
    assert points.GetNthControlPointDescription(3) == "confidence 0.5000, presence 0.2308, spread 0.30 px, not above 0.9"
    logic.setThreshold(xray, found, 0.4)
    assert points.GetNthControlPointDescription(3) == "confidence 0.5000, presence 0.2308, spread 0.30 px"
    assert found.spread() == (pytest.approx(0.65), pytest.approx(0.03))
    logic.export(tmp_path / "out", xray, found, 0.9)
    with (tmp_path / "out/landmarks.csv").open(encoding="utf-8") as file:
        row = list(csv.DictReader(file))[3]
    place = [float(row[name]) for name in ("x_mm", "y_mm", "presence", "spread_mm")]
    assert place == pytest.approx([3.25 * 0.7, 1.5 * 0.5, 0.2308, 0.3 * 0.6], abs=1e-3)
    assert (tmp_path / "out/structures.csv").read_text(encoding="utf-8").splitlines() == [
        "image,frame,structure,spread",
        "X-ray,0,left_hemipelvis,0.0200",
        f"X-ray,0,{HIP.structure_names[1]},0.0400",
    ]
    network.more = {}
    alone = logic.predict(xray, "model.pt")
    assert np.isnan(alone.spread()).all() and alone.landmarks[0].GetNthControlPointDescription(0) == "confidence 0.9500"
    logic.export(tmp_path / "alone", xray, alone, 0.9)
    assert not (tmp_path / "alone/structures.csv").exists()


@pytest.mark.parametrize("count", [1, 3])
def test_masks_are_written_as_a_dicom_segmentation_of_the_image(network: Network, scene: Any, tmp_path: Path, count: int) -> None:
    from pydicom import dcmread
    from test_infer_series import RAMP, write_dicom

    network.task = replace(HIP, segmentation="multilabel")
    path = write_dicom(tmp_path / "run.dcm", np.stack([RAMP] * count) if count > 1 else RAMP, PixelSpacing=[0.5, 0.5])
    logic = SyntheXInferLogic()
    image = logic.loadImage(path)
    found = logic.predictSequence(image, "model.pt") if count > 1 else logic.predict(image, "model.pt")
    made = logic.export(tmp_path / "out", image, found, 0.9, masks=("seg",))
    assert not [one for one in made if one.name.endswith(("labels.png", ".nii.gz", "femur.png"))]
    (file,) = (one for one in made if one.suffix == ".dcm")
    seg, source = dcmread(file), dcmread(path)
    assert (seg.Modality, seg.Rows, seg.Columns, seg.NumberOfFrames) == ("SEG", 12, 16, 6 * count)
    assert [one.SegmentLabel for one in seg.SegmentSequence] == list(HIP.structure_names)
    (instance,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID
    planes = seg.pixel_array.reshape(6, count, 12, 16)
    for structure in HIP.structures:
        for plane in planes[structure.bit]:
            np.testing.assert_array_equal(plane, network.mask >> structure.bit & 1)


def test_a_dicom_segmentation_needs_a_dicom_file(network: Network, xray: Any, tmp_path: Path) -> None:
    logic = SyntheXInferLogic()
    with pytest.raises(SyntheXError, match="'X-ray': DICOM SEG refers to the DICOM file of the image, which is not known here"):
        logic.export(tmp_path / "out", xray, logic.predict(xray, "model.pt"), 0.9, masks=("png", "seg"))
    assert not (tmp_path / "out").exists()


def test_only_a_result_of_infer_is_written(network: Network, xray: Any, scene: Any, tmp_path: Path) -> None:
    found = FoundNodes(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn"), ())
    with pytest.raises(SyntheXError, match="'drawn' was not found by SyntheX Infer"):
        SyntheXInferLogic().export(tmp_path / "out", xray, found, 0.9)
    assert not (tmp_path / "out").exists()
