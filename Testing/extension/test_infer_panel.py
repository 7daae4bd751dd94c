"""The Infer panel, set up and used under the stand-in for Slicer's application."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from infer_network import HIP, Network, columns_of, masks_on
from standin.window import picture, work

from SyntheXHomeLib.library_command import Progress
from SyntheXInferLib.options import InferOptions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def panel(slicer_gui: ModuleType, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The panel, a model file, and where the last trained model is named."""
    from standin.application import load_module

    from SyntheXInferLib.logic import SyntheXInferLogic
    from SyntheXInferLib.models import ModelFacts

    kept: dict[str, str] = {}
    store = SimpleNamespace(value=kept.get, setValue=kept.__setitem__)
    monkeypatch.setattr(slicer_gui.app, "userSettings", lambda: store, raising=False)
    model = tmp_path / "model.pt"
    model.write_bytes(b"model")
    facts = ModelFacts(HIP.title, HIP.structure_names, HIP.landmark_names, (360, 360), 0.774, "small", 40, 2000)
    monkeypatch.setattr(SyntheXInferLogic, "modelFacts", lambda self, path: facts)
    _, widget, shown = load_module(ROOT / "SyntheXInfer" / "SyntheXInfer.py")
    yield SimpleNamespace(widget=widget, ui=widget.ui, panel=shown, model=model, remembered=kept)
    widget.cleanup()


def choose(panel: SimpleNamespace, image: Any) -> None:
    panel.ui.imageSelector.setCurrentNode(image)
    panel.ui.modelPath.currentPath = str(panel.model)


def test_what_is_missing_is_said(panel: SimpleNamespace, xray: Any) -> None:
    ui = panel.ui
    assert ui.predictButton.toolTip == "Needs an X-ray and a model."
    choose(panel, xray)
    assert ui.predictButton.enabled
    ui.modelPath.currentPath = "/no/model.pt"
    assert (ui.predictButton.enabled, ui.predictButton.toolTip) == (False, "Needs a model.")
    assert ui.modelLabel.text == "There is no such file."
    for button in (ui.deleteButton, ui.evaluateButton, ui.curveButton, ui.exportButton):
        assert (button.enabled, button.toolTip) == (False, "Needs a result.")
    assert (ui.loadButton.enabled, ui.loadButton.toolTip) == (False, "Needs a file.")
    assert (ui.lastModelButton.enabled, ui.lastModelButton.toolTip) == (False, "No training has ended on this computer yet.")


def test_image_and_model_tell_their_facts(panel: SimpleNamespace, xray: Any) -> None:
    choose(panel, xray)
    assert panel.ui.factsLabel.text == "16 x 12 pixels; pixel 0.5 x 0.7 mm (volume); polarity not told"
    assert panel.ui.modelLabel.text == (
        "Hip imaging: 6 structures, 14 landmarks; small network for 360 x 360 pixels of 0.774 mm; trained for 40 epochs on 2000 images"
    )
    assert "FH-l, FH-r" in panel.ui.modelLabel.toolTip
    xray.SetAttribute("SyntheX.Intensity", "linear")
    panel.widget.updateState()
    assert "made by SyntheX" in panel.ui.factsLabel.text
    assert (panel.ui.polarityBox.enabled, panel.ui.polarityBox.toolTip) == (False, "Known: the image was made by SyntheX.")


