"""How good the network is after an epoch: Dice and landmark error on clean images."""

from __future__ import annotations

import math

import torch
from ignite.metrics import Metric
from torch import Tensor

from SyntheXLib.networks.heatmaps import find_peaks
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.transunet import NetworkOutput

_SCORE_LIMIT_MM = 20.0  # landmark errors from here on count as missed in the score


class ValidationMetrics(Metric):
    """Dice, landmark errors and one score over a validation set.

    Gives a dictionary: ``dice`` (mean over structures and images, those present in neither truth nor prediction left out),
    ``landmark_px`` and ``landmark_mm`` (median over the visible landmarks of the distance between highest response and truth, on the
    detector), ``score`` (mean of Dice and of 1 - error / 20 mm, not below 0, averaged over landmarks). NaN where nothing can be measured.

    Parameters
    ----------
    exclusive
        Whether labels exclude each other (channel 0 = nothing).
    pixel_spacing_mm
        On the detector.
    """

    def __init__(self, exclusive: bool, pixel_spacing_mm: float) -> None:
        self.exclusive = exclusive
        self.pixel_spacing_mm = pixel_spacing_mm
        # Flat, since ignite takes a tuple of tuples apart.
        super().__init__(output_transform=lambda output: (*output["pred"], *output["label"]))

    def reset(self) -> None:
        """Forget all images."""
        self._dice: list[Tensor] = []
        self._errors: list[Tensor] = []

    def update(self, output: tuple[Tensor, ...]) -> None:
        """Add the images of a batch: the members of `NetworkOutput` and `Targets` one after the other."""
        prediction, targets = NetworkOutput(*output[:3]), Targets(*output[3:])
        self._dice.append(hard_dice(prediction.segmentation, targets.labels, self.exclusive).flatten().cpu())
        if prediction.heatmaps.shape[1]:
            errors = torch.linalg.vector_norm(find_peaks(prediction.heatmaps) - targets.landmarks, dim=-1)
            self._errors.append(errors[targets.visible].cpu())

    def compute(self) -> dict[str, float]:
        """See the class."""
        dice = torch.cat(self._dice).nanmean().item() if self._dice else math.nan
        errors = torch.cat(self._errors) if self._errors else torch.empty(0)
        pixels = errors.median().item() if len(errors) else math.nan
        found = (1 - errors * self.pixel_spacing_mm / _SCORE_LIMIT_MM).clamp_min(0).mean().item() if len(errors) else math.nan
        parts = [part for part in (dice, found) if not math.isnan(part)]
        score = sum(parts) / len(parts) if parts else math.nan
        return {"dice": dice, "landmark_px": pixels, "landmark_mm": pixels * self.pixel_spacing_mm, "score": score}


def hard_dice(segmentation: Tensor, labels: Tensor, exclusive: bool) -> Tensor:
    """Dice (B, structures) of the most likely labels (or those above 0.5); NaN where a structure is in neither.

    `segmentation` and `labels` as in `NetworkOutput` and `Targets`.
    """
    if exclusive:
        structures = torch.arange(1, segmentation.shape[1], device=labels.device)[:, None, None]
        predicted, truth = segmentation.argmax(1, keepdim=True) == structures, labels == structures
    else:
        predicted, truth = segmentation > 0, labels > 0
    both = (predicted & truth).sum((2, 3))
    return 2 * both / (predicted.sum((2, 3)) + truth.sum((2, 3)))
