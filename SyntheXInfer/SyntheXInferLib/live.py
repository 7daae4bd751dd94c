"""The newest frame of an image that changes: an OpenIGTLink stream, a sequence that is played, a volume that a script writes.

Frames never queue up. While a prediction runs it is only noted that the image has changed since; when it ends, what the image shows then is
taken, and whatever came between is passed over.

A thread predicts, on pixels that were copied out of the scene before; nodes are read and written by `LiveInference.poll` alone, which the
window's timer calls. Slicer's window keeps Python's lock (the GIL) while it waits for events, so that a thread gets on only as long as
Python code of the window waits for something: `poll` therefore lends the lock for some milliseconds. torch computes without it.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from SyntheXHomeLib.image_nodes import frameCount, isSequence, shownImage
from SyntheXInferLib.finding import Finding, Shot, find
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.result_nodes import FoundNodes, addFound, updateFound
from SyntheXInferLib.shots import shotOf
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import AUTO
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from SyntheXLib.inference.predictor import Predictor

_WINDOW_S = 3.0  # over which rate and latency are taken
# The collimator's field is looked for anew after so long, and so many times as long as that took: 0.1 to 2 s, more on a busy computer.
_FIELD_S, _FIELD_TIMES = 10.0, 10.0
_SHADOW = 0.05  # change of the covered pixels' level, as a share of the image's range, from which the field is another one
#: How long `LiveInference.poll` may wait for the thread; shorter than a frame of the window.
LEND_S = 0.008


@dataclass(frozen=True)
class LiveNumbers:
    """How well it keeps up.

    Attributes
    ----------
    rate
        Predictions a second.
    latency_s
        Mean time from a frame's coming to its masks; NaN before the first.
    done, passed
        Frames predicted, and frames passed over because a newer one came, since the start.
    """

    rate: float
    latency_s: float
    done: int
    passed: int


class _Ended(SyntheXError):
    """Nothing can be predicted any more."""


class LiveInference:
    """Follows an image from its making until `stop`, or until image, model or result are gone.

    Parameters
    ----------
    imageNode
        vtkMRMLScalarVolumeNode of one slice, or a vtkMRMLSequenceNode, whose shown frame is then followed. It may still be empty.
    load
        Gives the network; called by the thread before each prediction, so it should keep it.
    options
        How the frames are looked at.
    found
        Nodes to be updated; None, or those of another task, makes new ones with the first result.
    executor
        What predicts, one job at a time; None starts a thread, which `stop` ends.
    clock
        Seconds.

    Attributes
    ----------
    volume
        The volume that is followed.
    found
        Masks and landmarks of the frame that was predicted last.
    threshold, showUnsure
        See `landmark_nodes.markThreshold`; they may be changed at any time.
    running
        False once it was stopped or has ended.
    problem
        Why the last frame was not predicted, or why it ended, in one sentence; empty otherwise.

    Raises
    ------
    SyntheXError
        When the image is a volume of several slices.
    """

    def __init__(
        self,
        imageNode: Any,
        load: Callable[[], Predictor],
        options: InferOptions,
        found: FoundNodes | None = None,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._image, self._load, self._options, self._clock = imageNode, load, options, clock
        self.volume = shownImage(imageNode)
        if frameCount(self.volume) > 1:
            raise SyntheXError(
                f"Volume '{self.volume.GetName()}': expected a single image to follow, found {frameCount(self.volume)} slices."
            )
        self.found, self.threshold, self.showUnsure = found, options.threshold, True
        self.running, self.problem = True, ""
        self._task: Task | None = None  # of the network
        self._meaning: tuple[str, str] | None = None  # decided on the first frame, as it would flicker
        self._field: np.ndarray | str | None = AUTO
        self._fieldUntil = 0.0  # when it is to be looked for
        self._level = 0.0  # of what it covered then
        self._begun, self._frame = 0.0, np.zeros((1, 1))
        self._stamp: Any = None
        self._came: float | None = None  # when the frame came that waits
        self._noted, self._waits = self._stamp, False  # stamp at the last poll, and whether a frame waited then
        self._future: Future[Finding] | None = None
        self._taken = (0.0, (0, 0))  # when the frame came that is being predicted, and its size
        self._ends: deque[tuple[float, float]] = deque()
        self._done = self._passed = 0
        self._own = executor is None
        self._executor = ThreadPoolExecutor(1, "SyntheX-live") if executor is None else executor
        # Which event comes depends on who writes: arrayFromVolumeModified invokes the one, vtkImageData.Modified the other, many both.
        events = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        self._tags = [self.volume.AddObserver(event, self._onChange) for event in events]
        self._onChange()

    def poll(self, lend_s: float = LEND_S) -> bool:
        """Show what is ready and begin with the newest frame; to be called often, by the thread that owns the scene.

        Parameters
        ----------
        lend_s
            How long to wait for a prediction that runs, in which the thread gets on.

        Returns
        -------
        bool
            Whether there is a new result.
        """
        if self.running and (gone := self._gone()):
            self.stop(gone)
        if not self.running:
            return False
        if self._stamp != self._noted:  # one frame may come by several events
            self._passed += self._waits
            self._noted, self._waits = self._stamp, True
        new = False
        if self._future is not None:
            wait((self._future,), timeout=lend_s)
            if self._future.done():
                future, self._future = self._future, None
                new = self._take(future)
        if self.running and self._future is None and self._came is not None:
            self._begin(self._came)
        return new

    def stop(self, problem: str = "") -> None:
        """Let go of the image and the thread; a prediction that runs is not waited for, and its result is not shown."""
        if not self.running:
            return
        self.running, self.problem, self._future = False, problem, None
        for tag in self._tags:
            self.volume.RemoveObserver(tag)
        if self._own:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def numbers(self) -> LiveNumbers:
        """How well it keeps up now."""
        now = self._clock()
        while len(self._ends) > 2 and now - self._ends[0][0] > _WINDOW_S:  # of a slow network the last two
            self._ends.popleft()
        latencies = [latency for _, latency in self._ends]
        # Over the time until now, so that it falls when the image stands still.
        span = now - self._ends[0][0] if self._ends else 0.0
        rate = (len(latencies) - 1) / span if len(latencies) > 1 and span > 0 else 0.0
        return LiveNumbers(rate, sum(latencies) / len(latencies) if latencies else float("nan"), self._done, self._passed)

    def _gone(self) -> str:
        """Why it cannot go on; empty when it can."""
        if self._image.GetScene() is None or self.volume.GetScene() is None:
            return "The image was removed."
        return "" if self.found is None or self.found.inScene else "The masks or landmarks were removed."

    def _onChange(self, *_arguments: Any) -> None:
        image = self.volume.GetImageData()
        stamp = None if image is None else (image.GetAddressAsString(""), image.GetMTime())
        if stamp is None or stamp == self._stamp:
            return  # another thing of the node has changed
        self._stamp, self._came = stamp, self._clock()

    def _begin(self, came: float) -> None:
        self._came, self._waits = None, False
        try:
            shot = shotOf(self._image, self.volume)
        except SyntheXError as error:
            self.problem = str(error)
            return
        self._taken = (came, shot.frames.shape[1:])
        field, self._begun = self._field, self._clock()
        if self._begun >= self._fieldUntil or abs(_shadow(shot.frames[0], field) - self._level) > _SHADOW:
            field = self._field = AUTO
        self._frame = shot.frames[0]
        self._future = self._executor.submit(_predict, self._load, shot, self._options, self._meaning, field)

    def _take(self, future: Future[Finding]) -> bool:
        came, shape = self._taken
        try:
            finding = future.result()
        except _Ended as error:
            self.stop(str(error))
            return False
        except SyntheXError as error:  # of this frame: a stream may begin with an empty one
            self.problem = str(error)
            return False
        except Exception as error:  # the timer would raise it again and again
            logging.getLogger(__name__).exception("Live inference")
            self.stop(f"Live inference ended by an unexpected error: {type(error).__name__}: {error}")
            return False
        now = self._clock()
        if isinstance(self._field, str):
            self._level = _shadow(self._frame, finding.field)
            self._fieldUntil = now + max(_FIELD_S, _FIELD_TIMES * (now - self._begun))
        self.problem, self._meaning, self._field = "", finding.meaning, finding.field
        if shape != tuple(reversed(self.volume.GetImageData().GetDimensions()[:2])):
            return False  # masks of the old size would not lie on the new image
        self._show(finding)
        now = self._clock()
        self._ends.append((now, now - came))
        self._done += 1
        return True

    def _show(self, finding: Finding) -> None:
        if self._task is None and self.found is not None and not _fits(self.found, finding):
            self.found = None
        self._task = finding.task
        if self.found is None:
            self.found = addFound(self.volume.GetName(), self.volume, finding, self.threshold)
        else:
            updateFound(self.found, self.volume, finding, self.threshold, self.showUnsure)


def _shadow(frame: np.ndarray, field: np.ndarray | str | None) -> float:
    """Mean level of what a field covers, 0 to 1 of the range of the frame; 0 where it covers nothing, infinite of another size."""
    if not isinstance(field, np.ndarray) or field.all():
        return 0.0
    if field.shape != frame.shape:
        return float("inf")
    low, high = float(frame.min()), float(frame.max())
    return (float(frame[~field].mean()) - low) / (high - low) if high > low else 0.0


def _fits(found: FoundNodes, finding: Finding) -> bool:
    """Whether the nodes are of a single image, and of this task."""
    return not isSequence(found.segmentation) and len(found.landmarks) == 1 and found.taskOf() == finding.task


def _predict(
    load: Callable[[], Predictor], shot: Shot, options: InferOptions, meaning: tuple[str, str] | None, field: np.ndarray | str | None
) -> Finding:
    """The thread's part; without warnings, as Slicer's Python console must not be written to from here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            predictor = load()
        except SyntheXError as error:
            raise _Ended(str(error)) from error
        return find(predictor, shot, options, meaning, field)
