"""The panel of the Simulate module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.poses import CArmPose
from SyntheXSimulateLib.generate import GenerateSettings, Generation
from SyntheXSimulateLib.generate_panel import GeneratePanel
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.parameters import SimulateParameters
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE, Beam, XrayPreview

# How long the mouse must rest until the view is rendered in full quality.
_REST_MS = 250


class SyntheXSimulateWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Choose the patient, move the C-arm, look at the X-ray, export it."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = SyntheXSimulateLogic()
        self.parameters: Any = None
        self.preview: XrayPreview | None = None
        self._case: Any = None  # nodes and their versions of which the preview was made
        self._view: Any = None  # pose and beam last asked for
        self._tables: Any = None  # versions of what the tables show
        self._task = ""
        self._guiTag: Any = None

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheXSimulate.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.matchTable.setHorizontalHeaderLabels([_("Looked for"), _("Found as")])
        self.ui.matchTable.horizontalHeader().setStretchLastSection(True)
        self.ui.matchTable.verticalHeader().setVisible(False)
        self._frameTimer, self._restTimer = (
            self._timer(milliseconds, slot) for milliseconds, slot in ((0, self._frame), (_REST_MS, self._rest))
        )
        self.ui.renderButton.connect("clicked(bool)", self.onRender)
        self.ui.fromViewButton.connect("clicked(bool)", self.onFromView)
        self.ui.toViewButton.connect("clicked(bool)", self.onToView)
        self.ui.cloudButton.connect("clicked(bool)", self.onCloud)
        self.ui.exportButton.connect("clicked(bool)", self.onExport)
        self.ui.exportPath.connect("currentPathChanged(QString)", self.updateState)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self._onSceneEndClose)
        self._generate = GeneratePanel(self.ui, self._startGeneration)
        self._bind()

    def enter(self) -> None:
        """Called when the panel is opened."""
        if self.parameters is None:
            self._bind()

    def cleanup(self) -> None:
        """Called when the panel is unloaded."""
        self._unbind()
        self._generate.close()
        self.removeObservers()

    @staticmethod
    def _timer(milliseconds: int, slot: Any) -> Any:
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.connect("timeout()", slot)
        return timer

    # The parameter node

    def _bind(self) -> None:
        self._unbind()
        wrapper: Any = SimulateParameters  # its decorator gives it a constructor that no type checker sees
        self.parameters = wrapper(self.logic.parameterNode())
        for name, kinds in (("volume", ("vtkMRMLScalarVolumeNode",)), ("labels", ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"))):
            if getattr(self.parameters, name) is None:
                setattr(self.parameters, name, self.logic.firstNode(kinds))
        self._guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._task, self._view = self.parameters.task, self._currentView()
        self.updateState()

    def _unbind(self) -> None:
        for timer in (self._frameTimer, self._restTimer):
            timer.stop()
        self.preview = self._case = self._tables = None
        self._cArm = self.logic.cArmDisplay()
        if self.parameters is not None:
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
            self.parameters.disconnectGui(self._guiTag)
            self.parameters = None

    def _onSceneStartClose(self, *_arguments: Any) -> None:
        self._unbind()

    def _onSceneEndClose(self, *_arguments: Any) -> None:
        self._bind()

    def _onModified(self, *_arguments: Any) -> None:
        if self.parameters.task != self._task:
            self._task = self.parameters.task
            self.parameters.distance = self.logic.distance(self._task)
        self.updateState()
        view = self._currentView()
        if view != self._view:
            self._view = view
            if self.parameters.live and self._why() == "":
                self._frameTimer.start()
                self._restTimer.start()
        elif self.preview is not None and self.preview.last is not None:
            self._showAround()

    def _currentView(self) -> tuple[CArmPose, Beam, bool]:
        p = self.parameters
        pose = CArmPose(lao_rao_deg=p.laoRao, cran_caud_deg=p.cranCaud, roll_deg=p.roll, source_to_isocenter_mm=p.distance)
        return pose, Beam(p.level, p.kvp, p.aluminium, p.dose), p.live

    # What can be done now

    def _why(self) -> str:
        """Why nothing can be rendered; empty when it can."""
        if self.parameters.volume is None:
            return _("Choose a CT first.")
        if self.parameters.labels is None:
            return _("Choose a segmentation or label map first.")
        if self.parameters.volume.GetAttribute(GEOMETRY_ATTRIBUTE):
            return _("The chosen CT is a simulated X-ray: choose a CT.")
        return ""

    def updateState(self, *_arguments: Any) -> None:
        """Enable what works now, say of the rest why it does not, and fill the tables."""
        if self.parameters is None:
            return
        why = self._why()
        view = _("There is no 3D view.") if self._camera() is None else ""
        image = "" if self.parameters.xray is not None else _("Render an X-ray first.")
        path = "" if self.ui.exportPath.currentPath else _("Name a file first.")
        for widget, reason, tip in (
            (self.ui.renderButton, why, _("Read the nodes anew and render the view in full quality")),
            (self.ui.liveCheckBox, why, _("Render while the C-arm moves")),
            (self.ui.cloudButton, why, _("Show where the source stands in views that are drawn as for a data set")),
            (self.ui.fromViewButton, view, _("Turn the C-arm as the 3D view looks now")),
            (self.ui.toViewButton, why or view, _("Look from the X-ray source in the 3D view")),
            (self.ui.exportButton, image or path, _("Write the X-ray; the file's ending decides what is written")),
        ):
            widget.enabled = not reason
            widget.toolTip = reason or tip
        self._generate.updateState(why)
        self._fillTables()

    def _fillTables(self) -> None:
        p = self.parameters
        version = (p.task, self.logic.version(p.labels), self.logic.version(p.markups))
        if version == self._tables:
            return
        self._tables = version
        structures = self.logic.structureTable(p.labels, p.task) if p.labels is not None and self._filled(p.labels) else []
        landmarks = self.logic.landmarkTable(p.markups, p.task)
        rows = [*structures, *landmarks]
        self.ui.matchTable.rowCount = len(rows)
        for row, match in enumerate(rows):
            self.ui.matchTable.setItem(row, 0, qt.QTableWidgetItem(match.name))
            found = qt.QTableWidgetItem(", ".join(match.parts) or _("missing"))
            found.setToolTip(found.text())  # several segments do not fit
            self.ui.matchTable.setItem(row, 1, found)
        self.ui.matchTable.resizeColumnToContents(0)
        counts = [(sum(bool(match.parts) for match in matches), len(matches)) for matches in (structures, landmarks)]
        self.ui.matchLabel.text = _("Structures: {0} of {1} found; landmarks: {2} of {3}.").format(*counts[0], *counts[1])
        self.ui.rangesLabel.text = "\n".join(self._range(*row) for row in self.logic.poseRanges(p.task))

    @staticmethod
    def _filled(node: Any) -> bool:
        return bool(node.IsA("vtkMRMLSegmentationNode") or node.GetImageData() is not None)

    @staticmethod
    def _range(parameter: str, low: float, high: float) -> str:
        """One line on what the task varies."""
        names = {
            "lao_rao_deg": _("LAO/RAO"),
            "cran_caud_deg": _("CRAN/CAUD"),
            "roll_deg": _("Roll"),
            "translation_lr_mm": _("Left to right"),
            "translation_is_mm": _("Inferior to superior"),
            "translation_ap_mm": _("Anterior to posterior"),
            "source_to_isocenter_mm": _("Source to isocentre"),
        }
        unit = "°" if parameter.endswith("_deg") else " mm"
        limits = f"{low:g}{unit}" if low == high else _("{low:g} to {high:g}{unit}").format(low=low, high=high, unit=unit)
        return f"{names.get(parameter, parameter)}: {limits}"

    # Rendering

    def _frame(self) -> None:
        self._renderLive("preview")

    def _rest(self) -> None:
        self._renderLive("full")

    def _renderLive(self, quality: str) -> None:
        """As `_render`, but an error ends the live mode: a message a frame would bury the user."""
        if self.parameters is None:
            return
        try:
            self._render(quality)
        except SyntheXError as error:
            self._frameTimer.stop()
            self._restTimer.stop()
            self.parameters.live = False
            self.ui.statusLabel.text = str(error)

    def _render(self, quality: str, anew: bool = False) -> None:
        p = self.parameters
        case = (p.task, *(self.logic.version(node) for node in (p.volume, p.labels, p.markups)))
        if self.preview is None or anew or case != self._case:
            specimen = self.logic.specimen(p.volume, p.labels, p.markups, p.task)
            self.preview = self.logic.preview(specimen, p.task, node=p.xray)
            self._case = case
        pose, self.preview.beam, _live = self._currentView()
        before = p.xray
        p.xray = self.preview.render(pose, quality)
        self._showAround()
        if p.xray is not before:
            slicer.util.setSliceViewerLayers(background=p.xray, fit=True)
        if quality == "full":
            self.ui.statusLabel.text = "\n".join([_("Rendered {name}.").format(name=p.xray.GetName()), *self.preview.specimen.warnings])

    def _showAround(self) -> None:
        """C-arm, masks and landmarks of the last view, as far as they are asked for."""
        assert self.preview is not None and self.preview.last is not None
        p = self.parameters
        with slicer.util.NodeModify(p.parameterNode):
            if p.showCArm:
                self._cArm.beam, self._cArm.detector = p.beam, p.detector
                self._cArm.show(self.preview.last)
                p.beam, p.detector = self._cArm.beam, self._cArm.detector
            if p.showMasks:
                p.masks = self.logic.showMasks(self.preview, p.masks)
                slicer.util.setSliceViewerLayers(label=p.masks, labelOpacity=0.4)
            elif p.masks is not None:
                slicer.util.setSliceViewerLayers(label=None)
            if p.showLandmarks:
                p.points = self.logic.showLandmarks(self.preview, p.points)
        for node, shown in ((p.beam, p.showCArm), (p.detector, p.showCArm), (p.points, p.showLandmarks)):
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(shown)

    def onRender(self) -> None:
        """Render the view in full quality and show it."""
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be rendered."), waitCursor=True):
            self._render("full", anew=True)

    # The other buttons

    def _camera(self) -> Any:
        """The camera of the first 3D view; None without one."""
        manager = slicer.app.layoutManager()
        if manager is None or not manager.threeDViewCount:
            return None
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(manager.threeDWidget(0).mrmlViewNode())

    def onFromView(self) -> None:
        """Take the angles of the 3D view."""
        pose, p = self.logic.poseOfCamera(self._camera(), self.parameters.distance), self.parameters
        with slicer.util.NodeModify(p.parameterNode):
            p.laoRao, p.cranCaud, p.roll = pose.lao_rao_deg, pose.cran_caud_deg, pose.roll_deg

    def onToView(self) -> None:
        """Put the 3D view's eye into the source."""
        with slicer.util.tryWithErrorDisplay(_("The view could not be set."), waitCursor=True):
            if self.preview is None:
                self._render("preview")
            assert self.preview is not None
            self.logic.lookAsSource(self._camera(), self.preview, self._currentView()[0])

    def onCloud(self) -> None:
        """Show the source positions of the task."""
        with slicer.util.tryWithErrorDisplay(_("The source positions could not be shown."), waitCursor=True):
            if self.preview is None:
                self._render("preview")
            assert self.preview is not None
            self.parameters.cloud = self.logic.showPoseCloud(self.preview, self.ui.cloudBox.value, self.parameters.cloud)

    def onExport(self) -> None:
        """Write the X-ray."""
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be written."), waitCursor=True):
            path = self.logic.export(self.parameters.xray, self.ui.exportPath.currentPath)
            self.ui.statusLabel.text = _("Wrote {path}.").format(path=path)

    def _startGeneration(self, settings: GenerateSettings) -> Generation:
        """Make a data set of the chosen case, with the image's settings of the panel."""
        p = self.parameters
        settings = replace(settings, beam=self._currentView()[1])
        return self.logic.generate(p.volume, p.labels, p.markups, p.task, settings)
