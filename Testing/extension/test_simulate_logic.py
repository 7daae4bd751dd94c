"""From the nodes of a case to a specimen and an X-ray."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.poses import CArmPose, rotation_about
from SyntheXLib.scene.specimen import make_specimen
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

HIP = load_task("hip")
LEFT, RIGHT = HIP.structures[0], HIP.structures[1]


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about(0, degrees[0]) @ rotation_about(1, degrees[1]) @ rotation_about(2, degrees[2])
    matrix[:3, 3] = shift
    return matrix


# Oblique, with unequal spacing and one axis mirrored.
IJK_TO_RAS = rigid((10, -20, 30), (-5, 40, -100)) @ np.diag([-1.5, 2.0, 2.5, 1.0])
PARENT = rigid((-40, 15, 70), (12, -34, 56))


class Case:
    """CT, label map and landmarks in the scene, and the arrays they were made of."""

    def __init__(self, slicer: ModuleType, left: int = 77, right: int = 78) -> None:
        self.slicer = slicer
        self.hu = np.random.default_rng(0).integers(-1000, 1500, (9, 10, 11)).astype(np.int16)
        self.labels = np.zeros(self.hu.shape, np.uint8)
        self.labels[1:4, 2:5, 1:5], self.labels[5:8, 4:9, 6:10] = left, right
        self.point = IJK_TO_RAS @ [2, 3, 4, 1]
        self.volume = slicer.util.addVolumeFromArray(self.hu, IJK_TO_RAS, "case")
        self.labelmap = slicer.util.addVolumeFromArray(self.labels, IJK_TO_RAS, "labels", "vtkMRMLLabelMapVolumeNode")
        self.markups = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
        self.markups.AddControlPoint(self.point[:3], "FH-l")

    def move(self, matrix: np.ndarray) -> None:
        """Put all nodes under a transform."""
        transform = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(self.slicer.util.vtkMatrixFromArray(matrix))
        for node in (self.volume, self.labelmap, self.markups):
            node.SetAndObserveTransformNodeID(transform.GetID())

    def name_labels(self, names: dict[int, str]) -> None:
        """Give the label map a colour table of its own."""
        colors = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
        colors.SetTypeToUser()
        colors.SetNumberOfColors(max(names) + 1)
        for value, name in names.items():
            colors.SetColor(value, name, 1, 1, 1, 1)
        self.labelmap.CreateDefaultDisplayNodes()
        self.labelmap.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())

    def specimen(self) -> Any:
        return SyntheXSimulateLogic().specimen(self.volume, self.labelmap, self.markups, "hip")


@pytest.fixture
def case(scene: Any, slicer_core: ModuleType) -> Case:
    return Case(slicer_core)


def test_nodes_that_lie_oblique_under_a_transform_give_the_specimen_that_the_library_makes(case: Case) -> None:
    case.move(PARENT)
    made = case.specimen()
    masks = {LEFT.name: case.labels == 77, RIGHT.name: case.labels == 78}
    own = make_specimen(
        "case", case.hu, PARENT @ IJK_TO_RAS, masks, HIP.structure_names, {"FH-l": (PARENT @ case.point)[:3]}, HIP.landmark_names
    )
    assert made.name == own.name
    assert made.structures == own.structures
    assert "coarser than the 0.5 to 1 mm of task 'hip'" in made.warnings[0] and made.warnings[1:] == own.warnings
    np.testing.assert_array_equal(made.hu, own.hu)
    np.testing.assert_array_equal(made.labels, own.labels)
    np.testing.assert_allclose(made.ijk_to_ras, own.ijk_to_ras, atol=1e-12)
    np.testing.assert_allclose(made.landmarks["FH-l"], own.landmarks["FH-l"], atol=1e-9)


def test_a_transform_moves_centroid_and_landmark_as_it_moves_points(case: Case) -> None:
    before = case.specimen()
    case.move(PARENT)
    after = case.specimen()
    for name in (LEFT.name, RIGHT.name):
        expected = PARENT @ [*before.structure_centroid([name]), 1]
        np.testing.assert_allclose(after.structure_centroid([name]), expected[:3], atol=1e-9)
    np.testing.assert_allclose(after.landmarks["FH-l"], (PARENT @ [*before.landmarks["FH-l"], 1])[:3], atol=1e-9)


def test_the_specimen_does_not_change_with_the_nodes_later(case: Case, slicer_core: ModuleType) -> None:
    specimen = case.specimen()
    slicer_core.util.arrayFromVolume(case.volume)[:] = 0
    slicer_core.util.arrayFromVolume(case.labelmap)[:] = 0
    np.testing.assert_array_equal(specimen.hu, case.hu)
    assert specimen.labels.any()


def test_labels_are_known_by_the_names_of_the_label_maps_own_colour_table(scene: Any, slicer_core: ModuleType) -> None:
    case = Case(slicer_core, left=2, right=1)
    case.name_labels({1: "Right hip bone", 2: "Hip_Left", 3: "spleen"})
    labels = case.specimen().labels
    np.testing.assert_array_equal(labels == 1 << LEFT.bit, case.labels == 2)
    np.testing.assert_array_equal(labels == 1 << RIGHT.bit, case.labels == 1)


def test_a_built_in_colour_table_names_nothing_and_totalsegmentators_numbers_hold(case: Case) -> None:
    case.labelmap.CreateDefaultDisplayNodes()
    assert case.labelmap.GetDisplayNode().GetColorNode() is not None
    np.testing.assert_array_equal(case.specimen().labels == 1 << LEFT.bit, case.labels == 77)


def test_points_without_a_position_are_unknown(case: Case) -> None:
    case.markups.AddControlPoint((0, 0, 0), "FH-r")
    case.markups.UnsetNthControlPointPosition(1)
    specimen = case.specimen()
    assert np.isnan(specimen.landmark_array(["FH-r"])).all()
    assert any("FH-r" in warning for warning in specimen.warnings)


def test_a_label_map_that_is_not_where_the_ct_is_is_refused(case: Case, slicer_core: ModuleType) -> None:
    case.move(PARENT)
    case.labelmap.SetAndObserveTransformNodeID(None)
    with pytest.raises(SyntheXError, match="labels"):
        case.specimen()


def test_a_transform_that_bends_is_refused(case: Case, slicer_core: ModuleType) -> None:
    import vtk

    points = vtk.vtkPoints(), vtk.vtkPoints()
    for index, corner in enumerate(np.ndindex(2, 2, 2)):
        points[0].InsertNextPoint(*np.multiply(corner, 50.0))
        points[1].InsertNextPoint(*(np.multiply(corner, 50.0) + index))
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(points[0])
    spline.SetTargetLandmarks(points[1])
    transform = slicer_core.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(spline)
    case.volume.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(SyntheXError, match="not linear"):
        case.specimen()


def test_a_metal_bead_darkens_the_pixel_to_which_its_place_projects(scene: Any, slicer_core: ModuleType) -> None:
    case = Case(slicer_core)
    case.hu[:] = -1000
    bead = (8, 6, 7)  # i, j, k
    case.hu[bead[::-1]] = 20000
    slicer_core.util.updateVolumeFromArray(case.volume, case.hu)
    case.move(PARENT)
    specimen = case.specimen()
    node = SyntheXSimulateLogic().renderXray(specimen, "hip", 20, -10, level="naive")
    pose = CArmPose(lao_rao_deg=20, cran_caud_deg=-10)
    camera = task_camera(HIP.c_arm, pose.world_to_camera(specimen.structure_centroid(HIP.poses.isocenter)))
    world = PARENT @ IJK_TO_RAS @ [*bead, 1]
    column, row = camera.project(world[:3])[0][0]
    image = slicer_core.util.arrayFromVolume(node)
    assert image.shape == (1, *camera.shape)
    darkest = np.unravel_index(image[0].argmin(), camera.shape)
    np.testing.assert_allclose(darkest, (row, column), atol=1)
    np.testing.assert_allclose(node.GetSpacing()[:2], camera.pixel_spacing_mm)
    assert image.max() == pytest.approx(1)
