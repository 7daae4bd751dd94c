"""The part of the panel that renders: live while the C-arm moves, with what lies over the X-ray and around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.image_nodes import shownImage
from SyntheXHomeLib.panels import enable
from SyntheXLib.errors import SyntheXError
from SyntheXSimulateLib.image_panel import ImagePanel
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.match_view import poseOfPanel
from SyntheXSimulateLib.preview import XrayPreview
from SyntheXSimulateLib.real_images import chosenFrame
from SyntheXSimulateLib.tool_models import ToolFiles

# How long the mouse must rest until the view is rendered in full quality.
_REST_MS = 250


class ViewPanel:
    """Renders the view that the parameters say.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    image
        How the image is made.
    made
        Called with the kind of a result (see `results.NODES`) when there is one.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic, image: ImagePanel, made: Callable[[str], None]) -> None:
        self._ui, self._logic, self._image, self._made = ui, logic, image, made
        self._parameters: Any = None
        self._preview: XrayPreview | None = None
        self._case: Any = None  # nodes and their versions of which the preview was made
        self._view: Any = None  # what was last asked for
        self._specimen: Any = None  # of the case, its bones where the CT has them
        self._device = ""  # that the preview's task has
        self._over: Any = None  # the real X-ray that the last view lies over
        self._tools: tuple[str, ...] = ()  # files of the preview's tools
        self._files = ToolFiles()
        self.cArm = logic.cArmDisplay()
        self._frameTimer, self._restTimer = (
            _timer(milliseconds, slot) for milliseconds, slot in ((0, self._frame), (_REST_MS, self._rest))
        )
        ui.renderButton.connect("clicked(bool)", self._onRender)
        ui.fromViewButton.connect("clicked(bool)", self._onFromView)
        ui.toViewButton.connect("clicked(bool)", self._onToView)

    def bind(self, parameters: Any) -> None:
        """Render what these parameters say from now on."""
        self._parameters = parameters
        self._view = self._currentView()

    def unbind(self) -> None:
        """Stop, and forget the scene."""
        for timer in (self._frameTimer, self._restTimer):
            timer.stop()
        self._parameters = self._preview = self._case = self._specimen = self._over = None
        self.cArm = self._logic.cArmDisplay()

    def modified(self, why: str) -> None:
        """A parameter has changed; `why` is the reason for which nothing can be rendered."""
        view = self._currentView()
        if view != self._view:
            self._view = view
            if self._parameters.live and not why:
                self._frameTimer.start()
                self._restTimer.start()
        elif self._preview is not None and self._preview.last is not None:
            self._showAround()

    def updateState(self, why: str) -> None:
        """Enable what works now, say of the rest why it does not."""
        view = _("There is no 3D view.") if self.camera() is None else ""
        enable(self._ui.renderButton, _("Read the nodes anew and render the view in full quality"), why)
        enable(self._ui.liveCheckBox, _("Render while the C-arm moves"), why)
        enable(self._ui.fromViewButton, _("Turn the C-arm as the 3D view looks now"), view)
        enable(self._ui.toViewButton, _("Look from the X-ray source in the 3D view"), why or view)

    def camera(self) -> Any:
        """The camera of the first 3D view; None without one."""
        manager = slicer.app.layoutManager()
        if manager is None or not manager.threeDViewCount:
            return None
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(manager.threeDWidget(0).mrmlViewNode())

    def preview(self) -> XrayPreview:
        """What renders the case; a first view is rendered where there is none.

        Raises
        ------
        SyntheXError
            When the case or the settings are not right.
        """
        if self._preview is None:
            self._render("preview")
        assert self._preview is not None
        return self._preview

    def render(self) -> None:
        """Render the view that the parameters say, in full quality.

        Raises
        ------
        SyntheXError
            When the case or the settings are not right.
        """
        self._view = self._currentView()
        self._render("full")

    def _currentView(self) -> tuple[Any, ...]:
        p = self._parameters
        return poseOfPanel(p), self._image.beam(), self._image.device, p.renderer, self._image.tools, p.live, self._real()

    def _real(self) -> tuple[Any, ...] | None:
        """The real X-ray that the simulated one is to lie over, and what is said of it; None without."""
        p = self._parameters
        if not p.realOver or p.realImage is None:
            return None
        return p.realImage, chosenFrame(p.realImage), p.realDistance, p.realOrientation, p.realBright, p.movedBones

    def _frame(self) -> None:
        self._renderLive("preview")

    def _rest(self) -> None:
        self._renderLive("full")

    def _renderLive(self, quality: str) -> None:
        """As `_render`, but an error ends the live mode: a message a frame would bury the user."""
        if self._parameters is None:
            return
        try:
            self._render(quality)
        except SyntheXError as error:
            self._frameTimer.stop()
            self._restTimer.stop()
            self._parameters.live = False
            self._ui.statusLabel.text = str(error)

    def _render(self, quality: str, anew: bool = False) -> None:
        p = self._parameters
        pose, beam, device, renderer, tools, _live, real = self._currentView()
        patient = (p.task, *(self._logic.version(node) for node in (p.volume, p.labels, p.markups)))
        case = (patient, p.seed, renderer, p.movedBones)
        if self._preview is None or anew or case != self._case:
            if self._specimen is None or anew or self._case is None or patient != self._case[0]:
                self._specimen = self._logic.specimen(p.volume, p.labels, p.markups, p.task)
            specimen = self._logic.withMovedBones(self._specimen, p.movedBones, p.task)
            self._preview = self._logic.preview(specimen, p.task, node=p.xray, renderer=renderer, seed=p.seed)
            self._case, self._device = case, ""
        self._preview.beam, self._preview.tools, self._tools = beam, self._files.read(tools), tools
        if device != self._device:  # not every frame: a task takes ten milliseconds to read
            self._preview.task, self._device = self._logic.task(p.task, device), device
        if real is None:
            self._preview.frame = None
        else:
            self._preview.frame = self._logic.realFrame(real[0], device, p.realDistance, p.realOrientation, p.realBright)
        before = p.xray
        p.xray = self._preview.render(pose, quality)
        self._showAround()
        self._showLayers(real, p.xray is not before)
        if quality == "full":
            self._made("xray")
            self._ui.statusLabel.text = "\n".join([_("Rendered {name}.").format(name=p.xray.GetName()), *self._preview.specimen.warnings])

    def _showLayers(self, real: tuple[Any, ...] | None, new: bool) -> None:
        """Bring the X-ray into the slice views, over the real one where it lies there."""
        p, shown = self._parameters, None if real is None else shownImage(real[0])
        if real is not None:
            fit = shown is not self._over
            slicer.util.setSliceViewerLayers(background=shown, foreground=p.xray, foregroundOpacity=p.realBlend, fit=fit)
        elif new or self._over is not None:
            slicer.util.setSliceViewerLayers(background=p.xray, foreground=None, fit=True)
        self._over = shown

    def _showAround(self) -> None:
        """C-arm, masks, landmarks and tools of the last view, as far as they are asked for."""
        assert self._preview is not None and self._preview.last is not None
        p, study = self._parameters, self._preview.specimen.name
        with slicer.util.NodeModify(p.parameterNode):
            if p.showCArm:
                self.cArm.beam, self.cArm.detector = p.beam, p.detector
                self.cArm.show(self._preview.last, study)
                p.beam, p.detector = self.cArm.beam, self.cArm.detector
            if p.showMasks:
                p.masks = self._logic.showMasks(self._preview, p.masks)
                slicer.util.setSliceViewerLayers(label=p.masks, labelOpacity=0.4)
            elif p.masks is not None:
                slicer.util.setSliceViewerLayers(label=None)
            if p.showLandmarks:
                p.points = self._logic.showLandmarks(self._preview, p.points)
            if p.showTools and (self._tools or p.toolModels):
                p.toolModels = self._files.show(self._tools, self._preview.tools, p.toolModels, study)
        shown = [
            (p.beam, p.showCArm),
            (p.detector, p.showCArm),
            (p.points, p.showLandmarks),
            *((node, p.showTools) for node in p.toolModels),
        ]
        for node, visible in shown:
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(visible)

    def _onRender(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be rendered."), waitCursor=True):
            self._render("full", anew=True)

    def _onFromView(self) -> None:
        pose, p = self._logic.poseOfCamera(self.camera(), self._parameters.distance), self._parameters
        with slicer.util.NodeModify(p.parameterNode):
            p.laoRao, p.cranCaud, p.roll = pose.lao_rao_deg, pose.cran_caud_deg, pose.roll_deg

    def _onToView(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The view could not be set."), waitCursor=True):
            self._logic.lookAsSource(self.camera(), self.preview(), self._currentView()[0])


def _timer(milliseconds: int, slot: Callable[[], None]) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", slot)
    return timer
