"""The part of the panel that shows the poses of real X-rays: the C-arm there, the simulated X-ray over the real one, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SyntheXHomeLib.image_nodes import browserOf, isSequence, shownImage
from SyntheXHomeLib.panels import enable, say
from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXLib.registration.intensity import TRUSTED_SIMILARITY
from SyntheXLib.registration.orientation import ORIENTATIONS
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.match import Matched
from SyntheXSimulateLib.match_poses import addPose, imageOf, newPoses, poseCount, poseOf, recordOf
from SyntheXSimulateLib.match_view import placeOf, setPlace, setPose
from SyntheXSimulateLib.real_images import chosenFrame, showsBright
from SyntheXSimulateLib.view_panel import ViewPanel


class MatchResultPanel(VTKObservationMixin):
    """Keeps the poses in the scene, and brings the C-arm to the one that is chosen.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    view
        Renders the case.
    made
        Called with the kind of a result (see `results.NODES`) when there is one.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic, view: ViewPanel, made: Callable[[str], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._logic, self._view, self._made = ui, logic, view, made
        self._parameters: Any = None
        self._isocenter: np.ndarray | None = None
        self._browser: Any = None
        self._frame = 0  # that the browser showed last
        self._blend = -1.0
        self._listed = -1  # poses in the table
        self._why = ""
        table = ui.realTable
        table.setHorizontalHeaderLabels([_("X-ray"), _("Similarity"), _("Trusted")])
        table.horizontalHeader().setStretchLastSection(True)
        table.verticalHeader().setVisible(False)
        table.connect("cellClicked(int,int)", self._onRow)
        ui.realFolder.filters = ctk.ctkPathLineEdit.Dirs
        ui.realFolder.connect("currentPathChanged(QString)", lambda _path: self.updateState(self._why))
        ui.realOverCheckBox.connect("clicked(bool)", self._onOver)
        ui.realUndoButton.connect("clicked(bool)", self._onUndo)
        ui.realExportButton.connect("clicked(bool)", self._onExport)
        self._timer = qt.QTimer()  # a browser is modified several times for one step
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._browsed)

    def bind(self, parameters: Any) -> None:
        """Keep the poses in these parameters from now on."""
        self._parameters, self._blend, self._listed = parameters, parameters.realBlend, -1

    def unbind(self) -> None:
        """Forget the parameters."""
        self._timer.stop()
        self.removeObservers()
        self._parameters = self._browser = self._isocenter = None

    def updateState(self, why: str) -> None:
        """Enable what works now, say of the rest why it does not; `why` is the reason for which nothing can be rendered."""
        p, ui = self._parameters, self._ui
        if p is None:
            return
        self._why = why
        self._follow()
        image = _("Needs a real X-ray.") if p.realImage is None else why
        enable(ui.realOverCheckBox, _("Render the X-ray over the real one, with its camera: move the C-arm until both agree"), image)
        lacks = "" if p.realOver else _("Lay the X-ray over the real one first.")
        enable(ui.realBlendSlider, _("From the real X-ray (0) to the simulated one (1)"), image or lacks)
        if p.realBlend != self._blend:
            self._blend = p.realBlend
            if p.realOver:
                slicer.util.setSliceViewerLayers(foregroundOpacity=p.realBlend)
        enable(ui.realUndoButton, _("Bring C-arm and bones back to where they were before"), "" if p.placeBefore else _("Nothing to undo."))
        count = poseCount(self._sequence())
        ui.realTable.visible = count > 1
        if count != self._listed:
            self._list(count)
        poses = "" if count else _("No pose was found yet.")
        tip = _("Write a pose file an X-ray, as synthex match and synthex simulate --matched read them")
        enable(ui.realExportButton, tip, poses or ("" if ui.realFolder.currentPath else _("Needs a folder.")))

    # A run

    def begin(self, isocenter: np.ndarray, study: str) -> None:
        """A run begins: its poses replace those of the last one.

        Parameters
        ----------
        isocenter
            (3,) RAS mm, that the C-arm's angles are about.
        study
            Name of the case.
        """
        p = self._parameters
        remove_nodes(list(p.matched))
        p.matched = newPoses(study)
        p.placeBefore = placeOf(p)
        self._isocenter = isocenter
        self._made("match")

    def add(self, matched: Matched) -> None:
        """Keep what became of an image, and bring the C-arm there."""
        if len(self._parameters.matched) != 2:  # deleted in the meantime
            return
        addPose(list(self._parameters.matched), matched, self._center())
        self.show(poseCount(self._sequence()) - 1)

    # What is shown

    def showImage(self) -> None:
        """Show the real X-ray in the slice views."""
        slicer.util.setSliceViewerLayers(background=shownImage(self._parameters.realImage), fit=True)

    def show(self, number: int) -> None:
        """Bring the C-arm to the pose of an image, and the X-ray over that."""
        p, record = self._parameters, recordOf(self._sequence(), number)
        node, frame = imageOf(self._sequence(), number)
        say(self._ui.realLabel, _said(record))
        pose = poseOf(record, self._center())
        with slicer.util.NodeModify(p.parameterNode):
            if node is not None:
                p.realImage = node
                if isSequence(node):
                    self._frame = frame
                    browserOf(node).SetSelectedItemNumber(frame)
                    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browserOf(node))
            if pose is not None:
                setPose(p, pose, record["structures"])
                p.realOrientation, p.realOver = record["orientation"], True
                if node is not None:
                    p.realBright = showsBright(node, record["bone"], p.realPolarity, p.realIntensity)
        self.updateState(self._why)
        if pose is not None:
            self._render()

    def _center(self) -> np.ndarray:
        """Isocentre of the case, also where the poses were found before the scene was loaded."""
        if self._isocenter is None:
            self._isocenter = self._view.preview().isocenter
        return self._isocenter

    def _sequence(self) -> Any | None:
        nodes = list(self._parameters.matched)
        return nodes[0] if len(nodes) == 2 and nodes[0] is not None else None

    def _list(self, count: int) -> None:
        self._listed, table = count, self._ui.realTable
        table.rowCount = count
        for row in range(count):
            record = recordOf(self._sequence(), row)
            failed = record.get("failure", "")
            cells = (record["name"], "-" if failed else f"{record['similarity']:.3f}", _("yes") if record.get("trusted") else _("no"))
            for column, cell in enumerate(cells):
                item = qt.QTableWidgetItem(cell)
                item.setToolTip(failed or cell)
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)

    # Sequences

    def _follow(self) -> None:
        """Follow the browser of the X-ray, if it is a sequence."""
        image = self._parameters.realImage
        browser = browserOf(image) if image is not None and isSequence(image) else None
        if browser is not self._browser:
            self.removeObservers()
            self._browser = browser
            if browser is not None:
                self._frame = chosenFrame(image)
                self.addObserver(browser, vtk.vtkCommand.ModifiedEvent, self._onBrowser)

    def _onBrowser(self, *_arguments: Any) -> None:
        self._timer.start()

    def _browsed(self) -> None:
        """The browser has gone to another frame: so does the C-arm, if its pose is known; else the X-ray is rendered over that frame."""
        p = self._parameters
        if p is None or self._browser is None or not isSequence(p.realImage) or chosenFrame(p.realImage) == self._frame:
            return
        self._frame = chosenFrame(p.realImage)
        for number in range(poseCount(self._sequence())):
            if imageOf(self._sequence(), number) == (p.realImage, self._frame):
                self.show(number)
                return
        if p.realOver:
            self._render()

    # What the user does

    def _render(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be rendered."), waitCursor=True):
            self._view.render()

    def _onOver(self) -> None:
        if not self._why:
            self._render()

    def _onRow(self, row: int, _column: int) -> None:
        if row < poseCount(self._sequence()):
            self.show(row)

    def _onUndo(self) -> None:
        p = self._parameters
        setPlace(p, p.placeBefore)
        p.placeBefore = ""
        say(self._ui.realLabel, _("The C-arm stands where it stood before."))
        self._render()

    def _onExport(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The poses could not be written."), waitCursor=True):
            folder = Path(self._ui.realFolder.currentPath).expanduser()
            written = self._logic.exportPoses(self._sequence(), folder)
            say(self._ui.realLabel, _("Wrote {count} files into {folder}.").format(count=len(written), folder=folder))


def _said(record: dict[str, Any]) -> str:
    """What was found, and whether it is to be trusted."""
    if "failure" in record:
        return _("{name}: no pose. {reason}").format(name=record["name"], reason=record["failure"])
    text = _("{name}: similarity {similarity:.2f}, {agreeing} of {starts} searches agree.").format(
        name=record["name"], similarity=record["similarity"], agreeing=record["agreeing_starts"], starts=record["starts"]
    )
    if record["orientation"] != next(iter(ORIENTATIONS)):
        text += " " + _("The image is {orientation}.").format(orientation=record["orientation"])
    if record["trusted"]:
        return text
    warning = _("Not to be trusted: the similarity is below {least:g}. Look at the blend, try another start or orientation.")
    return f"{text}\n⚠ {warning.format(least=TRUSTED_SIMILARITY)}"
