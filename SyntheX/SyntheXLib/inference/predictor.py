"""A trained network, ready for images of any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.grid import NetworkGrid, network_grid
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from SyntheXLib.networks.model_file import ModelDescription

#: Probability from which a structure counts as present in a multilabel task (the paper's).
MASK_THRESHOLD = 0.5


class Predictor:
    """Turns images into masks and landmarks.

    Parameters
    ----------
    network
        Module that maps (B, 1, H, W) normalised images to ``NetworkOutput``.
    description
        What it was trained on.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, see `networks.device.choose_device`.
    """

    def __init__(self, network: "nn.Module", description: "ModelDescription", device: str = "cpu") -> None:
        from SyntheXLib.networks.device import choose_device

        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.description = description
        self.task = Task.from_dict(description.task, "model")

    @classmethod
    def load(cls, model_path: Path | str, device: str = "auto") -> "Predictor":
        """Read a model file.

        Raises
        ------
        SyntheXError
            When the file is missing or no model, or the device is not there.
        """
        from SyntheXLib.networks.model_file import load_model

        return cls(*load_model(model_path), device)

    def grid(self, image: XrayImage) -> NetworkGrid:
        """How this image becomes the network's input; see `grid.network_grid` for the errors."""
        rows, columns = self.description.image_size
        where = f"Image {image.path}" if image.path else "Image"
        return network_grid(image.shape, image.pixel_spacing_mm, (rows, columns), self.description.pixel_spacing_mm, where)

    def predict(self, images: Sequence[XrayImage], heatmaps: bool = False, batch: int = 8) -> list[Prediction]:
        """Predict images, those of equal size together.

        Parameters
        ----------
        images
            Any number, of any sizes.
        heatmaps
            Also give the heatmaps of all landmarks and the probabilities of all structures.
        batch
            Most images at a time.

        Returns
        -------
        list of Prediction
            In the order of the images, in the pixels of each image.

        Raises
        ------
        SyntheXError
            When an image does not fit the network (see `grid.network_grid`) or the device runs out of memory.
        """
        groups: dict[NetworkGrid, list[int]] = {}
        for n, image in enumerate(images):
            groups.setdefault(self.grid(image), []).append(n)
        results: dict[int, Prediction] = {}
        for grid, members in groups.items():
            for start in range(0, len(members), batch):
                chosen = members[start : start + batch]
                results.update(zip(chosen, self._predict_equal([images[n] for n in chosen], grid, heatmaps), strict=True))
        return [results[n] for n in range(len(images))]

    def _predict_equal(self, images: list[XrayImage], grid: NetworkGrid, heatmaps: bool) -> list[Prediction]:
        import torch

        from SyntheXLib.networks.normalization import forward_any_size, normalize

        try:
            with torch.inference_mode():
                x = torch.stack([self._log_image(image, grid) for image in images])
                output = forward_any_size(self.network, normalize(x.to(self.device)))
                # What follows is light, and done on the CPU the same on every device (MPS cannot resample with averaging).
                segmentation, maps = output.segmentation.float().cpu(), output.heatmaps.float().cpu()
                if not (torch.isfinite(segmentation).all() and torch.isfinite(maps).all()):
                    raise SyntheXError("The network gives values that are not finite, expected a model whose training did not diverge.")
                masks = self._masks(segmentation, grid)
                points, confidence = self._landmarks(maps)
                heat = self._heat(maps, confidence, grid)
        except torch.OutOfMemoryError as error:
            raise SyntheXError(f"Device '{self.device}' has too little memory for a batch of {len(images)}, use a smaller one.") from error
        points = grid.restore_points(points)
        kept: Any = maps.to(torch.float16).numpy() if heatmaps else [None] * len(images)
        chances: Any = self._probability(segmentation, grid) if heatmaps else [None] * len(images)
        return [Prediction(masks[n], points[n], confidence[n], heat[n], kept[n], chances[n]) for n in range(len(images))]

    def _log_image(self, image: XrayImage, grid: NetworkGrid) -> "Tensor":
        """(1, *inner) log image; a linear one is resampled before the logarithm, as detector pixels are binned."""
        import torch

        from SyntheXLib.networks.normalization import log_image

        x = grid.resample(torch.from_numpy(np.ascontiguousarray(image.pixels))[None, None])[0]
        return x if image.intensity == "log" else log_image(x)

    def _masks(self, logits: "Tensor", grid: NetworkGrid) -> NDArray[np.unsignedinteger]:
        """(B, C, *inner) logits -> (B, *shape) bit field."""
        import torch

        kind = np.uint16 if len(self.task.structures) <= 16 else np.uint32
        if self.task.segmentation == "exclusive":
            # Probabilities, not logits, are interpolated: they are bounded, so no pixel outweighs its neighbours.
            scores = logits if grid.inner == grid.shape else grid.restore(torch.softmax(logits, dim=1))
            labels = scores.argmax(dim=1).numpy()
            bits = np.concatenate(([0], 1 << np.arange(len(self.task.structures), dtype=np.int64))).astype(kind)
            return bits[labels]
        present = (grid.restore(torch.sigmoid(logits)) > MASK_THRESHOLD).numpy()
        weights = (1 << np.arange(len(self.task.structures), dtype=np.int64)).astype(kind)
        return np.bitwise_or.reduce(present * weights[:, None, None], axis=1).astype(kind)

    def _probability(self, logits: "Tensor", grid: NetworkGrid) -> NDArray[np.uint8]:
        """(B, C, *inner) logits -> (B, structures, *shape), 255 = 1; the background of an exclusive task is left out."""
        import torch

        chances = torch.softmax(logits, dim=1)[:, 1:] if self.task.segmentation == "exclusive" else torch.sigmoid(logits)
        steps: NDArray[np.uint8] = (grid.restore(chances).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return steps

    def _landmarks(self, maps: "Tensor") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, L, h, w) heatmaps -> (B, L, 2) column and row, (B, L) confidence."""
        from SyntheXLib.networks.heatmaps import peak_confidence, read_peaks
        from SyntheXLib.networks.model_file import readout_of

        sigma = self.description.heatmap_sigma_px
        points = read_peaks(maps, sigma, readout_of(self.description))
        confidence = peak_confidence(maps, points, sigma)
        return points.numpy(), confidence.numpy()

    def _heat(self, maps: "Tensor", confidence: NDArray[np.float32], grid: NetworkGrid) -> NDArray[np.uint8]:
        """(B, L, h, w) heatmaps -> (B, *shape), the highest of them, 255 = 1, each scaled so that its peak is as high as its confidence.

        The scale of a heatmap says nothing: the ncc loss leaves it and the background's level open. Squared, so that peaks stand out from
        the broad shoulders of an unsure map.
        """
        import torch

        if not maps.shape[1]:
            return np.zeros((maps.shape[0], *grid.shape), np.uint8)
        background = maps.flatten(-2).median(-1).values[..., None, None]
        height = (maps.amax((-2, -1), keepdim=True) - background).clamp_min(1e-12)
        scaled = ((maps - background) / height).clamp(0, 1).square() * torch.from_numpy(confidence).clamp(0, 1)[..., None, None]
        highest = grid.restore(scaled.amax(dim=1, keepdim=True))[:, 0]
        heat: NDArray[np.uint8] = (highest.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return heat
