"""The part of the panel that says how the image is made: device, renderer, exposure, tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXLib.errors import SyntheXError
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import Beam
from SyntheXSimulateLib.renderers import CHOICES

# Widgets that matter to the realistic level alone.
_REALISTIC = ("kvpBox", "aluminiumBox", "copperBox", "doseBox", "anodeAngleBox", "gridCheckBox")


class ImagePanel:
    """Keeps device and exposure together, tells which renderers work, and keeps the list of tools.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Of the module.
    """

    def __init__(self, ui: Any, logic: SyntheXSimulateLogic) -> None:
        self._ui, self._logic = ui, logic
        self._parameters: Any = None
        self._device = ""
        self._renderers: dict[str, str] = {}  # name to why it does not work
        self._tips = {name: getattr(ui, name).toolTip for name in (*_REALISTIC, "deviceBox", "rendererBox")}
        ui.deviceFile.connect("currentPathChanged(QString)", self._onDeviceFile)
        ui.toolPath.connect("currentPathChanged(QString)", self.updateState)
        ui.addToolButton.connect("clicked(bool)", self._onAddTool)
        ui.removeToolButton.connect("clicked(bool)", self._onRemoveTool)
        ui.toolList.connect("currentRowChanged(int)", self.updateState)
        # Asking for a GPU takes a moment, so the panel is shown first.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self.checkRenderers)
        self._timer.start()

    def bind(self, parameters: Any) -> None:
        """Show these parameters from now on."""
        self._parameters = parameters
        self._device = self.device
        self._ui.deviceFile.currentPath = parameters.deviceFile
        self._showTools()

    def unbind(self) -> None:
        """Forget the parameters."""
        self._parameters = None

    def close(self) -> None:
        """Ask for nothing any more."""
        self._timer.stop()

    # What is set

    @property
    def device(self) -> str:
        """The user's device file, or the preset."""
        return str(self._parameters.deviceFile or self._parameters.device)

    @property
    def tools(self) -> tuple[str, ...]:
        """The tool files."""
        return tuple(self._parameters.tools)

    def beam(self) -> Beam:
        """Level and exposure."""
        p = self._parameters
        return Beam(p.level, p.kvp, p.aluminium, p.dose, p.copper, p.anodeAngle, p.grid)

    def why(self) -> str:
        """Why no image can be made with these settings; empty when it can."""
        p = self._parameters
        if p.deviceFile and not Path(p.deviceFile).is_file():
            return _("The device file {path} does not exist.").format(path=p.deviceFile)
        if p.renderer == "deepdrr" and p.level != "realistic":
            return _("DeepDRR makes the realistic level alone: choose that, or another renderer.")
        return self._renderers.get(p.renderer, "")

    # Changes

    def taskChanged(self, task: str) -> None:
        """Take the task's realism level, and its device if it is one of the presets."""
        chosen = self._logic.task(task)
        self._parameters.level = chosen.simulation.level
        device = chosen.c_arm.device
        if self._ui.deviceBox.findText(device) >= 0:
            self._parameters.device = device

    def modified(self) -> None:
        """A parameter has changed: another device brings its exposure."""
        if self.device == self._device:
            return
        self._device = self.device
        p = self._parameters
        try:
            beam = self._logic.defaultBeam(self._device, p.level)
        except SyntheXError as error:
            self._ui.statusLabel.text = str(error)
            return
        p.kvp, p.aluminium, p.copper, p.dose = beam.kvp, beam.aluminium_mm, beam.copper_mm, beam.dose_ugy
        p.anodeAngle, p.grid = beam.anode_angle_deg, beam.grid

    def checkRenderers(self) -> None:
        """Find out which renderers work, and disable the others with the reason as tooltip."""
        model = self._ui.rendererBox.model()
        for row, name in enumerate(CHOICES):
            why = self._logic.whyNotRenderer(name)
            self._renderers[name] = why
            model.item(row).setEnabled(not why)
            model.item(row).setToolTip(why)
        if self._parameters is not None:
            self._parameters.parameterNode.Modified()  # what depends on it is brought up to date

    def updateState(self, *_arguments: Any) -> None:
        """Enable what matters and say why the rest does not."""
        p = self._parameters
        if p is None:
            return
        lacks = "" if p.level == "realistic" else _("Matters to the realistic level alone.")
        for name in _REALISTIC:
            enable(getattr(self._ui, name), self._tips[name], lacks)
        taken = _("The device file under Advanced is taken: {path}").format(path=p.deviceFile) if p.deviceFile else ""
        enable(self._ui.deviceBox, self._tips["deviceBox"], taken)
        self._ui.rendererBox.toolTip = self._renderers.get(p.renderer, "") or self._tips["rendererBox"]
        if [self._ui.toolList.item(row).toolTip() for row in range(self._ui.toolList.count)] != list(p.tools):
            self._showTools()
        path = self._ui.toolPath.currentPath
        known = _("The tool is in the list.") if path in p.tools else ""
        enable(self._ui.addToolButton, _("Put the tool into the beam"), known if path else _("Needs a tool file."))
        chosen = "" if self._ui.toolList.currentRow >= 0 else _("Select a tool in the list first.")
        enable(self._ui.removeToolButton, _("Take the tool out of the beam"), chosen)

    def _showTools(self) -> None:
        blocked = self._ui.toolList.blockSignals(True)  # which would ask for the list while it is made
        self._ui.toolList.clear()
        for path in self._parameters.tools:
            item = qt.QListWidgetItem(Path(path).name)
            item.setToolTip(path)
            self._ui.toolList.addItem(item)
        self._ui.toolList.blockSignals(blocked)

    def _onDeviceFile(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.deviceFile = path

    def _onAddTool(self) -> None:
        self._parameters.tools = [*self._parameters.tools, self._ui.toolPath.currentPath]
        self._ui.toolPath.currentPath = ""

    def _onRemoveTool(self) -> None:
        row = self._ui.toolList.currentRow
        self._parameters.tools = [path for number, path in enumerate(self._parameters.tools) if number != row]
