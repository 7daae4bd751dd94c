"""The panel matches a real X-ray of the phantom: the C-arm goes there, the X-ray lies over it, and back again."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from standin.window import picture, work

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("cmaes", reason="cmaes is not installed")

from match_phantom import LANDMARKS, TRUE, make_phantom, place_image

from SyntheXHomeLib.image_nodes import asSequence, browserOf
from SyntheXLib.registration.pose_file import FORMAT, read_pose
from SyntheXSimulateLib.match import Matched
from SyntheXSimulateLib.match_view import poseOfPanel
from SyntheXSimulateLib.real_images import realImages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def panel(slicer_gui: ModuleType, scene: Any) -> Iterator[SimpleNamespace]:
    """The panel with the phantom, an X-ray of it, and a slice view's node."""
    from standin.application import load_module

    phantom = make_phantom(scene, slicer_gui)
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    _, widget, qt = load_module(ROOT / "SyntheXSimulate/SyntheXSimulate.py")
    p = widget.parameters
    p.volume, p.labels, p.markups = phantom.nodes.volume, phantom.nodes.labels, phantom.nodes.markups
    p.level, p.realBones = "naive", False
    image = place_image(slicer_gui, phantom.xray(), "real")
    p.realDistance = 1020.0
    widget.ui.realSection.collapsed = False
    yield SimpleNamespace(widget=widget, ui=widget.ui, p=p, qt=qt, phantom=phantom, image=image, view=view)
    widget.cleanup()


def wait(panel: SimpleNamespace) -> None:
    for _ in range(600):
        work(200)
        if panel.ui.realButton.text == "Find the pose":
            return
    raise AssertionError(panel.ui.realLabel.text)


def record(panel: SimpleNamespace, name: str = "real", pose: Any = TRUE, **more: Any) -> dict[str, Any]:
    """What a pose file says."""
    camera = panel.phantom.camera(pose)
    found = {"format": FORMAT, "name": name, "trusted": True, "similarity": 0.41, "agreeing_starts": 2, "starts": 2}
    found |= {"orientation": "as-stored", "bone": "bright", "structures": {}, "world_to_camera": camera.world_to_camera.tolist()}
    return found | more


def give(panel: SimpleNamespace, nodes: list[Any], records: list[dict[str, Any]]) -> None:
    """Bring results into the panel, as a run does."""
    result = panel.widget._matched
    result.begin(panel.phantom.isocenter, "phantom")
    for image, one in zip(realImages(nodes), records, strict=True):
        failure = one.get("failure", "")
        result.add(Matched(image, None if failure else one, failure))


def rough(panel: SimpleNamespace) -> None:
    """Where the user brings the C-arm by hand."""
    p = panel.p
    p.laoRao, p.cranCaud, p.roll, p.shiftRight, p.shiftUp, p.distance = 14.0, -10.0, 1.0, 2.0, 2.0, 700.0


