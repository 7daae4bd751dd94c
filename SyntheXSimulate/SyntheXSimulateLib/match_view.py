"""The C-arm of the panel brought to a pose, and back again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import slicer

from SyntheXLib.scene.moved_structures import move_structures
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task

# Parameters that say where the C-arm stands and how the bones lie.
_PLACE = ("laoRao", "cranCaud", "roll", "shiftRight", "shiftUp", "distance", "movedBones")


def poseOfPanel(parameters: Any) -> CArmPose:
    """Where the C-arm of the panel stands."""
    p = parameters
    return CArmPose(p.laoRao, p.cranCaud, p.roll, p.shiftRight, p.shiftUp, 0.0, p.distance)


def placeOf(parameters: Any) -> str:
    """C-arm and bones of the panel as text, for `setPlace`."""
    return json.dumps({name: getattr(parameters, name) for name in _PLACE})


def setPlace(parameters: Any, place: str) -> None:
    """Bring C-arm and bones back to what `placeOf` gave."""
    with slicer.util.NodeModify(parameters.parameterNode):
        for name, value in json.loads(place).items():
            setattr(parameters, name, value)


def setPose(parameters: Any, pose: CArmPose, bones: Mapping[str, Any]) -> None:
    """Bring the C-arm to a pose, and each bone to its (4, 4) motion in the CT's world (RAS, mm)."""
    with slicer.util.NodeModify(parameters.parameterNode):
        parameters.laoRao, parameters.cranCaud, parameters.roll = pose.lao_rao_deg, pose.cran_caud_deg, pose.roll_deg
        parameters.shiftRight, parameters.shiftUp = pose.translation_lr_mm, pose.translation_is_mm
        parameters.distance = pose.source_to_isocenter_mm
        parameters.movedBones = json.dumps(dict(bones)) if bones else ""


def withMovedBones(specimen: Specimen, bones: str, task: Task) -> Specimen:
    """The specimen with the bones of the parameter ``movedBones`` where they were registered, as far as it has them."""
    motions = {name: np.array(motion, float) for name, motion in json.loads(bones or "{}").items() if name in specimen.structures}
    if not motions:
        return specimen
    moved = ", ".join(motions)
    return replace(move_structures(specimen, motions, task), warnings=(*specimen.warnings, f"Moved as registered: {moved}."))