def test_a_dicom_run_is_loaded_shown_and_chosen(panel: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    from test_infer_series import RAMP, write_dicom

    tags = {"ImagerPixelSpacing": [0.2, 0.2], "PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    path = write_dicom(tmp_path / "run.dcm", np.stack([RAMP, RAMP]), WindowCenter=100, WindowWidth=50, **tags)
    panel.ui.imagePath.currentPath = str(path)
    panel.ui.loadButton.click()
    assert panel.ui.imageSelector.currentNode().GetName() == "run run" and panel.ui.statusLabel.text == "Loaded run run."
    expected = "16 x 12 pixels; 2 frames; pixel 0.2 mm (Imager Pixel Spacing); MONOCHROME2; bone is dark; linear; window 100 / 50"
    assert panel.ui.factsLabel.text == expected
    assert panel.ui.predictButton.text == "Find them in 2 frames"


def test_the_last_trained_model_is_offered(panel: SimpleNamespace, scene: Any) -> None:
    from SyntheXHomeLib.settings import LAST_MODEL

    panel.remembered[LAST_MODEL] = str(panel.model)
    panel.widget.enter()
    assert panel.ui.lastModelButton.enabled
    panel.ui.lastModelButton.click()
    assert panel.widget.parameters.modelPath == str(panel.model)
    scene.Clear(0)
    assert panel.ui.modelPath.currentPath == str(panel.model)  # a new scene begins with it


def test_a_model_says_where_it_comes_from_and_a_bundle_is_chosen(panel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    from SyntheXInferLib.logic import SyntheXInferLogic
    from SyntheXInferLib.models import ModelFacts

    folder = panel.model.parent / "hip_bundle"
    (folder / "models").mkdir(parents=True)
    ui = panel.ui
    ui.modelPath.currentPath = str(folder)
    assert ui.modelLabel.text == "The folder is no MONAI bundle: it has no configs/metadata.json."
    (folder / "configs").mkdir()
    (folder / "configs/metadata.json").write_text("{}", encoding="utf-8")
    ui.modelPath.currentPath = ""
    facts = ModelFacts(
        HIP.title, HIP.structure_names, HIP.landmark_names, (360, 360), 0.774, "small", 40, 2000, ("pelvis",), ("p3",), "random", True
    )
    monkeypatch.setattr(SyntheXInferLogic, "modelFacts", lambda self, path: facts)
    asked = SimpleNamespace(getExistingDirectory=lambda parent, title, start: str(folder))
    monkeypatch.setattr(qt, "QFileDialog", asked)
    ui.bundleButton.click()
    assert panel.widget.parameters.modelPath == str(folder)
    assert ui.modelLabel.text.endswith("; trained for 40 epochs on 2000 images of pelvis; started from random weights; MONAI bundle")
    assert ui.modelLabel.toolTip.endswith("Held out: p3")
    ui.modelPath.currentPath = str(panel.model)
    ui.moreBundleButton.click()
    ui.addModelButton.click()
    assert panel.widget._more.models == [str(panel.model), str(folder)]


@pytest.fixture
def found(panel: SimpleNamespace, network: Network, xray: Any, scene: Any) -> SimpleNamespace:
    """The panel after a run on one image."""
    choose(panel, xray)
    panel.ui.polarityBox.setCurrentIndex(2)
    panel.ui.predictButton.click()
    assert panel.ui.statusLabel.text == "13 of 14 landmarks are above the threshold. The image was taken as: bone is bright, logarithmic."
    return panel


def test_several_models_the_mirror_image_and_the_collimation_are_asked_for(frames: SimpleNamespace, tmp_path: Path) -> None:
    ui, widget = frames.ui, frames.widget
    second = tmp_path / "second.pt"
    second.write_bytes(b"model")
    ui.moreSection.collapsed = False
    assert (ui.addModelButton.enabled, ui.addModelButton.toolTip) == (False, "Needs a model.")
    ui.morePath.currentPath = str(frames.model)
    assert ui.addModelButton.toolTip == "It is chosen already."
    ui.morePath.currentPath = str(second)
    ui.addModelButton.click()
    assert ui.modelList.count == 1 and widget.parameters.moreModels == [str(second)]
    ui.flipCheckBox.checked, ui.turnCheckBox.checked, ui.fieldCheckBox.checked = True, True, False
    picture(frames.panel, "SyntheXInfer_more")
    ui.predictButton.click()
    (_, models, options), _ = widget.logic.startSeries.call_args
    assert models == [str(frames.model), str(second)] and (options.flip, options.turn, options.collimation) == (True, True, "none")
    ui.predictButton.click()
    second.unlink()
    widget.updateState()
    assert ui.predictButton.toolTip == "Needs a model."
    ui.removeModelButton.click()
    assert ui.predictButton.enabled and ui.modelList.count == 0


def test_an_image_unlike_the_validation_is_warned_of(panel: SimpleNamespace, xray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXLib.inference import domain

    monkeypatch.setattr(domain, "domain_warning", lambda predictor, image, prediction: "unlike the images")
    choose(panel, xray)
    monkeypatch.setattr(type(panel.widget.logic), "_predictor", lambda self, *asked: Network())
    panel.ui.predictButton.click()
    assert panel.ui.statusLabel.text.endswith("Warning: the image is unlike the images.")
    assert panel.widget.found.warning() == "unlike the images"


def test_the_spread_of_several_answers_is_told(panel: SimpleNamespace, network: Network, xray: Any) -> None:
    from test_infer_evaluation import of_several_models

    of_several_models(network)
    choose(panel, xray)
    panel.ui.predictButton.click()
    assert "The answers differ by: landmarks 0.39 mm (median); masks 0.03 (mean 1 - Dice)." in panel.ui.statusLabel.text


def test_a_dicom_segmentation_is_offered_for_a_dicom_image(panel: SimpleNamespace, network: Network, scene: Any, tmp_path: Path) -> None:
    from test_infer_series import RAMP, write_dicom

    ui = panel.ui
    ui.imagePath.currentPath = str(write_dicom(tmp_path / "hip.dcm", RAMP, PixelSpacing=[0.5, 0.5]))
    ui.loadButton.click()
    ui.modelPath.currentPath = str(panel.model)
    assert not ui.segCheckBox.enabled
    ui.predictButton.click()
    assert ui.segCheckBox.enabled
    ui.pngCheckBox.checked, ui.niftiCheckBox.checked, ui.segCheckBox.checked = False, False, True
    ui.exportPath.currentPath = str(tmp_path / "out")
    ui.exportButton.click()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"hip_seg.dcm", "hip_landmarks.mrk.json", "hip_overlay.png", "landmarks.csv"}
    (tmp_path / "hip.dcm").unlink()
    panel.widget.updateState()
    assert (ui.segCheckBox.enabled, ui.segCheckBox.toolTip) == (False, "Needs an image of a DICOM file, which it refers to.")


def reference(network: Network, xray: Any) -> tuple[Any, Any]:
    """Masks and points that lie two columns from those that are found."""
    from SyntheXInferLib.logic import SyntheXInferLogic

    network.landmarks = network.landmarks + np.array([2.0, 0], np.float32)
    truth = SyntheXInferLogic().predict(xray, "model.pt")
    truth.segmentation.SetName("true bones")
    truth.landmarks[0].SetName("true landmarks")
    return truth.segmentation, truth.landmarks[0]


def test_the_threshold_is_moved_without_the_network(found: SimpleNamespace, network: Network) -> None:
    seen, (points,) = len(network.seen), (found.widget.parameters.points,)
    found.ui.thresholdSlider.value = 0.4
    work(250)
    assert "14 of 14" in found.ui.statusLabel.text
    found.ui.thresholdSlider.value = 0.6
    found.ui.unsureCheckBox.checked = False
    work(250)
    assert "13 of 14" in found.ui.statusLabel.text and not points.GetNthControlPointVisibility(3)
    assert points.GetNthControlPointDescription(3) == "confidence 0.5000, not above 0.6"
    assert len(network.seen) == seen


def test_the_masks_opacity_is_set(found: SimpleNamespace) -> None:
    display = found.widget.parameters.masks.GetDisplayNode()
    assert display.GetOpacity2DFill() == 0.5
    found.ui.opacitySlider.value = 0.2
    assert display.GetOpacity2DFill() == pytest.approx(0.2)


def test_a_result_is_evaluated_plotted_exported_and_deleted(
    found: SimpleNamespace, network: Network, xray: Any, scene: Any, slicer_gui: ModuleType, tmp_path: Path
) -> None:
    ui, p = found.ui, found.widget.parameters
    picture(found.panel, "SyntheXInfer_result")
    assert ui.evaluateButton.toolTip == "Needs a reference." and ui.curveButton.toolTip == "Needs reference landmarks."
    masks, points = reference(network, xray)
    ui.referenceMasksSelector.setCurrentNode(masks)
    ui.referencePointsSelector.setCurrentNode(points)
    ui.evaluateButton.click()
    assert columns_of(p.table)["FH-r"]["error_detector_mm"] == pytest.approx(2 * 0.7, abs=1e-3)
    assert not ui.resultTable.isHidden() and ui.resultTable.model().rowCount() == 6 + 14
    assert ui.evaluationLabel.text.startswith("Mean Dice 1.000; above 0.9 are 93 % of the landmarks, with a mean error of 1.40 mm")
    slicer_gui.modules.plots = SimpleNamespace(logic=Mock())
    for _ in range(2):
        ui.curveButton.click()
    assert slicer_gui.modules.plots.logic().ShowChartInLayout.call_args.args == (p.chart,)
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1
    picture(found.panel, "SyntheXInfer_evaluation")
    first = p.table
    ui.thresholdSlider.value = 0.97
    work(250)
    assert first.GetScene() is None and columns_of(p.table)["FH-r"]["activated"] == 0
    assert "no landmark is above 0.97" in ui.evaluationLabel.text
    assert ui.exportButton.toolTip == "Needs a folder."
    ui.exportPath.currentPath = str(tmp_path / "out")
    ui.exportButton.click()
    assert (tmp_path / "out/activation.csv").is_file() and ui.statusLabel.text.startswith("Wrote ")
    made = (p.masks, p.points, p.table, p.chart)
    hierarchy = slicer_gui.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemChildWithName(hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "SyntheX Infer"), "X-ray")
    assert [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in made] == [folder] * 4
    ui.deleteButton.click()
    assert all(node.GetScene() is None for node in made) and masks.GetScene() is scene
    assert not ui.deleteButton.enabled and ui.resultTable.isHidden()
    assert not hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "SyntheX Infer")


class FakeRun:
    """A run on frames that ends when it is told to."""

    def __init__(self, result: Any) -> None:
        self.over, self.closed, self._result, self.step = False, False, result, Progress()

    def progress(self) -> Progress:
        return self.step

    def finished(self) -> bool:
        return self.over

    def result(self) -> Any:
        return self._result

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def frames(panel: SimpleNamespace, scene: Any, slicer_gui: ModuleType) -> SimpleNamespace:
    """The panel with three frames and a run on them."""
    from test_infer_series import IJK_TO_RAS, RAMP, predictions

    from SyntheXInferLib.finding import Finding

    volume = slicer_gui.util.addVolumeFromArray(np.stack([RAMP] * 3), IJK_TO_RAS, "run")
    choose(panel, volume)
    panel.run = FakeRun(Finding(HIP, predictions(), ("bone-dark", "log")))
    panel.widget.logic.startSeries = Mock(return_value=panel.run)
    panel.volume = volume
    return panel


def test_a_run_is_followed_and_browsed(frames: SimpleNamespace, scene: Any) -> None:
    ui, widget = frames.ui, frames.widget
    ui.spacingBox.value = 0.3
    ui.predictButton.click()
    widget.logic.startSeries.assert_called_once_with(frames.volume, [str(frames.model)], InferOptions(spacing=(0.3, 0.3)))
    assert ui.predictButton.text == "Cancel" and not ui.imageSelector.enabled
    frames.run.step = Progress(1, 3)
    work(400)
    assert ui.statusLabel.text == "1 of 3 frames" and (ui.progressBar.value, ui.progressBar.maximum) == (1, 3)
    picture(frames.panel, "SyntheXInfer_running")
    frames.run.over = True
    work(400)
    p = widget.parameters
    assert p.image.IsA("vtkMRMLSequenceNode") and p.masks.GetNumberOfDataNodes() == 3
    assert ui.statusLabel.text.startswith("41 of 42 landmarks are above the threshold.")
    assert ui.predictButton.text == "Find them in 3 frames" and not widget.run
    ui.deleteButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1


def test_a_run_is_cancelled_by_the_button_by_a_closed_scene_and_by_a_lost_image(frames: SimpleNamespace, scene: Any) -> None:
    ui = frames.ui
    ui.predictButton.click()
    ui.predictButton.click()
    assert frames.run.closed and ui.statusLabel.text == "Cancelled." and ui.predictButton.text == "Find them in 3 frames"
    frames.run.closed = False
    ui.predictButton.click()
    scene.RemoveNode(frames.volume)
    work(400)
    assert frames.run.closed and ui.statusLabel.text == "Cancelled: the image was removed."
    frames.run.closed = False
    frames.widget.run = frames.run
    scene.Clear(0)
    assert frames.run.closed and frames.widget.run is None
    assert ui.predictButton.toolTip == "Needs an X-ray and a model."


def through_a_bundle(scene: Any, folder: Path) -> None:
    """Write the scene to an .mrb file, close it, and load the file."""
    import slicer
    import vtk

    (folder / "cache").mkdir()
    (folder / "cache/.slicer-cache").touch()  # which marks it as a cache
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    before, window = vtk.vtkOutputWindow.GetInstance(), vtk.vtkStringOutputWindow()
    vtk.vtkOutputWindow.SetInstance(window)
    assert scene.WriteToMRB(str(folder / "scene.mrb"))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(folder / "scene.mrb"), True)
    vtk.vtkOutputWindow.SetInstance(before)
    # Points of a sequence are written from a scene of their own, which has no node that tells units.
    said = [line for line in window.GetOutput().splitlines() if line.strip() and not line.startswith("Warning: In vtkMRMLMarkupsNode.cxx")]
    assert all("selection node not found" in line for line in said), said