def test_the_c_arm_jumps_to_the_real_xray_and_back(panel: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    import slicer

    ui, p = panel.ui, panel.p
    panel.qt.show()
    assert (ui.realButton.enabled, ui.realButton.toolTip) == (False, "Needs a real X-ray.")
    ui.realSelector.setCurrentNode(panel.image)
    assert ui.realGeometryLabel.text == "144 x 128 px of 2 mm, 1020 mm from the source: pixels as the image says."
    rough(panel)
    ui.realButton.click()
    assert ui.realButton.text == "Cancel" and not ui.realSelector.enabled and ui.realBar.visible
    wait(panel)
    assert "similarity 0." in ui.realLabel.text and "trusted" not in ui.realLabel.text and not ui.realBar.visible
    found = poseOfPanel(p)
    assert panel.phantom.error_mm(found.world_to_camera(panel.phantom.isocenter)) < 1.0
    assert found.lao_rao_deg == pytest.approx(TRUE.lao_rao_deg, abs=1.0)
    # The simulated X-ray lies over the real one and is blended with it.
    assert p.realOver and json.loads(p.xray.GetAttribute("SyntheX.Geometry"))["shape"] == [128, 144]
    assert panel.view.GetBackgroundVolumeID() == panel.image.GetID() and panel.view.GetForegroundVolumeID() == p.xray.GetID()
    ui.realBlendSlider.value = 0.8
    assert panel.view.GetForegroundOpacity() == pytest.approx(0.8)
    points = slicer.util.arrayFromModelPoints(p.beam)
    np.testing.assert_allclose(points[0], panel.phantom.camera().source, atol=15)  # depth is the least certain
    # Files, and undo.
    assert ui.realExportButton.toolTip == "Needs a folder."
    ui.realFolder.currentPath = str(tmp_path)
    ui.realExportButton.click()
    assert read_pose(tmp_path / "real.json")["trusted"] and (tmp_path / "views.json").is_file()
    ui.realUndoButton.click()
    assert (p.laoRao, p.cranCaud, p.roll, p.shiftRight, p.shiftUp, p.distance) == (14.0, -10.0, 1.0, 2.0, 2.0, 700.0)
    assert (ui.realUndoButton.enabled, ui.realUndoButton.toolTip) == (False, "Nothing to undo.")
    # The X-ray lies where it lay, with the task's detector.
    ui.realOverCheckBox.checked = False
    ui.renderButton.click()
    assert p.xray.GetImageData().GetDimensions() == (360, 360, 1)
    assert panel.view.GetBackgroundVolumeID() == p.xray.GetID() and not panel.view.GetForegroundVolumeID()
    ui.deleteButton.click()
    assert p.xray is None
    assert "poses of real X-rays" in ui.deleteButton.toolTip
    ui.deleteButton.click()
    assert list(p.matched) == [] and scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 0 and not ui.realExportButton.enabled


def test_the_c_arm_is_moved_over_the_real_xray_by_hand(panel: SimpleNamespace) -> None:
    import slicer

    ui, p = panel.ui, panel.p
    assert ui.realOverCheckBox.toolTip == "Needs a real X-ray."
    ui.realSelector.setCurrentNode(panel.image)
    ui.realOverCheckBox.click()
    first = np.array(slicer.util.arrayFromVolume(p.xray))
    assert first.shape == (1, 128, 144) and panel.view.GetForegroundVolumeID() == p.xray.GetID()
    ui.liveCheckBox.checked = True
    ui.shiftRightSlider.value = 40.0
    work(1500)
    moved = np.array(slicer.util.arrayFromVolume(p.xray))
    pixels = round(40 / 700 * 1020 / 2)  # to the left in the image, which is his right
    centre = slice(30, 100), slice(60, 110)
    rolled = np.roll(first[0], -pixels, 1)
    assert np.corrcoef(np.log(moved[0][centre]).ravel(), np.log(rolled[centre]).ravel())[0, 1] > 0.9
    assert np.corrcoef(np.log(moved[0][centre]).ravel(), np.log(first[0][centre]).ravel())[0, 1] < 0.8
    assert p.realOver and panel.view.GetBackgroundVolumeID() == panel.image.GetID()


def test_a_run_is_cancelled(panel: SimpleNamespace) -> None:
    ui = panel.ui
    ui.realSelector.setCurrentNode(panel.image)
    ui.realButton.click()
    work(2500)
    before = poseOfPanel(panel.p)
    ui.realButton.click()
    wait(panel)
    assert ui.realLabel.text == "Cancelled." and poseOfPanel(panel.p) == before and ui.realSelector.enabled


def test_an_uncertain_pose_is_told_and_one_that_failed_leaves_the_c_arm(panel: SimpleNamespace) -> None:
    ui, p = panel.ui, panel.p
    give(panel, [panel.image], [record(panel, trusted=False, similarity=0.15)])
    assert "Not to be trusted: the similarity is below 0.22." in ui.realLabel.text
    assert p.laoRao == pytest.approx(TRUE.lao_rao_deg) and not ui.realTable.visible
    rough(panel)
    give(panel, [panel.image], [{"name": "real", "failure": "It was too dark."}])
    assert ui.realLabel.text == "real: no pose. It was too dark." and p.laoRao == 14.0


def test_the_poses_of_a_run_are_browsed_in_the_table_and_with_the_images(panel: SimpleNamespace, slicer_gui: ModuleType) -> None:
    from dataclasses import replace

    ui, p = panel.ui, panel.p
    panel.qt.show()
    poses = [replace(TRUE, lao_rao_deg=angle) for angle in (8.0, 2.0, -5.0)]
    frames = np.stack([panel.phantom.xray(pose) for pose in poses])
    sequence = asSequence(slicer_gui.util.addVolumeFromArray(frames, np.diag([-2.0, -2.0, 1.0, 1.0]), "run"))
    p.realImage = sequence
    records = [record(panel, f"run_{number:04d}", pose) for number, pose in enumerate(poses)]
    records[1] = {"name": "run_0001", "failure": "It was too dark."}
    give(panel, [sequence], records)
    assert [ui.realTable.item(row, 2).text() for row in range(3)] == ["yes", "no", "yes"] and ui.realTable.visible
    assert ui.realTable.item(1, 0).toolTip() == "It was too dark." and p.laoRao == pytest.approx(-5.0)
    ui.realTable.cellClicked.emit(0, 0)
    assert p.laoRao == pytest.approx(8.0) and browserOf(sequence).GetSelectedItemNumber() == 0
    np.testing.assert_allclose(slicer_gui.util.arrayFromVolume(browserOf(sequence).GetProxyNode(sequence))[0], frames[0])
    assert panel.view.GetBackgroundVolumeID() == browserOf(sequence).GetProxyNode(sequence).GetID()
    browserOf(sequence).SetSelectedItemNumber(2)
    work(50)
    assert p.laoRao == pytest.approx(-5.0)
    browserOf(sequence).SetSelectedItemNumber(1)
    work(50)
    assert p.laoRao == pytest.approx(-5.0) and "too dark" in ui.realLabel.text
    picture(panel.qt, "SyntheXSimulate_match_run")


def test_moved_femurs_are_moved_in_the_xray_until_undone(panel: SimpleNamespace) -> None:
    import slicer

    ui, p = panel.ui, panel.p
    motion = np.eye(4)
    motion[:3, 3] = -30, 0, 20
    give(panel, [panel.image], [record(panel)])
    straight = np.array(slicer.util.arrayFromVolume(p.xray))
    give(panel, [panel.image], [record(panel, structures={"left_femur": motion.tolist()})])
    moved = np.array(slicer.util.arrayFromVolume(p.xray))
    assert np.abs(np.log(moved / straight)).max() > 0.2 and "Moved as registered: left_femur" in ui.statusLabel.text
    ui.realUndoButton.click()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(p.xray), straight)


