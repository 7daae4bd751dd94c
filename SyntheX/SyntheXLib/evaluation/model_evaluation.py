"""One model's part of an evaluation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from SyntheXLib.evaluation.results import ImageResults
from SyntheXLib.evaluation.summary import Summary

if TYPE_CHECKING:
    from SyntheXLib.inference.predictions import PredictionFolder


@dataclass(frozen=True)
class ModelEvaluation:
    """A model's predictions, held against the truth.

    Attributes
    ----------
    name
        For tables and figures; different for each model of an evaluation.
    predictions
        What was read.
    results, summary
        Image by image, and all numbers.
    """

    name: str
    predictions: "PredictionFolder"
    results: ImageResults
    summary: Summary
