"""The panel's settings, kept in the scene: saved and loaded with it."""

from typing import Annotated, Union

import slicer
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

from SyntheXLib.registration.orientation import ORIENTATIONS
from SyntheXLib.rendering.levels import LEVELS
from SyntheXLib.scene.device_file import device_files
from SyntheXLib.tasks.task import task_files
from SyntheXSimulateLib.renderers import CHOICES

_TASKS = list(task_files())
_Angle = Annotated[float, WithinRange(-180, 180)]
_Shift = Annotated[float, WithinRange(-500, 500)]


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
    distance: Annotated[float, WithinRange(300, 1500)] = 700.0
    shiftRight: _Shift = 0.0
    shiftUp: _Shift = 0.0
    movedBones: str = ""  # JSON, see `match_view`
    live: bool = False
    device: Annotated[str, Choice(list(device_files())), Default("cios-fusion")]
    deviceFile: str = ""  # a device of the user's own, in place of a preset
    renderer: Annotated[str, Choice(list(CHOICES)), Default("auto")]
    level: Annotated[str, Choice(list(LEVELS)), Default("realistic")]
    kvp: Annotated[float, WithinRange(40, 150)] = 90.0
    aluminium: Annotated[float, WithinRange(0, 20)] = 4.0
    dose: Annotated[float, WithinRange(0.01, 1000)] = 5.0
    copper: Annotated[float, WithinRange(0, 2)] = 0.0
    anodeAngle: Annotated[float, WithinRange(6, 20)] = 12.0
    grid: bool = True
    tools: list[str]
    showTools: bool = True
    showCArm: bool = True
    showMasks: bool = False
    showLandmarks: bool = False
    count: Annotated[int, WithinRange(1, 10_000_000)] = 100
    workers: Annotated[int, WithinRange(0, 256)] = 0
    imageSize: Annotated[int, WithinRange(0, 4096)] = 0
    fullSize: bool = False
    vary: Annotated[int, WithinRange(0, 10_000)] = 0
    oversample: Annotated[int, WithinRange(0, 8)] = 0  # 0: the task's
    randomizeExposure: bool = False
    browseLimit: Annotated[int, WithinRange(1, 5000)] = 200
    seed: Annotated[int, WithinRange(0, 1_000_000_000)] = 0
    # The real X-ray that is matched, see `match.MatchSettings`.
    realImage: Union[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    realMarkups: slicer.vtkMRMLMarkupsFiducialNode
    realStart: str = "arm"
    realModel: str = ""
    realAll: bool = False
    realDistance: Annotated[float, WithinRange(0, 3000)] = 0.0  # 0: as known
    realOrientation: Annotated[str, Choice([*ORIENTATIONS, "detect"]), Default("as-stored")]
    realPolarity: Annotated[str, Choice(["auto", "bone-bright", "bone-dark"]), Default("auto")]
    realIntensity: Annotated[str, Choice(["auto", "log", "linear"]), Default("auto")]
    realBones: bool = True
    realCollimation: bool = True
    realOver: bool = False
    realBlend: Annotated[float, WithinRange(0, 1)] = 0.5
    realBright: bool = True  # whether it shows bone bright
    placeBefore: str = ""  # see `match_view.placeOf`
    # What was made, so that it is found again after the scene was loaded.
    segmentation: slicer.vtkMRMLSegmentationNode
    xray: slicer.vtkMRMLScalarVolumeNode
    masks: slicer.vtkMRMLLabelMapVolumeNode
    points: slicer.vtkMRMLMarkupsFiducialNode
    beam: slicer.vtkMRMLModelNode
    detector: slicer.vtkMRMLModelNode
    cloud: slicer.vtkMRMLModelNode
    toolModels: list[slicer.vtkMRMLModelNode]
    histogram: list[slicer.vtkMRMLNode]
    browsed: list[slicer.vtkMRMLNode]
    matched: list[slicer.vtkMRMLNode]
    results: list[str]  # see `results`
