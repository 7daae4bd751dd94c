"""The X-ray of the panel: one node, rendered again and again as the C-arm moves."""

from __future__ import annotations

import inspect
import json
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.scene.c_arm import Camera, load_device, task_camera
from SyntheXLib.scene.drawn_tools import draw_tools
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.tools import Tool
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.result_nodes import addResult

if TYPE_CHECKING:
    from SyntheXLib.rendering.exposure import Exposure
    from SyntheXSimulateLib.real_images import RealFrame

# Attribute of the X-ray's node: its geometry as JSON, see `Xray.geometry`.
GEOMETRY_ATTRIBUTE = "SyntheX.Geometry"
QUALITIES = ("preview", "full")
_PREVIEW_SIZE = 256


@dataclass(frozen=True)
class Xray:
    """What was rendered last.

    Attributes
    ----------
    pose, camera
        The view.
    projection
        Line integrals and labels.
    image
        (H, W) float32 detector signal relative to the open beam.
    matrix
        (4, 4) index (column, row, 0) to world (RAS, mm): where it lies in the scene.
    """

    pose: CArmPose
    camera: Camera
    projection: Projection
    image: np.ndarray
    matrix: np.ndarray


@dataclass
class Beam:
    """How the image is made of the line integrals: realism level, and the exposure of the realistic one.

    Attributes
    ----------
    level
        One of `rendering.levels.LEVELS`.
    kvp, aluminium_mm, copper_mm, dose_ugy, anode_angle_deg
        See `rendering.exposure.Exposure`.
    grid
        Whether the anti-scatter grid is in the beam.
    """

    level: str = "realistic"
    kvp: float = 90.0
    aluminium_mm: float = 4.0
    dose_ugy: float = 5.0
    copper_mm: float = 0.0
    anode_angle_deg: float = 12.0
    grid: bool = True

    def exposure(self, device: str) -> Exposure:
        """The exposure of a device (see `scene.c_arm.load_device`) with these values."""
        from SyntheXLib.rendering.exposure import device_exposure

        values = {
            "kvp": self.kvp,
            "aluminium_mm": self.aluminium_mm,
            "copper_mm": self.copper_mm,
            "open_beam_dose_ugy": self.dose_ugy,
            "anode_angle_deg": self.anode_angle_deg,
        }
        exposure = device_exposure(device).with_values(values)
        return exposure if self.grid else replace(exposure, grid=None)


def defaultBeam(device: str, level: str = "realistic") -> Beam:
    """The defaults of a device."""
    from SyntheXLib.rendering.exposure import device_exposure

    found = device_exposure(device)
    return Beam(
        level, found.kvp, found.aluminium_mm, found.open_beam_dose_ugy, found.copper_mm, found.anode_angle_deg, found.grid is not None
    )


