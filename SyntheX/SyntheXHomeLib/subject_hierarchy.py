"""Results in folders of the subject hierarchy, and their removal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer


def put_in_folder(node: Any, *folders: str) -> None:
    """Put a node into a folder of the subject hierarchy, which is made when there is none.

    Parameters
    ----------
    node
        Any node of the scene but one that another one shows or stores.
    folders
        Names from the outermost folder to the innermost, such as ``"SyntheX Simulate", "pelvis"``.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetSceneItemID()
    for name in folders:
        item = hierarchy.GetItemChildWithName(item, name) or hierarchy.CreateFolderItem(item, name)
    hierarchy.CreateItem(item, node)  # moves the item that Slicer has made; slicer-core makes none by itself


def remove_nodes(nodes: Iterable[Any | None]) -> int:
    """Remove nodes with what shows and stores them, and the folders that are empty then.

    Parameters
    ----------
    nodes
        None, and nodes that have left the scene, are passed over.

    Returns
    -------
    int
        How many of the nodes were removed.
    """
    scene, removed = slicer.mrmlScene, 0
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for node in nodes:
        if node is None or not scene.IsNodePresent(node):
            continue
        item = hierarchy.GetItemByDataNode(node)
        folder = hierarchy.GetItemParent(item) if item else 0
        if item:
            hierarchy.RemoveItem(item, False, False)  # slicer-core leaves it when the node goes
        for part in (*_parts(node), node):
            if scene.IsNodePresent(part):
                scene.RemoveNode(part)
        _remove_empty(hierarchy, folder)
        removed += 1
    return removed


def _parts(node: Any) -> list[Any]:
    """Display and storage nodes of a node that are its own, as far as it has some."""
    parts = []
    for kind in ("Display", "Storage"):
        if hasattr(node, f"GetNumberOf{kind}Nodes"):
            parts += [getattr(node, f"GetNth{kind}Node")(index) for index in range(getattr(node, f"GetNumberOf{kind}Nodes")())]
    return [part for part in parts if part is not None and not part.GetSingletonTag()]


def _remove_empty(hierarchy: Any, folder: int) -> None:
    """Remove a folder without children, and those around it for which it was the only child."""
    while folder and folder != hierarchy.GetSceneItemID() and not hierarchy.GetNumberOfItemChildren(folder):
        outer = hierarchy.GetItemParent(folder)
        hierarchy.RemoveItem(folder)
        folder = outer
