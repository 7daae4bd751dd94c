"""The steps that a bundle's ``inference.json`` names: an X-ray file to the network's input, and the network's output to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from SyntheXLib.inference.images import AUTO, POLARITIES, read_image
from SyntheXLib.inference.predictor import Predictor


class ReadXray:
    """Reads one X-ray file: ``{"path"}`` becomes ``{"path", "image"}``, the image (1, H, W) as the network takes it.

    Parameters
    ----------
    folder
        The bundle.
    polarity, intensity
        What the numbers mean, see `images.read_image`; a network is not asked here, ``auto`` without a word in the file is bone-bright.
    """

    def __init__(self, folder: str, polarity: str = POLARITIES[0], intensity: str = AUTO) -> None:
        self._predictor = Predictor.load(folder, "cpu")
        self._meaning = (polarity, intensity)

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        from SyntheXLib.networks.normalization import pad_to_patches

        x = self._predictor.inputs([read_image(entry["path"], *self._meaning)])
        return {**entry, "image": pad_to_patches(x)[0][0]}


class WriteFound:
    """Writes masks and landmarks of one image, from ``pred`` (C + L, H, W) of `JoinedOutput`.

    Parameters
    ----------
    folder
        The bundle.
    output_dir
        Where ``NAME_labels.png`` (or a mask a structure) and ``NAME_landmarks.csv`` go.
    """

    def __init__(self, folder: str, output_dir: str) -> None:
        self._predictor = Predictor.load(folder, "cpu")
        self._out = Path(output_dir)

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        import torch

        from SyntheXLib.inference.images import stem
        from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, landmark_rows, write_csv, write_masks
        from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD
        from SyntheXLib.inference.reading import Answer, read_answers

        path = Path(entry["path"])
        predictor, task = self._predictor, self._predictor.task
        grid = predictor.grid(read_image(path, *(POLARITIES[0], AUTO)))
        rows, columns = entry["pred"].shape[-2:]
        top, left = (rows - grid.inner[0]) // 2, (columns - grid.inner[1]) // 2
        pred = torch.as_tensor(entry["pred"]).float().cpu()[None, :, top : top + grid.inner[0], left : left + grid.inner[1]]
        classes = len(task.structures) + (task.segmentation == "exclusive")
        answer = Answer(pred[:, :classes], pred[:, classes:], None)
        (found,) = read_answers([answer], task, predictor.description.heatmap_sigma_px, grid, None, False)
        write_masks(self._out, stem(path), found.mask, task)
        write_csv(self._out / f"{stem(path)}_landmarks.csv", LANDMARK_COLUMNS, landmark_rows(found, task, CONFIDENCE_THRESHOLD))
        return entry