def test_a_scene_bundle_restores_settings_result_and_evaluation(
    found: SimpleNamespace, network: Network, xray: Any, scene: Any, tmp_path: Path
) -> None:
    ui = found.ui
    for selector, node in zip((ui.referenceMasksSelector, ui.referencePointsSelector), reference(network, xray), strict=True):
        selector.setCurrentNode(node)
    ui.evaluateButton.click()
    ui.thresholdSlider.value, ui.spacingBox.value, ui.opacitySlider.value = 0.8, 0.25, 0.3
    work(250)
    before = columns_of(found.widget.parameters.table)["FH-r"]
    masks = masks_on(found.widget.parameters.masks, found.widget.parameters.resultImage)
    through_a_bundle(scene, tmp_path)
    p = found.widget.parameters
    assert (ui.thresholdSlider.value, ui.spacingBox.value, ui.polarityBox.currentIndex, p.opacity) == (0.8, 0.25, 2, 0.3)
    assert ui.modelPath.currentPath == str(found.model) and p.referencePoints.GetName() == "true landmarks"
    assert (p.resultImage.GetName(), p.masks.GetName(), p.points.GetName()) == ("X-ray", "X-ray structures", "X-ray landmarks")
    assert not ui.resultTable.isHidden() and ui.deleteButton.enabled and found.widget.found.taskOf() == HIP
    again = masks_on(p.masks, p.resultImage)
    assert list(again) == list(masks) and all((again[name] == masks[name]).all() for name in masks)
    ui.thresholdSlider.value = 0.4  # which evaluates again
    work(250)
    assert "14 of 14" in ui.statusLabel.text
    assert columns_of(p.table)["FH-r"] == pytest.approx(before, nan_ok=True)
    ui.exportPath.currentPath = str(tmp_path / "out")
    ui.exportButton.click()
    assert (tmp_path / "out/X-ray_overlay.png").is_file()


