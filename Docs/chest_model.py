"""Measure a chest model on real X-rays with masks of the lungs, beside the mean training mask: ``python Docs/chest_model.py --data DIR``.

The folder holds pictures and beside each its mask ``NAME_mask.png`` with the bits 1 (left lung) and 2 (right lung), the patient's sides.
Each picture is read as ``synthex infer`` reads it, and compared at its own size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SyntheXLib.datasets.importers.picture import read_picture
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.mean_mask import in_frame, mean_masks
from SyntheXLib.evaluation.metrics import dice, overlap
from SyntheXLib.evaluation.results import split_masks
from SyntheXLib.inference.image_folder import MaskMeaning
from SyntheXLib.inference.images import find_images, read_image, stem
from SyntheXLib.inference.outputs import read_masks, write_csv
from SyntheXLib.inference.overlay import Layers, compose, write_picture
from SyntheXLib.inference.predict_images import predict_images
from SyntheXLib.inference.predictions import read_description
from SyntheXLib.inference.predictor import VIEWS
from SyntheXLib.rendering.display import to_gray

LUNGS = ("left_lung", "right_lung")
MASK = "_mask"
BUILD = Path("build/chest-model")
_SIDE = 448


def measure(data: Path, model: Path, train: Path, out: Path, views: Sequence[str], picture: Sequence[str]) -> list[list[str]]:
    """Predict every picture of a folder that has a mask, and write ``dice.csv`` beside the predictions.

    Returns
    -------
    list of list of str
        Rows of the table: image, then Dice of left, right and both lungs for the model and for the mean training mask.
    """
    images = [path for path in find_images([data]) if not stem(path).endswith(MASK)]
    done = predict_images(model, images, out, views=views)
    for path, reason in (*done.failed, *done.warnings):
        print(f"{path.name}: {reason}")
    training = XrayDataset(train)
    task = training.task
    places = [task.structure_names.index(name) for name in LUNGS]
    meaning = MaskMeaning("bits", {name: (1 << bit,) for bit, name in enumerate(LUNGS)})
    means = mean_masks(training)
    description = read_description(out) or {}
    values, pictures = [], []
    for one in description["images"]:
        path = Path(one["file"])
        mask = path.with_name(f"{stem(path)}{MASK}.png")
        truth = split_masks(meaning.bits(read_picture(mask), task, mask), task)[places]
        found = split_masks(read_masks([out / name for name in one["written"][0]], task), task)[places]
        mean = in_frame(means, (truth.shape[1], truth.shape[2]))[places]
        values.append([_scores(found, truth), _scores(mean, truth)])
        if path.name in picture:
            gray = to_gray(read_image(path).bone_bright())
            for masks in (found, truth):
                layers = np.zeros((len(task.structures), *gray.shape), bool)
                layers[places] = masks
                pictures.append(compose(gray, task, Layers(layers), _SIDE))
    if pictures:
        write_picture(out / "lungs.png", _side_by_side(pictures))
    names = [Path(one["file"]).name for one in description["images"]]
    rows = [[name, *(f"{value:.3f}" for pair in pairs for value in pair)] for name, pairs in zip(names, values, strict=True)]
    rows.append(["mean", *(f"{value:.3f}" for value in np.mean(values, axis=0).ravel())])
    write_csv(out / "dice.csv", ["image", *(f"{who} {what}" for who in ("model", "mean mask") for what in (*LUNGS, "both"))], rows)
    return rows


def _scores(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Dice of each lung, and of both together as one."""
    both = (found.any(0)[None], truth.any(0)[None])
    parts = [(found, truth), both]
    return [float(value) for a, b in parts for value in dice(overlap(a[None], b[None]))[0]]


def _side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures in a row, on black to the height of the highest."""
    height = max(len(picture) for picture in pictures)
    return np.hstack([np.pad(picture, ((0, height - len(picture)), (0, 4), (0, 0))) for picture in pictures])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of X-rays and masks")
    parser.add_argument("--model", type=Path, default=BUILD / "run" / "model.pt", help="trained model (default: that of make chest-model)")
    parser.add_argument("--train", type=Path, default=BUILD / "train", help="its training data, of whose masks the mean is taken")
    parser.add_argument("--out", type=Path, default=BUILD / "real", help="where predictions, dice.csv and lungs.png go")
    parser.add_argument("--flip", action="store_true", help="look at the mirror images too, as synthex infer --flip")
    parser.add_argument("--picture", nargs="*", default=[], metavar="NAME", help="images that are drawn into lungs.png: found, then truth")
    options = parser.parse_args()
    views = VIEWS[:2] if options.flip else VIEWS[:1]
    try:
        rows = measure(options.data, options.model, options.train, options.out, views, options.picture)
    except SyntheXError as error:
        raise SystemExit(str(error)) from None
    print("| image | model: left | right | both | mean mask: left | right | both |\n|" + " --- |" * 7)
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
