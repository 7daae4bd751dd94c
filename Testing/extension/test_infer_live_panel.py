"""The parts of the Infer panel that follow an image live and that make a report, under the stand-in for Slicer's application."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from infer_network import Network
from standin.window import picture, work
from test_infer_panel import choose, panel  # noqa: F401  the fixture

from SyntheXHomeLib.library_command import Progress
from SyntheXInferLib.options import InferOptions


def change(slicer_gui: ModuleType, image: Any, number: int) -> None:
    slicer_gui.util.updateVolumeFromArray(image, np.full((1, 12, 16), number, np.uint8) + np.arange(16, dtype=np.uint8))


@pytest.fixture
def live(panel: SimpleNamespace, network: Network, xray: Any, slicer_gui: ModuleType) -> SimpleNamespace:  # noqa: F811
    """The panel that follows an image, after its first result."""
    ui = panel.ui
    assert ui.liveButton.toolTip == "Needs a single image or a sequence and a model."
    choose(panel, xray)
    ui.fieldCheckBox.checked = False
    assert ui.liveButton.enabled and ui.liveLabel.isHidden()
    ui.liveButton.click()
    assert ui.liveButton.text == "Stop live" and ui.liveLabel.text == "Waiting for the first frame ..."
    wait_for(lambda: panel.widget.found is not None)
    panel.network, panel.xray = network, xray
    return panel


def wait_for(reached: Any) -> None:
    for _ in range(200):
        work(25)
        if reached():
            return
    raise AssertionError("It did not come in 5 s")


def test_an_image_is_followed_until_the_button_is_pressed(live: SimpleNamespace, scene: Any, slicer_gui: ModuleType) -> None:
    ui, p = live.ui, live.widget.parameters
    masks, points = p.masks, p.points
    assert (p.resultImage, live.widget._live.live.found.segmentation) == (live.xray, masks)
    for button in (ui.predictButton, ui.deleteButton):
        assert (button.enabled, button.toolTip) == (False, "The image is followed live.")
    assert not ui.imageSelector.enabled and not ui.modelPath.enabled
    for number in range(1, 5):
        live.network.landmarks = live.network.landmarks + np.float32(0.25)
        before = points.GetNthControlPointPosition(0)
        change(slicer_gui, live.xray, number)
        wait_for(lambda before=before: points.GetNthControlPointPosition(0) != before)
    assert (p.masks, p.points) == (masks, points) and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert "frames/s" in ui.liveLabel.text and "ms behind the image; 5 frames shown, 0 passed over" in ui.liveLabel.text
    assert ui.statusLabel.text.startswith("13 of 14 landmarks")
    ui.unsureCheckBox.checked = False
    ui.thresholdSlider.value = 0.97
    change(slicer_gui, live.xray, 9)
    wait_for(lambda: not points.GetNthControlPointVisibility(0))
    picture(live.panel, "SyntheXInfer_live")
    picture(live.panel, "SyntheXInfer_live_dark", dark=True)
    ui.liveButton.click()
    assert ui.liveButton.text == "Start live" and ui.liveLabel.isHidden() and ui.deleteButton.enabled
    seen = len(live.network.seen)
    change(slicer_gui, live.xray, 20)
    work(200)
    assert len(live.network.seen) == seen
    ui.liveButton.click()  # goes on with the same nodes
    wait_for(lambda: len(live.network.seen) > seen)
    work(100)
    assert p.masks is masks and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    ui.liveButton.click()


def test_a_setting_that_is_changed_holds_from_the_next_frame_on(live: SimpleNamespace, scene: Any) -> None:
    masks = live.widget.parameters.masks
    live.ui.polarityBox.setCurrentIndex(1)
    seen = len(live.network.seen)
    wait_for(lambda: len(live.network.seen) > seen)
    wait_for(lambda: "bone is dark" in live.ui.statusLabel.text)
    assert live.widget.parameters.masks is masks and live.ui.liveButton.text == "Stop live"


def test_it_ends_with_the_image_and_says_so_once(live: SimpleNamespace, scene: Any) -> None:
    scene.RemoveNode(live.xray)
    wait_for(lambda: live.ui.liveButton.text == "Start live")
    assert live.ui.liveLabel.text == "The image was removed." and live.widget._live.live is None


def test_a_closed_scene_ends_it(live: SimpleNamespace, scene: Any) -> None:
    scene.Clear(0)
    work(50)
    assert live.widget._live.live is None and live.ui.liveButton.text == "Start live" and live.ui.liveLabel.isHidden()
    assert not live.widget._live._timer.isActive()


def test_a_bad_frame_is_told_beside_the_numbers(live: SimpleNamespace, slicer_gui: ModuleType) -> None:
    slicer_gui.util.updateVolumeFromArray(live.xray, np.full((1, 12, 16), np.nan, np.float32))
    wait_for(lambda: "\n" in live.ui.liveLabel.text)
    assert "'X-ray'" in live.ui.liveLabel.text.splitlines()[1] and live.ui.liveButton.text == "Stop live"
    picture(live.panel, "SyntheXInfer_live_bad")
    change(slicer_gui, live.xray, 3)
    wait_for(lambda: "\n" not in live.ui.liveLabel.text)


def test_a_volume_of_slices_is_not_followed(panel: SimpleNamespace, scene: Any, slicer_gui: ModuleType) -> None:  # noqa: F811
    choose(panel, slicer_gui.util.addVolumeFromArray(np.zeros((3, 12, 16), np.uint8), np.eye(4), "run"))
    assert (panel.ui.liveButton.enabled, panel.ui.liveButton.toolTip) == (False, "Needs a single image or a sequence.")


def test_a_report_is_made_and_opened(
    panel: SimpleNamespace,  # noqa: F811
    xray: Any,
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import qt

    ui, widget = panel.ui, panel.widget
    choose(panel, xray)
    ui.reportSection.collapsed = False
    assert ui.reportButton.toolTip == "Needs a data set and a folder for the report."
    ui.reportDataset.currentPath, ui.reportFolder.currentPath = str(squares), str(tmp_path / "out")
    assert (ui.openReportButton.enabled, ui.openReportButton.toolTip) == (False, "There is no report in the folder yet.")
    run = Mock(evaluating=False)
    run.finished.return_value, run.progress.return_value = False, Progress(3, 12)
    widget.logic.startReport = Mock(return_value=run)
    assert [ui.modeBox.itemText(number) for number in range(ui.modeBox.count)] == ["strict", "paper-text", "released-code"]
    ui.modeBox.setCurrentIndex(2)
    ui.reportButton.click()
    assert widget.logic.startReport.call_args.args == ([str(panel.model)], squares, tmp_path / "out", "released-code", InferOptions())
    work(400)
    assert ui.reportLabel.text == "3 of 12 images predicted" and ui.reportButton.text == "Cancel" and not ui.modeBox.enabled
    picture(panel.panel, "SyntheXInfer_report")
    run.evaluating = True
    work(400)
    assert ui.reportLabel.text == "3 of 12 images evaluated"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.html").write_text("<html></html>", encoding="utf-8")
    run.finished.return_value, run.result.return_value = True, tmp_path / "out/report.html"
    work(400)
    assert ui.reportLabel.text.startswith("Wrote ") and ui.reportButton.text == "Evaluate on data set" and ui.reportBar.isHidden()
    opened: list[str] = []
    monkeypatch.setattr(qt, "QDesktopServices", SimpleNamespace(openUrl=lambda url: opened.append(url.toLocalFile())))
    ui.openReportButton.click()
    assert opened == [str(tmp_path / "out/report.html")]
    run.finished.return_value = False
    ui.reportButton.click()
    ui.reportButton.click()
    assert run.close.called and ui.reportLabel.text == "Cancelled."
