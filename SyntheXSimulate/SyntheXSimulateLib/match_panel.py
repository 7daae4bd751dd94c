"""The section of the panel that finds where the C-arm stood for a real X-ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.image_nodes import asSequence, frameCount, isSequence
from SyntheXHomeLib.panels import enable, say
from SyntheXLib.errors import SyntheXError
from SyntheXSimulateLib.case_writer import CaseNodes
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.match import STARTS, MatchRun, MatchSettings
from SyntheXSimulateLib.match_result_panel import MatchResultPanel
from SyntheXSimulateLib.match_view import poseOfPanel
from SyntheXSimulateLib.real_images import imageCamera, placeOnImage, realImages, xraysOfScene
from SyntheXSimulateLib.view_panel import ViewPanel

_POLL_MS = 200
# What a run is made of.
_LOCKED = [
    "realSelector",
    "realPath",
    "realStartBox",
    "realMarkupsSelector",
    "realModelPath",
    "realAllCheckBox",
    "realDistanceBox",
    "realOrientationBox",
    "realPolarityBox",
    "realIntensityBox",
    "realBonesCheckBox",
    "realCollimationCheckBox",
]
# Rows that matter to one start alone.
_ROWS = {
    "landmarks": ("realMarkupsSelectorLabel", "realMarkupsSelector", "realPlaceButton"),
    "network": ("realModelPathLabel", "realModelPath"),
}


class MatchPanel:
    """Starts, follows and cancels one registration, of one image or of one after the other.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    view
        Renders the case.
    result
        Shows what was found.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic, view: ViewPanel, result: MatchResultPanel) -> None:
        self._ui, self._logic, self._view, self._result = ui, logic, view, result
        self._parameters: Any = None
        self._run: MatchRun | None = None
        self._shown = 0  # results of the run that are in the scene
        self._why = ""
        self._lacks: dict[bool, str] = {}  # packages, with a network or without: asked for often
        self._tips = {name: getattr(ui, name).toolTip for name in _LOCKED}
        titles = (_("The C-arm as it stands"), _("Landmarks on the X-ray"), _("A network's landmarks"), _("Search of the task's poses"))
        for title in titles:
            ui.realStartBox.addItem(title)  # as `match.STARTS`
        ui.realSection.collapsed = ui.realMoreSection.collapsed = True
        ui.realBar.visible = False
        ui.realStartBox.connect("currentIndexChanged(int)", self._onStart)
        ui.realModelPath.connect("currentPathChanged(QString)", self._onModel)
        ui.realPath.connect("currentPathChanged(QString)", lambda _path: self.updateState(self._why))
        ui.realLoadButton.connect("clicked(bool)", self._onLoad)
        ui.realPlaceButton.connect("clicked(bool)", self._onPlace)
        ui.realButton.connect("clicked(bool)", self._onButton)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def bind(self, parameters: Any) -> None:
        """Register the X-ray of these parameters from now on."""
        self._parameters = parameters
        self._lacks.clear()
        self._ui.realStartBox.setCurrentIndex(STARTS.index(parameters.realStart) if parameters.realStart in STARTS else 0)
        self._ui.realModelPath.currentPath = parameters.realModel

    def unbind(self) -> None:
        """Forget the parameters, and end the run: its images are of this scene."""
        self.close()
        self._parameters = None

    def close(self) -> None:
        """End the run at once."""
        self._timer.stop()
        self._ui.realBar.visible = False
        if self._run is not None:
            self._run.close()
            self._run = None

    def updateState(self, why: str) -> None:
        """Enable what works now, say of the rest why it does not; `why` is the reason for which nothing can be rendered."""
        p, ui = self._parameters, self._ui
        if p is None:
            return
        self._why, running = why, self._run is not None
        ui.realBar.visible = running
        for name in _LOCKED:
            enable(getattr(ui, name), self._tips[name], _("A registration is running.") if running else "")
        for start, names in _ROWS.items():
            for name in names:
                getattr(ui, name).visible = p.realStart == start
        enable(ui.realLoadButton, _("Load the file into the scene"), "" if ui.realPath.currentPath else _("Needs a file."))
        enable(ui.realPlaceButton, _("Click the landmarks in the slice view, in the order of the list"), self._whyNoImage())
        say(ui.realGeometryLabel, self._geometry())
        ui.realButton.text = _("Cancel") if running else _("Find the pose")
        if self._run is not None:
            enable(ui.realButton, _("End the registration; poses that were found stay"), _("Ending ...") if self._run.cancelled else "")
        else:
            tip = _("Move the C-arm to where the CT looks most like the X-ray, in a process of its own")
            enable(ui.realButton, tip, self._whyNot())

    # What can be done

    def _whyNoImage(self) -> str:
        p = self._parameters
        if p.realImage is None or not frameCount(p.realImage):
            return _("Needs a real X-ray.")
        if p.realImage is p.volume:
            return _("The X-ray is chosen as CT: choose another one.")
        return _("This X-ray is the panel's own: choose a real one, or a copy of it.") if p.realImage is p.xray else ""

    def _whyNot(self) -> str:
        p = self._parameters
        network = p.realStart == "network"
        if network not in self._lacks:
            self._lacks[network] = self._logic.whyNoMatch(network)
        why = self._why or self._whyNoImage() or self._lacks[network]
        if why or p.realStart == "search":
            return str(why)
        if p.labels is None:
            return _("Needs a segmentation or label map.")
        if p.realStart == "landmarks" and p.realMarkups is None:
            return _("Needs landmarks on the X-ray.")
        if network and not p.realModel:
            return _("Needs a model.")
        marks = p.realStart in ("landmarks", "network")
        return _("Landmarks need an orientation that is named.") if marks and p.realOrientation == "detect" else ""

    def _geometry(self) -> str:
        """What is taken for the camera of the X-ray."""
        p = self._parameters
        if self._whyNoImage():
            return ""
        try:
            camera, source = imageCamera(p.realImage, self._device(), p.realDistance)
        except SyntheXError as error:
            return str(error)
        sizes = _("{columns} x {rows} px of {spacing:.3g} mm, {distance:.0f} mm from the source").format(
            columns=camera.shape[1], rows=camera.shape[0], spacing=camera.pixel_spacing_mm[1], distance=camera.source_to_detector_mm
        )
        known = {"simulated": _("as it was simulated"), "image": _("pixels as the image says"), "device": _("the device's whole detector")}
        return f"{sizes}: {known[source]}."

    def _device(self) -> str:
        return str(self._parameters.deviceFile or self._parameters.device)

    # What the user does

    def _onStart(self, index: int) -> None:
        if self._parameters is not None and 0 <= index < len(STARTS):
            self._parameters.realStart = STARTS[index]

    def _onModel(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.realModel = path

    def _onLoad(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be loaded."), waitCursor=True):
            self._parameters.realImage = self._logic.loadImage(Path(self._ui.realPath.currentPath).expanduser())
            self._result.showImage()

    def _onPlace(self) -> None:
        p = self._parameters
        with slicer.util.tryWithErrorDisplay(_("The landmarks could not be placed.")):
            self._result.showImage()
            p.realMarkups = placeOnImage(p.realMarkups, p.realImage, self._logic.task(p.task))

    def _onButton(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._ui.realLabel.text = _("Ending ...")
            self.updateState(self._why)
            return
        p = self._parameters
        with slicer.util.tryWithErrorDisplay(_("The registration could not be started."), waitCursor=True):
            isocenter = self._view.preview().isocenter
            if not isSequence(p.realImage) and frameCount(p.realImage) > 1:
                p.realImage = asSequence(p.realImage)  # its slices are the frames of a run
            images = realImages(xraysOfScene(p.realImage) if p.realAll and not isSequence(p.realImage) else [p.realImage])
            settings = MatchSettings(
                p.realStart,
                poseOfPanel(p).world_to_camera(isocenter),
                images[0].pixelsOf(p.realMarkups) if p.realMarkups is not None else {},
                p.realModel,
                self._device(),
                p.realDistance,
                p.realOrientation,
                p.realPolarity,
                p.realIntensity,
                p.realBones,
                p.realCollimation,
                p.seed,
            )
            self._run = self._logic.match(CaseNodes(p.volume, p.labels, p.markups), p.task, images, settings)
            self._shown = 0
            self._result.begin(isocenter, self._view.preview().specimen.name)
            self._ui.realLabel.text = _("Starting ...")
            self._ui.realBar.maximum = 0  # busy until there is something to show
            self._timer.start()
        self.updateState(self._why)

    def _poll(self) -> None:
        run = self._run
        if run is None:
            return
        finished = run.finished()
        done, total = run.progress()
        if not run.cancelled and done:
            self._ui.realBar.maximum, self._ui.realBar.value = 1000, int(np.rint(1000 * done / total))
            number = min(int(done) + 1, total)
            text = _("Looking for the pose ...") if total == 1 else _("Image {number} of {total} ...").format(number=number, total=total)
            self._ui.realLabel.text = text
        results, self._shown = run.done[self._shown :], len(run.done)
        cancelled = run.cancelled
        if finished:
            self.close()
            self._ui.realLabel.text = _("Cancelled.") if cancelled else ""
        for matched in results:
            self._result.add(matched)
        self.updateState(self._why)
