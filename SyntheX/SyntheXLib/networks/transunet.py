"""TransUNet (Chen et al. 2021, arXiv:2102.04306) with the two heads of SyntheX, in torch alone.

The parameter tree has the names and shapes of the released SyntheX network, so that its checkpoints load into size ``full``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.decoder import Decoder
from SyntheXLib.networks.heads import LANDMARK_HEADS, DeepLandmarkHead, PresenceHead
from SyntheXLib.networks.resnet import COMPATIBILITIES, HybridResNet
from SyntheXLib.networks.vision_transformer import Embeddings, Encoder, Transformer

PATCH = 16  # pixels a side of a token
_NO_PRESENCE = torch.empty(0, 0)


class NetworkOutput(NamedTuple):
    """What the network says.

    Attributes
    ----------
    segmentation
        (B, C, H, W) logits; C = 1 + structures when labels exclude each other (channel 0 = nothing), else C = structures.
    heatmaps
        (B, L, H, W), one map per landmark, without activation.
    presence
        (B, L) logits of the landmark being inside the frame; without entries where the network has no such head.
    """

    segmentation: Tensor
    heatmaps: Tensor
    presence: Tensor = _NO_PRESENCE


@dataclass(frozen=True)
class TransUNetSize:
    """Widths and depths.

    Attributes
    ----------
    inputs
        Channels that the image is repeated to.
    width, blocks, groups, standardized
        Of the convolutional front, see `HybridResNet`.
    hidden, layers, heads, feed_forward, dropout
        Of the transformer.
    decoder_head, decoder
        Channels of the decoder; with three entries the heads work at half the size of the image and their maps are enlarged.
    head_layers
        1x1 convolutions of the landmark head.
    sine_positions
        Start the position table with sines instead of zeros.
    """

    inputs: int
    width: int
    blocks: tuple[int, int, int]
    groups: int
    standardized: bool
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    dropout: float
    decoder_head: int
    decoder: tuple[int, ...]
    head_layers: int
    sine_positions: bool


# `full` is R50-ViT-B/16 as released. `medium` and `small` are ours, for CPUs and quick trials.
SIZES = {
    "full": TransUNetSize(3, 64, (3, 4, 9), 32, True, 768, 12, 12, 3072, 0.1, 512, (256, 128, 64, 16), 2, False),
    "medium": TransUNetSize(1, 32, (2, 2, 2), 8, True, 192, 12, 3, 768, 0.1, 256, (128, 64, 32, 16), 1, True),
    "small": TransUNetSize(1, 16, (1, 1, 2), 8, False, 192, 4, 3, 768, 0.0, 128, (64, 32, 16), 1, True),
}


class TransUNet(nn.Module):
    """Image in, segmentation logits and landmark heatmaps out.

    Parameters
    ----------
    size
        A name in `SIZES`, or a `TransUNetSize`.
    classes
        Channels of the segmentation, background included where there is one.
    landmarks
        Number of heatmaps; 0 gives heatmaps of shape (B, 0, H, W).
    image_size
        (H, W) that the position table is made for, multiples of 16; images of other sizes resize the table on the way.
    compatibility
        ``"transunet"`` computes what the released network does, ``"vit"`` what the pretrained transformer does, see `resnet`.
    landmark_head
        ``"linear"``: a linear map of decoder channels and segmentation logits in each pixel, as released; ``"deep"``: see
        `heads.DeepLandmarkHead`.
    presence
        Also tell which landmarks are inside the frame, see `heads.PresenceHead`.

    Raises
    ------
    SyntheXError
        When the size or an option is unknown or the image size not a multiple of 16.
    """

    multiple = PATCH  # of which the sides of an image must be

    def __init__(
        self,
        size: str | TransUNetSize,
        classes: int,
        landmarks: int,
        image_size: tuple[int, int],
        compatibility: str = "transunet",
        landmark_head: str = "linear",
        presence: bool = False,
    ) -> None:
        super().__init__()
        for name, value, known in (("compatibility", compatibility, COMPATIBILITIES), ("landmark_head", landmark_head, LANDMARK_HEADS)):
            if value not in known:
                raise SyntheXError(f"Option '{name}' of the network must be one of {', '.join(known)}, found {value!r}.")
        if not isinstance(presence, bool):
            raise SyntheXError(f"Option 'presence' of the network must be true or false, found {presence!r}.")
        if isinstance(size, str):
            if size not in SIZES:
                raise SyntheXError(f"Network size must be one of {', '.join(SIZES)}, found '{size}'.")
            size = SIZES[size]
        if any(side < PATCH or side % PATCH for side in image_size):
            found = " x ".join(map(str, image_size))
            raise SyntheXError(f"The network's image size must be a multiple of {PATCH} on both sides, found {found}.")
        self.size = size
        self.classes = classes
        self.landmarks = landmarks
        backbone = HybridResNet(size.inputs, size.width, size.blocks, size.groups, size.standardized, compatibility)
        grid = (image_size[0] // PATCH, image_size[1] // PATCH)
        self.transformer = Transformer(
            Embeddings(backbone, 16 * size.width, size.hidden, grid, size.dropout),
            Encoder(size.hidden, size.layers, size.heads, size.feed_forward, size.dropout),
        )
        if size.sine_positions:
            self.transformer.embeddings.start_with_sines()
        self.decoder = Decoder(size.hidden, size.decoder_head, size.decoder, (8 * size.width, 4 * size.width, size.width))
        self.segmentation_head = nn.Sequential(nn.Conv2d(size.decoder[-1], classes, 3, padding=1))
        joined = size.decoder[-1] + classes
        if landmark_head == "deep" and landmarks:
            self.landmark_head = DeepLandmarkHead(joined, landmarks)
        else:
            middle = [landmarks + classes] * (size.head_layers - 1)
            widths = [joined, *middle, landmarks]
            self.lands_1x1 = nn.Sequential(*(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths) if landmarks))
        self.deep = landmark_head == "deep"
        self.presence_head = PresenceHead(size.hidden, landmarks) if presence and landmarks else None

    def forward(self, image: Tensor) -> NetworkOutput:
        """See `NetworkOutput`; `image` is (B, 1, H, W), normalised, H and W multiples of 16."""
        return self.read(*self.features(image))

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded features (B, C, H, W), or half that size with a decoder of three blocks, and what the transformer made of the image."""
        height, width = image.shape[2:]
        if height % PATCH or width % PATCH:
            raise SyntheXError(f"The network takes images whose sides are multiples of {PATCH} (pad them), found {height} x {width}.")
        features, skips = self.transformer(image.expand(-1, self.size.inputs, -1, -1))
        return self.decoder(features, skips), features

    def read(self, decoded: Tensor, encoded: Tensor) -> NetworkOutput:
        """What the heads make of `features`."""
        segmentation = self.segmentation_head(decoded)
        maps = [segmentation]
        if self.landmarks:
            head = self.landmark_head if self.deep else self.lands_1x1
            maps.append(head(torch.cat([decoded, segmentation], dim=1)))
        if len(self.size.decoder) == 3:
            maps = [_enlarge(one) for one in maps]
        presence = segmentation.new_empty(len(segmentation), 0) if self.presence_head is None else self.presence_head(encoded)
        return NetworkOutput(maps[0], maps[1] if self.landmarks else maps[0][:, :0], presence)


def _enlarge(maps: Tensor) -> Tensor:
    """Twice as large. Contiguous from here on: the losses take map after map, for which channels last is slow."""
    return functional.interpolate(maps.contiguous(), scale_factor=2, mode="bilinear", align_corners=False)
