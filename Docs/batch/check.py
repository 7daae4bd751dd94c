"""Hold what the batch scripts made against what the ``synthex`` command makes of the same input: python Docs/batch/check.py FOLDER.

FOLDER holds ``data``, ``held_out``, ``run`` and ``found``, as ``make batch`` leaves them. Says what is equal; the exit status is 1 when
anything differs.
"""

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.headless import ensureScene
from SyntheXLib.cli import main as synthex
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.inference.predictions import open_predictions
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.tasks.labels import structure_masks


def run(*arguments: object) -> None:
    """Run the command; what it prints is shown only when it fails."""
    if synthex([str(argument) for argument in arguments]) != 0:
        raise SystemExit(f"synthex {arguments[0]} failed")


def sameImages(ours: Path, theirs: Path) -> bool:
    """Whether two data sets have the same images, masks and landmarks, byte for byte.

    The cameras may differ in their last bit (below 1e-9 mm), since Slicer rounds the origin of a volume that it reads other than ITK does.
    """
    pairs = list(zip(XrayDataset(ours), XrayDataset(theirs), strict=True))
    same = all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() for a, b in pairs for name in ("image", "mask", "landmarks", "visible")
    )
    return same and all(np.allclose(a.world_to_camera, b.world_to_camera, rtol=0, atol=1e-9) for a, b in pairs)


def sameWeights(ours: Path, theirs: Path) -> bool:
    """Whether two models have the same weights, bit for bit."""
    a, b = (load_model(path)[0].state_dict() for path in (ours, theirs))
    return a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)


def sameMasks(found: Path, predictions: Path) -> bool:
    """Whether the segmentation file, opened again, holds the predicted masks."""
    volume = slicer.modules.volumes.logic().AddArchetypeVolume(str(found / "images.nrrd"), "images", 0)
    segmentation = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(found / "structures.seg.nrrd"))
    folder, inner = open_predictions(predictions), segmentation.GetSegmentation()
    masks = structure_masks(np.stack(list(folder.masks())), len(folder.task.structures))
    ids = {inner.GetSegment(key).GetName(): key for key in (inner.GetNthSegmentID(n) for n in range(inner.GetNumberOfSegments()))}
    arrays = [slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ids[name], volume) > 0 for name in folder.task.structure_names]
    return bool(masks.any()) and bool((np.stack(arrays, axis=1) == masks).all())


def table(path: Path) -> list[list[Any]]:
    """Rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def main() -> int:
    """Run the script."""
    ensureScene()
    folder = Path(sys.argv[1])
    header = XrayDataset(folder / "data").header
    epochs = len(table(folder / "run/log.csv")) - 1
    with tempfile.TemporaryDirectory(prefix="synthex-") as temporary:
        work = Path(temporary)
        sizes = ["--image-size", header.configuration["image_size"], "--workers", 1]
        run("simulate", "--sample", "pelvis", "--count", header.count, "--seed", header.seed, *sizes, "--out", work / "data")
        run("train", work / "data", "--epochs", epochs, "--size", "small", "--out", work / "run")
        run("infer", work / "run/model.pt", folder / "held_out", "--out", work / "found")
        results = {
            f"{header.count} images, masks and landmarks, byte for byte": sameImages(folder / "data", work / "data"),
            f"weights after {epochs} epochs": sameWeights(folder / "run/model.pt", work / "run/model.pt"),
            "predicted masks": sameMasks(folder / "found", work / "found"),
            "predicted landmarks and confidence": table(folder / "found/landmarks.csv") == table(work / "found/landmarks.csv"),
        }
    for what, same in results.items():
        print(f"{'equal' if same else 'DIFFERENT'}: {what}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())  # Slicer stays open without
