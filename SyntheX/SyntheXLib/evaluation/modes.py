"""Three ways to count: the paper's text, the code released with it, and ours.

======================  ===============================  =======================================  =====================================
..                      ``strict`` (default)             ``paper-text``                           ``released-code``
======================  ===============================  =======================================  =====================================
place of a landmark     peak of its heatmap, sub-pixel   highest pixel of its heatmap             highest pixel within the predicted
                                                                                                  structure of the landmark, none where
                                                                                                  that is empty (anywhere for a tool)
landmarks that count    all that are visible             all whose true position is known, in     all that are visible
                                                         the frame or not
a tool's two ends       -                                -                                        only where 15 to 200 mm apart
millimetres             exact pixel spacing              exact pixel spacing                      0.194 mm x 1440 / side (tool: 1436)
mask                    as predicted                     probability above 0.5                    as predicted
Dice of empty masks     left out where the truth is      both empty: 1                            both empty: 1; rounded to 0.01
                        empty
mean                    of the specimens' means          of the test folds' means                 pooled over landmarks and images
spread                  95 % interval of a hierarchical  SD, mean over the folds                  SD and 1.96 SD / sqrt(n), pooled
                        bootstrap
======================  ===============================  =======================================  =====================================

A fold is what the data set calls so in its parameters (``fold``), else a specimen: the paper leaves one out in turn.
Sources: Gao et al., Nature Machine Intelligence 2023, Methods; the scripts released with it.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation import metrics
from SyntheXLib.tasks.task import Task

Mode = Literal["strict", "paper-text", "released-code"]
MODES: tuple[Mode, ...] = get_args(Mode)

#: Probability above which a pixel belongs to a structure (paper).
MASK_THRESHOLD = 0.5
#: The released code keeps a tool's two ends only when their distance in mm lies between these.
TOOL_LENGTH_MM = (15.0, 200.0)
# The released code's scale: detector pixels of 0.194 mm and a whole reduction factor, 1440 / side for the hip (4 at 360 px), and for the
# tool the exact one of the 1436 px that are left of the detector.
_DETECTOR_PIXEL_MM = 0.194
_HIP_SIDE_PX, _TOOL_SIDE_PX = 1440, 1436


def check_mode(mode: str) -> Mode:
    """The mode of that name.

    Raises
    ------
    SyntheXError
        When there is none.
    """
    for known in MODES:
        if mode == known:
            return known
    raise SyntheXError(f"mode must be one of {', '.join(MODES)}, found '{mode}'.")


def is_tool(task: Task) -> bool:
    """Whether the released code's rules for the tool hold: one structure with two ends."""
    return len(task.structures) == 1 and len(task.landmarks) == 2


def millimetres_per_pixel(mode: Mode, task: Task, side: int, exact_mm: float) -> float:
    """Millimetres on the detector for each pixel, as the mode counts them.

    Parameters
    ----------
    mode, task
        The released code's scale is that of one device; for others the exact one is taken.
    side
        Pixels a side of the image.
    exact_mm
        The data set's pixel spacing.
    """
    if mode != "released-code" or task.c_arm.device != "cios-fusion" or task.c_arm.crop_px != 50:
        return exact_mm
    return _DETECTOR_PIXEL_MM * (_TOOL_SIDE_PX if is_tool(task) else _HIP_SIDE_PX) / side


def apart(predicted_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) whether the two ends (N, 2, 2) of a tool, in mm, are as far apart as the released code wants them."""
    distance = np.linalg.norm(predicted_mm[:, 1] - predicted_mm[:, 0], axis=-1)
    return (distance > TOOL_LENGTH_MM[0]) & (distance < TOOL_LENGTH_MM[1])


def counted(mode: Mode, known: NDArray[np.bool_], visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N, L) landmarks over which errors and shares are taken."""
    return known if mode == "paper-text" else known & visible


def counted_word(mode: str) -> str:
    """What the counted landmarks are called in tables."""
    return "known" if mode == "paper-text" else "visible"


def mode_dice(mode: Mode, counts: metrics.Overlap) -> NDArray[np.float64]:
    """(N, C) Dice under the mode's rule for empty masks; NaN where the image is left out."""
    if mode == "strict":
        return metrics.dice(counts, "strict")
    values = metrics.dice(counts, "released-code")
    return np.round(values, 2) if mode == "released-code" else values
