"""Segmentation nodes as the anatomy of a case, and the tables of what is missing."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.poses import rotation_about
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.structures import matchStructures, structureMasks

HIP = load_task("hip")
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation_about(0, 10) @ rotation_about(1, -20) @ rotation_about(2, 30) @ np.diag([-1.5, 2.0, 2.5])
OBLIQUE[:3, 3] = (-5, 40, -100)
PARENT = np.eye(4)
PARENT[:3, :3], PARENT[:3, 3] = rotation_about(2, 70) @ rotation_about(0, -40), (12, -34, 56)


def box(shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """A (K, J, I) mask of the voxels from `low` to before `high`, each (k, j, i)."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*limits) for limits in zip(low, high, strict=True))] = True
    return mask


class Case:
    """A CT of 20 x 22 x 24 voxels and an empty segmentation."""

    shape = (20, 22, 24)

    def __init__(self, slicer: ModuleType) -> None:
        self.slicer = slicer
        self.volume = slicer.util.addVolumeFromArray(np.zeros(self.shape, np.int16), OBLIQUE, "case")
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones")
        self.node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)

    def add(self, name: str, mask: np.ndarray, volume: Any = None) -> str:
        key = self.node.GetSegmentation().AddEmptySegment("", name)
        self.slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), self.node, key, volume or self.volume)
        return str(key)

    def move(self, *nodes: Any) -> None:
        transform = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(self.slicer.util.vtkMatrixFromArray(PARENT))
        for node in nodes:
            node.SetAndObserveTransformNodeID(transform.GetID())


def nodes(case: Case) -> list[str]:
    scene = case.slicer.mrmlScene
    ids = [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]
    return [key for key in ids if "SubjectHierarchy" not in key]  # there is one in Slicer from the start


@pytest.fixture
def case(scene: Any, slicer_core: ModuleType) -> Case:
    return Case(slicer_core)


def test_overlapping_segments_keep_all_their_voxels(case: Case) -> None:
    first, second = box(case.shape, (2, 3, 4), (10, 12, 14)), box(case.shape, (6, 8, 9), (15, 16, 20))
    case.add("hip_left", first)
    case.add("Femur Left", second)
    assert case.node.GetSegmentation().GetNumberOfLayers() == 2
    case.move(case.volume, case.node)
    specimen = SyntheXSimulateLogic().specimen(case.volume, case.node, None, "hip")
    np.testing.assert_array_equal(specimen.labels & 1 > 0, first)
    np.testing.assert_array_equal(specimen.labels >> HIP.structure_names.index("left_femur") & 1 > 0, second)
    np.testing.assert_allclose(specimen.ijk_to_ras, PARENT @ OBLIQUE)


def test_a_segmentation_on_another_grid_and_under_another_transform_lands_where_it_is_in_the_world(
    case: Case, slicer_core: ModuleType
) -> None:
    # A grid of half the spacing along k that begins two voxels later, seen through the inverse of the CT's transform.
    finer = OBLIQUE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 1.75], [0, 0, 0, 1]])
    grid = slicer_core.util.addVolumeFromArray(np.zeros((30, 22, 24), np.int16), PARENT @ finer, "grid")
    case.add("left hip bone", box((30, 22, 24), (4, 5, 6), (10, 11, 12)), grid)
    case.move(case.volume)
    masks = structureMasks(case.node, case.volume, HIP)
    np.testing.assert_array_equal(masks["left_hemipelvis"], box(case.shape, (4, 5, 6), (7, 11, 12)))


def test_closed_surfaces_become_masks_and_the_node_stays_as_it_was(case: Case) -> None:
    mask = box(case.shape, (4, 5, 6), (14, 15, 16))
    case.add("hip_right", mask)
    segmentation = case.node.GetSegmentation()
    case.node.CreateClosedSurfaceRepresentation()
    case.node.SetSourceRepresentationToClosedSurface()
    segmentation.RemoveRepresentation("Binary labelmap")
    before = nodes(case)
    made = structureMasks(case.node, case.volume, HIP)["right_hemipelvis"]
    assert (made & mask).sum() > 0.9 * mask.sum()  # the surface is smoothed
    assert (made & ~mask).sum() < 0.05 * mask.sum()
    assert not segmentation.ContainsRepresentation("Binary labelmap")
    assert nodes(case) == before


