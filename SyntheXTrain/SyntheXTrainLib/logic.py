"""What the Train module does, without Qt."""

import sys
from collections.abc import Mapping
from typing import Any


class SyntheXTrainLogic:
    """Prepares a training, which runs in a process of its own."""

    def trainingCommand(self, config: Mapping[str, Any]) -> list[str]:
        """The command line of a training.

        Parameters
        ----------
        config
            Options of ``synthex train`` by name, with underscores: ``datasets`` (several) and ``out`` must be among them, None leaves one
            out, True stands for a switch.

        Returns
        -------
        list of str
            Program and arguments, for `subprocess` or a terminal.
        """
        # In Slicer that is PythonSlicer, its plain Python, which knows the paths of installed extensions.
        command = [sys.executable, "-m", "SyntheXLib.cli", "train"]
        options = dict(config)
        command += [str(folder) for folder in options.pop("datasets")]
        for name, value in options.items():
            if value is not None and value is not False:
                option = "--" + name.replace("_", "-")
                command += [option] if value is True else [option, str(value)]
        return command
