"""SyntheX Infer: bones and landmarks in an X-ray, found by a trained network."""

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE
from SyntheXHomeLib.panels import enable, needs
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.result_nodes import FoundNodes
from SyntheXInferLib.self_test import SyntheXInferTest

__all__ = ["SyntheXInfer", "SyntheXInferLogic", "SyntheXInferTest", "SyntheXInferWidget"]


class SyntheXInfer(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Infer")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Finds bones and landmarks in an X-ray with a model that SyntheX trained. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")


class SyntheXInferWidget(ScriptedLoadableModuleWidget):
    """The panel: choose image and model, predict, evaluate."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SyntheXInferLogic()
        self.found: tuple[Any, FoundNodes] | None = None  # the image and what was found on it last
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheXInfer.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        for value, text in (("bone-bright", _("bone is bright")), ("bone-dark", _("bone is dark"))):
            self.ui.polarityBox.addItem(text, value)
        for value, text in (("log", _("as displayed (logarithmic)")), ("linear", _("raw detector signal (linear)"))):
            self.ui.intensityBox.addItem(text, value)
        panel.setMRMLScene(slicer.mrmlScene)
        for selector in (self.ui.volumeSelector, self.ui.referenceSegmentationSelector, self.ui.referenceMarkupsSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self.updatePanel)
        self.ui.modelPath.connect("currentPathChanged(QString)", self.updatePanel)
        self.ui.predictButton.connect("clicked(bool)", self.onPredict)
        self.ui.evaluateButton.connect("clicked(bool)", self.onEvaluate)
        self.ui.deleteButton.connect("clicked(bool)", self.onDelete)
        self.updatePanel()

    def updatePanel(self) -> None:
        """Enable what can be done; the tooltips of the rest say what is missing."""
        image = self.ui.volumeSelector.currentNode()
        sequence = image is not None and image.IsA("vtkMRMLSequenceNode")
        frames = 1 if image is None else image.GetNumberOfDataNodes() if sequence else _sliceCount(image)
        told = image is not None and not sequence and bool(image.GetAttribute(INTENSITY_ATTRIBUTE))
        for box in (self.ui.polarityBox, self.ui.intensityBox):
            box.enabled = not told
            box.toolTip = _("Known: the image was made by SyntheX.") if told else _("What the numbers of the image mean")
        button = self.ui.predictButton
        button.text = _("Find bones and landmarks") if frames == 1 else _("Find them in {count} frames").format(count=frames)
        enable(
            button,
            _("Apply the model to the image"),
            needs((image is not None, _("an X-ray")), (self.ui.modelPath.currentPath != "", _("a model file"))),
        )
        found, masks = self._foundHere(), self.ui.referenceSegmentationSelector.currentNode()
        single = found is None or len(found.landmarks) == 1
        given = masks is not None or (single and self.ui.referenceMarkupsSelector.currentNode() is not None)
        reference = _("a reference") if single else _("a reference segmentation, as the image has several frames")
        here = (found is not None, _("a result"))
        enable(self.ui.evaluateButton, _("Dice and landmark errors as a table"), needs(here, (given, reference)))
        enable(self.ui.deleteButton, _("Remove the masks and points that were found last"), needs(here))

    def _foundHere(self) -> FoundNodes | None:
        """What was found on the chosen image, if it is still in the scene."""
        here = self.found is not None and self.found[0] is self.ui.volumeSelector.currentNode() and self.found[1].inScene
        return self.found[1] if here else None

    def onPredict(self) -> None:
        """Apply the model and show the result over the image."""
        with slicer.util.tryWithErrorDisplay(_("The model could not be applied."), waitCursor=True):
            image = self.ui.volumeSelector.currentNode()
            options = {
                "threshold": self.ui.thresholdBox.value,
                "device": self.ui.deviceBox.currentText,
                "polarity": self.ui.polarityBox.itemData(self.ui.polarityBox.currentIndex),
                "intensity": self.ui.intensityBox.itemData(self.ui.intensityBox.currentIndex),
            }
            self.found = None
            if image.IsA("vtkMRMLSequenceNode"):
                masks, points = self.logic.predictSequence(image, self.ui.modelPath.currentPath, **options)
                self.ui.statusLabel.text = _("Made the sequences {masks} and {points}; browse them with {image}.").format(
                    masks=masks.GetName(), points=points.GetName(), image=image.GetName()
                )
            else:
                found = self.logic.predict(image, self.ui.modelPath.currentPath, series=_sliceCount(image) > 1, **options)
                self.found = (image, found)
                slicer.util.setSliceViewerLayers(background=image, label=None, fit=True)
                sure, count = found.landmarkCounts()
                text = _("{found} of {count} landmarks found; the others are shown grey.")
                self.ui.statusLabel.text = text.format(found=sure, count=count)
        self.updatePanel()

    def onEvaluate(self) -> None:
        """Hold the result against the reference."""
        with slicer.util.tryWithErrorDisplay(_("The result could not be evaluated."), waitCursor=True):
            image, found = self.ui.volumeSelector.currentNode(), self._foundHere()
            markups = self.ui.referenceMarkupsSelector.currentNode()
            several = len(found.landmarks) > 1
            reference = FoundNodes(self.ui.referenceSegmentationSelector.currentNode(), () if several or markups is None else (markups,))
            table = self.logic.evaluate(image, found, reference, self.ui.thresholdBox.value)
            self.ui.statusLabel.text = _("Table: {name}").format(name=table.GetName())
            self.ui.resultTable.setMRMLTableNode(table)
            self.ui.resultTable.resizeColumnsToContents()

    def onDelete(self) -> None:
        """Remove the last result."""
        found = self._foundHere()
        for node in (found.segmentation, *found.landmarks):
            slicer.mrmlScene.RemoveNode(node)
        self.found = None
        self.ui.statusLabel.text = ""
        self.updatePanel()


def _sliceCount(volumeNode: Any) -> int:
    return volumeNode.GetImageData().GetDimensions()[2] if volumeNode.GetImageData() else 1
