"""What becomes of a running training when Slicer is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

LEAVE, STOP, CANCEL = "leave", "stop", "cancel"


class CloseQuestion(qt.QWidget):
    """Asks before the main window closes while a training runs: leave it running, stop it, or keep Slicer open.

    An event filter, as Slicer's script repository shows for this purpose. Without a main window nothing is asked and trainings go on.

    Parameters
    ----------
    running
        Gives the folders of the trainings that run.
    stop
        Ends the training in a folder.
    """

    def __init__(self, running: Callable[[], list[str]], stop: Callable[[str], None]) -> None:
        qt.QWidget.__init__(self)
        self._running, self._stop = running, stop
        self._window: Any = slicer.util.mainWindow()
        if self._window is not None:
            self._window.installEventFilter(self)

    def remove(self) -> None:
        """Ask no more."""
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        """Called by Qt before the window gets an event; True keeps it from the window."""
        if event.type() != qt.QEvent.Close:
            return False
        folders = self._running()
        answer = ask(folders) if folders else LEAVE
        if answer == STOP:
            for folder in folders:
                self._stop(folder)
        if answer == CANCEL:
            event.ignore()
            return True
        return False


def ask(folders: list[str]) -> str:
    """`LEAVE`, `STOP` or `CANCEL`, as the user wants; `LEAVE` in Slicer's testing mode."""
    if slicer.app.testingEnabled():
        return LEAVE
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    box.setWindowTitle(_("SyntheX Train"))
    box.setText(_("A training runs in {folder}.").format(folder=", ".join(folders)))
    box.setInformativeText(
        _("It can go on when Slicer is closed; the Train module finds it again. If it is stopped, whole epochs stay and Resume goes on.")
    )
    leave = box.addButton(_("Leave it running"), qt.QMessageBox.AcceptRole)
    stop = box.addButton(_("Stop it"), qt.QMessageBox.DestructiveRole)
    box.addButton(_("Keep Slicer open"), qt.QMessageBox.RejectRole)
    box.setDefaultButton(leave)
    box.exec()
    clicked = box.clickedButton()
    return LEAVE if clicked == leave else STOP if clicked == stop else CANCEL
