"""`slicer.app`, `slicer.modules` and the loading of a scripted module."""

import importlib
import os
import sys
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


class ModuleManager(QtCore.QObject):
    """What a module widget connects to."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)


class App(QtCore.QObject):
    """The part of `slicer.app` that scripted modules use."""

    startupCompleted = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self._manager = ModuleManager()
        self._settings = QtCore.QSettings("", QtCore.QSettings.Format.IniFormat)

    def moduleManager(self) -> ModuleManager:
        """The module manager."""
        return self._manager

    def translate(self, context: str, text: str) -> str:
        """No translation."""
        return text

    def testingEnabled(self) -> bool:
        """Messages are logged, not shown."""
        return True

    def userSettings(self) -> Any:
        """Settings of this process alone."""
        return self._settings

    def topLevelWidgets(self) -> list[Any]:
        """All windows; none is Slicer's own."""
        return QtWidgets.QApplication.topLevelWidgets()

    def layoutManager(self) -> None:
        """There is none without a main window."""

    def setOverrideCursor(self, cursor: Any) -> None:
        """No cursor."""

    def restoreOverrideCursor(self) -> None:
        """No cursor."""

    def processEvents(self) -> None:
        """Let Qt work."""
        QtWidgets.QApplication.processEvents()


def start(scene: Any) -> None:
    """Provide `slicer.app` and Slicer's own Python files, which the folder SLICER_PYTHON_DIR holds."""
    if not isinstance(getattr(slicer, "app", None), App):
        slicer.app = App()
        slicer.__path__.append(os.environ["SLICER_PYTHON_DIR"])
    slicer.mrmlScene = scene


def load_module(path: Path) -> tuple[types.ModuleType, Any, Any]:
    """Load a scripted module as Slicer does.

    Returns
    -------
    tuple
        The Python module, its widget after `setup`, and the Qt widget that holds the panel.
    """
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    parent = types.SimpleNamespace(path=str(path), name=name)
    setattr(slicer.modules, name.lower(), parent)
    module = importlib.import_module(name)
    parent.instance = getattr(module, name)(parent)
    panel: Any = widgets.qMRMLWidget()
    panel.setLayout(QtWidgets.QVBoxLayout())
    panel.setMRMLScene(slicer.mrmlScene)
    panel.isEntered = True
    widget = getattr(module, name + "Widget")(panel)
    widget.setup()
    return module, widget, panel
