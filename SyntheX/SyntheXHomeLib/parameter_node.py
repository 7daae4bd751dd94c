"""The node of the scene that keeps the settings of a panel."""

from __future__ import annotations

from typing import Any

import slicer


def parameterNode(moduleName: str) -> Any:
    """The scene's vtkMRMLScriptedModuleNode for the settings of a module, made when there is none."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(moduleName, "vtkMRMLScriptedModuleNode")
    if node is None:
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(moduleName)
        node.SetModuleName(moduleName)
        node.SetName(moduleName)
        node = scene.AddNode(node)
    return node
