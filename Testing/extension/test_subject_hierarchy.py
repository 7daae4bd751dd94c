"""Folders of the subject hierarchy."""

from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXHomeLib.subject_hierarchy import put_in_folder, remove_nodes


def path_of(hierarchy: Any, node: Any) -> list[str]:
    """Names of the folders around a node, the outermost first."""
    item, names = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)), []
    while item and item != hierarchy.GetSceneItemID():
        names.insert(0, hierarchy.GetItemName(item))
        item = hierarchy.GetItemParent(item)
    return names


def test_results_of_a_study_share_a_folder(scene: Any, slicer_core: ModuleType) -> None:
    a, b, c = (scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "abc")
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), b)  # as Slicer does with every node
    put_in_folder(a, "SyntheX Simulate", "pelvis")
    put_in_folder(b, "SyntheX Simulate", "pelvis")
    put_in_folder(c, "SyntheX Simulate", "chest")
    put_in_folder(a, "SyntheX Simulate", "pelvis")  # again: changes nothing
    assert [path_of(hierarchy, node)[-1] for node in (a, b, c)] == ["pelvis", "pelvis", "chest"]
    assert path_of(hierarchy, a) == ["SyntheX Simulate", "pelvis"]
    assert hierarchy.GetNumberOfItems() == 6  # three folders, three nodes


def test_nodes_are_removed_with_what_belongs_to_them_and_empty_folders(scene: Any, slicer_core: ModuleType) -> None:
    a, b = (scene.AddNewNodeByClass("vtkMRMLModelNode", name) for name in "ab")
    a.CreateDefaultDisplayNodes()
    a.AddDefaultStorageNode()
    for node in (a, b):
        put_in_folder(node, "SyntheX Simulate", "pelvis")
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert remove_nodes([None, a]) == 1
    assert [scene.GetNumberOfNodesByClass(f"vtkMRMLModel{kind}Node") for kind in ("", "Display", "Storage")] == [1, 0, 0]
    assert path_of(hierarchy, b) == ["SyntheX Simulate", "pelvis"]
    assert remove_nodes([a, b]) == 1
    assert hierarchy.GetNumberOfItems() == 0
