"""The sections of the panel that evaluate and export a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.image_nodes import dicomFile
from SyntheXHomeLib.panels import enable, needs
from SyntheXInferLib.evaluation import Comparison
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.parameters import spacingOf
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXInferLib.texts import comparisonText


class EvaluationPanel:
    """Holds a result against a reference and writes it.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        The module's logic.
    """

    def __init__(self, ui: Any, logic: SyntheXInferLogic) -> None:
        self._ui, self._logic = ui, logic
        self.parameters: Any = None
        self._found: FoundNodes | None = None
        self._why = ""
        self._comparison: tuple[Any, Comparison] | None = None  # references and spacing, and the result, in which is no threshold
        ui.exportPath.connect("currentPathChanged(QString)", lambda _path: self.updateState(self._why, self._found))
        ui.evaluateButton.connect("clicked(bool)", self.onEvaluate)
        ui.curveButton.connect("clicked(bool)", self.onCurve)
        ui.exportButton.connect("clicked(bool)", self.onExport)

    def updateState(self, why: str, found: FoundNodes | None) -> None:
        """Enable the buttons, or say why not; `why` is the reason for which there is no result to work on."""
        self._why, self._found = why, found
        p, path = self.parameters, self._ui.exportPath.currentPath
        reference = p is not None and (p.referenceMasks is not None or p.referencePoints is not None)
        lacks = why or needs((reference, _("a reference")))
        enable(self._ui.evaluateButton, _("Dice and landmark errors as a table"), lacks)
        points = needs((p is not None and p.referencePoints is not None, _("reference landmarks")))
        enable(self._ui.curveButton, _("Mean error against the share of activated landmarks, in a plot view"), why or points)
        tip = _("Write masks, landmarks and overlays, and the evaluation where there is a reference")
        enable(self._ui.exportButton, tip, why or needs((path != "", _("a folder"))))
        source = None if found is None or p is None or p.resultImage is None else dicomFile(p.resultImage)
        reason = "" if source is not None else _("Needs an image of a DICOM file, which it refers to.")
        enable(self._ui.segCheckBox, _("DICOM Segmentation that refers to the image"), reason)

    def showTable(self) -> None:
        """Show the table of the scene; hide the view without one."""
        table = None if self.parameters is None else self.parameters.table
        self._ui.resultTable.visible = table is not None
        self._ui.evaluationLabel.visible = False  # of another result
        if table is None:
            return
        self._ui.resultTable.setMRMLTableNode(table)
        self._ui.resultTable.resizeColumnsToContents()

    def updateNumbers(self, found: FoundNodes) -> None:
        """Make the table anew for the threshold that is set now, if there is one."""
        if self.parameters.table is not None:
            self._found = found
            with slicer.util.tryWithErrorDisplay(_("The result could not be evaluated."), waitCursor=True):
                same = self._comparison is not None and self._comparison[0] == self._asked()
                self._show(self._comparison[1] if same and self._comparison else self._compare())

    def release(self) -> None:
        """Let go of the scene."""
        self.parameters = self._found = self._comparison = None

    def forget(self) -> None:
        """Remove table and curve of the last result."""
        self._comparison, p = None, self.parameters
        if p.chart is not None:
            self._logic.removeCurve(p.chart)
            p.chart = None
        if p.table is not None:
            self._logic.removeTable(p.table)
            p.table = None
        self.showTable()

    def _asked(self) -> tuple[Any, ...]:
        p = self.parameters
        return p.resultImage, p.referenceMasks, p.referencePoints, p.spacing

    def _compare(self) -> Comparison:
        p = self.parameters
        assert self._found is not None
        reference = self._logic.reference(p.referenceMasks, p.referencePoints)
        return self._logic.compare(p.resultImage, self._found, reference, spacingOf(p))

    def onEvaluate(self) -> None:
        """Hold the result against the reference."""
        with slicer.util.tryWithErrorDisplay(_("The result could not be evaluated."), waitCursor=True):
            self._show(self._compare())

    def _show(self, comparison: Comparison) -> None:
        """Table and text of a comparison, with the threshold that is set now."""
        p, self._comparison = self.parameters, (self._asked(), comparison)
        before, p.table = p.table, self._logic.table(p.resultImage, comparison, p.threshold)
        if before is not None:
            self._logic.removeTable(before)
        self._logic.putInFolder(p.resultImage, p.table)
        self.showTable()
        self._ui.evaluationLabel.text = comparisonText(comparison, p.threshold)
        self._ui.evaluationLabel.visible = True

    def onCurve(self) -> None:
        """Show the activation curve in a plot view."""
        with slicer.util.tryWithErrorDisplay(_("The curve could not be shown."), waitCursor=True):
            p = self.parameters
            before, p.chart = p.chart, self._logic.curve(p.resultImage, self._compare())
            if before is not None:
                self._logic.removeCurve(before)
            self._logic.putInFolder(p.resultImage, p.chart)
            slicer.modules.plots.logic().ShowChartInLayout(p.chart)

    def onExport(self) -> None:
        """Write the result into the folder."""
        with slicer.util.tryWithErrorDisplay(_("The result could not be exported."), waitCursor=True):
            p, folder = self.parameters, Path(self._ui.exportPath.currentPath).expanduser()
            reference = p.referenceMasks is not None or p.referencePoints is not None
            assert self._found is not None
            # A scene may ask for DICOM SEG of an image that has no DICOM file.
            wanted = {"png": p.exportPng, "nifti": p.exportNifti, "seg": p.exportSeg and self._ui.segCheckBox.enabled}
            masks = tuple(name for name, on in wanted.items() if on)
            comparison = self._compare() if reference else None
            made = self._logic.export(folder, p.resultImage, self._found, p.threshold, comparison, masks, spacingOf(p))
            self._ui.statusLabel.text = _("Wrote {count} files to {folder}.").format(count=len(made), folder=folder)
