"""Find bones and landmarks in the images of a data set as nodes, write them, and evaluate; the same numbers as ``synthex infer``.

In Slicer:        Slicer --no-splash --no-main-window --python-script Docs/batch/infer.py run/model.pt held_out --out found
In plain Python:  python Docs/batch/infer.py run/model.pt held_out --out found

The folder then holds what Slicer opens: ``images.nrrd``, the frames; ``structures.seg.nrrd``; ``landmarks_NNN.mrk.json`` for each frame;
and for a spreadsheet ``landmarks.csv`` and ``evaluation.csv``.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SyntheXHomeLib.headless import ensureScene
from SyntheXHomeLib.nodes import INTENSITY_ATTRIBUTE, ijkToWorld
from SyntheXInferLib.landmark_nodes import confidenceOf
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.result_nodes import FoundNodes, addSegmentation
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, write_csv
from SyntheXLib.inference.predictions import Prediction


def loadImages(dataset: XrayDataset) -> Any:
    """The images of a data set as one vtkMRMLScalarVolumeNode whose slices are the frames."""
    spacing = dataset.pixel_spacing_mm
    images = np.stack([dataset[index].image for index in range(len(dataset))])
    node = slicer.util.addVolumeFromArray(images, np.diag([-spacing, -spacing, 1.0, 1.0]), "X-rays")
    node.SetAttribute(INTENSITY_ATTRIBUTE, "linear")
    return node


def loadTruth(dataset: XrayDataset, volume: Any) -> FoundNodes:
    """Masks and landmarks that the data set knows, as nodes; landmarks outside the frame are left out."""
    samples, task, matrix = [dataset[index] for index in range(len(dataset))], dataset.task, ijkToWorld(volume)
    masks = [Prediction(sample.mask, sample.landmarks, np.ones(len(sample.landmarks), np.float32), sample.mask) for sample in samples]
    lists = []
    for frame, sample in enumerate(samples):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"truth {frame}")
        for name, (column, row), visible in zip(task.landmark_names, sample.landmarks.astype(float), sample.visible, strict=True):
            if visible:
                node.AddControlPoint((matrix @ [column, row, frame, 1])[:3], name)
        lists.append(node)
    return FoundNodes(addSegmentation("truth", volume, masks, task), tuple(lists))


def landmarkRows(volume: Any, found: FoundNodes) -> list[list[Any]]:
    """The points of all frames in pixels, as ``synthex infer`` writes them."""
    worldToIjk, rows = np.linalg.inv(ijkToWorld(volume)), []
    for frame, node in enumerate(found.landmarks):
        for index in range(node.GetNumberOfControlPoints()):
            column, row = (worldToIjk @ [*node.GetNthControlPointPositionWorld(index), 1])[:2]
            label, sure = node.GetNthControlPointLabel(index), int(node.GetNthControlPointSelected(index))
            rows.append([frame, label, f"{column:.3f}", f"{row:.3f}", f"{confidenceOf(node, index):.4f}", sure])
    return rows


def save(node: Any, path: Path) -> None:
    """Write a node to a file, whose suffix says how."""
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    if not node.GetStorageNode().WriteData(node):
        raise SyntheXError(f"Node '{node.GetName()}' cannot be written to {path}.")


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Find bones and landmarks in the images of a data set, and evaluate.")
    parser.add_argument("model", type=Path, help="model file of a training")
    parser.add_argument("dataset", type=Path, help="data set folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    options = parser.parse_args()
    ensureScene()
    logic = SyntheXInferLogic()
    try:
        dataset = XrayDataset(options.dataset)
        volume = loadImages(dataset)
        found = logic.predict(volume, options.model, series=True)
        table = logic.evaluate(volume, found, loadTruth(dataset, volume))
        options.out.mkdir(parents=True, exist_ok=True)
        save(volume, options.out / "images.nrrd")
        save(found.segmentation, options.out / "structures.seg.nrrd")
        for frame, node in enumerate(found.landmarks):
            save(node, options.out / f"landmarks_{frame:03d}.mrk.json")
        write_csv(options.out / "landmarks.csv", ["index", *LANDMARK_COLUMNS], landmarkRows(volume, found))
        save(table, options.out / "evaluation.csv")
    except SyntheXError as error:
        print(error, file=sys.stderr)
        return 2
    dice = slicer.util.arrayFromTableColumn(table, "dice")
    errors = slicer.util.arrayFromTableColumn(table, "error_detector_mm")
    print(
        f"{options.out}: {len(dataset)} images; mean Dice {np.nanmean(dice):.3f}, landmarks {np.nanmedian(errors):.1f} mm on the detector."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())  # Slicer stays open without