def test_segments_are_known_by_terminology_where_the_name_says_nothing(case: Case, slicer_core: ModuleType) -> None:
    femur, vertebra = (case.add(f"Segment {n}", box(case.shape, (n, n, n), (n + 4, n + 4, n + 4))) for n in (1, 9))
    anatomy = "General Anatomy~SCT^85756007^Tissue~SCT^272673000^Bone~^^~Anatomic codes~SCT^71341001^Femur~SCT^7771000^Left"
    kind = "General Anatomy~SCT^123037004^Anatomical Structure~SCT^36978003^L5 vertebra~^^~Anatomic codes~^^~^^"
    for key, entry in ((femur, anatomy), (vertebra, kind)):
        case.node.GetSegmentation().GetSegment(key).SetTag(slicer_core.vtkSegment.GetTerminologyEntryTagName(), entry)
    found = {match.name: match.keys for match in matchStructures(case.node, HIP) if match.keys}
    assert found == {"left_femur": (femur,), "lumbar_vertebrae": (vertebra,)}


def test_segments_without_names_are_known_by_totalsegmentators_numbers(case: Case) -> None:
    key = case.add("Segment_77", box(case.shape, (1, 1, 1), (5, 5, 5)))
    case.add("Segment_1", box(case.shape, (8, 8, 8), (9, 9, 9)))
    table = SyntheXSimulateLogic().structureTable(case.node, "hip")
    assert [match.name for match in table] == list(HIP.structure_names)
    assert [match.keys for match in table] == [(key,)] + [()] * (len(HIP.structures) - 1)


def test_a_structure_of_several_segments_is_their_union(case: Case) -> None:
    upper, lower = box(case.shape, (2, 2, 2), (5, 6, 6)), box(case.shape, (8, 2, 2), (12, 6, 6))
    case.add("vertebrae_L4", upper)
    case.add("vertebrae_L5", lower)
    np.testing.assert_array_equal(structureMasks(case.node, case.volume, HIP)["lumbar_vertebrae"], upper | lower)


def test_a_segmentation_without_the_tasks_structures_is_refused_by_name(case: Case) -> None:
    case.add("spleen", box(case.shape, (1, 1, 1), (5, 5, 5)))
    with pytest.raises(SyntheXError, match=r"bones.*found the segments spleen"):
        structureMasks(case.node, case.volume, HIP)


def test_a_segmentation_elsewhere_is_refused(case: Case, slicer_core: ModuleType) -> None:
    case.add("hip_left", box(case.shape, (1, 1, 1), (5, 5, 5)))
    far = slicer_core.util.addVolumeFromArray(np.zeros(case.shape, np.int16), OBLIQUE, "far")
    far.SetOrigin(900, 900, 900)
    with pytest.raises(SyntheXError, match="not in the same frame"):
        structureMasks(case.node, far, HIP)


def test_the_table_of_a_label_map_names_what_is_missing(case: Case, slicer_core: ModuleType) -> None:
    labels = np.zeros(case.shape, np.uint8)
    labels[2:5], labels[6:9] = 77, 31
    node = slicer_core.util.addVolumeFromArray(labels, OBLIQUE, "labels", "vtkMRMLLabelMapVolumeNode")
    found = {match.name: match.parts for match in SyntheXSimulateLogic().structureTable(node, "hip") if match.parts}
    assert found == {"left_hemipelvis": ("label 77",), "lumbar_vertebrae": ("label 31",)}


def test_the_table_of_landmarks_takes_placed_points_by_name(case: Case, scene: Any) -> None:
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    for name in ("FH-l", "FH-r", "elsewhere"):
        markups.AddControlPoint((0.0, 0.0, 0.0), name)
    markups.UnsetNthControlPointPosition(1)
    table = SyntheXSimulateLogic().landmarkTable(markups, "hip")
    assert [match.name for match in table if match.parts] == ["FH-l"]
    assert len(table) == len(HIP.landmarks)
    assert not any(match.parts for match in SyntheXSimulateLogic().landmarkTable(None, "hip"))
