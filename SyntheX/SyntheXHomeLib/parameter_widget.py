"""What the panels of the steps do alike: their settings live in the scene, and follow it when it is closed or loaded."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin


class ParameterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel of a module with a parameter node.

    A subclass builds its parts in `setup` and ends that with `followScene`; it says in `_fill`, `_bound`, `_released` and `_onModified`
    what is to be done with the parameters.

    Attributes
    ----------
    logic
        Of the module.
    parameters
        The scene's parameters; None while the scene is being closed.
    ui
        Widgets of the panel by name, from `setup` on.

    Parameters
    ----------
    parent
        As Slicer gives it.
    logic
        Of the module, with a method `parameterNode`.
    wrapper
        Class that `slicer.parameterNodeWrapper` made.
    """

    def __init__(self, parent: Any, logic: Any, wrapper: Any) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic, self._wrapper = logic, wrapper
        self.parameters: Any = None
        self._guiTag: Any = None

    def setup(self) -> None:
        """Load the panel's widgets from the .ui file that has the module's name."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)

    def followScene(self) -> None:
        """Take the parameters of the scene, now and whenever it was closed or loaded."""
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEndClose)
        self._bind()

    def enter(self) -> None:
        """Called when the panel is opened."""
        if self.parameters is None:
            self._bind()

    def cleanup(self) -> None:
        """Called when the panel is unloaded."""
        self._unbind()
        self.removeObservers()

    def _bind(self) -> None:
        self._unbind()
        self.parameters = self._wrapper(self.logic.parameterNode())
        self._fill()
        self._guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._bound()

    def _unbind(self) -> None:
        self._released()
        if self.parameters is not None:
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
            self.parameters.disconnectGui(self._guiTag)
            self.parameters = None

    def _fill(self) -> None:
        """Choose what is not chosen yet, before the widgets show it."""

    def _bound(self) -> None:
        """Show the parameters."""

    def _released(self) -> None:
        """Let go of the parameters, which may not be there any more."""

    def _onModified(self, *_arguments: Any) -> None:
        """Called when a parameter has changed."""

    def _onSceneStartClose(self, *_arguments: Any) -> None:
        self._unbind()

    def _onSceneEndClose(self, *_arguments: Any) -> None:
        self._bind()
