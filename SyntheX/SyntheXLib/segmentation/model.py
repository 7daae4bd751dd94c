"""Segmentation by a network that the user names: preprocessing, sliding window, and the way back onto the CT's grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import itk_image, read_label_names
from SyntheXLib.segmentation.label_grid import labels_on_grid
from SyntheXLib.segmentation.preprocessing import Preprocessing, preprocessing_by_options, preprocessing_of_bundle

if TYPE_CHECKING:
    from SyntheXLib.networks.bundle import Bundle

_SCORES_BYTES = 2 << 30  # memory for the scores of all channels, which is what a volume of a hundred channels would not find
_DEFAULT_WINDOW = 96


@dataclass(frozen=True)
class ModelOptions:
    """What the user says of a model that does not tell itself; None leaves it to the model or the default.

    Attributes
    ----------
    orientation
        Where the three axes of the input lead to: ``"RAS"`` (default), ``"LPS"`` ...
    spacing_mm
        Side of its voxels, mm; by default the CT's.
    hu_range
        HU that become the ends of the input's value range (the metadata's, else 0 and 1); what lies beyond is cut.
    window
        Side of the sliding window, voxels.
    channels
        File of the names of its output's channels; 0 is the background.
    """

    orientation: str | None = None
    spacing_mm: float | None = None
    hu_range: tuple[float, float] | None = None
    window: int | None = None
    channels: Path | None = None


@dataclass(frozen=True)
class SegmentationModel:
    """A network, how it wants its input, and what its channels mean.

    Attributes
    ----------
    bundle
        The network.
    names
        Label number, which is the channel, to name; without the background.
    preprocessing
        From the CT to its input.
    inferer
        Keyword arguments of MONAI's ``SlidingWindowInferer``.
    """

    bundle: Bundle
    names: dict[int, str]
    preprocessing: Preprocessing
    inferer: dict[str, Any]

    def segment(self, ct: sitk.Image, device: str = "auto", progress: Callable[[int, int], None] | None = None) -> sitk.Image:
        """Label map on the CT's grid, 0 where there is nothing.

        Parameters
        ----------
        ct
            Hounsfield units, on any grid.
        device
            As in `networks.device.choose_device`.
        progress
            Called with (windows done, windows in all). What it raises ends the work.

        Raises
        ------
        SyntheXError
            When the device is not there, or the network's output has another number of channels than there are names.
        """
        try:
            values, matrix = self.preprocessing(ct)
        except RuntimeError as error:  # of SimpleITK or of a bundle's own transforms
            raise SyntheXError(f"Network {self.bundle.path}: the preprocessing fails: {error.__cause__ or error}.") from error
        labels = self._labels(values, device, progress)
        return labels_on_grid(itk_image(np.ascontiguousarray(labels.transpose(2, 1, 0)), matrix), ct)

    def _labels(self, values: Any, device: str, progress: Callable[[int, int], None] | None) -> np.ndarray:
        """(I, J, K) channel with the highest score, of (1, I, J, K) values; slab by slab, so that memory does not grow with the volume."""
        import torch
        from monai.inferers.inferer import SlidingWindowInferer

        from SyntheXLib.networks.device import choose_device

        chosen, size = choose_device(device), tuple(values.shape[1:])
        network, window = self.bundle.network.to(chosen), self.inferer["roi_size"]
        inferer = SlidingWindowInferer(**self.inferer, sw_batch_size=1, sw_device=chosen, device=torch.device("cpu"))
        axis = int(np.argmax(size))
        # Half a window of neighbours on each side: at the border of a slab's inner part the network still sees all around.
        halo, layer = window[axis] // 2, 4 * (len(self.names) + 1) * prod(size) // size[axis]
        inner = max(window[axis], _SCORES_BYTES // (2 * layer) - 2 * halo)
        limits = [*range(0, size[axis], inner), size[axis]]
        slabs = [(first, last, max(first - halo, 0), min(last + halo, size[axis])) for first, last in pairwise(limits)]
        total = sum(self._windows((*size[:axis], high - low, *size[axis + 1 :])) for _, _, low, high in slabs)
        done = 0

        def predict(patch: Any) -> Any:
            nonlocal done
            scores = network(patch)
            scores = scores[0] if isinstance(scores, tuple | list) else scores
            if scores.shape[1] != len(self.names) + 1:
                raise SyntheXError(
                    f"Network {self.bundle.path}: expected {len(self.names) + 1} output channels (names, and the background), "
                    f"found {scores.shape[1]}."
                )
            done += 1
            if progress:
                progress(done, total)
            return scores

        labels = torch.zeros(size, dtype=torch.int16)
        with torch.inference_mode():
            for first, last, low, high in slabs:
                scores: Any = inferer(values[None].narrow(axis + 2, low, high - low), predict)
                index = scores[0].argmax(0).to(torch.int16)
                labels.narrow(axis, first, last - first).copy_(index.narrow(axis, first - low, last - first))
        return labels.numpy().astype(np.uint8 if len(self.names) < 256 else np.uint16)

    def _windows(self, size: tuple[int, ...]) -> int:
        """How many windows MONAI lays over a volume."""
        count = 1
        for length, side, overlap in zip(size, self.inferer["roi_size"], self.inferer["overlap"], strict=True):
            count *= ceil(max(length - side, 0) / max(int(side * (1 - overlap)), 1)) + 1
        return count


def load_model(path: Path, options: ModelOptions | None = None) -> SegmentationModel:
    """Load a TorchScript file or MONAI bundle as a segmentation network.

    A bundle's ``inference.json`` tells preprocessing and window; what the options say goes before, and an HU range replaces all of its
    preprocessing. Without it, a table ``synthex`` in the metadata may give ``orientation``,
    ``spacing_mm`` and ``hu_range``, and the options all that; see `ModelOptions`.

    Raises
    ------
    SyntheXError
        When it cannot be loaded, does not tell the names of its channels, or a value is not right.
    """
    from SyntheXLib.networks.bundle import load_bundle

    options, bundle = options or ModelOptions(), load_bundle(path)
    names = read_label_names(options.channels) if options.channels else bundle.channel_names()
    names.setdefault(0, "background")
    if sorted(names) != list(range(len(names))) or len(names) < 2:
        raise SyntheXError(
            f"Network {path}: expected names of its output channels, 0 (background), 1, 2 ..., in MONAI's metadata or by --channels, "
            f"found {', '.join(map(str, sorted(names)))}."
        )
    if bundle.inference.get("preprocessing") is not None and options.hu_range is None:
        preprocessing = preprocessing_of_bundle(bundle, options.orientation, options.spacing_mm)
    else:
        preprocessing = preprocessing_by_options(bundle, options.orientation, options.spacing_mm, options.hu_range)
    del names[0]
    return SegmentationModel(bundle, names, preprocessing, _inferer(bundle, options))


def _inferer(bundle: Bundle, options: ModelOptions) -> dict[str, Any]:
    """The sliding window: the bundle's own, else by the input's shape in the metadata; the option's side before both."""
    found: dict[str, Any] = {"overlap": 0.25, "mode": "gaussian", "padding_mode": "constant"}
    side: Any = None
    own = bundle.inference.get("inferer")
    if isinstance(own, dict) and str(own.get("_target_")).endswith("SlidingWindowInferer"):
        side = bundle.plain(own.get("roi_size")) if options.window is None else None
        found |= {name: bundle.plain(own[name]) for name in found if name in own}
    shape = bundle.input_format().get("spatial_shape", ())
    if side is None and len(shape) == 3 and all(isinstance(length, int) for length in shape):  # else a formula such as "*"
        side = shape
    side = options.window or side or _DEFAULT_WINDOW
    found["roi_size"] = (side,) * 3 if isinstance(side, int) else tuple(side)
    found["overlap"] = (found["overlap"],) * 3 if isinstance(found["overlap"], float | int) else tuple(found["overlap"])
    if len(found["roi_size"]) != 3 or min(found["roi_size"]) < 1:
        raise SyntheXError(f"Network {bundle.path}: expected a window of three sides above 0, found {found['roi_size']}.")
    return found
