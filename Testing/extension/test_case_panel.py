"""The case's part of the Simulate panel, under the stand-in for Slicer's application."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (20, 22, 24)


def picture(panel: Any, name: str) -> None:
    """Save a picture of the panel, 400 pixels wide, where SYNTHEX_SCREENSHOTS names a folder."""
    folder = os.environ.get("SYNTHEX_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        panel.show()
        panel.resize(400, panel.layout().heightForWidth(400))
        assert panel.grab().save(str(Path(folder, f"{name}.png")))


def work(milliseconds: int) -> None:
    """Let Qt work for a while."""
    from PySide6.QtCore import QDeadlineTimer
    from PySide6.QtWidgets import QApplication

    end = QDeadlineTimer(milliseconds)
    while not end.hasExpired():
        QApplication.processEvents()


@pytest.fixture
def case(slicer_gui: ModuleType, scene: Any) -> Iterator[SimpleNamespace]:
    """The panel with a CT, a segmentation of three slabs and a placed landmark."""
    from standin.application import load_module

    volume = slicer_gui.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), np.eye(4), "case")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    keys = []
    for place, name in enumerate(("hip_left", "mystery", "vertebrae_L4")):
        mask = np.zeros(SHAPE, np.uint8)
        mask[3 * place + 1 : 3 * place + 3, 4:10, 5:12] = 1
        keys.append(node.GetSegmentation().AddEmptySegment("", name))
        slicer_gui.util.updateSegmentBinaryLabelmapFromArray(mask, node, keys[-1], volume)
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    markups.AddControlPoint((1.0, 2.0, 3.0), "FH-l")
    _, widget, panel = load_module(ROOT / "SyntheXSimulate" / "SyntheXSimulate.py")
    widget.parameters.markups = markups
    yield SimpleNamespace(widget=widget, ui=widget.ui, panel=panel, volume=volume, node=node, keys=keys, markups=markups)
    widget.cleanup()


def rows(ui: Any) -> dict[str, str]:
    table = ui.matchTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


def select(ui: Any, name: str) -> int:
    row = list(rows(ui)).index(name)
    ui.matchTable.setCurrentCell(row, 0)
    return row


def test_the_segments_of_a_structure_are_chosen_in_a_menu(case: SimpleNamespace) -> None:
    ui, part = case.ui, case.widget._case
    assert rows(ui)["right_femur"] == "missing"
    assert ui.matchLabel.text == "Structures: 2 of 6 found; landmarks: 1 of 14."
    assert (ui.chooseButton.enabled, ui.chooseButton.toolTip) == (False, "Select a structure in the table first.")
    ui.matchTable.cellDoubleClicked.emit(select(ui, "right_femur"), 0)
    assert ui.chooseButton.enabled and not ui.placeButton.enabled
    actions = {action.text: action for action in part._menu.actions()}
    assert [name for name, action in actions.items() if action.checked] == []
    actions["mystery"].trigger()
    assert rows(ui)["right_femur"] == "mystery"
    select(ui, "left_hemipelvis")
    ui.chooseButton.click()
    actions = {action.text: action for action in part._menu.actions()}
    assert [name for name, action in actions.items() if action.checked] == ["hip_left"]
    actions["hip_left"].trigger()  # it is not that
    assert rows(ui)["left_hemipelvis"] == "missing"
    picture(case.panel, "SyntheXSimulate_case")
    actions["Match all by name again"].trigger()
    assert (rows(ui)["left_hemipelvis"], rows(ui)["right_femur"]) == ("hip_left", "missing")


def test_the_table_follows_the_nodes(case: SimpleNamespace) -> None:
    case.node.GetSegmentation().GetSegment(case.keys[1]).SetName("femur_right")
    case.markups.AddControlPoint((4.0, 5.0, 6.0), "GSN-l")
    work(150)
    assert (rows(case.ui)["right_femur"], rows(case.ui)["GSN-l"]) == ("femur_right", "GSN-l")
    case.node.GetSegmentation().RemoveSegment(case.keys[1])
    case.markups.RemoveNthControlPoint(1)
    work(150)
    assert (rows(case.ui)["right_femur"], rows(case.ui)["GSN-l"]) == ("missing", "missing")


def test_a_missing_landmark_is_placed_from_its_row_and_a_placed_one_shown(
    case: SimpleNamespace, scene: Any, slicer_gui: ModuleType
) -> None:
    ui, interaction = case.ui, slicer_gui.modules.application.GetInteractionNode()
    interaction.SwitchToViewTransformMode()
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    view.SetLayoutName("Red")
    ui.matchTable.cellClicked.emit(select(ui, "FH-l"), 1)
    assert [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [1, 2, 3]
    scene.RemoveNode(view)  # clearing the scene would leave it
    assert (ui.placeButton.enabled, ui.placeButton.toolTip) == (False, "FH-l is placed: drag it in a view to move it.")
    row = select(ui, "ASIS-r")
    assert ui.placeButton.enabled
    ui.matchTable.cellDoubleClicked.emit(row, 1)
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert ui.statusLabel.text == "Click where ASIS-r is, in a slice or in 3D."
    work(150)
    assert rows(ui)["ASIS-r"] == "missing"
    case.markups.SetNthControlPointPositionWorld(case.markups.GetControlPointPlacementStartIndex(), 7.0, 8.0, 9.0)
    work(150)
    assert rows(ui)["ASIS-r"] == "ASIS-r" and not ui.placeButton.enabled
    interaction.SwitchToViewTransformMode()


def test_the_first_landmark_makes_a_node(case: SimpleNamespace) -> None:
    case.widget.parameters.markups = None
    select(case.ui, "FH-r")
    case.ui.placeButton.click()
    assert case.widget.parameters.markups.GetName() == "case landmarks"
    assert case.ui.markupsSelector.currentNode() is case.widget.parameters.markups


def test_landmarks_are_estimated_until_they_are_dragged(case: SimpleNamespace) -> None:
    from SyntheXSimulateLib.landmarks import ESTIMATED

    ui, logic = case.ui, case.widget.logic
    assert (ui.estimateButton.enabled, ui.estimateButton.toolTip) == (False, "Needs right_hemipelvis in the segmentation.")
    case.node.GetSegmentation().GetSegment(case.keys[1]).SetName("hip_right")
    work(150)
    assert ui.estimateButton.enabled

    def estimate(_volume: Any, _labels: Any, markups: Any, _task: str) -> tuple[Any, list[str]]:
        index = markups.AddControlPoint((1.0, 1.0, 1.0), "GSN-r")
        markups.SetNthControlPointDescription(index, ESTIMATED)
        return markups, ["GSN-r"]

    logic.estimateLandmarks = Mock(side_effect=estimate)
    ui.estimateButton.click()
    logic.estimateLandmarks.assert_called_once_with(case.volume, case.node, case.markups, "hip")
    assert rows(ui)["GSN-r"] == "GSN-r (estimated)"
    assert ui.statusLabel.text == "Estimated GSN-r. Look at the points before you use them."
    case.markups.InvokeEvent(case.markups.PointEndInteractionEvent, 1)
    work(150)
    assert rows(ui)["GSN-r"] == "GSN-r"


class FakeRun:
    """A run that goes as the test says."""

    def __init__(self, volume: Any, node: Any) -> None:
        self.volume, self._node = volume, node
        self.done, self.failure, self.closed, self.asked = False, "", False, False

    def progress(self) -> tuple[int, int]:
        return 30, 100

    def message(self) -> str:
        return self.failure or "TotalSegmentator: Predicting part 1 of 2 ..."

    def finished(self) -> bool:
        return self.done

    def failed(self) -> bool:
        return bool(self.failure)

    def cancelled(self) -> bool:
        return self.asked

    def cancel(self) -> None:
        self.asked = True

    def result(self) -> Any:
        return self._node

    def close(self) -> None:
        self.closed = True


def test_a_segmentation_is_made_followed_and_taken(case: SimpleNamespace, scene: Any) -> None:
    ui, logic, part = case.ui, case.widget.logic, case.widget._segment
    logic.whyNoSegmentation = Mock(side_effect=lambda model: "TotalSegmentator is not installed." if model == "" else "")
    ui.segmentSection.collapsed = False
    part._changed()
    ui.segmentWayBox.setCurrentIndex(0)
    assert (ui.segmentButton.enabled, ui.segmentButton.toolTip) == (False, "TotalSegmentator is not installed.")
    assert not ui.segmentModelPath.enabled and ui.segmentFastCheckBox.enabled
    ui.segmentWayBox.setCurrentIndex(1)
    assert (ui.segmentButton.enabled, ui.segmentButton.toolTip) == (False, "Name a model first.")
    ui.segmentModelPath.currentPath = "/models/bones.ts"
    assert ui.segmentButton.enabled and not ui.segmentFastCheckBox.enabled
    made = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "case segmentation")
    run = FakeRun(case.volume, made)
    logic.segment = Mock(return_value=run)
    ui.segmentButton.click()
    logic.segment.assert_called_once_with(case.volume, "hip", "/models/bones.ts", True)
    assert ui.segmentButton.text == "Cancel" and not ui.segmentWayBox.enabled
    work(400)
    assert (ui.segmentBar.value, ui.segmentBar.maximum) == (30, 100)
    assert ui.segmentLabel.text == "TotalSegmentator: Predicting part 1 of 2 ..."
    picture(case.panel, "SyntheXSimulate_segmenting")
    run.done = True
    work(400)
    assert run.closed and ui.segmentButton.text == "Make segmentation"
    assert case.widget.parameters.labels is made and ui.labelsSelector.currentNode() is made
    assert ui.segmentLabel.text == "Made case segmentation."
    ui.deleteButton.click()
    assert made.GetScene() is None


def test_a_run_is_cancelled_fails_or_loses_its_ct_in_one_sentence(case: SimpleNamespace, scene: Any) -> None:
    ui, logic = case.ui, case.widget.logic
    logic.whyNoSegmentation = Mock(return_value="")
    ui.segmentWayBox.setCurrentIndex(0)
    case.widget._segment._changed()
    run = FakeRun(case.volume, None)
    logic.segment = Mock(return_value=run)
    ui.segmentButton.click()
    ui.segmentButton.click()
    assert run.asked and not ui.segmentButton.enabled and ui.segmentLabel.text == "Ending ..."
    run.done = True
    work(400)
    assert run.closed and ui.segmentLabel.text == "Cancelled." and ui.segmentButton.enabled
    run = FakeRun(case.volume, None)
    run.done, run.failure = True, "There is no GPU."
    logic.segment = Mock(return_value=run)
    ui.segmentButton.click()
    work(400)
    assert ui.segmentLabel.text == "There is no GPU." and case.widget.parameters.labels is case.node
    run = FakeRun(case.volume, None)
    logic.segment = Mock(return_value=run)
    ui.segmentButton.click()
    scene.Clear(0)
    work(400)
    assert run.closed and ui.segmentLabel.text == "The CT has left the scene."
    assert (ui.segmentButton.enabled, ui.segmentButton.toolTip) == (False, "Choose a CT first.")
    assert set(rows(ui).values()) == {"missing"}
