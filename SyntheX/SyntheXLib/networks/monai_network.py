"""A network of MONAI in place of TransUNet: the same input, the same output."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.tasks.task import nearest

PREFIX = "monai:"
_FIXED = ("spatial_dims", "in_channels", "out_channels")


class MonaiNetwork(nn.Module):
    """A two-dimensional network of ``monai.networks.nets`` with a channel for each class and each landmark.

    Parameters
    ----------
    name
        Its class, as ``"SwinUNETR"``.
    classes, landmarks
        Channels of the segmentation and of the heatmaps.
    options
        Further arguments of the class; ``spatial_dims``, ``in_channels`` and ``out_channels`` are set here.

    Raises
    ------
    SyntheXError
        When MONAI has no such network, it does not take these arguments, or needs a package that is not there.
    """

    multiple = 32  # of which the sides of an image must be, for five halvings

    def __init__(self, name: str, classes: int, landmarks: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.classes = classes
        self.landmarks = landmarks
        self.network = _make(name, {**options, "spatial_dims": 2, "in_channels": 1, "out_channels": classes + landmarks}, options)

    def forward(self, image: Tensor) -> NetworkOutput:
        """See `NetworkOutput`; `image` is (B, 1, H, W), normalised, H and W multiples of 32."""
        maps = self.network(image)
        if isinstance(maps, list | tuple):  # deep supervision: the finest comes first
            maps = maps[0]
        wanted = (len(image), self.classes + self.landmarks, *image.shape[2:])
        if tuple(maps.shape) != wanted:
            raise SyntheXError(
                f"The network {type(self.network).__name__} of MONAI must give maps of the shape {wanted}, found {tuple(maps.shape)}."
            )
        return NetworkOutput(maps[:, : self.classes].contiguous(), maps[:, self.classes :].contiguous(), maps.new_empty(len(image), 0))


def _make(name: str, arguments: dict[str, Any], given: dict[str, Any]) -> nn.Module:
    from monai.networks import nets  # here, since MONAI takes seconds to load

    known = [key for key, value in vars(nets).items() if isinstance(value, type) and issubclass(value, nn.Module)]
    if name not in known:
        raise SyntheXError(
            f"The network '{PREFIX}{name}' must be one of monai.networks.nets, found none of that name{nearest(name, known)}."
        )
    for key in _FIXED:
        if key in given:
            raise SyntheXError(f"Option '{key}' of the network {PREFIX}{name} is set by the task and cannot be given.")
    try:
        made: nn.Module = getattr(nets, name)(**arguments)
    except Exception as error:  # every network checks its arguments in its own way
        text = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SyntheXError(f"The network {PREFIX}{name} cannot be made with the options {given}: {text}.") from error
    return made
