"""What the Simulate module does, without Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE, ijkToWorld, labelNames, pointsInWorld
from SyntheXLib.scene.c_arm import load_device, task_camera
from SyntheXLib.scene.case_files import itk_image, specimen_from_images
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import load_task, task_files


class SyntheXSimulateLogic:
    """Makes a specimen of the nodes of a case, and X-rays of it."""

    def taskNames(self) -> list[str]:
        """Tasks that come with SyntheX."""
        return list(task_files())

    def specimen(self, volumeNode: Any, labelmapNode: Any, markupsNode: Any | None, taskName: str) -> Specimen:
        """The case as the library takes it, in world coordinates: parent transforms are applied.

        Parameters
        ----------
        volumeNode
            CT in Hounsfield units.
        labelmapNode
            Labels in the CT's frame, named by a colour table of their own or numbered as by TotalSegmentator.
        markupsNode
            Landmarks with the task's names; None without.
        taskName
            See `taskNames`.

        Raises
        ------
        SyntheXError
            When a transform is not linear, CT and label map do not meet, or a check of `scene.specimen.make_specimen` fails.
        """
        ct, labels = (itk_image(slicer.util.arrayFromVolume(node), ijkToWorld(node)) for node in (volumeNode, labelmapNode))
        landmarks = pointsInWorld(markupsNode) if markupsNode else {}
        return specimen_from_images(volumeNode.GetName(), ct, labels, labelNames(labelmapNode), landmarks, load_task(taskName))

    def renderXray(
        self,
        specimen: Specimen,
        taskName: str,
        laoRaoDeg: float = 0.0,
        cranCaudDeg: float = 0.0,
        level: str = "realistic",
        renderer: str = "own",
    ) -> Any:
        """Render one view of a specimen with the task's C-arm.

        Parameters
        ----------
        specimen
            See `specimen`.
        taskName
            The task whose device, isocentre and image size are taken.
        laoRaoDeg, cranCaudDeg
            Angles of the view, degrees; see `scene.poses`.
        level
            One of `rendering.levels.LEVELS`.
        renderer
            One of `rendering.renderer.RENDERERS`.

        Returns
        -------
        vtkMRMLScalarVolumeNode
            (1, H, W) float32 detector signal relative to the open beam (bone is dark, shown inverted), pixel spacing that of the detector
            in mm, lying as Slicer lays a picture file: columns to the left, rows to the back.
        """
        from SyntheXLib.rendering.levels import make_image
        from SyntheXLib.rendering.renderer import check_level, make_renderer

        check_level(renderer, level)
        task = load_task(taskName)
        distance = float(np.mean(task.poses.source_to_isocenter_mm))
        pose = CArmPose(lao_rao_deg=laoRaoDeg, cran_caud_deg=cranCaudDeg, source_to_isocenter_mm=distance)
        camera = task_camera(task.c_arm, pose.world_to_camera(specimen.structure_centroid(task.poses.isocenter)))
        projection = make_renderer(renderer).render(Scene(specimen), camera)
        assert projection is not None  # only a cancelled one is
        spacing = load_device(task.c_arm.device).pixel_spacing_mm
        image = make_image(level, projection, camera, rng=np.random.default_rng(0), detector_spacing_mm=spacing)
        rowSpacing, columnSpacing = camera.pixel_spacing_mm
        node = slicer.util.addVolumeFromArray(
            image[None], np.diag([-columnSpacing, -rowSpacing, 1.0, 1.0]), f"{specimen.name} X-ray", "vtkMRMLScalarVolumeNode"
        )
        node.SetAttribute(INTENSITY_ATTRIBUTE, "linear")
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
        return node
