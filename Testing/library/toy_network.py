"""Views of two boxes, a data set of them, and a network whose answer is known."""

import json
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional

from SyntheXLib.datasets.format import DatasetHeader, shard_path, sidecar_path, write_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.files import sha256
from SyntheXLib.inference.images import XrayImage
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks.model_file import ModelDescription
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.tasks.task import Task

SIDE, SPACING, SIGMA = 40, 2.0, 2.0


def toy_task(segmentation: str = "exclusive", landmarks: bool = True) -> Task:
    structures = [
        {"name": "cube", "mirror": "cube", "color": [200, 30, 30]},
        {"name": "bar", "mirror": "bar", "color": [30, 30, 200]},
    ]
    points = [
        {"name": "C", "mirror": "C", "structures": ["cube"]},
        {"name": "B", "mirror": "B", "structures": ["bar"]},
    ]
    values = {
        "name": "toy",
        "title": "Toy",
        "segmentation": segmentation,
        "heatmap_sigma_mm": SIGMA * SPACING,
        "c_arm": {"image_size": SIDE},
        "poses": {"isocenter": ["cube"]},
        "structures": structures,
        "landmarks": points if landmarks else [],
    }
    return Task.from_dict(values)


def toy_view(index: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear image (bone dark), bit field and landmarks (the centres) of two boxes that move with the index; `side` scales everything."""
    scale = side / SIDE
    bits = np.zeros((side, side), np.uint16)
    boxes = [(10 + index % 3, 18 + index % 3, 10, 16), (22, 32, 14 + index % 4, 30 + index % 4)]
    landmarks = np.zeros((2, 2), np.float32)
    for bit, (top, bottom, left, right) in enumerate(boxes):
        rows, columns = slice(round(top * scale), round(bottom * scale)), slice(round(left * scale), round(right * scale))
        bits[rows, columns] |= 1 << bit
        landmarks[bit] = (columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2
    attenuation = (bits & 1).astype(np.float32) + (bits >> 1 & 1) * 2.0
    return np.exp(-attenuation).astype(np.float32), bits, landmarks


def toy_dataset(
    folder: Path, count: int = 5, task: Task | None = None, seed: int = 0, bad_truth: dict[int, str] | None = None
) -> XrayDataset:
    """A data set of toy views, turned by 10 degrees times the index; the second landmark of image 1 is out of frame.

    `bad_truth` names a structure of an image whose true mask is said not to be trusted.
    """
    bad_truth = bad_truth or {}
    task = task or toy_task()
    configuration = {"image_size": SIDE, "pixel_spacing_mm": SPACING, "source_to_detector_mm": 1000.0}
    header = DatasetHeader(task, ({"name": "phantom"},), configuration, seed, count, shard_size=3)
    write_header(folder, header)
    samples = []
    for index in range(count):
        image, bits, landmarks = toy_view(index)
        visible = np.array([True, index != 1])
        if index == 1:
            landmarks[1] = 99, 99
        number = len(task.landmarks)
        samples.append(
            {
                "image": image,
                "mask": bits,
                "landmark": landmarks[:number],
                "landmark_visible": visible[:number],
                "world_to_camera": CArmPose(lao_rao_deg=10.0 * index).world_to_camera(np.zeros(3)),
                "intrinsics": np.eye(3),
                "parameters": {"specimen": "phantom", "coverage": 0.25, "source_to_isocenter_mm": 500.0}
                | ({f"{bad_truth[index]}_good_fov": False} if index in bad_truth else {}),
            }
        )
    for shard in range(header.shard_count):
        write_shard(folder, shard, samples[3 * shard : 3 * shard + 3])
    return XrayDataset(folder)


def write_shard(folder: Path, shard: int, samples: list[dict]) -> None:
    path = shard_path(folder, shard)
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name in samples[0]:
            values = [sample[name] if name != "parameters" else json.dumps(sample[name]) for sample in samples]
            file[name] = values if name == "parameters" else np.stack(values)
    sidecar_path(folder, shard).write_text(json.dumps({"bytes": path.stat().st_size, "sha256": sha256(path)}), encoding="utf-8")


class ToyNetwork(torch.nn.Module):
    """Knows toy views: grey level 0, 1/2 and 1 of the range are nothing, cube and bar; landmarks are their centres."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.calls = 0

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        assert x.shape[1] == 1 and x.shape[2] % 16 == 0 and x.shape[3] % 16 == 0
        assert abs(float(x.mean())) < 1.0
        self.calls += 1
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        labels = torch.round(2 * (x - low) / (high - low)).long()[:, 0]
        masks = torch.stack([(labels == n).float() for n in range(3)], dim=1)
        # Between nothing and bar lies the grey of the cube: what is one pixel thin is an edge, not a cube.
        inner = -functional.max_pool2d(-masks, 3, 1, 1)
        masks[:, 1] = functional.max_pool2d(inner, 3, 1, 1)[:, 1]
        rows, columns = torch.arange(x.shape[2]).float(), torch.arange(x.shape[3]).float()
        maps = []
        for n in range(len(self.task.landmarks)):
            weight = inner[:, n + 1]
            total = weight.sum((1, 2))
            row, column = (weight * rows[:, None]).sum((1, 2)) / total, (weight * columns).sum((1, 2)) / total
            distance = (rows[:, None] - row[:, None, None]) ** 2 + (columns - column[:, None, None]) ** 2
            maps.append(torch.exp(-0.5 * distance / SIGMA**2))
        heatmaps = torch.stack(maps, dim=1) if maps else masks[:, :0]
        segmentation = masks if self.task.segmentation == "exclusive" else masks[:, 1:]
        return NetworkOutput(20 * segmentation - 10, heatmaps)


def toy_description(task: Task | None = None) -> ModelDescription:
    return ModelDescription("small", (SIDE, SIDE), SPACING, (task or toy_task()).to_dict(), SIGMA, training={"epoch": 3})


def toy_predictor(task: Task | None = None) -> Predictor:
    task = task or toy_task()
    return Predictor(ToyNetwork(task), toy_description(task), "cpu")


def as_image(linear: np.ndarray, spacing: float | None = SPACING) -> XrayImage:
    return XrayImage(linear, "linear", None if spacing is None else (spacing, spacing))


def exclusive(bits: np.ndarray) -> np.ndarray:
    return np.where(bits & 2, 2, bits)


def write_image(path: Path, values: np.ndarray, spacing: tuple[float, ...] | None = None, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(values, isVector=vector)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def write_dicom(path: Path, values: np.ndarray, photometric: str = "MONOCHROME2", **tags: object) -> Path:
    """Write 12-bit pixels (H, W) or (K, H, W) as an XA image with more tags by keyword."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = XRayAngiographicImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = generate_uid(), generate_uid(), "XA"
    image.PhotometricInterpretation, image.SamplesPerPixel, image.PixelRepresentation = photometric, 1, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    if values.ndim == 3:
        image.NumberOfFrames = len(values)
    image.Rows, image.Columns = values.shape[-2:]
    image.PixelData = values.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(image, name, value)
    image.save_as(path)
    return path
