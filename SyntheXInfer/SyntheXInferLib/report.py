"""A model on a data set with a truth: ``synthex infer``, then ``synthex evaluate``, whose report a browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SyntheXHomeLib.library_command import LibraryCommand, Progress
from SyntheXInferLib.options import InferOptions
from SyntheXInferLib.series import modelArguments
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.evaluate import REPORT
from SyntheXLib.evaluation.modes import check_mode

# Folder in that of the report, in which the predictions have one with the model's name, which the report calls it by.
_PREDICTIONS = "predictions"
_COMMON_NAMES = ("best", "last", "model")  # of model files; their folder tells more


class ReportRun:
    """A running evaluation; it has to be closed.

    Parameters
    ----------
    modelPaths
        Model files or bundles, several for an ensemble.
    datasetFolder
        The data set.
    outFolder
        Where predictions, report and numbers go.
    mode
        How landmarks are placed and what counts, see `SyntheXLib.evaluation.modes`.
    options
        Device, views and threshold; the images are known to be linear.

    Raises
    ------
    SyntheXError
        When there is no such mode or the folder holds no data set.
    """

    def __init__(
        self, modelPaths: Sequence[Path | str], datasetFolder: Path | str, outFolder: Path | str, mode: str, options: InferOptions
    ) -> None:
        check_mode(mode)
        dataset, out = Path(datasetFolder), Path(outFolder)
        if not (dataset / HEADER_FILE).is_file():
            raise SyntheXError(f"Folder {dataset} holds no data set: {HEADER_FILE} is missing.")
        self.report = out / REPORT
        predictions = out / _PREDICTIONS / _name(modelPaths)
        threshold = ["--threshold", f"{options.threshold:g}"]
        infer = modelArguments(modelPaths, options)
        # The modes of the paper look for landmarks and masks in heatmaps and probabilities.
        heatmaps = [] if mode == "strict" else ["--heatmaps"]
        self._evaluate = ["evaluate", str(predictions), str(dataset), "--out", str(out), "--mode", mode, *threshold]
        self._command = LibraryCommand("infer", infer[0], str(dataset), "--out", str(predictions), *infer[1:], *heatmaps, *threshold)
        self.evaluating = False

    def finished(self) -> bool:
        """Whether it has ended; ask often, as that also begins the second step."""
        if not self._command.finished():
            return False
        if self.evaluating or self._command.status != 0:
            return True
        self._command.close()
        self._command, self.evaluating = LibraryCommand(*self._evaluate), True
        return False

    def progress(self) -> Progress:
        """How far the step is that runs: images predicted, then images evaluated."""
        return self._command.progress()

    def result(self) -> Path:
        """Once finished, the HTML file.

        Raises
        ------
        SyntheXError
            When a step failed, with its last line.
        """
        try:
            if self._command.status != 0:
                raise SyntheXError(self._command.message())
            return self.report
        finally:
            self.close()

    def close(self) -> None:
        """End it, if it still runs; whole predictions stay for the next time."""
        self._command.close()


def _name(modelPaths: Sequence[Path | str]) -> str:
    path = Path(modelPaths[0]).resolve()
    name = path.parent.name if path.is_file() and path.stem in _COMMON_NAMES else path.stem
    return f"{name or 'model'}_and_{len(modelPaths) - 1}_more" if len(modelPaths) > 1 else name or "model"
