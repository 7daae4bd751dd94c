"""The panel's settings, kept in the scene: saved and loaded with it."""

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

from SyntheXLib.randomization.names import LEVELS
from SyntheXLib.randomization.names import PRESETS as RANDOMIZATION_PRESETS
from SyntheXTrainLib.curves import CHARTS

# As the library's settings call them; to ask it (`training.config`) would load torch.
PRESETS = ["ours", "paper-text", "released-code"]
AS_PRESET = "as the preset"
PRETRAINED_SIZE = "full"  # the one that starts from a pretrained file
FULL_PRESETS = ("paper-text", "released-code")  # those of that size
SIZES = [AS_PRESET, "small", "medium", PRETRAINED_SIZE]
DEVICES = ["auto", "cpu", "cuda", "mps"]
INPUTS, LAST_VALIDATION, BEST_VALIDATION = "training inputs", "last validation", "best validation"


@parameterNodeWrapper
class TrainParameters:
    """See the panel; folders as text, empty where none is chosen."""

    dataset: str = ""  # the one in the path field
    datasets: list[str]  # those in the list
    validation: str = ""
    output: str = ""
    preset: Annotated[str, Choice(PRESETS), Default(PRESETS[0])]
    size: Annotated[str, Choice(SIZES), Default(AS_PRESET)]
    randomization: Annotated[str, Choice(list(LEVELS)), Default("regular")]
    epochs: Annotated[int, WithinRange(1, 100_000)] = 20
    device: Annotated[str, Choice(DEVICES), Default(DEVICES[0])]
    randomizationPreset: Annotated[str, Choice([AS_PRESET, *RANDOMIZATION_PRESETS]), Default(AS_PRESET)]
    physicsInTheLoop: bool = False
    pretrained: str = ""
    randomStart: bool = False
    chart: Annotated[str, Choice(list(CHARTS)), Default(CHARTS[0])]
    picture: Annotated[str, Choice([INPUTS, LAST_VALIDATION, BEST_VALIDATION]), Default(INPUTS)]
    export: str = ""
    # What was made, found again after the scene was loaded: curves, of the run in `curvesOf`, and the picture in a slice view.
    table: slicer.vtkMRMLTableNode
    charts: list[slicer.vtkMRMLPlotChartNode]
    curvesOf: str = ""
    pictureVolume: slicer.vtkMRMLVectorVolumeNode
