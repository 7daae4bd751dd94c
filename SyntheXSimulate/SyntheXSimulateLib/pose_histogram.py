"""How the views of a data set are spread: histograms of their angles as plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SyntheXLib.scene.view_angles import rotation_from_standard_view
from SyntheXLib.simulation.view import view_pose
from SyntheXLib.tasks.task import PoseSettings
from SyntheXSimulateLib.result_nodes import addResult

# Key, title of the axis, colour of the bars.
ANGLES = (
    ("rotation", "Rotation from the standard AP view, degrees", (0.3, 0.7, 1.0)),
    ("lao_rao", "LAO/RAO, degrees", (0.95, 0.75, 0.2)),
    ("cran_caud", "CRAN/CAUD, degrees", (0.4, 0.8, 0.4)),
)
_BINS = 20


def viewAngles(settings: PoseSettings, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Angles (count,), degrees, of the views of a data set with that seed, by the keys of `ANGLES`."""
    poses = [view_pose(settings, seed, index) for index in range(count)]
    cameras = np.array([pose.world_to_camera(np.zeros(3)) for pose in poses])
    return {
        "rotation": rotation_from_standard_view(cameras),
        "lao_rao": np.array([pose.lao_rao_deg for pose in poses]),
        "cran_caud": np.array([pose.cran_caud_deg for pose in poses]),
    }


@dataclass(frozen=True)
class PoseHistogram:
    """A vtkMRMLTableNode of bins and counts, and for each of `ANGLES` a vtkMRMLPlotSeriesNode and a vtkMRMLPlotChartNode."""

    table: Any
    series: tuple[Any, ...]
    charts: tuple[Any, ...]

    @property
    def nodes(self) -> list[Any]:
        """All nodes, the table first, then series, then charts."""
        return [self.table, *self.series, *self.charts]

    @staticmethod
    def ofNodes(nodes: Sequence[Any]) -> PoseHistogram | None:
        """The histogram whose `nodes` these are; None when one of them is no longer there."""
        count = len(ANGLES)
        if len(nodes) != 1 + 2 * count or any(node is None or node.GetScene() is None for node in nodes):
            return None
        return PoseHistogram(nodes[0], tuple(nodes[1 : 1 + count]), tuple(nodes[1 + count :]))

    def update(self, settings: PoseSettings, count: int, seed: int = 0) -> None:
        """Count anew; see `viewAngles`."""
        data = vtk.vtkTable()
        for key, angles in viewAngles(settings, count, seed).items():
            # One bin where the task does not vary the angle.
            bins = _BINS if np.ptp(angles) > 1e-6 else 1
            counts, edges = np.histogram(angles, bins)
            padding = np.full(_BINS - bins, np.nan)
            for name, values in ((f"{key} centre", (edges[1:] + edges[:-1]) / 2), (f"{key} views", counts)):
                column = numpy_to_vtk(np.r_[values, padding].astype(float), deep=True)
                column.SetName(name)
                data.AddColumn(column)
        self.table.SetAndObserveTable(data)


def makeHistogram(study: str = "") -> PoseHistogram:
    """New nodes, empty, in the study's folder."""
    table = addResult("vtkMRMLTableNode", "Views", study)
    allSeries, charts = [], []
    for key, title, color in ANGLES:
        series = addResult("vtkMRMLPlotSeriesNode", title.partition(",")[0], study)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(f"{key} centre")
        series.SetYColumnName(f"{key} views")
        series.SetPlotType(series.PlotTypeScatterBar)
        series.SetColor(*color)
        chart = addResult("vtkMRMLPlotChartNode", f"Views by {title.partition(',')[0]}", study)
        chart.SetTitle(chart.GetName())
        chart.SetXAxisTitle(title)
        chart.SetYAxisTitle("views")
        chart.SetLegendVisibility(False)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        allSeries.append(series)
        charts.append(chart)
    return PoseHistogram(table, tuple(allSeries), tuple(charts))


def showChart(chart: Any) -> None:
    """Bring a chart into a layout with a plot view; nothing where there is no window."""
    plots = getattr(slicer.modules, "plots", None)
    if plots is not None:
        plots.logic().ShowChartInLayout(chart)
