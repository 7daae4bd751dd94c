"""X-ray files, runs of frames and DICOM volumes as nodes, and a run in a process of its own."""

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from infer_network import HIP, IJK_TO_RAS, Network, masks_on

from SyntheXHomeLib.image_nodes import asSequence, browserOf, frameCount, shownImage
from SyntheXInferLib.finding import Finding
from SyntheXInferLib.landmark_nodes import Measures
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.result_nodes import structureSpread
from SyntheXInferLib.series import browse
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction

sys.path.append(str(Path(__file__).resolve().parents[1] / "library"))
from toy_network import write_dicom

CPU = InferOptions(device="cpu")
RAMP = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16)


def test_a_dicom_file_becomes_a_volume_that_knows_its_facts(scene: Any, slicer_core: ModuleType, tmp_path: Path) -> None:
    tags = {"ImagerPixelSpacing": [0.3, 0.2], "PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1}
    logic = SyntheXInferLogic()
    node = logic.loadImage(write_dicom(tmp_path / "hip.dcm", RAMP, "MONOCHROME1", WindowCenter=4000, WindowWidth=300, **tags))
    assert node.GetName() == "hip" and node.GetSpacing() == pytest.approx((0.2, 0.3, 1.0))
    np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(node)[0], 4095 - RAMP)
    facts = logic.facts(node)
    assert (facts.photometric, facts.polarity, facts.intensity, facts.spacing_source) == (
        "MONOCHROME1",
        "bone-bright",
        "log",
        "Imager Pixel Spacing",
    )
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (300, 4000)


def test_a_picture_knows_no_spacing(scene: Any, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(RAMP), str(tmp_path / "hip.png"))
    logic = SyntheXInferLogic()
    facts = logic.facts(logic.loadImage(tmp_path / "hip.png"))
    assert (facts.shape, facts.pixel_spacing_mm, facts.polarity, facts.photometric) == ((12, 16), None, None, "")


def test_a_run_becomes_a_sequence_in_a_browser(scene: Any, slicer_core: ModuleType, tmp_path: Path) -> None:
    frames = np.stack([RAMP + number for number in range(3)])
    run = SyntheXInferLogic().loadImage(write_dicom(tmp_path / "run.dcm", frames, FrameTime=66.5, PixelSpacing=[0.5, 0.5]))
    assert run.IsA("vtkMRMLSequenceNode") and (run.GetIndexName(), run.GetIndexUnit()) == ("time", "s")
    assert [run.GetNthIndexValue(place) for place in range(3)] == ["0.0000", "0.0665", "0.1330"]
    browser = browserOf(run)
    browser.SetSelectedItemNumber(2)
    slicer_core.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(shownImage(run))[0], frames[2])
    facts = SyntheXInferLogic().facts(run)
    assert (facts.frames, facts.pixel_spacing_mm, facts.frame_time_s) == (3, (0.5, 0.5), 0.0665)
    assert browserOf(run) is browser and scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1


def test_a_volume_of_the_dicom_database_is_asked_for_its_file(
    network: Network, scene: Any, slicer_core: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"PixelSpacing": [0.4, 0.4], "PixelIntensityRelationshipSign": 1, "PixelIntensityRelationship": "LIN"}
    path = write_dicom(tmp_path / "a.dcm", RAMP, **tags)
    asked: list[str] = []

    def file_for(uid: str) -> str:
        asked.append(uid)
        return str(path)

    monkeypatch.setattr(slicer_core, "dicomDatabase", SimpleNamespace(fileForInstance=file_for), raising=False)
    volume = slicer_core.util.addVolumeFromArray(RAMP[None], np.diag([-1, -1, 1, 1.0]), "XA")  # ITK knows no Pixel Spacing of XA
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    SyntheXInferLogic().predict(volume, "model.pt")
    (image,) = network.seen  # nothing was to be asked of the network
    assert (image.intensity, image.pixel_spacing_mm) == ("linear", (0.4, 0.4))
    np.testing.assert_allclose(image.pixels, np.maximum(RAMP, 0.5) / RAMP.max(), rtol=1e-6)
    assert asked == ["1.2.3"]
    monkeypatch.delattr(slicer_core, "dicomDatabase")
    assert SyntheXInferLogic().facts(volume).polarity == "bone-dark"  # kept in the scene


def test_the_given_spacing_counts_more_than_the_found(network: Network, xray: Any) -> None:
    SyntheXInferLogic().predict(xray, "model.pt", InferOptions(spacing=(0.9, 0.8), polarity="bone-dark"))
    assert network.seen[0].pixel_spacing_mm == (0.9, 0.8)


