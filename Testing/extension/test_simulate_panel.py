"""The Simulate panel with a real, small case: every part of it renders."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from standin.window import picture, work

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (24, 24, 24)


@pytest.fixture
def panel(slicer_gui: ModuleType, scene: Any) -> Iterator[SimpleNamespace]:
    """The panel on two blocks of bone with a landmark."""
    from standin.application import load_module

    matrix = np.diag([-6.0, -6.0, 6.0, 1.0])
    matrix[:3, 3] = 70, 70, -70
    hu, labels = np.full(SHAPE, -1000, np.int16), np.zeros(SHAPE, np.uint8)
    hu[2:22, 2:22, 2:22] = 40
    for label, side in ((77, slice(4, 9)), (78, slice(15, 20))):
        hu[6:18, 8:16, side], labels[6:18, 8:16, side] = 900, label
    volume = slicer_gui.util.addVolumeFromArray(hu, matrix, "blocks")
    labelmap = slicer_gui.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    markups.AddControlPoint(matrix[:3] @ [6, 12, 12, 1], "FH-l")
    _, widget, qt = load_module(ROOT / "SyntheXSimulate/SyntheXSimulate.py")
    widget.ui.markupsSelector.setCurrentNode(markups)
    yield SimpleNamespace(widget=widget, ui=widget.ui, qt=qt, volume=volume, labelmap=labelmap, matrix=matrix)
    widget.cleanup()


@pytest.fixture
def wire(panel: SimpleNamespace, tmp_path: Path) -> Path:
    """A steel wire through the middle of the case, along S."""
    path = tmp_path / "wire.toml"
    path.write_text('kind = "k_wire"\nlength_mm = 100\ndiameter_mm = 6\norigin_mm = [0, 0, -50]\n', encoding="utf-8")
    return path


def pixels(panel: SimpleNamespace) -> np.ndarray:
    import slicer

    return np.array(slicer.util.arrayFromVolume(panel.widget.parameters.xray)[0])


def folder_of(node: Any) -> str:
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    return f"{hierarchy.GetItemName(hierarchy.GetItemParent(study))}/{hierarchy.GetItemName(study)}"


def test_a_panel_that_is_opened_for_the_first_time_takes_the_sample_with_its_landmarks(slicer_gui: ModuleType, scene: Any) -> None:
    from standin.application import load_module

    from SyntheXHomeLib.handover import giveSample, markAsSample

    hu = np.zeros((2, 2, 2), np.int16)
    volume, labels = (
        slicer_gui.util.addVolumeFromArray(hu, np.eye(4), name, f"vtkMRML{kind}VolumeNode")
        for name, kind in (("pelvis", "Scalar"), ("pelvis labels", "LabelMap"))
    )
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "pelvis landmarks")
    markAsSample("pelvis", volume, labels, markups)
    giveSample()
    _, widget, _ = load_module(ROOT / "SyntheXSimulate/SyntheXSimulate.py")
    chosen = widget.parameters
    assert (chosen.volume, chosen.labels, chosen.markups) == (volume, labels, markups)
    assert widget.ui.markupsSelector.currentNode() is markups
    widget.cleanup()


def test_the_panel_fits_400_pixels_with_every_section_open_and_in_dark(panel: SimpleNamespace, wire: Path) -> None:
    ui = panel.ui
    picture(panel.qt, "SyntheXSimulate_closed")
    ui.advancedSection.collapsed = ui.toolsSection.collapsed = False
    ui.toolPath.currentPath = str(wire)
    ui.addToolButton.click()
    ui.renderButton.click()
    for dark in (False, True):
        picture(panel.qt, f"SyntheXSimulate_{'dark' if dark else 'light'}", dark)
    assert panel.qt.minimumSizeHint().width() <= 400


def test_every_control_says_what_it_does_or_why_not(panel: SimpleNamespace) -> None:
    from PySide6 import QtWidgets

    kinds = (QtWidgets.QAbstractButton, QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox, QtWidgets.QListWidget, QtWidgets.QTableWidget)
    work(20)
    silent = [
        name
        for name, widget in vars(panel.ui).items()
        if not name.startswith("qt_")  # Qt's own
        and (isinstance(widget, kinds) or type(widget).__name__.startswith(("ctkS", "ctkP", "qMRMLN")))
        and not widget.toolTip
    ]
    assert silent == []


def test_a_tool_shows_in_the_xray_over_it_and_in_3d(panel: SimpleNamespace, wire: Path, scene: Any) -> None:
    import slicer

    ui, p = panel.ui, panel.widget.parameters
    ui.levelBox.setCurrentIndex(1)
    ui.renderButton.click()
    without = pixels(panel)
    assert (ui.addToolButton.enabled, ui.addToolButton.toolTip) == (False, "Needs a tool file.")
    ui.toolPath.currentPath = str(wire)
    ui.addToolButton.click()
    assert ui.toolList.item(0).text() == "wire.toml"
    ui.renderButton.click()
    with_tool = pixels(panel)
    centre = with_tool[180, 170:190]
    assert centre.min() < 0.5 * without[180, 170:190].min()
    np.testing.assert_array_equal(with_tool[:, :100], without[:, :100])
    (model,) = p.toolModels
    points = slicer.util.arrayFromModelPoints(model)
    assert np.hypot(*points[:, :2].T).max() == pytest.approx(3, abs=0.2)
    assert points[:, 2].max() == pytest.approx(50, abs=0.5)
    assert folder_of(model) == folder_of(p.xray) == "SyntheX Simulate/blocks"
    ui.toolsCheckBox.checked = False
    assert not model.GetDisplayNode().GetVisibility()
    ui.toolList.setCurrentRow(0)
    ui.removeToolButton.click()
    ui.toolsCheckBox.checked = True
    ui.renderButton.click()
    assert list(p.toolModels) == [] and model.GetScene() is None
    np.testing.assert_array_equal(pixels(panel), without)


def test_a_tool_task_renders_without_a_segmentation_and_given_views_rule_the_number(panel: SimpleNamespace, tmp_path: Path) -> None:
    ui, p = panel.ui, panel.widget.parameters
    p.labels = None
    assert ui.renderButton.toolTip == "Needs a segmentation or label map."
    p.task = "tool-k-wire"
    assert ui.renderButton.enabled and ui.matchTable.item(0, 1).text() == "made for every image"
    ui.renderButton.click()
    assert p.xray is not None and "coarser" in ui.statusLabel.text
    ui.fullSizeCheckBox.checked = True
    assert (ui.imageSizeBox.enabled, ui.imageSizeBox.toolTip) == (False, "The whole detector is taken.")
    ui.viewsPath.currentPath = str(tmp_path / "views.json")
    assert not ui.countBox.enabled and not ui.varyBox.enabled and ui.oversampleBox.enabled
    ui.viewsPath.currentPath = ""
    assert ui.countBox.enabled and ui.varyBox.enabled


def test_a_device_file_sets_geometry_and_exposure(panel: SimpleNamespace, tmp_path: Path) -> None:
    from SyntheXLib.scene.device_file import device_files

    text = device_files()["cios-fusion"].read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("default = 90.0", "default = 75.0").replace("1020.0", "1200.0"), encoding="utf-8")
    ui, p = panel.ui, panel.widget.parameters
    ui.deviceFile.currentPath = str(tmp_path / "not_there.toml")
    assert "does not exist" in ui.renderButton.toolTip and not ui.renderButton.enabled
    ui.deviceFile.currentPath = str(path)
    assert (ui.kvpBox.value, ui.renderButton.enabled, ui.deviceBox.enabled) == (75, True, False)
    ui.renderButton.click()
    geometry = json.loads(p.xray.GetAttribute("SyntheX.Geometry"))
    assert (geometry["source_to_detector_mm"], geometry["kvp"], geometry["device"]) == (1200, 75, str(path))
    ui.deviceFile.currentPath = ""
    assert (ui.kvpBox.value, ui.deviceBox.enabled) == (90, True)


def test_a_renderer_that_does_not_work_is_disabled_with_the_reason(panel: SimpleNamespace) -> None:
    ui, logic = panel.ui, panel.widget.logic
    reasons = {"cuda": "Renderer 'cuda' needs an NVIDIA GPU.", "deepdrr": "DeepDRR is not installed."}
    logic.whyNotRenderer = lambda name: reasons.get(name, "")
    panel.widget._image.checkRenderers()
    items = [ui.rendererBox.model().item(row) for row in range(ui.rendererBox.count)]
    assert {item.text(): (item.isEnabled(), item.toolTip()) for item in items} == {
        "auto": (True, ""),
        "cpu": (True, ""),
        "cuda": (False, reasons["cuda"]),
        "deepdrr": (False, reasons["deepdrr"]),
    }
    panel.widget.parameters.renderer = "cuda"  # as from a scene of another machine
    assert (ui.renderButton.enabled, ui.renderButton.toolTip, ui.rendererBox.toolTip) == (False, reasons["cuda"], reasons["cuda"])
    panel.widget.parameters.renderer, panel.widget.parameters.level = "deepdrr", "naive"
    assert "realistic level alone" in ui.renderButton.toolTip


def test_what_make_renderer_says_is_what_the_panel_says() -> None:
    from SyntheXLib.errors import SyntheXError
    from SyntheXLib.rendering.renderer import make_renderer
    from SyntheXSimulateLib.renderers import CHOICES, whyNot

    for name in CHOICES:
        try:
            make_renderer(name)
        except SyntheXError as error:
            assert whyNot(name) == str(error)
        else:
            assert whyNot(name) == ""


def test_exposure_matters_to_the_realistic_level_and_copper_hardens(panel: SimpleNamespace) -> None:
    ui = panel.ui
    ui.renderButton.click()
    soft = pixels(panel)
    ui.copperBox.value = 0.5
    ui.renderButton.click()
    assert np.median(pixels(panel)[150:210, 100:140]) > 1.05 * np.median(soft[150:210, 100:140])
    ui.levelBox.setCurrentIndex(0)
    for widget in (ui.copperBox, ui.kvpBox, ui.gridCheckBox, ui.randomizeCheckBox):
        assert (widget.enabled, widget.toolTip) == (False, "Matters to the realistic level alone.")


def test_the_histogram_counts_the_views_of_the_data_set(panel: SimpleNamespace, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from SyntheXLib.simulation.view import view_pose
    from SyntheXLib.tasks.task import load_task

    ui, p, shown = panel.ui, panel.widget.parameters, []
    logic = SimpleNamespace(ShowChartInLayout=shown.append)
    monkeypatch.setattr(slicer.modules, "plots", SimpleNamespace(logic=lambda: logic), raising=False)
    ui.cloudBox.value, ui.seedBox.value = 300, 5
    ui.histogramBox.setCurrentIndex(1)
    ui.histogramButton.click()
    table = p.histogram[0]
    angles = np.array([view_pose(load_task("hip").poses, 5, index).lao_rao_deg for index in range(300)])
    counts = slicer.util.arrayFromTableColumn(table, "lao_rao views")
    np.testing.assert_array_equal(counts, np.histogram(angles, 20)[0])
    assert slicer.util.arrayFromTableColumn(table, "rotation views").sum() == 300
    assert slicer.util.arrayFromTableColumn(table, "rotation centre").min() > 0
    (chart,) = shown
    assert chart.GetName() == "Views by LAO/RAO" and chart.GetNthPlotSeriesNode(0).GetTableNode() is table
    ui.cloudBox.value = 50
    ui.histogramButton.click()
    assert p.histogram[0] is table and slicer.util.arrayFromTableColumn(table, "rotation views").sum() == 50
    ui.deleteButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 0 and not ui.deleteButton.enabled


def test_a_data_set_is_made_browsed_and_deleted(
    panel: SimpleNamespace, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from SyntheXHomeLib.handover import lastDataset
    from SyntheXLib.datasets.reader import XrayDataset

    ui, p, folder = panel.ui, panel.widget.parameters, tmp_path / "set"
    ui.generateFolder.currentPath = str(folder)
    assert (ui.browseButton.enabled, ui.browseButton.toolTip) == (False, "There is no data set in the folder.")
    ui.countBox.value, ui.imageSizeBox.value, ui.workersBox.value, ui.randomizeCheckBox.checked = 5, 32, 1, True
    ui.generateButton.click()
    for _ in range(100):
        work(300)
        if ui.generateButton.text == "Generate data set":
            break
    assert "5 images rendered" in ui.generateLabel.text
    assert lastDataset() == str(folder)
    assert ui.browseLabel.text == "5 of 5 images take 1 MB of memory."
    ui.browseBox.value = 3
    ui.browseButton.click()
    browser, image, masks, points = list(p.browsed)[:4]
    dataset = XrayDataset(folder)
    assert dataset.header.configuration["exposure_ranges"] and "kvp" in dataset[0].parameters["exposure"]
    assert browser.GetNumberOfItems() == 3
    for index in (0, 2):
        browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(image)[0], dataset[index].image)
        assert (slicer.util.arrayFromVolume(masks)[0] > 0).sum() == (dataset[index].mask > 0).sum()
        if dataset[index].visible[0]:
            place = np.array(points.GetNthControlPointPosition(0))[:2] / -dataset.pixel_spacing_mm - 0.5
            np.testing.assert_allclose(place, dataset[index].landmarks[0], atol=1e-4)
    assert image.GetAttribute("SyntheX.Intensity") == "linear" and image.GetAttribute("SyntheX.Geometry")
    assert folder_of(browser) == folder_of(points) == "SyntheX Simulate/set"
    assert "stays on the disk" in ui.deleteButton.toolTip
    ui.deleteButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0 and image.GetScene() is None
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: bool(questions.append(text)) or len(questions) > 1)
    ui.deleteButton.click()
    assert len(XrayDataset(folder)) == 5 and str(folder) in questions[0]
    ui.deleteButton.click()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert not ui.deleteButton.enabled and ui.deleteButton.toolTip == "Nothing was made yet."


def test_data_sets_of_the_same_views_are_browsed_by_their_level(panel: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    import shutil

    ui, p = panel.ui, panel.widget.parameters
    panel.qt.show()
    assert not ui.browseLevelBox.visible
    for level in ("naive", "realistic", "real"):
        shutil.copytree(squares, tmp_path / "set" / level)
    ui.generateFolder.currentPath = str(tmp_path / "set")
    assert ui.browseLevelBox.visible and [ui.browseLevelBox.itemText(n) for n in range(3)] == ["naive", "realistic", "real"]
    assert ui.browseLevelBox.currentText == "realistic"
    ui.browseLevelBox.setCurrentIndex(0)
    ui.browseButton.click()
    assert next(iter(p.browsed)).GetName() == "naive browser" and "Browse naive" in ui.generateLabel.text
    ui.browseLevelBox.setCurrentIndex(2)
    ui.browseButton.click()
    assert next(iter(p.browsed)).GetName() == "real browser"
    ui.generateFolder.currentPath = str(squares)
    assert not ui.browseLevelBox.visible and ui.browseButton.enabled


def test_a_data_set_of_others_is_not_offered_for_deletion(panel: SimpleNamespace, squares: Path) -> None:
    from SyntheXHomeLib.settings import LAST_DATASET, recall, remember

    remember(LAST_DATASET, "")
    ui = panel.ui
    ui.generateFolder.currentPath = str(squares)
    ui.countBox.value, ui.workersBox.value = 2, 1
    ui.generateButton.click()  # resumes with other settings: refused
    assert ui.browseButton.toolTip == "Wait until the data set is made."
    for _ in range(100):
        work(300)
        if ui.generateButton.text == "Generate data set":
            break
    assert "another" in ui.generateLabel.text or "expected" in ui.generateLabel.text
    assert recall(LAST_DATASET) == ""  # of a data set that is there but was not made
    assert ui.deleteButton.toolTip == "Nothing was made yet."


def test_results_go_the_last_first(panel: SimpleNamespace, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    ui, p = panel.ui, panel.widget.parameters
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda _text: True)
    ui.masksCheckBox.checked = ui.landmarksCheckBox.checked = True
    ui.renderButton.click()
    nodes = [p.xray, p.masks, p.points, p.beam, p.detector]
    assert {folder_of(node) for node in nodes} == {"SyntheX Simulate/blocks"}
    ui.cloudButton.click()
    ui.exportPath.currentPath = str(tmp_path / "xray.png")
    ui.exportButton.click()
    assert str(tmp_path / "xray.png") in ui.deleteButton.toolTip
    ui.deleteButton.click()
    assert not (tmp_path / "xray.png").exists()
    cloud = p.cloud
    ui.deleteButton.click()
    assert cloud.GetScene() is None and p.xray is nodes[0]
    ui.deleteButton.click()
    assert all(node.GetScene() is None for node in nodes) and p.xray is None
    assert not ui.deleteButton.enabled
    ui.renderButton.click()
    assert p.xray is not None and p.masks is not None


SETTINGS = {"laoRao": 12.0, "cranCaud": -7.0, "copper": 0.3, "anodeAngle": 9.0, "grid": False, "level": "realistic", "showMasks": True}
SETTINGS |= {"imageSize": 64, "count": 7, "randomizeExposure": True, "renderer": "cpu", "browseLimit": 11, "seed": 4}
REFERENCES = ("volume", "labels", "markups", "xray", "masks", "points", "beam", "detector", "cloud")


def test_a_scene_bundle_restores_everything(panel: SimpleNamespace, wire: Path, scene: Any, tmp_path: Path) -> None:
    import slicer

    ui, widget, bundle = panel.ui, panel.widget, tmp_path / "scene.mrb"
    for name, value in SETTINGS.items():
        setattr(widget.parameters, name, value)
    ui.landmarksCheckBox.checked = True
    ui.toolPath.currentPath = str(wire)
    ui.addToolButton.click()
    for button in (ui.renderButton, ui.cloudButton, ui.histogramButton):
        button.click()
    before, image = widget.parameters, pixels(panel)
    names = {name: getattr(before, name).GetName() for name in REFERENCES}
    lists = {name: [node.GetName() for node in getattr(before, name)] for name in ("toolModels", "histogram")}
    position = np.array(before.beam.GetPolyData().GetPoint(0))
    del before
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.slicer-cache").touch()  # which marks it as a cache
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(tmp_path / "cache"))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    assert scene.WriteToMRB(str(bundle))
    scene.Clear(0)
    assert (ui.countBox.value, ui.toolList.count, ui.renderButton.enabled) == (100, 0, False)
    assert scene.ReadFromMRB(str(bundle), True)
    p = widget.parameters
    assert {name: getattr(p, name) for name in SETTINGS} == SETTINGS
    assert list(p.tools) == [str(wire)] and ui.toolList.item(0).text() == "wire.toml"
    assert {name: getattr(p, name).GetName() for name in REFERENCES} == names
    assert {name: [node.GetName() for node in getattr(p, name)] for name in lists} == lists
    assert (ui.laoRaoSlider.value, ui.copperBox.value, ui.gridCheckBox.checked, ui.countBox.value) == (12, 0.3, False, 7)
    assert ui.volumeSelector.currentNode() is p.volume
    np.testing.assert_allclose(p.beam.GetPolyData().GetPoint(0), position, atol=1e-3)
    assert {folder_of(node) for node in (p.xray, p.cloud, p.toolModels[0], p.histogram[0])} == {"SyntheX Simulate/blocks"}
    np.testing.assert_array_equal(pixels(panel), image)
    xray = p.xray
    ui.renderButton.click()
    assert p.xray is xray
    np.testing.assert_array_equal(pixels(panel), image)
    ui.deleteButton.click()  # the X-ray was rendered last
    assert p.xray is None and p.cloud is not None and "histograms" in ui.deleteButton.toolTip


def test_a_reload_leaves_nothing_of_the_old_panel(panel: SimpleNamespace, scene: Any) -> None:
    from standin.application import load_module

    old = panel.widget
    old.logic.specimen = Mock(side_effect=AssertionError("the old panel renders"))
    panel.ui.laoRaoSlider.value = 33
    panel.ui.liveCheckBox.checked = True
    old.cleanup()
    work(300)
    assert old.parameters is None
    old.logic.specimen.assert_not_called()
    _, widget, _ = load_module(ROOT / "SyntheXSimulate/SyntheXSimulate.py")
    try:
        assert (widget.ui.laoRaoSlider.value, widget.ui.liveCheckBox.checked) == (33, True)
        assert widget.parameters.volume is panel.volume
        widget.ui.renderButton.click()
        assert widget.parameters.xray is not None
        old.logic.specimen.assert_not_called()
        scene.Clear(0)
        assert widget.ui.laoRaoSlider.value == 0 and old.parameters is None
    finally:
        widget.cleanup()
