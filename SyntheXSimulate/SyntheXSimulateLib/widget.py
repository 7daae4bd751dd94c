"""The panel of the Simulate module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from SyntheXHomeLib.parameter_widget import ParameterWidget
from SyntheXHomeLib.settings import LAST_DATASET, remember
from SyntheXSimulateLib.browse_panel import BrowsePanel
from SyntheXSimulateLib.case_panel import CasePanel
from SyntheXSimulateLib.generate import GenerateSettings, Generation
from SyntheXSimulateLib.generate_panel import GeneratePanel
from SyntheXSimulateLib.image_panel import ImagePanel
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.match_panel import MatchPanel
from SyntheXSimulateLib.match_result_panel import MatchResultPanel
from SyntheXSimulateLib.parameters import SimulateParameters
from SyntheXSimulateLib.poses_panel import PosesPanel
from SyntheXSimulateLib.preview import GEOMETRY_ATTRIBUTE
from SyntheXSimulateLib.result_panel import ResultPanel
from SyntheXSimulateLib.segment_panel import SegmentPanel
from SyntheXSimulateLib.view_panel import ViewPanel


class SyntheXSimulateWidget(ParameterWidget):
    """Choose the patient; the rest of the panel is in parts of its own, by subject."""

    logic: SyntheXSimulateLogic

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent, SyntheXSimulateLogic(), SimulateParameters)
        self._task = ""

    def setup(self) -> None:
        """Build the panel."""
        super().setup()
        self._results = ResultPanel(self.ui, self.logic, self.updateState)
        self._image = ImagePanel(self.ui, self.logic)
        self._view = ViewPanel(self.ui, self.logic, self._image, self._results.made)
        self._poses = PosesPanel(self.ui, self.logic, self._view, self._results.made)
        self._generate = GeneratePanel(self.ui, self._startGeneration, self._onGeneration)
        self._browse = BrowsePanel(self.ui, self.logic, self._results.made)
        self._case, self._segment = CasePanel(self.ui, self.logic), SegmentPanel(self.ui, self.logic, self._results.made)
        self._matched = MatchResultPanel(self.ui, self.logic, self._view, self._results.made)
        self._match = MatchPanel(self.ui, self.logic, self._view, self._matched)
        self._parts: tuple[Any, ...] = (self._case, self._segment, self._results, self._image, self._view, self._poses, self._browse)
        self._parts += (self._matched, self._match)
        self.ui.generateFolder.connect("currentPathChanged(QString)", self.updateState)
        self.ui.viewsPath.connect("currentPathChanged(QString)", self.updateState)
        self.followScene()

    def cleanup(self) -> None:
        """Called when the panel is unloaded."""
        super().cleanup()
        self._generate.close()
        self._segment.close()
        self._match.close()
        self._image.close()

    # The parameter node

    def _fill(self) -> None:
        for name, kinds in (("volume", ("vtkMRMLScalarVolumeNode",)), ("labels", ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"))):
            if getattr(self.parameters, name) is None:
                setattr(self.parameters, name, self.logic.firstNode(kinds))

    def _bound(self) -> None:
        self._task = self.parameters.task
        for part in self._parts:
            part.bind(self.parameters)
        self.updateState()

    def _released(self) -> None:
        for part in self._parts:
            part.unbind()

    def _onModified(self, *_arguments: Any) -> None:
        if self.parameters.task != self._task:
            self._task = self.parameters.task
            self.parameters.distance = self.logic.distance(self._task)
            self._image.taskChanged(self._task)
        self._image.modified()
        self.updateState()
        self._view.modified(self._why())

    # What can be done now

    def _why(self) -> str:
        """Why nothing can be rendered; empty when it can."""
        if self.parameters.volume is None:
            return _("Needs a CT.")
        if self.parameters.labels is None and self.logic.needsLabels(self.parameters.task):
            return _("Needs a segmentation or label map.")
        if self.parameters.volume.GetAttribute(GEOMETRY_ATTRIBUTE):
            return _("The chosen CT is a simulated X-ray: choose a CT.")
        return self._image.why()

    def updateState(self, *_arguments: Any) -> None:
        """Enable what works now, say of the rest why it does not, and fill the table."""
        if self.parameters is None:
            return
        why = self._why()
        self._image.updateState()
        self._view.updateState(why)
        self._poses.updateState(why)
        self._generate.updateState(why)
        self._browse.updateState(self._generate.running)
        self._results.updateState(self._generate.running)
        self._case.updateState()
        self._segment.updateState()
        self._matched.updateState(why)
        self._match.updateState(why)
        self.ui.rangesLabel.text = "\n".join(self._range(*row) for row in self.logic.poseRanges(self.parameters.task))

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

    # Data sets

    def _startGeneration(self, settings: GenerateSettings) -> Generation:
        """Make a data set of the chosen case, with the image's settings of the panel."""
        p = self.parameters
        settings = replace(settings, beam=self._image.beam(), device=self._image.device, renderer=p.renderer, tools=self._image.tools)
        return self.logic.generate(p.volume, p.labels, p.markups, p.task, settings)

    def _onGeneration(self, ended: Generation | None) -> None:
        if ended is not None and not ended.failed:
            self._results.made("dataset", ended.dataset)
            if not ended.cancelled:
                remember(LAST_DATASET, str(ended.dataset.resolve()))  # Train is opened with it
        self.updateState()
