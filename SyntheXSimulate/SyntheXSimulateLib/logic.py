"""What the Simulate module does, without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.image_nodes import loadImage
from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXHomeLib.parameter_node import parameterNode
from SyntheXLib.scene.case_files import coarseness, itk_image, specimen_from_images
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.tasks.task import PoseSettings, Task, load_task, task_files
from SyntheXSimulateLib.browse import Browsed, browseDataset, browseSize
from SyntheXSimulateLib.c_arm_display import CArmDisplay, lookAsSource, poseOfCamera, showPoseCloud
from SyntheXSimulateLib.case_writer import CaseNodes
from SyntheXSimulateLib.export import exportXray
from SyntheXSimulateLib.generate import GenerateSettings, Generation
from SyntheXSimulateLib.landmarks import estimateLandmarks, matchLandmarks
from SyntheXSimulateLib.match import MatchRun, MatchSettings
from SyntheXSimulateLib.match_poses import exportPoses
from SyntheXSimulateLib.match_view import withMovedBones
from SyntheXSimulateLib.overlays import showLandmarks, showMasks
from SyntheXSimulateLib.pose_histogram import PoseHistogram, makeHistogram
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE, Beam, XrayPreview, defaultBeam
from SyntheXSimulateLib.real_images import RealFrame, RealImage, realFrame
from SyntheXSimulateLib.renderers import whyNot
from SyntheXSimulateLib.segment import SegmentRun, packagesLack, startSegmentation, whyNoSegmentation
from SyntheXSimulateLib.structures import Match, isSegmentation, matchStructures, needsLabels, structureMasks
from SyntheXSimulateLib.versions import nodeVersion


class SyntheXSimulateLogic:
    """Makes a specimen of the nodes of a case, and X-rays of it."""

    def taskNames(self) -> list[str]:
        """Tasks that come with SyntheX."""
        return list(task_files())

    def task(self, name: str, device: str = "") -> Task:
        """A task by name, with another device than its own if one is named (see `scene.c_arm.load_device`)."""
        task = load_task(name)
        return replace(task, c_arm=replace(task.c_arm, device=device)) if device else task

    def distance(self, taskName: str) -> float:
        """Source to isocentre (mm) in the middle of the task's range."""
        return float(np.mean(load_task(taskName).poses.source_to_isocenter_mm))

    def poseRanges(self, taskName: str) -> list[tuple[str, float, float]]:
        """What the task varies: name of the pose parameter, lower and upper limit (degrees or mm)."""
        settings: PoseSettings = load_task(taskName).poses
        return [(name, *getattr(settings, name)) for name in CArmPose().to_dict()]

    def structureTable(self, labelsNode: Any, taskName: str) -> list[Match]:
        """See `structures.matchStructures`."""
        return matchStructures(labelsNode, load_task(taskName))

    def landmarkTable(self, markupsNode: Any | None, taskName: str) -> list[Match]:
        """See `landmarks.matchLandmarks`."""
        return matchLandmarks(markupsNode, load_task(taskName))

    def segment(self, volumeNode: Any, taskName: str, model: str = "", fast: bool = False) -> SegmentRun:
        """Start to make a segmentation of a CT; see `segment.startSegmentation`."""
        return startSegmentation(volumeNode, load_task(taskName), model, fast)

    def whyNoSegmentation(self, model: str | None) -> str:
        """See `segment.whyNoSegmentation`."""
        return whyNoSegmentation(model)

    def estimateLandmarks(self, volumeNode: Any, labelsNode: Any, markupsNode: Any | None, taskName: str) -> tuple[Any, list[str]]:
        """Place the landmarks that are missing, as far as they follow from the bones; see `landmarks.estimateLandmarks`."""
        specimen = self.specimen(volumeNode, labelsNode, None, taskName)
        return estimateLandmarks(specimen, load_task(taskName), markupsNode)

    def needsLabels(self, taskName: str) -> bool:
        """See `structures.needsLabels`."""
        return needsLabels(load_task(taskName))

    def specimen(self, volumeNode: Any, labelsNode: Any | None, markupsNode: Any | None, taskName: str) -> Specimen:
        """The case as the library takes it, in world coordinates: parent transforms are applied.

        Parameters
        ----------
        volumeNode
            CT in Hounsfield units.
        labelsNode
            Segmentation or label map in the CT's frame, on any grid; see `structures.matchStructures` for the names.
            None where the task sees nothing of the CT, which then leaves a segmentation alone.
        markupsNode
            Landmarks with the task's names; None without.
        taskName
            See `taskNames`.

        Raises
        ------
        SyntheXError
            When a transform is not linear, CT and labels do not meet, or a check of `scene.specimen.make_specimen` fails.
        """
        task, name, matrix = load_task(taskName), volumeNode.GetName(), ijkToWorld(volumeNode)
        landmarks = pointsInWorld(markupsNode) if markupsNode else {}
        ct = itk_image(slicer.util.arrayFromVolume(volumeNode), matrix)
        if labelsNode is None or not needsLabels(task):
            return specimen_from_images(name, ct, None, None, landmarks, task)
        if isSegmentation(labelsNode):
            masks = structureMasks(labelsNode, volumeNode, task)
            # A copy: later changes of the node must not reach the specimen.
            hu = np.array(slicer.util.arrayFromVolume(volumeNode))
            landmarks = {key: p for key, p in landmarks.items() if key not in task.landmark_names or key in task.patient_landmarks}
            made = make_specimen(
                name, hu, matrix, masks, task.structure_names, landmarks, task.patient_landmarks, made=task.made_structures
            )
            return replace(made, warnings=(*coarseness(ct, name, task), *made.warnings))
        labels = itk_image(slicer.util.arrayFromVolume(labelsNode), ijkToWorld(labelsNode))
        return specimen_from_images(name, ct, labels, labelNames(labelsNode), landmarks, task)

    def preview(
        self, specimen: Specimen, taskName: str, beam: Beam | None = None, node: Any = None, renderer: str = "auto", seed: int = 0
    ) -> XrayPreview:
        """What renders view after view of a specimen into one node; see `XrayPreview`."""
        return XrayPreview(specimen, load_task(taskName), beam or Beam(), node, renderer, seed=seed)

    def defaultBeam(self, device: str, level: str) -> Beam:
        """See `preview.defaultBeam`."""
        return defaultBeam(device, level)

    def whyNotRenderer(self, renderer: str) -> str:
        """See `renderers.whyNot`."""
        return whyNot(renderer)

    def renderXray(
        self,
        specimen: Specimen,
        taskName: str,
        laoRaoDeg: float = 0.0,
        cranCaudDeg: float = 0.0,
        level: str = "realistic",
        renderer: str = "auto",
    ) -> Any:
        """Render one view of a specimen with the task's C-arm into a new node.

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
            See `XrayPreview.render`.
        """
        pose = CArmPose(lao_rao_deg=laoRaoDeg, cran_caud_deg=cranCaudDeg, source_to_isocenter_mm=self.distance(taskName))
        return XrayPreview(specimen, load_task(taskName), Beam(level), renderer=renderer).render(pose)

    def cArmDisplay(self) -> CArmDisplay:
        """What shows beam and detector in 3D."""
        return CArmDisplay()

    def showMasks(self, preview: XrayPreview, node: Any | None = None) -> Any:
        """See `overlays.showMasks`; of the preview's last view."""
        assert preview.last is not None
        return showMasks(preview.last, preview.task, node, preview.specimen.name)

    def showLandmarks(self, preview: XrayPreview, node: Any | None = None) -> Any:
        """See `overlays.showLandmarks`; of the preview's last view."""
        assert preview.last is not None
        return showLandmarks(preview.last, preview.scene, preview.task, node)

    def showPoseCloud(self, preview: XrayPreview, count: int = 500, node: Any | None = None, seed: int = 0) -> Any:
        """See `c_arm_display.showPoseCloud`."""
        return showPoseCloud(preview, count, seed, node)

    def poseHistogram(self, taskName: str, count: int, seed: int = 0, nodes: Sequence[Any] = (), study: str = "") -> PoseHistogram:
        """Histograms of a data set's views, in new nodes or in those of before; see `pose_histogram.PoseHistogram`."""
        histogram = PoseHistogram.ofNodes(nodes) or makeHistogram(study)
        histogram.update(load_task(taskName).poses, count, seed)
        return histogram

    def poseOfCamera(self, cameraNode: Any, sourceToIsocenter: float) -> CArmPose:
        """See `c_arm_display.poseOfCamera`."""
        return poseOfCamera(cameraNode, sourceToIsocenter)

    def lookAsSource(self, cameraNode: Any, preview: XrayPreview, pose: CArmPose) -> None:
        """See `c_arm_display.lookAsSource`."""
        lookAsSource(cameraNode, preview.camera(pose), preview.isocenter)

    def export(self, xrayNode: Any, path: Path | str) -> Path:
        """See `export.exportXray`."""
        return exportXray(xrayNode, path)

    def generate(self, volumeNode: Any, labelsNode: Any, markupsNode: Any | None, taskName: str, settings: GenerateSettings) -> Generation:
        """Start to make a data set of a case; see `generate.Generation`."""
        return Generation(CaseNodes(volumeNode, labelsNode, markupsNode), load_task(taskName), settings, taskName)

    def browse(self, folder: Path | str, limit: int = 200) -> Browsed:
        """See `browse.browseDataset`."""
        return browseDataset(folder, limit)

    def browseSize(self, folder: Path | str, limit: int) -> tuple[int, int, int]:
        """See `browse.browseSize`."""
        return browseSize(folder, limit)

    # Real X-rays

    def loadImage(self, path: Path | str) -> Any:
        """Load an X-ray file; see `SyntheXHomeLib.image_nodes.loadImage`."""
        return loadImage(path)

    def whyNoMatch(self, network: bool = False) -> str:
        """Which packages lack for a registration, and for a network's landmarks too, as a sentence; empty when none does."""
        return packagesLack("scipy", "skimage", "cmaes", "tqdm", *(("torch", "monai") if network else ()))

    def match(self, nodes: CaseNodes, taskName: str, images: Sequence[RealImage], settings: MatchSettings) -> MatchRun:
        """Start to register real X-rays; see `match.MatchRun`."""
        return MatchRun(nodes, load_task(taskName), images, settings, taskName)

    def realFrame(self, node: Any, device: str, distance: float, orientation: str, bright: bool) -> RealFrame:
        """See `real_images.realFrame`."""
        return realFrame(node, device, distance, orientation, bright)

    def withMovedBones(self, specimen: Specimen, bones: str, taskName: str) -> Specimen:
        """See `match_view.withMovedBones`."""
        return withMovedBones(specimen, bones, load_task(taskName))

    def exportPoses(self, sequence: Any, folder: Path | str) -> list[Path]:
        """See `match_poses.exportPoses`."""
        return exportPoses(sequence, Path(folder))

    def parameterNode(self) -> Any:
        """The scene's node for the panel's settings, made when there is none."""
        return parameterNode("SyntheXSimulate")

    def firstNode(self, classNames: tuple[str, ...]) -> Any:
        """The scene's first node of exactly one of these classes that is no simulated X-ray; None when there is none."""
        for className in classNames:
            for node in slicer.util.getNodesByClass(className):
                if node.GetClassName() == className and not node.GetAttribute(GEOMETRY_ATTRIBUTE) and not node.GetHideFromEditors():
                    return node
        return None

    def version(self, node: Any | None) -> tuple[Any, ...]:
        """See `versions.nodeVersion`."""
        return nodeVersion(node)
