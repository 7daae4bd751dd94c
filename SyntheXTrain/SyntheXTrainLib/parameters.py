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
NETWORKS = ["transunet", "monai:SwinUNETR", "monai:SegResNet"]
LANDMARK_HEADS = ["linear", "deep"]
OPTIMIZERS, SCHEDULES = [AS_PRESET, "adamw", "sgd"], [AS_PRESET, "cosine", "step"]
PRECISIONS = ["float32", "bfloat16"]
CYCLEGAN, ADDA = "CycleGAN", "ADDA"
AS_METHOD = "the method's own"
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
    network: Annotated[str, Choice(NETWORKS), Default(NETWORKS[0])]
    landmarkHead: Annotated[str, Choice(LANDMARK_HEADS), Default(LANDMARK_HEADS[0])]
    presence: bool = False
    optimizer: Annotated[str, Choice(OPTIMIZERS), Default(AS_PRESET)]
    schedule: Annotated[str, Choice(SCHEDULES), Default(AS_PRESET)]
    batch: Annotated[int, WithinRange(0, 10_000)] = 0  # 0: the preset's
    accumulation: Annotated[int, WithinRange(1, 10_000)] = 1
    average: Annotated[float, WithinRange(0.0, 0.9999)] = 0.0
    precision: Annotated[str, Choice(PRECISIONS), Default(PRECISIONS[0])]
    fold: str = ""
    live: str = ""
    liveImages: Annotated[int, WithinRange(1, 10_000_000)] = 1000
    more: str = ""
    adaptMethod: Annotated[str, Choice([CYCLEGAN, ADDA]), Default(CYCLEGAN)]
    target: str = ""
    adaptTest: str = ""
    adaptModel: str = ""
    adaptPreset: Annotated[str, Choice([AS_METHOD, "paper-text", "released-code"]), Default(AS_METHOD)]
    adaptRandomization: Annotated[str, Choice([AS_METHOD, *LEVELS]), Default(AS_METHOD)]
    adaptEpochs: Annotated[int, WithinRange(0, 100_000)] = 0  # 0: the preset's
    adaptOutput: str = ""
    translated: str = ""
    study: str = ""
    studyData: str = ""
    studyOutput: str = ""
    chart: Annotated[str, Choice(list(CHARTS)), Default(CHARTS[0])]
    picture: Annotated[str, Choice([INPUTS, LAST_VALIDATION, BEST_VALIDATION]), Default(INPUTS)]
    export: str = ""
    # What was made, found again after the scene was loaded: curves, of the run in `curvesOf`, and the picture in a slice view.
    table: slicer.vtkMRMLTableNode
    charts: list[slicer.vtkMRMLPlotChartNode]
    curvesOf: str = ""
    pictureVolume: slicer.vtkMRMLVectorVolumeNode
