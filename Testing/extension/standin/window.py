"""What a test does with a panel: let Qt work, and take a picture to be looked at."""

import os
from pathlib import Path
from typing import Any


def work(milliseconds: int) -> None:
    """Let Qt work for a while."""
    from PySide6.QtCore import QDeadlineTimer
    from PySide6.QtWidgets import QApplication

    end = QDeadlineTimer(milliseconds)
    while not end.hasExpired():
        QApplication.processEvents()


def picture(panel: Any, name: str, dark: bool = False) -> None:
    """Save a picture of the panel, 400 pixels wide, where SYNTHEX_SCREENSHOTS names a folder; `dark`: as in Slicer's dark style."""
    folder = os.environ.get("SYNTHEX_SCREENSHOTS")
    if not folder:
        return
    from PySide6 import QtGui, QtWidgets

    before = QtWidgets.QApplication.palette()
    if dark:
        palette = QtGui.QPalette(QtGui.QColor(50, 50, 50))
        palette.setColor(QtGui.QPalette.ColorRole.Link, QtGui.QColor(100, 160, 250))
        QtWidgets.QApplication.setPalette(palette)
    Path(folder).mkdir(parents=True, exist_ok=True)
    panel.show()
    for _ in range(3):  # layouts within layouts
        panel.resize(400, panel.layout().heightForWidth(400))
        QtWidgets.QApplication.processEvents()
    assert panel.grab().save(str(Path(folder, f"{name}.png")))
    QtWidgets.QApplication.setPalette(before)
