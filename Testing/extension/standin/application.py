"""`slicer.app`, `slicer.modules` and the loading of a scripted module."""

import importlib
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from standin import pythonqt, widgets

application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["standin"])
QtWidgets.QApplication.setStyle("Fusion")
pythonqt.install(widgets.UiLoader, {**widgets.CTK, **widgets.UNUSED_CTK})
for _name, _class in {**widgets.QMRML, **widgets.UNUSED_QMRML}.items():
    setattr(slicer, _name, _class)


# Folder of the installed extension, from which modules are then taken instead of from the sources.
installed: Path | None = None


class ModuleManager(QtCore.QObject):
    """What a module widget connects to."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)


class ScriptedModule(types.SimpleNamespace):
    """What Slicer keeps of a scripted module in `slicer.modules`, and hands to its class as ``parent``."""

    scene: Any = None

    def logic(self) -> Any:
        """None: a scripted module makes its logic itself."""
        return None

    def widgetRepresentation(self) -> Any:
        """The panel, made at the first call."""
        if not hasattr(self, "panel"):
            self.panel: Any = widgets.qMRMLWidget()
            self.panel.setLayout(QtWidgets.QVBoxLayout())
            self.panel.setMRMLScene(slicer.mrmlScene)
            self.panel.isEntered = True
            self.widget = getattr(self.python, self.name + "Widget")(self.panel)
            self.widget.setup()
        return self.panel

    def setMRMLScene(self, scene: Any) -> None:
        """Keep the scene; scripted modules ask `slicer.mrmlScene`."""
        self.scene = scene

    def mrmlScene(self) -> Any:
        """The scene."""
        return self.scene


class qSlicerApplication(QtCore.QObject):
    """The part of `slicer.app` that scripted modules use."""

    startupCompleted = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self._manager = ModuleManager()
        self._applicationSettings = widgets.ctkSettings()
        self._settingsFolder = tempfile.TemporaryDirectory()  # the tests' own, gone with them
        self._settings = [
            QtCore.QSettings(str(Path(self._settingsFolder.name, f"{name}.ini")), QtCore.QSettings.Format.IniFormat)
            for name in ("user", "revision")
        ]

    def moduleManager(self) -> ModuleManager:
        """The module manager."""
        return self._manager

    def translate(self, context: str, text: str) -> str:
        """No translation."""
        return text

    def testingEnabled(self) -> bool:
        """Messages are logged, not shown."""
        return True

    def commandOptions(self) -> types.SimpleNamespace:
        """Started without a main window."""
        return types.SimpleNamespace(noMainWindow=True)

    def settings(self) -> Any:
        """Settings that nothing is written to."""
        return self._applicationSettings

    def topLevelWidgets(self) -> list[Any]:
        """All windows; none is Slicer's own."""
        return QtWidgets.QApplication.topLevelWidgets()

    def layoutManager(self) -> None:
        """There is none without a main window."""

    def userSettings(self) -> Any:
        """Settings of the user."""
        return self._settings[0]

    def revisionUserSettings(self) -> Any:
        """Settings of the user for this version of Slicer."""
        return self._settings[1]

    def setOverrideCursor(self, cursor: Any) -> None:
        """No cursor."""

    def restoreOverrideCursor(self) -> None:
        """No cursor."""

    def processEvents(self) -> None:
        """Let Qt work."""
        QtWidgets.QApplication.processEvents()


def start(scene: Any) -> None:
    """Provide `slicer.app` and Slicer's own Python files, which the folder SLICER_PYTHON_DIR holds."""
    if not isinstance(getattr(slicer, "app", None), qSlicerApplication):
        slicer.app = qSlicerApplication()
        slicer.__path__.append(os.environ["SLICER_PYTHON_DIR"])
    slicer.mrmlScene = scene


def register_module(path: Path) -> ScriptedModule:
    """Make a scripted module known in `slicer.modules`, its panel not yet made.

    Parameters
    ----------
    path
        The module's file in the sources; where the extension is `installed`, the file of that name there is taken.

    Raises
    ------
    RuntimeError
        When Python finds another file of that name before it.
    """
    name, path = path.stem, installed / path.name if installed else path
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    parent = ScriptedModule(path=str(path), name=name)
    setattr(slicer.modules, name.lower(), parent)
    parent.python = importlib.import_module(name)
    if not Path(str(parent.python.__file__)).samefile(path):
        raise RuntimeError(f"Module {name}: expected {path}, found {parent.python.__file__}")
    parent.instance = getattr(parent.python, name)(parent)
    return parent


def load_module(path: Path) -> tuple[types.ModuleType, Any, Any]:
    """Load a scripted module as Slicer does.

    Returns
    -------
    tuple
        The Python module, its widget after `setup`, and the Qt widget that holds the panel.
    """
    module = register_module(path)
    panel = module.widgetRepresentation()
    return module.python, module.widget, panel
