"""The C-arm in the 3D view: beam, detector with the X-ray on it, source positions of a task, and the view's camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.view_angles import angles_of_view
from SyntheXLib.simulation.view import view_pose
from SyntheXLib.tasks.task import PoseSettings
from SyntheXSimulateLib.preview import Xray, XrayPreview
from SyntheXSimulateLib.result_nodes import polyDataOf, resultModel

_BEAM_COLOR, _CLOUD_COLOR = (0.95, 0.75, 0.2), (0.3, 0.7, 1.0)


class CArmDisplay:
    """Two model nodes: the beam as lines, and the detector as a rectangle that carries the X-ray.

    The picture on the detector is not saved with the scene; the next view brings it back.
    """

    def __init__(self) -> None:
        self.beam: Any = None
        self.detector: Any = None
        self._texture = vtk.vtkTrivialProducer()

    def show(self, xray: Xray, study: str = "") -> None:
        """Move both to the view; new ones come into the study's folder."""
        self.beam = resultModel(self.beam, "C-arm beam", _BEAM_COLOR, study)
        self.detector = resultModel(self.detector, "C-arm detector", (1.0, 1.0, 1.0), study)
        corners = detectorCorners(xray.camera)
        centre = corners.mean(0)
        points = np.array([xray.camera.source, *corners, centre])
        lines = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1), (0, 5)]
        self.beam.SetAndObservePolyData(polyDataOf(points, lines=lines))
        plane = polyDataOf(corners, faces=[(0, 1, 2, 3)])
        # Row 0 of the picture is the first in memory, which is v = 0: so the picture need not be turned.
        coordinates = numpy_to_vtk(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), deep=True)
        coordinates.SetName("TextureCoordinates")
        plane.GetPointData().SetTCoords(coordinates)
        self.detector.SetAndObservePolyData(plane)
        self._texture.SetOutput(_picture(to_uint8(xray.image)))
        display = self.detector.GetDisplayNode()
        display.SetTextureImageDataConnection(self._texture.GetOutputPort())
        display.SetLighting(False)
        display.SetBackfaceCulling(False)

    def setVisible(self, visible: bool) -> None:
        """Show or hide both."""
        for node in (self.beam, self.detector):
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(visible)


def detectorCorners(camera: Camera) -> np.ndarray:
    """(4, 3) outer corners of the image on the detector (RAS, mm), clockwise as one looks from the source: top left first."""
    height, width = camera.shape
    pixels = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    distance = camera.source_to_detector_mm
    plane = (pixels - camera.intrinsics[:2, 2]) / np.diag(camera.intrinsics)[:2] * distance
    inCamera = np.c_[plane, np.full(4, distance)]
    return (inCamera - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3]


def sourcePositions(settings: PoseSettings, isocenter: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) positions of the source (RAS, mm) about the patient, in the views of a data set with that seed."""
    matrices = np.array([view_pose(settings, seed, index).world_to_camera(isocenter) for index in range(count)]).reshape(-1, 4, 4)
    return -np.einsum("nji,nj->ni", matrices[:, :3, :3], matrices[:, :3, 3])


def showPoseCloud(preview: XrayPreview, count: int = 500, seed: int = 0, node: Any | None = None) -> Any:
    """Show where the source is in a data set's views, as points of a vtkMRMLModelNode; see `sourcePositions`."""
    points = sourcePositions(preview.task.poses, preview.isocenter, count, seed)
    node = resultModel(node, "Source positions", _CLOUD_COLOR, preview.specimen.name)
    node.SetAndObservePolyData(polyDataOf(points, vertices=[(index,) for index in range(count)]))
    node.GetDisplayNode().SetRepresentation(node.GetDisplayNode().PointsRepresentation)
    node.GetDisplayNode().SetPointSize(4)
    return node


def poseOfCamera(cameraNode: Any, sourceToIsocenter: float) -> CArmPose:
    """The pose that looks as the 3D view's camera does: the source where the eye is. The distance (mm) is given, not the camera's."""
    position, focus, up = (np.array(get()) for get in (cameraNode.GetPosition, cameraNode.GetFocalPoint, cameraNode.GetViewUp))
    laoRao, cranCaud, roll = angles_of_view(focus - position, up)
    return CArmPose(lao_rao_deg=laoRao, cran_caud_deg=cranCaud, roll_deg=roll, source_to_isocenter_mm=sourceToIsocenter)


def lookAsSource(cameraNode: Any, camera: Camera, isocenter: np.ndarray) -> None:
    """Put a 3D view's camera into the source, looking at the isocentre, with the height of the X-ray as its field of view."""
    cameraNode.SetPosition(*camera.source)
    cameraNode.SetFocalPoint(*isocenter)
    cameraNode.SetViewUp(*-camera.world_to_camera[1, :3])
    cameraNode.SetViewAngle(2 * np.rad2deg(np.arctan(camera.shape[0] / 2 / camera.intrinsics[1, 1])))
    cameraNode.ResetClippingRange()


def _picture(grey: np.ndarray) -> Any:
    """vtkImageData of (H, W) uint8."""
    image = vtk.vtkImageData()
    image.SetDimensions(grey.shape[1], grey.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(grey.ravel(), deep=True))
    return image
