"""Trained networks, ready for images of any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.grid import NetworkGrid, network_grid
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.inference.reading import Answer, read_answers
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from SyntheXLib.networks.model_file import ModelDescription

#: Ways to look at an image: as it is; left and right exchanged, in the names too; upside down, turned by 180 degrees.
VIEWS = ("plain", "flip", "turn")


class Predictor:
    """Turns images into masks and landmarks, by one network or the mean of several.

    Parameters
    ----------
    network
        Module that maps (B, 1, H, W) normalised images to ``NetworkOutput``.
    description
        What it was trained on. That of the first network decides the grid on which the answers are averaged.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, see `networks.device.choose_device`.
    others
        Further networks of an ensemble with their descriptions.
    views
        Of `VIEWS`, in which every network looks at each image; the answers are turned back and averaged.

    Raises
    ------
    SyntheXError
        When the device is not there, a view is unknown, or the networks know other structures or landmarks.
    """

    def __init__(
        self,
        network: "nn.Module",
        description: "ModelDescription",
        device: str = "cpu",
        others: Sequence[tuple["nn.Module", "ModelDescription"]] = (),
        views: Sequence[str] = VIEWS[:1],
    ) -> None:
        from SyntheXLib.networks.device import choose_device

        self.device = choose_device(device)
        self.description = description
        self.task = Task.from_dict(description.task, "model")
        for view in views:
            if view not in VIEWS:
                raise SyntheXError(f"View of an image must be one of {', '.join(VIEWS)}, found '{view}'.")
        self.views = tuple(views)
        for _, other in others:
            _check_same(self.task, Task.from_dict(other.task, "model"))
        self.members = [(one.to(self.device).eval(), told) for one, told in ((network, description), *others)]

    @classmethod
    def load(cls, model_path: Path | str | Sequence[Path | str], device: str = "auto", views: Sequence[str] = VIEWS[:1]) -> "Predictor":
        """Read a model file or bundle, or several for an ensemble.

        Raises
        ------
        SyntheXError
            When one is missing or no model, they do not fit together, or the device is not there.
        """
        from SyntheXLib.networks.model_file import load_model
        from SyntheXLib.networks.resnet import fix_filters

        paths = [model_path] if isinstance(model_path, Path | str) else list(model_path)
        (network, description), *others = loaded = [load_model(path) for path in paths]
        for one, _ in loaded:
            fix_filters(one)
        return cls(network, description, device, others, views)

    @property
    def network(self) -> "nn.Module":
        """The first network."""
        return self.members[0][0]

    def grid(self, image: XrayImage) -> NetworkGrid:
        """How this image becomes the (first) network's input; see `grid.network_grid` for the errors."""
        return _grid(image, self.description)

    def predict(self, images: Sequence[XrayImage], heatmaps: bool = False, batch: int = 8, heat: bool = False) -> list[Prediction]:
        """Predict images, those of equal size together.

        Parameters
        ----------
        images
            Any number, of any sizes.
        heatmaps
            Also give the heatmaps of all landmarks and the probabilities of all structures.
        batch
            Most images at a time.
        heat
            Also give the picture of the highest heatmaps, `Prediction.heat`.

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
                results.update(zip(chosen, self._predict_equal([images[n] for n in chosen], grid, heatmaps, heat), strict=True))
        return [results[n] for n in range(len(images))]

    def inputs(self, images: Sequence[XrayImage], member: int = 0) -> "Tensor":
        """Images of equal size and spacing as a network takes them: (B, 1, h, w), each of mean 0 and standard deviation 1.

        Of an image with a field, the field alone counts; outside it becomes 0, the mean.
        """
        import torch

        grid = _grid(images[0], self.members[member][1])
        return torch.stack([_input(image, grid) for image in images])

    def _predict_equal(self, images: list[XrayImage], grid: NetworkGrid, heatmaps: bool, heat: bool) -> list[Prediction]:
        import torch

        try:
            with torch.inference_mode():
                answers = [answer for n in range(len(self.members)) for answer in self._answers(images, n, grid)]
        except torch.OutOfMemoryError as error:
            raise SyntheXError(f"Device '{self.device}' has too little memory for a batch of {len(images)}, use a smaller one.") from error
        field = None
        if any(image.field is not None for image in images):
            field = np.stack([np.ones(grid.shape, bool) if image.field is None else image.field for image in images])
        from SyntheXLib.networks.model_file import readout_of

        sigma, readout = self.description.heatmap_sigma_px, readout_of(self.description)
        return read_answers(answers, self.task, sigma, grid, field, heatmaps, readout, heat)

    def _answers(self, images: list[XrayImage], member: int, grid: NetworkGrid) -> list[Answer]:
        """One for each view, on the grid of the first network."""
        import torch

        from SyntheXLib.networks.normalization import forward_any_size

        network = self.members[member][0]
        x = self.inputs(images, member).to(self.device)
        answers = []
        for view in self.views:
            output: Any = forward_any_size(network, _seen(x, view))
            # What follows is light, and done on the CPU the same on every device (MPS cannot resample with averaging).
            logits, maps = output.segmentation.float().cpu(), output.heatmaps.float().cpu()
            if not (torch.isfinite(logits).all() and torch.isfinite(maps).all()):
                raise SyntheXError("The network gives values that are not finite, expected a model whose training did not diverge.")
            probabilities = torch.softmax(logits, dim=1) if self.task.segmentation == "exclusive" else torch.sigmoid(logits)
            presence = getattr(output, "presence", None)  # only some networks tell
            told = None if presence is None or not presence.numel() else torch.sigmoid(presence.float().cpu())
            answer = _turned_back(Answer(probabilities, maps, told), view, self.task)
            answers.append(Answer(_on_grid(answer.probabilities, grid), _on_grid(answer.heatmaps, grid), answer.presence))
        return answers


def _grid(image: XrayImage, description: "ModelDescription") -> NetworkGrid:
    rows, columns = description.image_size
    where = f"Image {image.path}" if image.path else "Image"
    return network_grid(image.shape, image.pixel_spacing_mm, (rows, columns), description.pixel_spacing_mm, where)


def _input(image: XrayImage, grid: NetworkGrid) -> "Tensor":
    """(1, *inner) normalised log image; a linear one is resampled before the logarithm, as detector pixels are binned."""
    import torch

    from SyntheXLib.networks.normalization import log_image, normalize

    pixels = np.ascontiguousarray(image.pixels)
    if image.field is not None and image.field.any():
        # What lies outside must not bleed into the field when pixels are averaged.
        pixels = np.where(image.field, pixels, np.median(pixels[image.field])).astype(np.float32)
    x = grid.resample(torch.from_numpy(pixels)[None, None])
    if image.intensity != "log":
        x = log_image(x)
    if image.field is None or not image.field.any():
        return normalize(x)[0]
    inside = grid.resample(torch.from_numpy(image.field)[None, None].float()) > 0.5
    deviation, mean = torch.std_mean(x[inside], unbiased=False)
    return ((x - mean) / deviation.clamp_min(1e-6)).where(inside, 0.0)[0]


def _seen(x: "Tensor", view: str) -> "Tensor":
    return x.flip(-1) if view == "flip" else x.flip(-2, -1) if view == "turn" else x


def _turned_back(answer: Answer, view: str, task: Task) -> Answer:
    """An answer about a view as one about the image; what was called left in its mirror image is right."""
    if view == "plain":
        return answer
    probabilities, maps = (_seen(one, view) for one in answer[:2])
    if view == "turn":
        return Answer(probabilities, maps, answer.presence)
    from SyntheXLib.randomization.warps import mirrored_places

    structures, landmarks = mirrored_places(task.structures), mirrored_places(task.landmarks)
    channels = [0, *(place + 1 for place in structures)] if task.segmentation == "exclusive" else structures
    presence = None if answer.presence is None else answer.presence[:, landmarks]
    return Answer(probabilities[:, channels], maps[:, landmarks], presence)


def _on_grid(maps: "Tensor", grid: NetworkGrid) -> "Tensor":
    """Maps of a network that was trained at another spacing than the first."""
    if tuple(maps.shape[-2:]) == grid.inner:
        return maps
    if not maps.shape[1]:
        return maps.new_zeros(len(maps), 0, *grid.inner)
    return NetworkGrid(grid.inner, (maps.shape[-2], maps.shape[-1])).restore(maps)


def _check_same(task: Task, other: Task) -> None:
    names = [(one.structure_names, one.landmark_names, one.segmentation) for one in (task, other)]
    if names[0] != names[1]:
        raise SyntheXError(
            f"The models of an ensemble must know the same structures and landmarks in the same order, found tasks '{task.name}' "
            f"({len(task.structures)} structures, {len(task.landmarks)} landmarks) and '{other.name}' "
            f"({len(other.structures)}, {len(other.landmarks)})."
        )