@dataclass
class XrayPreview:
    """Keeps specimen, renderer and node from one view to the next.

    Attributes
    ----------
    specimen
        The patient.
    task
        Device, isocentre and size of the image; another device may be put in between views.
    beam
        Level and exposure; may be changed between views.
    node
        vtkMRMLScalarVolumeNode that is rendered into; None makes one at the first view, and again when it was removed from the scene.
    renderer
        One of `rendering.renderer.RENDERERS`; not every one can make every level.
    tools
        What stands in the beam besides; may be changed between views.
    last
        The last view; None before the first.
    seed
        Of the data set whose first image has the task's drawn tools and synthesised lesions that are shown.
    frame
        Of a real X-ray that the simulated one is to lie over; None takes the task's detector. May be changed between views.

    Raises
    ------
    SyntheXError
        When the renderer's package is missing, or, with the first view of a level, when it cannot make that.
    """

    specimen: Specimen
    task: Task
    beam: Beam = field(default_factory=Beam)
    node: Any = None
    renderer: str = "auto"
    tools: tuple[Tool, ...] = ()
    last: Xray | None = None
    seed: int = 0
    frame: RealFrame | None = None

    def __post_init__(self) -> None:
        from SyntheXLib.rendering.renderer import make_renderer

        self._renderer = make_renderer(self.renderer)
        # Half of the samples along a ray are enough while the mouse moves; not every backend can leave some out.
        canSkip = "plane_step" in inspect.signature(self._renderer.render).parameters
        self._options: dict[str, dict[str, Any]] = {"preview": {"plane_step": 2} if canSkip else {}, "full": {}}
        self._exposed: tuple[Any, Exposure] | None = None
        self._bright = True
        self.specimen = self._withLesions()
        self.isocenter = self.specimen.structure_centroid(self.task.poses.isocenter)
        # The random stream of image 0's tools, as in `simulation.view`.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0, 4)))
        self.drawn, _record = draw_tools(self.task.scene.tools, self.isocenter, rng, self.seed)

    def _withLesions(self) -> Specimen:
        """The specimen with the first lesions that a data set gets, where the task synthesises them and none is labelled."""
        from SyntheXLib.scene.lesions import add_lesions, has_lesions

        lesions = self.task.scene.lesions
        if lesions is None or not lesions.patterns or has_lesions(self.specimen, lesions.structure):
            return self.specimen
        # The random stream of case 0's first set, as in `simulation.patients`.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1_000_003, 0, 0)))
        return add_lesions(self.specimen, lesions, rng)[0]

    @property
    def scene(self) -> Scene:
        """Patient, tools of files, and tools that the task draws."""
        return Scene(self.specimen, (*self.tools, *self.drawn))

    def camera(self, pose: CArmPose, quality: str = "full") -> Camera:
        """The camera of a pose about the specimen's isocentre."""
        if self.frame is not None:
            longest = {"longest": _PREVIEW_SIZE} if quality == "preview" else {}
            return self.frame.cameraAt(pose.world_to_camera(self.isocenter), **longest)
        size = min(_PREVIEW_SIZE, self.task.c_arm.image_size) if quality == "preview" else None
        return task_camera(self.task.c_arm, pose.world_to_camera(self.isocenter), size)

    def render(self, pose: CArmPose, quality: str = "full") -> Any:
        """Render a view into the node.

        Parameters
        ----------
        pose
            Angles and distance.
        quality
            ``preview``: at most 256 pixels a side, half the samples along the ray, no noise. ``full``: as in a data set.

        Returns
        -------
        vtkMRMLScalarVolumeNode
            (1, H, W) float32 detector signal relative to the open beam (bone is dark, shown inverted), pixel spacing that of the detector
            in mm, lying as Slicer lays a picture file: columns to the left, rows to the back, the image's corner in the origin. With a
            `frame`: over the real X-ray, and at most 720 pixels along a side.
        """
        from SyntheXLib.rendering.renderer import check_level, expose

        check_level(self.renderer, self.beam.level)
        camera, exposure = self.camera(pose, quality), self._exposure()
        expose(self._renderer, exposure)
        projection = self._renderer.render(self.scene, camera, **self._options[quality])
        assert projection is not None  # only a cancelled one is
        matrix = pictureMatrix(camera) if self.frame is None else self.frame.matrixOf(camera)
        self.last = Xray(pose, camera, projection, self._image(projection, camera, exposure, quality), matrix)
        self._show(self.last)
        return self.node

    def _exposure(self) -> Exposure:
        """Made anew when beam or device has changed."""
        key = (astuple(self.beam), self.task.c_arm.device)
        if self._exposed is None or self._exposed[0] != key:
            self._exposed = key, self.beam.exposure(self.task.c_arm.device)
        return self._exposed[1]

    def _image(self, projection: Projection, camera: Camera, exposure: Exposure, quality: str) -> np.ndarray:
        from SyntheXLib.rendering.levels import make_image

        rng = np.random.default_rng(0) if quality == "full" else None
        spacing = load_device(self.task.c_arm.device).pixel_spacing_mm
        return make_image(self.beam.level, projection, camera, exposure, rng, spacing)

    def _show(self, xray: Xray) -> None:
        if self.node is None or not slicer.mrmlScene.IsNodePresent(self.node):
            self.node = addResult("vtkMRMLScalarVolumeNode", f"{self.specimen.name} X-ray", self.specimen.name)
            self.node.SetAttribute(INTENSITY_ATTRIBUTE, "linear")
        with slicer.util.NodeModify(self.node):
            self.node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(xray.matrix))
            self.node.SetAttribute(GEOMETRY_ATTRIBUTE, json.dumps(self.geometry(xray)))
            slicer.util.updateVolumeFromArray(self.node, xray.image[None])
        bright, new = self.frame is None or self.frame.bright, self.node.GetDisplayNode() is None
        if new:  # after the image, so that its window fits
            self.node.CreateDefaultDisplayNodes()
        if new or bright != self._bright:  # else the user may have chosen other colours
            self._bright = bright
            colors = "vtkMRMLColorTableNodeInvertedGrey" if bright else "vtkMRMLColorTableNodeGrey"  # the signal has bone dark
            self.node.GetDisplayNode().SetAndObserveColorNodeID(colors)

    def geometry(self, xray: Xray) -> dict[str, Any]:
        """The view for a JSON file: matrices as in a data set, all positions RAS, mm."""
        rows, columns = xray.camera.pixel_spacing_mm
        return {
            "specimen": self.specimen.name,
            "task": self.task.name,
            "device": self.task.c_arm.device,
            "tools": [tool.name for tool in (*self.tools, *self.drawn)],
            "level": self.beam.level,
            "kvp": self.beam.kvp,
            "pose": xray.pose.to_dict(),
            "isocenter_ras_mm": self.isocenter.tolist(),
            "source_ras_mm": xray.camera.source.tolist(),
            "world_to_camera": xray.camera.world_to_camera.tolist(),
            "intrinsics": xray.camera.intrinsics.tolist(),
            "shape": list(xray.camera.shape),
            "source_to_detector_mm": xray.camera.source_to_detector_mm,
            "pixel_spacing_mm": [rows, columns],
        }


def pictureMatrix(camera: Camera) -> np.ndarray:
    """(4, 4) index (column, row, 0) to RAS (mm) of an X-ray in the scene; the frame keeps its place whatever the number of pixels."""
    rows, columns = camera.pixel_spacing_mm
    matrix = np.diag([-columns, -rows, 1.0, 1.0])
    matrix[:2, 3] = -columns / 2, -rows / 2
    return matrix
