"""The panel's settings and results, kept in the scene: saved and loaded with it."""

from enum import Enum
from typing import Annotated, Union

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Decimals, Default, SingleStep, WithinRange, parameterNodeWrapper

from SyntheXInferLib.options import InferOptions
from SyntheXLib.evaluation.modes import MODES
from SyntheXLib.inference.images import AUTO
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD

_Share = Annotated[float, WithinRange(0, 1), Decimals(2), SingleStep(0.05)]


class Polarity(Enum):
    """Which way round the image is."""

    AUTO = "auto"
    BONE_DARK = "bone-dark"
    BONE_BRIGHT = "bone-bright"

    def label(self) -> str:
        """Text in the panel."""
        return {
            "auto": _("automatic"),
            "bone-dark": _("bright = much signal (bone is dark)"),
            "bone-bright": _("inverted (bone is bright)"),
        }[str(self.value)]


class Intensity(Enum):
    """What the numbers of the image follow."""

    AUTO = "auto"
    LOG = "log"
    LINEAR = "linear"

    def label(self) -> str:
        """Text in the panel."""
        return {"auto": _("automatic"), "log": _("as displayed (logarithmic)"), "linear": _("raw detector signal (linear)")}[
            str(self.value)
        ]


@parameterNodeWrapper
class InferParameters:
    """See the panel; spacing in mm, 0 for what was found."""

    # Union: Slicer 5.10 reads it, and no other spelling says two kinds of nodes.
    image: Union[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    polarity: Polarity = Polarity.AUTO
    intensity: Intensity = Intensity.AUTO
    spacing: Annotated[float, WithinRange(0, 10), Decimals(4), SingleStep(0.01)] = 0.0
    modelPath: str = ""
    moreModels: list[str]  # of an ensemble
    flip: bool = False
    turn: bool = False
    findField: bool = True
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"]), Default("auto")]
    threshold: _Share = CONFIDENCE_THRESHOLD
    showUnsure: bool = True
    opacity: _Share = 0.5
    referenceMasks: Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    referencePoints: Union[slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    exportPng: bool = True
    exportNifti: bool = True
    exportSeg: bool = False
    reportMode: Annotated[str, Choice(list(MODES)), Default(MODES[0])]
    # What was made, so that it is found again after the scene was loaded.
    resultImage: Union[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    masks: Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    points: Union[slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLSequenceNode, None]  # noqa: UP007
    table: slicer.vtkMRMLTableNode
    chart: slicer.vtkMRMLPlotChartNode


def spacingOf(parameters: InferParameters) -> tuple[float, float] | None:
    """Height and width of a pixel as the user gave them; None for what was found."""
    return (parameters.spacing, parameters.spacing) if parameters.spacing else None


def optionsOf(parameters: InferParameters) -> InferOptions:
    """How the panel says that images are looked at."""
    p = parameters
    return InferOptions(
        threshold=p.threshold,
        device=p.device,
        polarity=str(p.polarity.value),
        intensity=str(p.intensity.value),
        spacing=spacingOf(p),
        flip=p.flip,
        turn=p.turn,
        collimation=AUTO if p.findField else "none",
    )
