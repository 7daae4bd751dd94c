"""The part of the panel that shows how a data set's views are spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.pose_histogram import showChart
from SyntheXSimulateLib.view_panel import ViewPanel


class PosesPanel:
    """Source positions in 3D and histograms as plots.

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
        self._ui, self._logic, self._view, self._made = ui, logic, view, made
        self._parameters: Any = None
        for title in (_("Rotation from AP"), _("LAO/RAO"), _("CRAN/CAUD")):  # as `pose_histogram.ANGLES`
            ui.histogramBox.addItem(title)
        ui.cloudButton.connect("clicked(bool)", self._onCloud)
        ui.histogramButton.connect("clicked(bool)", self._onHistogram)

    def bind(self, parameters: Any) -> None:
        """Show the views of these parameters from now on."""
        self._parameters = parameters

    def unbind(self) -> None:
        """Forget the parameters."""
        self._parameters = None

    def updateState(self, why: str) -> None:
        """Enable what works now; `why` is the reason for which nothing can be rendered."""
        enable(self._ui.cloudButton, _("Show where the source stands in the views of the data set"), why)
        enable(self._ui.histogramButton, _("Plot how many views have which angle"))

    def _onCloud(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The source positions could not be shown."), waitCursor=True):
            p = self._parameters
            p.cloud = self._logic.showPoseCloud(self._view.preview(), self._ui.cloudBox.value, p.cloud, p.seed)
            self._made("cloud")

    def _onHistogram(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The histogram could not be shown."), waitCursor=True):
            p = self._parameters
            study = p.volume.GetName() if p.volume is not None else ""
            histogram = self._logic.poseHistogram(p.task, self._ui.cloudBox.value, p.seed, list(p.histogram), study)
            p.histogram = histogram.nodes
            showChart(histogram.charts[self._ui.histogramBox.currentIndex])
            self._made("histogram")
