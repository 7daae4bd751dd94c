"""Take the pictures of the panels anew, in the stand-in for Slicer's window.

``SLICER_PYTHON_DIR=.../Base/Python/slicer python Docs/panel_pictures.py DATASET RUN``, with a data set and a finished training on it.
"""

# ruff: noqa: E402  the stand-in has to be found, and a scene to be there, first

import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing" / "extension"))
os.environ["SYNTHEX_SCREENSHOTS"] = str(ROOT / "Docs" / "Screenshots")

from SyntheXHomeLib.headless import ensureScene

ensureScene()
import slicer
from standin import application
from standin.window import picture, work

application.start(slicer.mrmlScene)
NAMES = ("SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")


def opened(name: str) -> tuple[Any, Any]:
    """Widget and panel of a module."""
    _, widget, panel = application.load_module(ROOT / name / f"{name}.py")
    return widget, panel


def home() -> None:
    """A sample in the scene, and what is installed here."""
    widget, panel = opened("SyntheX")
    widget.enter()
    widget.onLoad()
    until = time.monotonic() + 120
    while widget.installation.found is None and time.monotonic() < until:
        work(200)
    widget.ui.reportSection.collapsed = True
    picture(panel, "SyntheX")
    widget.cleanup()


def simulate() -> None:
    """An X-ray of the sample, with its labels over it."""
    from SyntheXHomeLib.handover import giveSample

    giveSample()
    widget, panel = opened("SyntheXSimulate")
    widget.ui.laoRaoSlider.value = 15
    widget.ui.masksCheckBox.checked = widget.ui.landmarksCheckBox.checked = True
    widget.ui.renderButton.click()
    picture(panel, "SyntheXSimulate")
    widget.cleanup()


def train(dataset: str, run: str) -> None:
    """A finished training."""
    widget, panel = opened("SyntheXTrain")
    p = widget.parameters
    p.dataset, p.output, p.picture, p.epochs = dataset, run, "best validation", len(widget.logic.history(run))
    panel.resize(400, 1000)
    panel.show()
    work(200)
    widget.updatePanel()  # the picture takes the width that there is
    picture(panel, "SyntheXTrain")
    widget.cleanup()


def infer(run: str) -> None:
    """What the training's model finds in the X-ray of `simulate`, beside the truth."""
    from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE

    widget, panel = opened("SyntheXInfer")
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    image = next(node for node in volumes if node.GetAttribute(INTENSITY_ATTRIBUTE))
    widget.ui.imageSelector.setCurrentNode(image)
    widget.ui.modelPath.currentPath = str(Path(run) / "best.pt")
    widget.ui.predictButton.click()
    widget.ui.referencePointsSelector.setCurrentNode(slicer.util.getNode("Projected landmarks"))
    widget.ui.evaluateButton.click()
    work(300)
    picture(panel, "SyntheXInfer")
    widget.cleanup()


if __name__ == "__main__":
    for name in NAMES:
        application.register_module(ROOT / name / f"{name}.py")
    home()
    simulate()
    train(*sys.argv[1:3])
    infer(sys.argv[2])
