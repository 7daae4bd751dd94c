"""The folder of a training as the Train panel finds it, and pictures of the panel."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def run_folder(folder: Path, epochs: int = 3, done: int = 2, record: dict[str, Any] | None = None) -> Path:
    """What a training leaves after `done` epochs, as far as the panel reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "process.json").write_text(json.dumps(record or {"pid": 1, "started": "long ago", "command": ["x"]}))
    (folder / "config.json").write_text(json.dumps({"epochs": epochs}))
    lines = ["epoch,loss,validation_loss,validation_dice,validation_landmark_mm"]
    lines += [f"{n + 1},{1 / (n + 1)},{1.2 / (n + 1)},{0.3 * (n + 1)},{40 / (n + 1)}" for n in range(done)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    (folder / "best.pt").write_bytes(b"the best")
    if done == epochs:
        (folder / "model.pt").write_bytes(b"the last")
    (folder / "validation").mkdir(exist_ok=True)
    for n in range(done):
        page(folder / "validation" / f"epoch_{n + 1:03d}.png", 60 * (n + 1))
    page(folder / "validation" / "best.png", 200)
    return folder


def page(path: Path, red: int) -> Path:
    """A picture, red on the left, blue on the right, with a white first row."""
    from PIL import Image

    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2], pixels[0] = red, 255, 255
    Image.fromarray(pixels).save(path)
    return path


def picture(panel: Any, name: str, dark: bool = False) -> None:
    """Save a picture of the panel, 400 pixels wide, where SYNTHEX_SCREENSHOTS names a folder."""
    folder = os.environ.get("SYNTHEX_SCREENSHOTS")
    if not folder:
        return
    from PySide6 import QtGui, QtWidgets

    before = QtWidgets.QApplication.palette()
    if dark:
        palette = QtGui.QPalette(QtGui.QColor(50, 50, 50))
        QtWidgets.QApplication.setPalette(palette)
    Path(folder).mkdir(parents=True, exist_ok=True)
    panel.show()
    for _ in range(3):  # layouts within layouts
        panel.resize(400, panel.layout().heightForWidth(400))
        QtWidgets.QApplication.processEvents()
    assert panel.grab().save(str(Path(folder, f"{name}.png")))
    QtWidgets.QApplication.setPalette(before)
