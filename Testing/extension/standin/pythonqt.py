"""PySide6 made to behave like Slicer's PythonQt: the modules `qt` and `ctk`.

In PythonQt a property of a Qt class is an attribute (``button.text``, ``box.checked = True``), and ``connect("clicked(bool)", f)`` takes
the signature as text. PySide6 has methods for both, so attribute access of QObject is replaced here, for the whole process. As strict as
PythonQt: an unknown signal, a rejected property value and a new attribute on a C++ object are errors.
"""

import inspect
import re
import sys
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

QObject = QtCore.QObject
meta_object, get_property, set_property = QObject.metaObject, QObject.property, QObject.setProperty
_original_getattribute = QObject.__getattribute__
# Properties read by virtual methods, which look themselves up by attribute: they stay methods here.
_VIRTUAL = ("sizeHint", "minimumSizeHint")


def _has_property(obj: Any, name: str) -> bool:
    return meta_object(obj).indexOfProperty(name) >= 0


def _getattribute(self: Any, name: str) -> Any:
    if not name.startswith("_"):
        if name == "name":
            return get_property(self, "objectName")
        if name in _ADDED_METHODS:
            return types.MethodType(_ADDED_METHODS[name], self)
        if name not in _VIRTUAL and _has_property(self, name):
            return get_property(self, name)
    return _original_getattribute(self, name)


def _setattr(self: Any, name: str, value: Any) -> None:
    if name.startswith("_"):
        _original_getattribute(self, "__dict__")[name] = value
        return
    name = "objectName" if name == "name" else name
    if _has_property(self, name):
        # PythonQt takes any sequence for a list of strings.
        if not set_property(self, name, list(value) if isinstance(value, tuple) else value):
            raise AttributeError(f"Property '{name}' of {type(self).__name__} rejects {value!r}")
    elif type(self).__module__.startswith("PySide6") and not isinstance(value, QtCore.SignalInstance):  # PySide6 keeps signals so
        raise AttributeError(f"{type(self).__name__} has no property '{name}'; PythonQt allows no new attributes on C++ objects")
    else:
        _original_getattribute(self, "__dict__")[name] = value


def _signals(obj: Any) -> list[str]:
    methods = (meta_object(obj).method(i) for i in range(meta_object(obj).methodCount()))
    return [bytes(m.methodSignature().data()).decode() for m in methods if m.methodType() == QtCore.QMetaMethod.MethodType.Signal]


def _connect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    # Signals with a VTK object carry any Python object here.
    wanted = re.sub(r"vtk\w+\*", "PyObject", signature.replace(" ", ""))
    if wanted not in _signals(self):
        raise ValueError(f"{type(self).__name__} has no signal {signature}; it has {_signals(self)}")
    kinds = [parameter.kind for parameter in inspect.signature(slot).parameters.values()]
    count = None if inspect.Parameter.VAR_POSITIONAL in kinds else sum(kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)

    def call(*arguments: Any) -> None:
        slot(*arguments[:count])  # as PythonQt, drop what the function does not take

    self.__dict__.setdefault("_connections", {})[signature, slot] = call
    _original_getattribute(self, wanted.partition("(")[0]).connect(call)
    return True


def _disconnect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    call = self.__dict__.get("_connections", {}).pop((signature, slot), None)
    return call is not None and _original_getattribute(self, signature.partition("(")[0]).disconnect(call)


_ADDED_METHODS = {"connect": _connect, "disconnect": _disconnect}


def _patch() -> None:
    for module in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(module):
            getattr(module, name, None)  # Shiboken makes classes on first use
    QObject.__getattribute__ = _getattribute  # type: ignore[method-assign]
    classes: list[type] = [QtWidgets.QWidget, QtWidgets.QLayout, QtGui.QAction, QtCore.QTimer]
    while classes:  # each Shiboken class has a slot of its own for setting attributes
        cls = classes.pop()
        classes += cls.__subclasses__()
        cls.__setattr__ = _setattr  # type: ignore[assignment]


def install(loader: type, ctk_classes: dict[str, type]) -> None:
    """Make ``import qt, ctk`` work, `loader` being ``qt.QUiLoader``."""
    _patch()
    qt, ctk = types.ModuleType("qt"), types.ModuleType("ctk")
    for module in (QtCore, QtGui, QtWidgets):
        qt.__dict__.update({name: getattr(module, name) for name in dir(module) if name.startswith("Q")})
    qt.__dict__["QUiLoader"] = loader
    ctk.__dict__.update(ctk_classes)
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
