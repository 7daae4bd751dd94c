"""The part of the panel that shows what of the case was found, and lets the user complete it."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SyntheXHomeLib.panels import enable
from SyntheXSimulateLib.landmarks import ESTIMATED, confirmLandmark, jumpToLandmark, newLandmarks, placeLandmark, whyNoEstimate
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.structures import Match, chooseSegments, forgetChoices, isSegmentation, segmentNames

# How long changes of the nodes are gathered: a dragged point changes with every movement of the mouse.
_GATHER_MS = 50


class CasePanel(VTKObservationMixin):
    """The table of structures and landmarks, with what its rows can do.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._logic = ui, logic
        self._parameters: Any = None
        self._shown: Any = None  # versions of what the table shows
        self._nodes: tuple[Any, ...] = ()
        self._structures: list[Match] = []
        self._landmarks: list[Match] = []
        self._menu: Any = None
        table = ui.matchTable
        table.setHorizontalHeaderLabels([_("Looked for"), _("Found as")])
        table.horizontalHeader().setStretchLastSection(True)
        table.verticalHeader().setVisible(False)
        table.connect("cellClicked(int,int)", self._onClicked)
        table.connect("cellDoubleClicked(int,int)", self._onDoubleClicked)
        table.connect("itemSelectionChanged()", self._updateButtons)
        table.connect("customContextMenuRequested(QPoint)", self._onContextMenu)
        ui.chooseButton.connect("clicked(bool)", self._onChoose)
        ui.placeButton.connect("clicked(bool)", self._onPlace)
        ui.estimateButton.connect("clicked(bool)", self._onEstimate)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_GATHER_MS)
        self._timer.connect("timeout()", self.updateState)

    def bind(self, parameters: Any) -> None:
        """Show the case of these parameters from now on."""
        self._parameters = parameters

    def unbind(self) -> None:
        """Forget the case."""
        self._timer.stop()
        self.removeObservers()
        self._parameters, self._shown, self._nodes = None, None, ()

    def updateState(self) -> None:
        """Fill the table where the case has changed, and enable what works now."""
        p = self._parameters
        if p is None:
            return
        self._observe(p.labels, p.markups)
        version = (p.task, self._logic.version(p.labels), self._logic.version(p.markups))
        if version != self._shown:
            self._shown = version
            self._fill()
        self._updateButtons()

    def _observe(self, labels: Any, markups: Any) -> None:
        if (labels, markups) == self._nodes:
            return
        self.removeObservers()
        self._nodes = (labels, markups)
        if labels is not None and isSegmentation(labels):
            for event in (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
            ):
                self.addObserver(labels.GetSegmentation(), event, self._onChanged)
        elif labels is not None:
            self.addObserver(labels, labels.ImageDataModifiedEvent, self._onChanged)
        if markups is not None:
            for event in (markups.PointModifiedEvent, markups.PointAddedEvent, markups.PointRemovedEvent):
                self.addObserver(markups, event, self._onChanged)
            for event in (markups.PointPositionDefinedEvent, markups.PointPositionUndefinedEvent):
                self.addObserver(markups, event, self._onChanged)
            self.addObserver(markups, markups.PointEndInteractionEvent, self._onDragged)

    def _onChanged(self, *_arguments: Any) -> None:
        self._timer.start()

    @vtk.calldata_type(vtk.VTK_INT)
    def _onDragged(self, markups: Any, _event: Any, index: int) -> None:
        confirmLandmark(markups, index)

    def _fill(self) -> None:
        p, table = self._parameters, self._ui.matchTable
        filled = p.labels is not None and (isSegmentation(p.labels) or p.labels.GetImageData() is not None)
        self._structures = (
            self._logic.structureTable(p.labels, p.task) if filled else [Match(name) for name in self._logic.task(p.task).structure_names]
        )
        self._landmarks = self._logic.landmarkTable(p.markups, p.task)
        rows = [*self._structures, *self._landmarks]
        table.rowCount = len(rows)
        task = self._logic.task(p.task)
        made = {*task.made_structures, *task.landmark_names} - set(task.patient_landmarks)
        for row, match in enumerate(rows):
            text = ", ".join(match.parts) or (_("made for every image") if match.name in made else _("missing"))
            if match.note.startswith(ESTIMATED):
                text = _("{name} (estimated)").format(name=text)
            for column, cell in enumerate((match.name, text)):
                item = qt.QTableWidgetItem(cell)
                item.setToolTip(match.note or text)  # several segments do not fit
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)
        counts = [(sum(bool(match.parts) for match in matches), len(matches)) for matches in (self._structures, self._landmarks)]
        self._ui.matchLabel.text = _("Structures: {0} of {1} found; landmarks: {2} of {3}.").format(*counts[0], *counts[1])

    # What a row is, and what can be done with it

    def _structure(self, row: int | None = None) -> Match | None:
        """The structure of a row, by default of the selected one; None where it is none."""
        row = self._ui.matchTable.currentRow() if row is None else row
        return self._structures[row] if 0 <= row < len(self._structures) else None

    def _landmark(self, row: int | None = None) -> Match | None:
        """As `_structure`."""
        row = (self._ui.matchTable.currentRow() if row is None else row) - len(self._structures)
        return self._landmarks[row] if 0 <= row < len(self._landmarks) else None

    def _updateButtons(self) -> None:
        if self._parameters is None:
            return
        enable(self._ui.chooseButton, _("Say which segments are the selected structure"), self._whyNoChoice(self._structure()))
        enable(self._ui.placeButton, _("Place the selected landmark by a click into a view"), self._whyNoPlace(self._landmark()))
        tip = _("Place the missing landmarks by the shape of the bones; look at them before you use them")
        enable(self._ui.estimateButton, tip, self._whyNoEstimate())

    def _whyNoChoice(self, structure: Match | None) -> str:
        labels = self._parameters.labels
        if labels is None:
            return _("Needs a segmentation.")
        if not isSegmentation(labels):
            return _("A label map goes by its colour table: convert it into a segmentation to choose segments.")
        return "" if structure is not None else _("Select a structure in the table first.")

    @staticmethod
    def _whyNoPlace(landmark: Match | None) -> str:
        if landmark is None:
            return _("Select a landmark in the table first.")
        return _("{name} is placed: drag it in a view to move it.").format(name=landmark.name) if landmark.parts else ""

    def _whyNoEstimate(self) -> str:
        if self._parameters.volume is None:
            return _("Needs a CT.")
        found = {match.name for match in self._structures if match.parts}
        why = whyNoEstimate(self._logic.task(self._parameters.task), found)
        return why or (_("No landmark is missing.") if all(match.parts for match in self._landmarks) else "")

    def _onClicked(self, row: int, _column: int) -> None:
        landmark = self._landmark(row)
        if landmark is not None and landmark.parts:
            jumpToLandmark(self._parameters.markups, landmark.name)

    def _onDoubleClicked(self, row: int, _column: int) -> None:
        landmark = self._landmark(row)
        if self._structure(row) is not None:
            self._onChoose()
        elif landmark is not None and not landmark.parts:
            self._onPlace()

    def _onContextMenu(self, point: Any) -> None:
        row = self._ui.matchTable.rowAt(point.y())
        if self._structure(row) is not None:
            self._ui.matchTable.setCurrentCell(row, 0)
            self._onChoose()

    def _onChoose(self) -> None:
        """A menu of the segments, in which those of the structure are checked."""
        structure = self._structure()
        if structure is None or self._whyNoChoice(structure):
            return
        if self._menu is not None:
            self._menu.deleteLater()
        self._menu = qt.QMenu(self._ui.matchTable)
        for key, name in segmentNames(self._parameters.labels).items():
            action = self._menu.addAction(name)
            action.checkable = True
            action.checked = key in structure.keys
            action.connect("toggled(bool)", lambda checked, key=key: self._choose(structure.name, key, checked))
        self._menu.addSeparator()
        self._menu.addAction(_("Match all by name again")).connect("triggered(bool)", self._forget)
        self._menu.popup(qt.QCursor.pos())

    def _choose(self, name: str, key: str, chosen: bool) -> None:
        p = self._parameters
        keys = next(set(match.keys) for match in self._logic.structureTable(p.labels, p.task) if match.name == name)
        chooseSegments(p.labels, self._logic.task(p.task), name, keys | {key} if chosen else keys - {key})
        self.updateState()

    def _forget(self) -> None:
        forgetChoices(self._parameters.labels, self._logic.task(self._parameters.task))
        self.updateState()

    def _onPlace(self) -> None:
        p, landmark = self._parameters, self._landmark()
        if landmark is None or landmark.parts:
            return
        with slicer.util.tryWithErrorDisplay(_("The landmark cannot be placed.")):
            if p.markups is None:
                p.markups = newLandmarks(p.volume.GetName() if p.volume is not None else _("Case"))
            placeLandmark(p.markups, landmark.name)
            self._ui.statusLabel.text = _("Click where {name} is, in a slice or in 3D.").format(name=landmark.name)

    def _onEstimate(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The landmarks could not be estimated."), waitCursor=True):
            p = self._parameters
            p.markups, placed = self._logic.estimateLandmarks(p.volume, p.labels, p.markups, p.task)
            text = _("Estimated {names}. Look at the points before you use them.").format(names=", ".join(placed))
            self._ui.statusLabel.text = text if placed else _("None of the missing landmarks could be estimated.")
        self.updateState()
