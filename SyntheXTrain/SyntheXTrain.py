"""SyntheX Train: the command that trains a network on a simulated data set."""

import os
import shlex
import subprocess
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest, ScriptedLoadableModuleWidget

from SyntheXTrainLib.logic import SyntheXTrainLogic

__all__ = ["SyntheXTrain", "SyntheXTrainLogic", "SyntheXTrainTest", "SyntheXTrainWidget"]


class SyntheXTrain(ScriptedLoadableModule):
    """Name, place and texts of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SyntheX Train")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SyntheX"]
        parent.contributors = ["The SyntheX team"]
        parent.helpText = _("Trains a network on a data set that SyntheX simulated. For research, not for clinical use.")
        parent.acknowledgementText = _("Part of SyntheX; see the SyntheX module for the method.")


class SyntheXTrainWidget(ScriptedLoadableModuleWidget):
    """The panel: choose data set and output, take the command."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SyntheXTrainLogic()
        panel = slicer.util.loadUI(self.resourcePath("UI/SyntheXTrain.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        for path in (self.ui.datasetPath, self.ui.outputPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
            path.connect("currentPathChanged(QString)", self.updateCommand)
        self.ui.epochsBox.connect("valueChanged(int)", self.updateCommand)
        self.ui.copyButton.connect("clicked(bool)", self.onCopy)
        self.updateCommand()

    def updateCommand(self) -> None:
        """Write the command once data set and output are chosen."""
        dataset, output = self.ui.datasetPath.currentPath, self.ui.outputPath.currentPath
        ready = dataset != "" and output != ""
        config = {"datasets": [dataset], "out": output, "epochs": self.ui.epochsBox.value}
        quoted = subprocess.list2cmdline if os.name == "nt" else shlex.join
        self.ui.commandText.plainText = quoted(self.logic.trainingCommand(config)) if ready else ""
        self.ui.copyButton.enabled = ready

    def onCopy(self) -> None:
        """Put the command on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.commandText.plainText)


class SyntheXTrainTest(ScriptedLoadableModuleTest):
    """Runs from Reload and Test, and as a test of the build."""

    def test_the_command_runs_the_library_with_the_options(self) -> None:
        """Needs no package."""
        command = SyntheXTrainLogic().trainingCommand({"datasets": ["a b"], "out": "run", "learning_rate": 0.1, "validation": None})
        self.assertEqual(command[1:], ["-m", "SyntheXLib.cli", "train", "a b", "--out", "run", "--learning-rate", "0.1"])