def test_a_closed_scene_leaves_the_panel_as_new(found: SimpleNamespace, scene: Any) -> None:
    ui = found.ui
    ui.thresholdSlider.value = 0.5
    scene.Clear(0)
    work(250)
    assert (ui.thresholdSlider.value, ui.spacingBox.value, ui.polarityBox.currentIndex) == (0.9, 0, 0)
    assert ui.modelPath.currentPath == "" and not ui.deleteButton.enabled and ui.resultTable.isHidden()


def test_a_scene_bundle_restores_a_run_and_what_was_found_on_it(
    frames: SimpleNamespace, scene: Any, slicer_gui: ModuleType, tmp_path: Path
) -> None:
    from SyntheXHomeLib.image_nodes import browserOf

    frames.run.over = True
    frames.ui.predictButton.click()
    work(400)
    through_a_bundle(scene, tmp_path)
    widget, p = frames.widget, frames.widget.parameters
    assert p.image is p.resultImage and p.masks.GetNumberOfDataNodes() == 3 and widget.found.taskOf() == HIP
    assert widget.found.landmarkCounts() == (41, 42)
    browser = browserOf(p.resultImage)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1
    browser.SetSelectedItemNumber(2)
    slicer_gui.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    shown = widget.logic.shown(p.resultImage, widget.found)
    rows = np.flatnonzero(masks_on(shown.segmentation, browser.GetProxyNode(p.resultImage))["left_hemipelvis"][0].any(axis=1))
    assert list(rows) == [2]
    frames.ui.thresholdSlider.value = 0.4
    work(250)
    assert widget.found.landmarkCounts() == (42, 42)


def test_the_panel_is_built_again_on_the_same_scene(found: SimpleNamespace) -> None:
    from standin.application import load_module

    found.widget.cleanup()
    _, again, _ = load_module(ROOT / "SyntheXInfer" / "SyntheXInfer.py")
    assert again.ui.deleteButton.enabled and again.ui.polarityBox.currentIndex == 2
    again.cleanup()
    again.cleanup()  # harmless


def test_the_panel_is_readable_in_dark_style(found: SimpleNamespace) -> None:
    from PySide6.QtGui import QColor, QPalette
    from PySide6.QtWidgets import QApplication

    before, dark = QApplication.palette(), QPalette(QColor("#353535"), QColor("#353535"))
    dark.setColor(QPalette.ColorRole.Base, QColor("#232323"))
    QApplication.setPalette(dark)
    work(20)
    try:
        picture(found.panel, "SyntheXInfer_dark")
        text, back = (
            found.ui.statusLabel.palette.color(role).lightness() for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Window)
        )
        assert text - back > 100
    finally:
        QApplication.setPalette(before)
