"""Real X-rays in the scene: their pixels one by one, the camera that took them, and where the simulated X-ray lies over one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from SyntheXHomeLib.image_nodes import browserOf, factsOf, frameCount, framesOf, isSequence, knownIntensity, shownImage
from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.orientation import ORIENTATIONS
from SyntheXLib.scene.c_arm import Camera, CArm, load_device
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.landmarks import newLandmarks
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE

# Pixels along the longer side of an X-ray that lies over a real one.
_LONGEST = 720


@dataclass(frozen=True, eq=False)
class RealImage:
    """One real X-ray.

    Attributes
    ----------
    name
        Of the image; with the number of the frame where a node has several.
    node, frame
        Volume or sequence that holds it, and which of its frames it is.
    pixels
        (H, W) as stored.
    matrix
        (4, 4) index (column, row, 0) to world (RAS, mm).
    """

    name: str
    node: Any
    frame: int
    pixels: np.ndarray
    matrix: np.ndarray

    def write(self, path: Path) -> None:
        """Write the pixels as NRRD."""
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(self.pixels)[None]), str(path))

    def pixelsOf(self, markupsNode: Any) -> dict[str, np.ndarray]:
        """Label to (2,) column and row of the points that are placed on the image."""
        toPixels = np.linalg.inv(self.matrix)
        return {name: (toPixels @ [*point, 1.0])[:2] for name, point in pointsInWorld(markupsNode).items()}


@dataclass(frozen=True, eq=False)
class RealFrame:
    """What a simulated X-ray needs to lie over a real one.

    Attributes
    ----------
    camera
        Of the image as it was taken; where it stands does not matter.
    matrix
        (4, 4) index (column, row, 0) of the image as it was taken to world (RAS, mm): where the file holds it mirrored, so is this.
    bright
        Whether the real image shows bone bright.
    """

    camera: Camera
    matrix: np.ndarray
    bright: bool = True

    def cameraAt(self, worldToCamera: np.ndarray, longest: int = _LONGEST) -> Camera:
        """The camera at a pose (4, 4), with at most so many pixels along the longer side."""
        rows, columns = self.camera.shape
        scale = min(1.0, longest / max(rows, columns))
        placed = replace(self.camera, world_to_camera=np.asarray(worldToCamera, float))
        return placed if scale == 1 else placed.resized((max(1, round(rows * scale)), max(1, round(columns * scale))))

    def matrixOf(self, camera: Camera) -> np.ndarray:
        """(4, 4) index to world of an image of `cameraAt`: pixel edges keep their place."""
        columns, rows = (self.camera.shape[axis] / camera.shape[axis] for axis in (1, 0))
        scale = np.diag([columns, rows, 1.0, 1.0])
        scale[:2, 3] = (columns - 1) / 2, (rows - 1) / 2
        return np.asarray(self.matrix @ scale)


def realImages(nodes: Iterable[Any]) -> list[RealImage]:
    """The images of volumes and sequences, one after the other; the slices of a volume are frames.

    Raises
    ------
    SyntheXError
        When a node holds no grey images.
    """
    found = []
    for node in nodes:
        frames = framesOf(node)
        for number, pixels in enumerate(frames):
            name = node.GetName() if len(frames) == 1 else f"{node.GetName()}_{number:04d}"
            found.append(RealImage(name, node, number, pixels, imageMatrix(node, number)))
    return found


def xraysOfScene(first: Any) -> list[Any]:
    """A volume, then by name the scene's other volumes of one slice, as single X-rays are; what SyntheX simulated is none."""
    others = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and node is not first
        and frameCount(node) == 1
        and not node.GetAttribute(GEOMETRY_ATTRIBUTE)
        and not node.GetHideFromEditors()
    ]
    return [first, *sorted(others, key=lambda node: str(node.GetName()))]


def imageMatrix(node: Any, frame: int) -> np.ndarray:
    """(4, 4) index (column, row, 0) of a frame of a volume or sequence to world (RAS, mm)."""
    if isSequence(node):
        return ijkToWorld(node.GetNthDataNode(frame))
    matrix = ijkToWorld(node)
    matrix[:, 3] += frame * matrix[:, 2]
    return matrix


def chosenFrame(node: Any) -> int:
    """Which frame of a sequence its browser shows; 0 of a volume."""
    return max(0, int(browserOf(node).GetSelectedItemNumber())) if isSequence(node) else 0


def meaningOf(node: Any, intensity: str) -> str:
    """``log`` or ``linear``: what is asked for, else what is known, else ``log``."""
    known = knownIntensity(node)
    return known or (intensity if intensity != "auto" else factsOf(node).intensity or "log")