def test_each_start_asks_for_what_it_needs(panel: SimpleNamespace) -> None:
    import slicer

    ui, p = panel.ui, panel.p
    panel.qt.show()
    p.realImage = panel.image
    ui.realMoreSection.collapsed = False
    asked = ["realMarkupsSelector", "realPlaceButton", "realModelPath"]
    shown = {}
    for index, start in enumerate(("arm", "landmarks", "network", "search")):
        ui.realStartBox.setCurrentIndex(index)
        shown[p.realStart] = [getattr(ui, name).visible for name in asked]
        assert p.realStart == start
    assert list(shown.values()) == [[False] * 3, [True, True, False], [False, False, True], [False] * 3]
    ui.realStartBox.setCurrentIndex(1)
    assert ui.realButton.toolTip == "Needs landmarks on the X-ray."
    ui.realPlaceButton.click()
    assert p.realMarkups.GetNumberOfControlPoints() == len(panel.widget.logic.task("hip").patient_landmarks)
    selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    assert selection is None or selection.GetActivePlaceNodeID() == p.realMarkups.GetID()
    assert set(LANDMARKS) <= {p.realMarkups.GetNthControlPointLabel(n) for n in range(p.realMarkups.GetNumberOfControlPoints())}
    p.realOrientation = "detect"
    assert ui.realButton.toolTip == "Landmarks need an orientation that is named."
    ui.realStartBox.setCurrentIndex(2)
    assert "Needs" in ui.realButton.toolTip
    p.realImage = panel.phantom.nodes.volume
    ui.realStartBox.setCurrentIndex(0)
    assert ui.realButton.toolTip == "The X-ray is chosen as CT: choose another one."


def test_a_file_is_loaded_and_shown(panel: SimpleNamespace, tmp_path: Path) -> None:
    import SimpleITK as sitk

    ui, p = panel.ui, panel.p
    path = tmp_path / "from_file.png"
    sitk.WriteImage(sitk.GetImageFromArray((50 * panel.phantom.xray()).clip(0, 255).astype(np.uint8)), str(path))
    assert ui.realLoadButton.toolTip == "Needs a file."
    ui.realPath.currentPath = str(path)
    ui.realLoadButton.click()
    assert p.realImage.GetName() == "from_file" and panel.view.GetBackgroundVolumeID() == p.realImage.GetID()
    assert "the device's whole detector" in ui.realGeometryLabel.text


def test_the_section_fits_400_pixels_light_and_dark_with_more_open(panel: SimpleNamespace) -> None:
    ui = panel.ui
    for name, section in vars(ui).items():
        if name.endswith("Section"):
            section.collapsed = name != "realSection"
    ui.realSelector.setCurrentNode(panel.image)
    picture(panel.qt, "SyntheXSimulate_match_closed")
    give(panel, [panel.image, panel.image], [record(panel), record(panel, "second", trusted=False, similarity=0.13)])
    ui.realStartBox.setCurrentIndex(1)
    picture(panel.qt, "SyntheXSimulate_match_light")
    ui.realMoreSection.collapsed = False
    for dark in (False, True):
        picture(panel.qt, f"SyntheXSimulate_match_more_{'dark' if dark else 'light'}", dark)
    assert panel.qt.minimumSizeHint().width() <= 400
