"""What training minimises: Dice of the segmentation and the mismatch of the heatmaps."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.heatmaps import gaussian_heatmaps, gaussian_profiles
from SyntheXLib.networks.transunet import NetworkOutput

HEATMAP_LOSSES = ("ncc", "mse", "mse-scaled")
# A zero map then costs 0.3, on the scale of the Dice loss; 1 diverged with SGD, 0.06 was slower (toy study of the design phase).
_ZERO_MAP_COST = 0.3


class Targets(NamedTuple):
    """The truth of a batch.

    Attributes
    ----------
    labels
        Integers (B, 1, H, W): 0 = nothing, n + 1 = structure n; or, for multilabel tasks, one mask a structure (B, C, H, W).
    landmarks
        float (B, L, 2), (column, row) in pixels, NaN where unknown.
    visible
        bool (B, L), inside the frame.
    """

    labels: Tensor
    landmarks: Tensor
    visible: Tensor


class HeatmapLoss(nn.Module):
    """Mismatch of heatmaps and Gaussian targets.

    Unknown landmarks (NaN) are left out.

    Parameters
    ----------
    kind
        ``"ncc"``: (1 - NCC) / 2 over the whole map, mean over the visible landmarks (the released code, moved to 0 .. 1). The map of an
        invisible landmark is left free. ``"mse"``: mean squared error against Gaussians of peak 1, zero maps for invisible landmarks (the
        paper's text). ``"mse-scaled"``: the same times 0.3 H W / (pi sigma^2), so that a map of zeros costs 0.3 (ours).
    sigma
        Standard deviation of the Gaussians, pixels.
    """

    def __init__(self, kind: str, sigma: float) -> None:
        super().__init__()
        if kind not in HEATMAP_LOSSES:
            raise SyntheXError(f"The heatmap loss must be one of {', '.join(HEATMAP_LOSSES)}, found '{kind}'.")
        self.kind = kind
        self.sigma = sigma

    def forward(self, heatmaps: Tensor, landmarks: Tensor, visible: Tensor) -> Tensor:
        """Loss of heatmaps (B, L, H, W); for the rest see `Targets`."""
        heatmaps = heatmaps.float()
        known = torch.isfinite(landmarks).all(-1)
        visible = visible & known
        if self.kind == "ncc":
            counted, each = visible, (1 - self._correlation(heatmaps, landmarks, visible)) / 2
        else:
            shape = (heatmaps.shape[-2], heatmaps.shape[-1])
            scale = 1.0 if self.kind == "mse" else _ZERO_MAP_COST * shape[0] * shape[1] / (math.pi * self.sigma**2)
            counted, each = known, scale * (heatmaps - gaussian_heatmaps(landmarks, visible, shape, self.sigma)).square().mean((-2, -1))
        # where, not a product: a map that is not counted must not bring in a NaN.
        return torch.where(counted, each, 0.0).sum() / counted.sum().clamp_min(1)

    def _correlation(self, heatmaps: Tensor, landmarks: Tensor, visible: Tensor) -> Tensor:
        """NCC (B, L) of the maps with their Gaussians, which are never drawn: sum(map * down * across) = down' map across."""
        down, across = gaussian_profiles(landmarks, visible, (heatmaps.shape[-2], heatmaps.shape[-1]), self.sigma)
        count = heatmaps.shape[-2] * heatmaps.shape[-1]
        centered = heatmaps - heatmaps.mean((-2, -1), keepdim=True)
        product = torch.matmul(down[..., None, :], torch.matmul(centered, across[..., None]))[..., 0, 0]
        target_energy = down.square().sum(-1) * across.square().sum(-1) - (down.sum(-1) * across.sum(-1)).square() / count
        energy = centered.square().sum((-2, -1))
        # The small term keeps the gradient finite for a flat map.
        return product * torch.rsqrt(energy * target_energy.clamp_min(0) + 1e-8)


class TaskLoss(nn.Module):
    """Weighted sum of the segmentation and the heatmap loss.

    The Dice loss is MONAI's, with squared denominator as released: a structure absent from an image costs nothing where nothing is
    predicted and nearly 1 otherwise. (The released loss has the opposite sign of smoothing there and rewards false positives.)

    Parameters
    ----------
    exclusive
        Softmax over the channels, background included (True), or a sigmoid for each (False).
    heatmap_loss
        See `HeatmapLoss`.
    sigma
        Standard deviation of the heatmaps, pixels.
    segmentation_weight, landmark_weight, presence_weight
        Factors of the parts; the last counts where the network tells which landmarks are inside the frame.
    """

    def __init__(
        self,
        exclusive: bool,
        heatmap_loss: str,
        sigma: float,
        segmentation_weight: float = 1.0,
        landmark_weight: float = 1.0,
        presence_weight: float = 0.1,
    ) -> None:
        super().__init__()
        from monai.losses import DiceLoss  # here, since MONAI takes seconds to load and the settings ask this file for names

        self.dice = DiceLoss(softmax=exclusive, sigmoid=not exclusive, to_onehot_y=exclusive, squared_pred=True)
        self.heatmap = HeatmapLoss(heatmap_loss, sigma)
        self.segmentation_weight = segmentation_weight
        self.landmark_weight = landmark_weight
        self.presence_weight = presence_weight
        self.parts: dict[str, Tensor] = {}  # of the last call, unweighted, without gradient

    def forward(self, output: NetworkOutput, targets: Targets) -> Tensor:
        """Total loss, a scalar; its parts stay in `parts` as ``segmentation``, ``landmarks`` and ``presence``."""
        segmentation = self.dice(output.segmentation.float(), targets.labels.float())
        total = self.segmentation_weight * segmentation
        self.parts = {"segmentation": segmentation.detach()}
        if output.heatmaps.shape[1]:
            landmarks = self.heatmap(output.heatmaps, targets.landmarks, targets.visible)
            total = total + self.landmark_weight * landmarks
            self.parts["landmarks"] = landmarks.detach()
        if output.presence.shape[1]:
            presence = presence_loss(output.presence, targets.landmarks, targets.visible)
            total = total + self.presence_weight * presence
            self.parts["presence"] = presence.detach()
        return total


def presence_loss(logits: Tensor, landmarks: Tensor, visible: Tensor) -> Tensor:
    """Cross-entropy of logits (B, L) and `visible` (B, L), mean over the landmarks of known place (`landmarks` (B, L, 2) finite)."""
    known = torch.isfinite(landmarks).all(-1)
    each = functional.binary_cross_entropy_with_logits(logits.float(), visible.float(), reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp_min(1)