def test_the_network_is_asked_for_a_polarity_that_nobody_tells(network: Network, xray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(images: list[Any], batch: int = 8) -> list[Prediction]:
        network.seen += images
        sure = [0.95 if image.pixels[0, 0] > image.pixels[0, 1] else 0.2 for image in images]
        heat = np.zeros((12, 16), np.uint8)
        return [Prediction(network.mask, network.landmarks, np.full(14, one, np.float32), heat) for one in sure]

    monkeypatch.setattr(network, "predict", predict)
    found = SyntheXInferLogic().predict(xray, "model.pt")  # its first pixel is the darkest
    assert found.meaning() == ("bone-dark", "log")
    assert len(network.seen) == 3 and found.landmarkCounts() == (14, 14)


@pytest.fixture
def run(scene: Any, slicer_core: ModuleType) -> Any:
    """Three frames as slices of a turned volume."""
    return slicer_core.util.addVolumeFromArray(np.stack([RAMP + number for number in range(3)]), IJK_TO_RAS, "run")


def predictions() -> list[Prediction]:
    """Each frame has a mask of its own; in frame k landmark 0 is in column k, and landmark 3 is unsure in frame 1."""
    result = []
    for number in range(3):
        one = Network()
        one.mask = np.zeros((12, 16), np.uint16)
        one.mask[number] = 1
        one.landmarks[0] = number, 5
        one.confidence[3] = 0.5 if number == 1 else 0.95
        result.append(Prediction(one.mask, one.landmarks, one.confidence, np.zeros((12, 16), np.uint8)))
    return result


def test_masks_and_landmarks_are_browsed_in_step_with_the_images(run: Any, scene: Any, slicer_core: ModuleType) -> None:
    logic = SyntheXInferLogic()
    sequence, found = logic.showSeries(run, Finding(HIP, predictions(), ("bone-dark", "log")), 0.9)
    assert frameCount(sequence) == 3 and found.meaning() == ("bone-dark", "log") and found.landmarkCounts() == (41, 42)
    browser = browserOf(sequence)
    for number in (2, 0, 1):
        browser.SetSelectedItemNumber(number)
        slicer_core.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        shown, image = browse(sequence, found), shownImage(sequence)
        np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(image)[0], RAMP + number)
        np.testing.assert_array_equal(masks_on(shown.segmentation, image)["left_hemipelvis"][0], predictions()[number].mask == 1)
        expected = (IJK_TO_RAS @ [number, 5, 0, 1])[:3]
        np.testing.assert_allclose(shown.landmarks[0].GetNthControlPointPosition(0), expected, atol=1e-5)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1 == scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")


