"""Tools as the user names them: files, and their surfaces in the 3D view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXLib.scene.solid_surface import tool_surface
from SyntheXLib.scene.tool_files import read_tool
from SyntheXLib.scene.tools import Tool
from SyntheXSimulateLib.result_nodes import polyDataOf, resultModel

_METAL = (0.75, 0.78, 0.82)
# Attribute of a model node: the tool file it was made of.
TOOL_ATTRIBUTE = "SyntheX.Tool"


class ToolFiles:
    """Tools of files, read again when a file has changed."""

    def __init__(self) -> None:
        self._tools: dict[str, tuple[int, Tool]] = {}
        self._surfaces: dict[str, tuple[Tool, tuple[np.ndarray, np.ndarray]]] = {}

    def read(self, paths: Sequence[str]) -> tuple[Tool, ...]:
        """The tools of these files.

        Raises
        ------
        SyntheXError
            When a file is missing or not right.
        """
        tools = []
        for path in paths:
            changed = Path(path).stat().st_mtime_ns if Path(path).exists() else 0
            if path not in self._tools or self._tools[path][0] != changed:
                self._tools[path] = changed, read_tool(Path(path))
            tools.append(self._tools[path][1])
        return tuple(tools)

    def show(self, paths: Sequence[str], tools: Sequence[Tool], nodes: Sequence[Any], study: str = "") -> list[Any]:
        """Show the surfaces of tools in the 3D view.

        Parameters
        ----------
        paths, tools
            Tool files, and what `read` made of them.
        nodes
            Model nodes of before, which are used again; those of other files are removed.
        study
            Folder of new ones.

        Returns
        -------
        list of vtkMRMLModelNode
            One for each path, in order, in the world.
        """
        kept = {node.GetAttribute(TOOL_ATTRIBUTE): node for node in nodes if node is not None and slicer.mrmlScene.IsNodePresent(node)}
        models = []
        for path, tool in zip(paths, tools, strict=True):
            before = kept.pop(path, None)
            node = resultModel(before, tool.name, _METAL, study)
            known = path in self._surfaces and self._surfaces[path][0] is tool
            if not known:
                self._surfaces[path] = tool, tool_surface(tool)
            if not known or before is None:
                points, triangles = self._surfaces[path][1]
                node.SetAndObservePolyData(polyDataOf(points, faces=triangles))
                node.SetAttribute(TOOL_ATTRIBUTE, path)
            models.append(node)
        remove_nodes(kept.values())
        return models
