"""Loss and metrics of a training as a table and plots of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

# Title of a chart, title of its axis, and (column of log.csv, name, colour) of its curves.
_CHARTS = (
    ("loss", "loss", (("loss", "training", (0.12, 0.47, 0.71)), ("validation_loss", "validation", (1.0, 0.5, 0.05)))),
    ("Dice", "mean Dice", (("validation_dice", "validation Dice", (0.17, 0.63, 0.17)),)),
    ("landmark error", "median error on the detector, mm", (("validation_landmark_mm", "validation landmarks", (0.84, 0.15, 0.16)),)),
)
#: Names of the charts, in the order of `TrainingCurves.charts`.
CHARTS = tuple(name for name, _, _ in _CHARTS)
_COLUMNS = ("epoch", *(column for _, _, curves in _CHARTS for column, _, _ in curves))


@dataclass(frozen=True)
class TrainingCurves:
    """Nodes of the curves: one vtkMRMLTableNode, one vtkMRMLPlotChartNode for loss, for Dice and for the landmark error."""

    table: Any
    charts: tuple[Any, ...]

    @property
    def inScene(self) -> bool:
        """Whether the nodes are still there: a scene can be closed at any time."""
        nodes = (self.table, *self.charts)
        return len(self.charts) == len(CHARTS) and all(node is not None and node.GetScene() is not None for node in nodes)

    def update(self, rows: Sequence[dict[str, float]]) -> None:
        """Show these rows of log.csv; a value that was not measured is NaN."""
        data = vtk.vtkTable()
        for name in _COLUMNS:
            column = vtk.vtkDoubleArray()
            column.SetName(name)
            for row in rows:
                column.InsertNextValue(row.get(name, float("nan")))
            data.AddColumn(column)
        self.table.SetAndObserveTable(data)


def make_curves(title: str) -> TrainingCurves:
    """New nodes for the curves of a training, empty."""
    scene = slicer.mrmlScene
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{title} log")
    charts = []
    for name, axis, curves in _CHARTS:
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{title} {name}")
        chart.SetTitle(f"{title}: {name}")
        chart.SetXAxisTitle("epoch")
        chart.SetYAxisTitle(axis)
        for column, label, color in curves:
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", label)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("epoch")
            series.SetYColumnName(column)
            series.SetPlotType(series.PlotTypeScatter)  # of numbers against numbers, joined by lines
            series.SetLineStyle(series.LineStyleSolid)
            series.SetMarkerStyle(series.MarkerStyleCircle)
            series.SetColor(*color)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        charts.append(chart)
    result = TrainingCurves(table, tuple(charts))
    result.update([])
    return result