def test_another_threshold_marks_all_frames_without_the_network(run: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    sequence, found = logic.showSeries(run, Finding(HIP, predictions(), ("bone-dark", "log")), 0.9)
    logic.setThreshold(sequence, found, 0.4)
    assert found.landmarkCounts() == (42, 42)
    logic.setThreshold(sequence, found, 0.97, showUnsure=False)
    assert found.landmarkCounts() == (0, 42)
    (shown,) = browse(sequence, found).landmarks
    assert not shown.GetNthControlPointVisibility(0) and not shown.GetNthControlPointSelected(0)
    assert found.pointLists[1].GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.97"


def test_a_removed_series_leaves_the_images(run: Any, scene: Any) -> None:
    logic = SyntheXInferLogic()
    sequence, found = logic.showSeries(run, Finding(HIP, predictions(), ("bone-dark", "log")), 0.9)
    logic.remove(sequence, found)
    assert not found.inScene and sequence.GetScene() is scene
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsFiducialNode"):
        assert scene.GetNumberOfNodesByClass(kind) == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1


def test_frames_of_different_sizes_are_refused(scene: Any, slicer_core: ModuleType, xray: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "mixed")
    sequence.SetDataNodeAtValue(xray, "0")
    sequence.SetDataNodeAtValue(slicer_core.util.addVolumeFromArray(RAMP[None, :8], np.eye(4), "other"), "1")
    with pytest.raises(SyntheXError, match="'mixed': expected single grey images of one size"):
        SyntheXInferLogic().startSeries(sequence, "model.pt")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a small untrained network for the hip."""
    torch = pytest.importorskip("torch")
    from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model

    torch.manual_seed(0)
    training = {"epoch": 7, "images": 300}
    description = ModelDescription("small", (48, 64), 2.0, HIP.to_dict(), 2.0, training=training)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, build_network(description), description)
    return path


def test_a_model_tells_its_facts(model: Path, tmp_path: Path) -> None:
    facts = SyntheXInferLogic().modelFacts(model)
    assert (facts.task, facts.structures, facts.shape, facts.epochs, facts.images) == (HIP.title, HIP.structure_names, (48, 64), 7, 300)
    with pytest.raises(SyntheXError, match="Cannot find the model file"):
        SyntheXInferLogic().modelFacts(tmp_path / "none.pt")


def test_a_run_by_two_models_and_the_mirror_image_tells_what_is_unlike_the_validation(
    model: Path, scene: Any, slicer_core: ModuleType, tmp_path: Path
) -> None:
    import dataclasses

    from SyntheXLib.networks.model_file import load_model, save_model

    network, description = load_model(model)
    told = {"count": 9, "ranges": {"middle": [7.0, 8.0]}}
    path = tmp_path / "told.pt"
    save_model(path, network, dataclasses.replace(description, training={**description.training, "domain": told}))
    frames = np.random.default_rng(0).uniform(0.1, 1, (2, 48, 64)).astype(np.float32)
    volume = slicer_core.util.addVolumeFromArray(frames, np.diag([-2, -2, 1, 1.0]), "run")
    volume.SetAttribute("SyntheX.Intensity", "linear")
    logic = SyntheXInferLogic()
    options = InferOptions(device="cpu", flip=True, turn=True, collimation="none")
    series = logic.startSeries(volume, [path, model], options)
    wait(series)
    result = series.result()
    assert result.warning.startswith("unlike the images the model was validated on: the middle grey level is ")
    found = logic.predict(volume, [path, model], options, series=True)
    assert found.warning() == result.warning
    inverse = np.diag([-0.5, -0.5, 1, 1.0])
    here = [(inverse @ [*found.landmarks[1].GetNthControlPointPosition(index), 1])[:2] for index in range(14)]
    np.testing.assert_allclose(result.predictions[1].landmarks, here, atol=2e-3)
    one, other = result.predictions[1], found.landmarks[1]
    told = [Measures.of(other, index).spread for index in range(14)]
    np.testing.assert_allclose(one.landmark_spread, told, atol=0.01)
    assert min(told) > 0 and found.spread()[0] == pytest.approx(
        np.median([told, [Measures.of(found.landmarks[0], n).spread for n in range(14)]])
    )
    here_masks = [structureSpread(found.segmentation.GetSegmentation().GetNthSegment(number)) for number in range(6)]
    assert np.isfinite(here_masks).any()
    for number, told_here in enumerate(here_masks):
        values = [each.structure_spread[number] for each in result.predictions if np.isfinite(each.structure_spread[number])]
        assert told_here == pytest.approx(np.mean(values), abs=2e-4) if values else np.isnan(told_here)
    alone = logic.predict(volume, path, CPU, series=True)
    assert not np.allclose(alone.landmarks[1].GetNthControlPointPosition(0), found.landmarks[1].GetNthControlPointPosition(0), atol=1e-3)


def wait(series: Any) -> None:
    until = time.monotonic() + 120
    while not series.finished():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_run_in_a_process_of_its_own_gives_what_this_process_gives(model: Path, scene: Any, slicer_core: ModuleType) -> None:
    frames = np.random.default_rng(0).uniform(0.1, 1, (3, 48, 64)).astype(np.float32)
    volume = slicer_core.util.addVolumeFromArray(frames, np.diag([-2, -2, 1, 1.0]), "run")
    volume.SetAttribute("SyntheX.Intensity", "linear")
    logic = SyntheXInferLogic()
    series = logic.startSeries(volume, model, CPU)
    wait(series)
    folder, result = series.folder, series.result()
    assert not folder.exists() and result.meaning == ("bone-dark", "linear") and result.task == HIP
    sequence = asSequence(volume)
    here = logic.predictSequence(sequence, model, CPU)
    for number, prediction in enumerate(result.predictions):
        points = here.pointLists[number]
        inverse = np.linalg.inv(np.diag([-2, -2, 1, 1.0]))
        found = [(inverse @ [*points.GetNthControlPointPosition(index), 1])[:2] for index in range(14)]
        np.testing.assert_allclose(prediction.landmarks, found, atol=2e-3)
        mask = masks_on(here.segmentation.GetNthDataNode(number), sequence.GetNthDataNode(number))
        agree = [np.mean((prediction.mask >> one.bit & 1).astype(bool) == mask[one.name][0]) for one in HIP.structures]
        assert min(agree) > 0.999


def test_a_failed_run_says_why_and_a_cancelled_one_is_gone(run: Any, model: Path, tmp_path: Path) -> None:
    logic = SyntheXInferLogic()
    series = logic.startSeries(run, tmp_path / "none.pt")
    wait(series)
    with pytest.raises(SyntheXError, match=r"none\.pt"):
        series.result()
    series = logic.startSeries(run, model, CPU)
    folder = series.folder
    assert folder.is_dir()
    series.close()
    assert series.finished() and not folder.exists()
