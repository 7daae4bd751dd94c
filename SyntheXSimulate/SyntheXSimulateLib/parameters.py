"""The panel's settings, kept in the scene: saved and loaded with it."""

from typing import Annotated, Union

import slicer
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

from SyntheXLib.rendering.levels import LEVELS
from SyntheXLib.tasks.task import task_files

_TASKS = list(task_files())
_Angle = Annotated[float, WithinRange(-180, 180)]


@parameterNodeWrapper
class SimulateParameters:
    """See the panel; kV, mm, uGy, degrees."""

    volume: slicer.vtkMRMLScalarVolumeNode
    # Union: Slicer 5.10 reads it, and no other spelling says two kinds of nodes.
    labels: Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    markups: slicer.vtkMRMLMarkupsFiducialNode
    task: Annotated[str, Choice(_TASKS), Default("hip")]
    laoRao: _Angle = 0.0
    cranCaud: _Angle = 0.0
    roll: _Angle = 0.0
    distance: Annotated[float, WithinRange(300, 1000)] = 700.0
    live: bool = False
    level: Annotated[str, Choice(list(LEVELS)), Default("realistic")]
    kvp: Annotated[float, WithinRange(40, 150)] = 90.0
    aluminium: Annotated[float, WithinRange(0, 20)] = 4.0
    dose: Annotated[float, WithinRange(0.01, 1000)] = 5.0
    showCArm: bool = True
    showMasks: bool = False
    showLandmarks: bool = False
    count: Annotated[int, WithinRange(1, 10_000_000)] = 100
    workers: Annotated[int, WithinRange(0, 256)] = 0
    seed: Annotated[int, WithinRange(0, 1_000_000_000)] = 0
    # What was made, so that it is found again after the scene was loaded.
    xray: slicer.vtkMRMLScalarVolumeNode
    masks: slicer.vtkMRMLLabelMapVolumeNode
    points: slicer.vtkMRMLMarkupsFiducialNode
    beam: slicer.vtkMRMLModelNode
    detector: slicer.vtkMRMLModelNode
    cloud: slicer.vtkMRMLModelNode
