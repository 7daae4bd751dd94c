"""A MRML scene in plain Python with slicer-core, as Slicer itself provides it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import slicer

_LOGICS = {
    "Colors": "vtkMRMLColorLogic",  # first: display nodes of volumes ask for it
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
}


def ensureScene() -> Any:
    """Make `slicer.mrmlScene` and the logics in `slicer.modules` that SyntheX uses, unless they are there, as in Slicer; give the scene."""
    if getattr(slicer, "mrmlScene", None) is not None:
        return slicer.mrmlScene
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    slicer.mrmlScene, slicer.modules = scene, SimpleNamespace()
    for name, className in _LOGICS.items():
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)  # before the scene is set: then the module's node classes register
        logic.SetMRMLScene(scene)
        setattr(slicer.modules, name.lower(), SimpleNamespace(logic=lambda logic=logic: logic))
    slicer.modules.application = application  # kept alive
    return scene
