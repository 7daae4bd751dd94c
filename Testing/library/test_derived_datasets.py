"""Parts, merged data sets and exports."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SyntheXLib.datasets.derived import merge_datasets, split_dataset
from SyntheXLib.datasets.export import export_coco, export_nifti, run_lengths
from SyntheXLib.datasets.format import content_checksum, read_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.pose_figure import write_pose_figure
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
COUNT = 9


@pytest.fixture(scope="module")
def folder(hip_phantom: CaseFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine views of three specimens, two a shard."""
    cases = tuple(replace(hip_phantom, name=name) for name in ("a", "b", "c"))
    data: Path = tmp_path_factory.mktemp("derived") / "data"
    run_local(ShardJob(data, HIP, cases, ViewSettings("naive", image_size=32), seed=3, count=COUNT, shard_size=2), workers=1)
    return data


def same(one: XrayDataset, i: int, other: XrayDataset, j: int) -> bool:
    first, second = one[i], other[j]
    arrays = ("image", "mask", "landmarks", "visible", "world_to_camera", "intrinsics")
    return first.parameters == second.parameters and all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=getattr(first, name).dtype.kind == "f") for name in arrays
    )


def test_parts_hold_each_image_once_and_no_specimen_twice(folder: Path, tmp_path: Path) -> None:
    whole = XrayDataset(folder)
    parts = [XrayDataset(part) for part in split_dataset(folder, tmp_path, None)]
    assert [len(part) for part in parts] == [3, 3, 3]
    for part in parts:
        (specimen,) = {part.parameters(index)["specimen"] for index in range(3)}
        assert [entry["name"] for entry in part.header.specimens] == [specimen]
        expected = [index for index in range(COUNT) if whole.parameters(index)["specimen"] == specimen]
        assert all(same(part, place, whole, index) for place, index in enumerate(expected))
    pairs = [XrayDataset(part) for part in split_dataset(folder, tmp_path / "two", 2)]
    assert sorted(len(part) for part in pairs) == [3, 6]


def test_an_interrupted_split_goes_on(folder: Path, tmp_path: Path) -> None:
    first = split_dataset(folder, tmp_path, None)
    before = [content_checksum(part) for part in first]
    (tmp_path / "part_01" / "shards" / "00001.json").unlink()
    assert [content_checksum(part) for part in split_dataset(folder, tmp_path, None)] == before


@pytest.mark.parametrize("parts", [1, 4])
def test_impossible_parts_are_told(folder: Path, tmp_path: Path, parts: int) -> None:
    with pytest.raises(SyntheXError, match=rf"found {parts} parts and 3 specimens \(a, b, c\)"):
        split_dataset(folder, tmp_path, parts)
    assert list(tmp_path.iterdir()) == []


def test_merged_parts_are_the_whole_again(folder: Path, tmp_path: Path) -> None:
    parts = split_dataset(folder, tmp_path / "parts", None)
    merge_datasets(parts, tmp_path / "merged")
    merged, whole = XrayDataset(tmp_path / "merged"), XrayDataset(folder)
    assert len(merged) == COUNT and {s["name"] for s in merged.header.specimens} == {"a", "b", "c"}
    for index in range(COUNT):
        specimen, place = divmod(index, 3)
        assert same(merged, index, whole, 3 * place + specimen)
    assert len(read_header(tmp_path / "merged").configuration["origin"]["merged_from"]) == 3


def test_other_images_are_not_merged(folder: Path, hip_phantom: CaseFiles, tmp_path: Path) -> None:
    run_local(ShardJob(tmp_path / "small", HIP, (hip_phantom,), ViewSettings("naive", image_size=16), seed=3, count=1), workers=1)
    with pytest.raises(SyntheXError, match="another image size"):
        merge_datasets([folder, tmp_path / "small"], tmp_path / "merged")
    with pytest.raises(SyntheXError, match="two data sets or more"):
        merge_datasets([folder], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_run_lengths_follow_cocos_definition() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)  # by columns: 0 0 1 1 1 0
    assert run_lengths(mask) == [2, 3, 1]
    assert run_lengths(np.ones((2, 2), bool)) == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool)) == [4]
    assert run_lengths(np.array([[1, 0], [0, 1]], bool)) == [0, 1, 2, 1]


def test_coco_holds_images_masks_and_landmarks(folder: Path, tmp_path: Path) -> None:
    export_coco(XrayDataset(folder), tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text(encoding="utf-8"))
    dataset = XrayDataset(folder)
    assert len(content["images"]) == COUNT and [c["name"] for c in content["categories"]] == [*HIP.structure_names, "landmarks"]
    for entry in content["images"]:
        sample = dataset[entry["id"]]
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / entry["file_name"])))
        assert values.dtype == np.uint16
        assert np.allclose(values / 65535 * entry["scale"], sample.image, atol=entry["scale"] / 65535)
        masks = structure_masks(sample.mask, len(HIP.structures))
        found = [a for a in content["annotations"] if a["image_id"] == entry["id"]]
        assert sorted(a["category_id"] for a in found) == [*(n + 1 for n in range(len(masks)) if masks[n].any()), len(masks) + 1]
        for annotation in found[:-1]:
            flat: list[int] = []
            for place, count in enumerate(annotation["segmentation"]["counts"]):
                flat += [place % 2] * count
            mask = np.array(flat, bool).reshape(masks[0].shape, order="F")
            assert np.array_equal(mask, masks[annotation["category_id"] - 1]) and annotation["area"] == mask.sum()
            left, top, width, height = annotation["bbox"]
            assert mask[top : top + height, left : left + width].sum() == mask.sum() and mask[top, left : left + width].any()
        points = np.array(found[-1]["keypoints"]).reshape(-1, 3)
        known = np.isfinite(sample.landmarks).all(1)
        assert np.array_equal(points[:, 2] > 0, known) and np.array_equal(points[:, 2] == 2, sample.visible)
        assert np.allclose(points[known, :2] - 0.5, sample.landmarks[known])


def test_nifti_holds_the_signal_and_the_bits(folder: Path, tmp_path: Path) -> None:
    export_nifti(XrayDataset(folder), tmp_path)
    sample, image = XrayDataset(folder)[4], sitk.ReadImage(str(tmp_path / "000004_image.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], sample.image)
    assert np.allclose(image.GetSpacing()[:2], XrayDataset(folder).pixel_spacing_mm)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "000004_mask.nii.gz")))[0], sample.mask)
    content = json.loads((tmp_path / "000004.json").read_text(encoding="utf-8"))
    assert content["landmarks"]["FH-l"]["pixel"] == pytest.approx(sample.landmarks[HIP.landmark_names.index("FH-l")].tolist())
    assert {path.name.split(".")[-1] for path in tmp_path.iterdir()} == {"gz", "json"}


def test_the_poses_are_drawn(folder: Path, tmp_path: Path) -> None:
    write_pose_figure(XrayDataset(folder), tmp_path / "poses.png")
    assert (tmp_path / "poses.png").read_bytes().startswith(b"\x89PNG")
