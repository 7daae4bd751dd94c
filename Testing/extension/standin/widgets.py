"""Stand-ins for the CTK and qMRML widgets that the panels use, and a strict loader of `.ui` files."""

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from standin.pythonqt import QObject, get_property, set_property


def stored(kind: Any, name: str, default: Any) -> Any:
    """A Qt property that is kept and calls ``_on_<name>`` when it changes."""

    def read(self: Any) -> Any:
        return self.__dict__.get("_" + name, default)

    def write(self: Any, value: Any) -> None:
        if read(self) != value:
            self.__dict__["_" + name] = value
            getattr(self, "_on_" + name, lambda: None)()

    return QtCore.Property(kind, read, write)


def _of_spin(kind: Any, name: str) -> Any:
    """A Qt property that is one of the spin box inside."""
    return QtCore.Property(kind, lambda self: get_property(self._spin, name), lambda self, value: set_property(self._spin, name, value))


class ctkSettings(QtCore.QSettings):
    """The application's settings; of this process alone."""

    def __init__(self) -> None:
        super().__init__("", QtCore.QSettings.Format.IniFormat)


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section."""

    contentsCollapsed = QtCore.Signal(bool)
    text = stored(str, "text", "")
    collapsed = stored(bool, "collapsed", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setContentsMargins(4, 26, 4, 4)

    def _on_collapsed(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self.collapsed)
        self.contentsCollapsed.emit(self.collapsed)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the title bar."""
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, get_property(self, "width"), 22, QtGui.QColor(128, 140, 150, 60))  # seen on light and on dark
        painter.drawText(8, 16, ("\u25b8 " if self.collapsed else "\u25be ") + self.text)
        painter.end()


class ctkSliderWidget(QtWidgets.QWidget):
    """A number with a slider and a spin box."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider, self._spin = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal), QtWidgets.QDoubleSpinBox()
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._spin.valueChanged.connect(self._moved)

    def _moved(self, value: float) -> None:
        self._slide()
        self.valueChanged.emit(value)

    def _slide(self) -> None:
        """Let the handle stand where the number is; a slider counts in whole steps, and the number may have others."""
        low, high, value = (get_property(self._spin, name) for name in ("minimum", "maximum", "value"))
        self._slider.setRange(0, 1000)
        self._slider.setValue(round(1000 * (value - low) / (high - low)) if high > low else 0)

    def _limit(self, name: str, value: float) -> None:
        set_property(self._spin, name, value)
        self._slide()

    value = _of_spin(float, "value")
    minimum = QtCore.Property(float, lambda self: get_property(self._spin, "minimum"), lambda self, value: self._limit("minimum", value))
    maximum = QtCore.Property(float, lambda self: get_property(self._spin, "maximum"), lambda self, value: self._limit("maximum", value))
    singleStep = _of_spin(float, "singleStep")
    decimals = _of_spin(int, "decimals")
    suffix = _of_spin(str, "suffix")


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a browse button."""

    Dirs, Files, Writable = 0x1, 0x2, 0x20
    currentPathChanged = QtCore.Signal(str)
    nameFilters = stored("QStringList", "nameFilters", [])
    filters = stored(int, "filters", 0)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        layout.addWidget(self._edit)
        button = QtWidgets.QToolButton()
        button.setText("...")
        layout.addWidget(button)
        self._edit.textChanged.connect(self.currentPathChanged)

    def _read(self) -> str:
        return get_property(self._edit, "text")

    def _write(self, path: str) -> None:
        set_property(self._edit, "text", path)

    currentPath = QtCore.Property(str, _read, _write)


class qMRMLWidget(QtWidgets.QWidget):
    """The root of a panel; tells its scene to the others."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        """Keep and pass on the scene."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A choice among the nodes of a real scene."""

    currentNodeChanged = QtCore.Signal(object)
    nodeTypes = stored("QStringList", "nodeTypes", [])
    noneEnabled = stored(bool, "noneEnabled", False)
    noneDisplay = stored(str, "noneDisplay", "None")
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QComboBox()
        layout.addWidget(self._box)
        self._scene: Any = None
        self._nodes: list[Any] = []
        self._busy = False
        self._box.currentIndexChanged.connect(self._announce)

    def _on_nodeTypes(self) -> None:
        self._refresh()

    def _on_noneEnabled(self) -> None:
        self._refresh()

    def setMRMLScene(self, scene: Any) -> None:
        """Show the nodes of this scene from now on."""
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *_: self._refresh())
        self._refresh()

    def _refresh(self) -> None:
        if self._scene is None:
            return
        current, nodes = self.currentNode(), []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            kind = node.GetClassName() in self.nodeTypes or (self.showChildNodeTypes and any(node.IsA(t) for t in self.nodeTypes))
            if kind and not node.GetHideFromEditors():
                nodes.append(node)
        self._busy = True
        self._nodes = ([None] if self.noneEnabled or not nodes else []) + nodes
        self._box.clear()
        none = self.noneDisplay if self.noneEnabled else "Select a volume"
        self._box.addItems([node.GetName() if node else none for node in self._nodes])
        self._box.setCurrentIndex(self._nodes.index(current) if current in self._nodes else 0)
        self._busy = False
        if self.currentNode() is not current:
            self._announce()

    def _announce(self, *_: Any) -> None:
        if not self._busy:
            self.currentNodeChanged.emit(self.currentNode())

    def currentNode(self) -> Any:
        """The chosen node or None."""
        index = get_property(self._box, "currentIndex")
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node of the list."""
        if node in self._nodes:
            self._box.setCurrentIndex(self._nodes.index(node))


class qMRMLTableView(QtWidgets.QTableWidget):
    """Shows a table node."""

    def setMRMLScene(self, scene: Any) -> None:
        """As in Slicer; nothing depends on it here."""

    def setMRMLTableNode(self, node: Any) -> None:
        """Show the node's cells."""
        table = node.GetTable()
        self.setRowCount(table.GetNumberOfRows())
        self.setColumnCount(table.GetNumberOfColumns())
        self.setHorizontalHeaderLabels([table.GetColumnName(column) for column in range(table.GetNumberOfColumns())])
        for row in range(table.GetNumberOfRows()):
            for column in range(table.GetNumberOfColumns()):
                self.setItem(row, column, QtWidgets.QTableWidgetItem(table.GetValue(row, column).ToString()))


