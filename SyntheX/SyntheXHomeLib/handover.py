"""The three steps: which nodes and files the other modules are opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from SyntheXHomeLib.settings import LAST_DATASET, LAST_MODEL, recall
from SyntheXHomeLib.subject_hierarchy import remove_nodes

# Attribute of a sample's CT with the sample's name, and the roles under which the CT knows its labels and landmarks: saved with the scene.
SAMPLE_ATTRIBUTE = "SyntheX.Sample"
_LABELS_ROLE, _MARKUPS_ROLE = "SyntheX.Labels", "SyntheX.Landmarks"
_GIVEN_ATTRIBUTE = "SyntheX.Given"


def markAsSample(name: str, volumeNode: Any, labelsNode: Any, markupsNode: Any | None) -> None:
    """Note on a CT that it is a sample, and what belongs to it."""
    volumeNode.SetAttribute(SAMPLE_ATTRIBUTE, name)
    volumeNode.SetNodeReferenceID(_LABELS_ROLE, labelsNode.GetID())
    if markupsNode is not None:
        volumeNode.SetNodeReferenceID(_MARKUPS_ROLE, markupsNode.GetID())


def lastSample() -> tuple[Any, Any | None, Any | None] | None:
    """CT, labels and landmarks of the sample that came last into the scene; None when there is none."""
    volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node.GetAttribute(SAMPLE_ATTRIBUTE)]
    if not volumes:
        return None
    return volumes[-1], volumes[-1].GetNodeReference(_LABELS_ROLE), volumes[-1].GetNodeReference(_MARKUPS_ROLE)


def removeLastSample() -> None:
    """Take the sample that was loaded last out of the scene, with the colour table of its labels."""
    sample = lastSample()
    if sample is None:
        return
    display = sample[1].GetDisplayNode() if sample[1] is not None else None
    colors = display.GetColorNode() if display else None
    own = colors is not None and not colors.GetSingletonTag()  # else one of Slicer's
    remove_nodes([*sample, colors if own else None])


def giveSample() -> None:
    """Choose the sample that was loaded last in the Simulate module, by the references of its parameter node.

    Once: who then chooses another CT there keeps it.
    """
    from SyntheXSimulateLib.logic import SyntheXSimulateLogic

    sample, parameters = lastSample(), SyntheXSimulateLogic().parameterNode()
    if sample is None or (sample[0].GetAttribute(_GIVEN_ATTRIBUTE) and parameters.GetNodeReference("volume") is not None):
        return
    sample[0].SetAttribute(_GIVEN_ATTRIBUTE, "1")
    for role, node in zip(("volume", "labels", "markups"), sample, strict=True):
        parameters.SetParameter(role, "")  # as Slicer's wrapper does, which else would write its default over the reference
        parameters.SetNodeReferenceID(role, None if node is None else node.GetID())


def lastDataset() -> str:
    """Folder of the data set that was made last, if it is still there; else empty."""
    folder = recall(LAST_DATASET)
    return folder if folder and Path(folder, "dataset.json").is_file() else ""


def lastModel() -> str:
    """File of the model that was trained last, if it is still there; else empty."""
    path = recall(LAST_MODEL)
    return path if path and Path(path).is_file() else ""


def openModule(module: str, field: str = "", path: str = "") -> None:
    """Open a module and, where a path is given, put that into one of its path fields unless the user filled it in already.

    Parameters
    ----------
    module
        Its name.
    field
        Name of a ctkPathLineEdit in its panel: ``datasetPath`` of SyntheXTrain, ``modelPath`` of SyntheXInfer.
    path
        What is put there.
    """
    slicer.util.selectModule(module)
    widget = getattr(slicer.modules, f"{module}Widget", None)  # there once the module was opened
    if path and widget is not None:
        edit = getattr(widget.ui, field)
        if not edit.currentPath:
            edit.currentPath = path