def showsBright(node: Any, bone: str, polarity: str, intensity: str) -> bool:
    """Whether a slice view shows bone bright.

    Parameters
    ----------
    node
        Volume or sequence; its colours may be inverted.
    bone
        ``bright`` or ``dark``, as a registration found it in the image as it was told to read it.
    polarity, intensity
        What it was told: a linear signal is read as bone dark unless something else is said.
    """
    turned = polarity == "bone-dark" or (polarity == "auto" and meaningOf(node, intensity) == "linear")
    display = shownImage(node).GetDisplayNode()
    inverted = display is not None and "Inverted" in (display.GetColorNodeID() or "")
    return ((bone == "bright") != turned) != inverted


def imageCamera(node: Any, device: str, distance: float = 0.0) -> tuple[Camera, str]:
    """The camera that took the images of a node, at no pose, and where that is known from.

    Parameters
    ----------
    node
        Volume or sequence. Of one that SyntheX simulated everything is known. Else pixel size and distance are taken from what the file
        said, where it did, and the principal point is the middle.
    device
        See `scene.c_arm.load_device`: its distance where nothing else tells, and its whole detector where the pixel size is not known.
    distance
        Source to detector, mm, in place of what is known; 0 for none.

    Returns
    -------
    Camera, str
        The latter is ``simulated``, ``image`` or ``device``: where the size of a pixel comes from.

    Raises
    ------
    SyntheXError
        When there is no image, its pixels are no squares, or the device is unknown.
    """
    if not frameCount(node):
        raise SyntheXError(f"'{node.GetName()}' holds no image.")
    first = node.GetNthDataNode(0) if isSequence(node) else node
    columns, rows, _ = first.GetImageData().GetDimensions()
    told = first.GetAttribute(GEOMETRY_ATTRIBUTE)
    geometry: Mapping[str, Any] = json.loads(told) if told else {}
    if "intrinsics" in geometry:
        shape = (int(geometry["shape"][0]), int(geometry["shape"][1]))
        camera = Camera(np.eye(4), np.array(geometry["intrinsics"], float), shape, float(geometry["source_to_detector_mm"]))
        return camera.resized((rows, columns)), "simulated"
    facts, arm = factsOf(node), load_device(device)
    reach = distance or facts.source_to_detector_mm or arm.source_to_detector_mm
    if facts.pixel_spacing_mm is None:
        camera = replace(arm, source_to_detector_mm=reach).camera(np.eye(4), shape=(rows, columns))
        return camera, "device"
    height, width = facts.pixel_spacing_mm
    if abs(height - width) > 1e-3 * height:
        raise SyntheXError(f"'{node.GetName()}': expected square pixels, found {height:g} x {width:g} mm.")
    return CArm(rows, columns, height, reach).camera(np.eye(4)), "image"


def realFrame(node: Any, device: str, distance: float = 0.0, orientation: str = "as-stored", bright: bool = True) -> RealFrame:
    """The frame of the image that a node shows now.

    Parameters
    ----------
    node, device, distance
        As in `imageCamera`.
    orientation
        How the file holds the image, one of `registration.orientation.ORIENTATIONS`; any other word means as stored.
    bright
        Whether the image shows bone bright.
    """
    camera, _ = imageCamera(node, device, distance)
    columns, rows = ORIENTATIONS.get(orientation, (False, False))
    (height, width), intrinsics, flip = camera.shape, camera.intrinsics.copy(), np.eye(4)
    if columns:
        intrinsics[0, 2], flip[0, 0], flip[0, 3] = width - 1 - intrinsics[0, 2], -1, width - 1
    if rows:
        intrinsics[1, 2], flip[1, 1], flip[1, 3] = height - 1 - intrinsics[1, 2], -1, height - 1
    return RealFrame(replace(camera, intrinsics=intrinsics), imageMatrix(node, chosenFrame(node)) @ flip, bright)


def placeOnImage(markupsNode: Any | None, imageNode: Any, task: Task) -> Any:
    """Let the user click the task's landmarks on a real X-ray one after the other, in Slicer's place mode.

    Parameters
    ----------
    markupsNode
        Keeps the points that are placed; None makes a new node.
    imageNode
        The X-ray, for the name of a new one.
    task
        Its landmarks of the patient; one that the X-ray does not show is skipped by deleting its row.

    Returns
    -------
    vtkMRMLMarkupsFiducialNode
        With a point, placed or not, a landmark.
    """
    node = markupsNode or newLandmarks(imageNode.GetName())
    known = {node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())}
    for name in task.patient_landmarks:
        if name not in known:
            index = node.AddControlPoint((0.0, 0.0, 0.0), name)
            node.UnsetNthControlPointPosition(index)
    markups = slicer.modules.markups.logic()
    markups.SetActiveList(node)
    markups.StartPlaceMode(1)  # until the user ends it
    return node
