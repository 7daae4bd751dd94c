"""SyntheX Infer: bones and landmarks in an X-ray, found by a trained network."""

from typing import Any

import numpy
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest, ScriptedLoadableModuleWidget

from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXLib.errors import SyntheXError

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
    """The panel: choose image and model, predict."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SyntheXInferLogic()
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheXInfer.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateButton)
        self.ui.modelPath.connect("currentPathChanged(QString)", self.updateButton)
        self.ui.predictButton.connect("clicked(bool)", self.onPredict)
        self.updateButton()

    def updateButton(self) -> None:
        """Predicting needs an image and a model."""
        self.ui.predictButton.enabled = self.ui.volumeSelector.currentNode() is not None and self.ui.modelPath.currentPath != ""

    def onPredict(self) -> None:
        """Apply the model and show the result over the image."""
        with slicer.util.tryWithErrorDisplay(_("The model could not be applied."), waitCursor=True):
            volume = self.ui.volumeSelector.currentNode()
            labelmap, markups = self.logic.predict(volume, self.ui.modelPath.currentPath)
            slicer.util.setSliceViewerLayers(background=volume, label=labelmap, labelOpacity=0.5, fit=True)
            self.ui.statusLabel.text = _("{found} of {count} landmarks found.").format(
                found=markups.GetNumberOfDefinedControlPoints(), count=markups.GetNumberOfControlPoints()
            )


class SyntheXInferTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_a_volume_of_several_slices_is_refused(self) -> None:
        """Needs no package and no model: the image is looked at first."""
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        slicer.util.updateVolumeFromArray(volume, numpy.zeros((3, 4, 5), numpy.int16))
        with self.assertRaisesRegex(SyntheXError, "single grey image"):
            SyntheXInferLogic().predict(volume, "model.pt")