CTK: dict[str, type] = {cls.__name__: cls for cls in (ctkSettings, ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit)}
QMRML: dict[str, type] = {cls.__name__: cls for cls in (qMRMLWidget, qMRMLNodeComboBox, qMRMLTableView)}
# Classes that no panel here uses, but that Slicer's parameter node wrapper compares with; the loader makes none.
_UNUSED_CTK = (
    "CheckBox CheckablePushButton ColorPickerButton ComboBox DirectoryButton DoubleRangeSlider DoubleSlider DoubleSpinBox RangeWidget"
)
UNUSED_CTK: dict[str, type] = {f"ctk{name}": type(f"ctk{name}", (QtWidgets.QWidget,), {}) for name in _UNUSED_CTK.split()}
UNUSED_QMRML: dict[str, type] = {
    name: type(name, (QtWidgets.QWidget,), {}) for name in ("qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget")
}


class UiLoader(QtUiTools.QUiLoader):
    """Makes the custom widgets and, in Python, the ``<connections>``; what Slicer would pass over without a word is an error."""

    _made: list[QtWidgets.QWidget]

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        """Called by Qt for each ``<widget>``."""
        cls = {**CTK, **QMRML}.get(className)
        if cls is None:
            if className.startswith(("ctk", "qMRML", "qSlicer")):
                raise RuntimeError(f"The stand-in has no widget class {className}")
            widget = super().createWidget(className, parent, name)
        else:
            widget = cls(parent)
            QObject.setObjectName(widget, name)
        self._made.append(widget)
        return widget

    def load(self, file: QtCore.QFile, parent: Any = None) -> QtWidgets.QWidget:  # type: ignore[override]
        """Build the panel described by an open `.ui` file."""
        self._made = []
        root = ET.fromstring(bytes(file.readAll().data()))
        used = {widget.get("class", "") for widget in root.iter("widget")}
        declared = {element.findtext("class") for element in root.iter("customwidget")}
        undeclared = {name for name in used if name.startswith(("ctk", "qMRML", "qSlicer"))} - declared
        if undeclared:
            raise RuntimeError(f"Not in <customwidgets>: {undeclared}")
        parts = ("sender", "signal", "receiver", "slot")
        connections = [tuple(str(element.findtext(part)) for part in parts) for element in root.iter("connection")]
        for element in root.findall("connections"):
            root.remove(element)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        panel = super().load(buffer, parent)
        panel.__dict__["_made"] = self._made  # PySide6 forgets the Python half of a widget that nothing refers to
        objects = {get_property(obj, "objectName"): obj for obj in [panel, *QObject.findChildren(panel, QObject)]}
        for obj in objects.values():
            names = [bytes(name.data()).decode() for name in QObject.dynamicPropertyNames(obj)]
            unknown = [name for name in names if not name.startswith(("_", "Slicer"))]  # "_": Qt's own
            if unknown:
                raise RuntimeError(f"{type(obj).__name__} has no property {unknown}")
        for obj in objects.values():
            if isinstance(obj, ctkCollapsibleButton) and obj.collapsed:  # said before it had children
                obj._on_collapsed()
        for sender, signal, receiver, slot in connections:
            objects[sender].connect(signal, getattr(objects[receiver], slot.partition("(")[0]))
        receivers = {receiver for _, signal, receiver, _ in connections if signal.startswith("mrmlSceneChanged")}
        lost = {name for name, obj in objects.items() if isinstance(obj, qMRMLNodeComboBox | qMRMLTableView)} - receivers
        if lost:
            raise RuntimeError(f"Never told the scene: {lost}")
        return panel
