import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.datasets import format as names
from SyntheXLib.datasets.format import DatasetHeader, check_shard, shard_is_valid, shard_path, sidecar_path, write_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.datasets.writer import ShardClaim, write_shard
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
CONFIGURATION = {"image_size": 16, "pixel_spacing_mm": 2.0, "source_to_detector_mm": 1020.0, "level": "naive", "renderer": "test"}


def sample(index: int) -> dict:
    rng = np.random.default_rng(index)
    return {
        names.IMAGE: rng.random((16, 16), np.float32),
        names.MASK: rng.integers(0, 63, (16, 16)).astype(np.uint16),
        names.LANDMARK: np.full((14, 2), index, np.float32),
        names.LANDMARK_VISIBLE: rng.random(14) > 0.5,
        names.WORLD_TO_CAMERA: np.eye(4) * (index + 1),
        names.INTRINSICS: np.eye(3),
        names.PARAMETERS: {"specimen": "x", "source_to_isocenter_mm": 700.0 + index},
    }


def header(**changes) -> DatasetHeader:
    values = {"task": HIP, "specimens": ({"name": "x"},), "configuration": CONFIGURATION, "seed": 1, "count": 5, "shard_size": 3}
    return DatasetHeader(**{**values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_header(tmp_path, header())
    write_shard(tmp_path, 0, 0, [sample(i) for i in range(3)], 1.0)
    write_shard(tmp_path, 1, 3, [sample(i) for i in range(3, 5)], 1.0)
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    import pickle

    dataset = XrayDataset(folder)
    assert len(dataset) == 5 and dataset.task == HIP and dataset.image_shape == (16, 16) and dataset.pixel_spacing_mm == 2.0
    for opened in (dataset, pickle.loads(pickle.dumps(dataset))):  # as sent to a worker, with its files open
        for index in (4, 0, -1):
            found, expected = opened[index], sample(index % 5)
            assert found.index == index % 5
            assert np.array_equal(found.image, expected[names.IMAGE]) and found.image.dtype == np.float32
            assert np.array_equal(found.mask, expected[names.MASK])
            assert np.array_equal(found.landmarks, expected[names.LANDMARK])
            assert np.array_equal(found.visible, expected[names.LANDMARK_VISIBLE])
            assert np.array_equal(found.world_to_camera, expected[names.WORLD_TO_CAMERA])
            assert found.parameters == expected[names.PARAMETERS]
    assert dataset.source_to_isocenter_mm(2) == 702.0
    with pytest.raises(IndexError):
        dataset[5]


def test_a_truncated_shard_is_told_and_counts_as_missing(folder: Path) -> None:
    path = shard_path(folder, 1)
    whole = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(whole // 2)
    with pytest.raises(SyntheXError, match=rf"00001.h5 is damaged: expected {whole} bytes, found {whole // 2}"):
        XrayDataset(folder)
    assert not shard_is_valid(folder, 1) and shard_is_valid(folder, 0)


def test_a_shard_with_a_flipped_bit_fails_its_checksum(folder: Path) -> None:
    path = shard_path(folder, 0)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    check_shard(folder, 0)  # the size is right
    with pytest.raises(SyntheXError, match="SHA-256 differs"):
        check_shard(folder, 0, checksum=True)


def test_a_shard_without_sidecar_is_leftover(folder: Path) -> None:
    sidecar_path(folder, 1).unlink()
    with pytest.raises(SyntheXError, match="is missing or unfinished"):
        XrayDataset(folder)


@pytest.mark.parametrize(("change", "expected"), [({"seed": 2}, "another 'seed' 1, not 2"), ({"count": 9}, "'count' 5, not 9")])
def test_another_data_set_is_not_continued(folder: Path, change: dict, expected: str) -> None:
    before = (folder / names.HEADER_FILE).read_bytes()
    with pytest.raises(SyntheXError, match=expected):
        write_header(folder, header(**change))
    write_header(folder, header(versions={"synthex": "other"}))  # other software may go on
    assert (folder / names.HEADER_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "not valid JSON"), ('{"schema": 99}', "expected data set schema 1, found 99"), ('{"schema": 1}', "header")],
)
def test_a_damaged_header_is_told(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / names.HEADER_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(SyntheXError, match=expected):
        XrayDataset(tmp_path)


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"is not a data set: expected dataset.json"):
        XrayDataset(tmp_path)


def test_a_full_disk_leaves_nothing_and_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import h5py

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(SyntheXError, match=r"Cannot write .*00000.h5: the disk is full\.$"):
        write_shard(tmp_path, 0, 0, [sample(0)], 1.0)
    assert not list((tmp_path / names.SHARD_FOLDER).iterdir())


def test_hdf5s_own_message_of_a_full_disk_is_understood(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="the disk is full"), atomic_write(tmp_path / "x") as temporary:
        temporary.touch()
        raise OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')")
    assert not list(tmp_path.iterdir())


def test_a_claim_is_exclusive_until_its_owner_is_gone(tmp_path: Path) -> None:
    first, second = ShardClaim(tmp_path, 0), ShardClaim(tmp_path, 0)
    assert first.take() and not second.take()
    first.release()
    assert second.take()
    claim = json.loads(second.path.read_text(encoding="utf-8"))
    second.path.write_text(json.dumps({**claim, "pid": 2**22 + 1}), encoding="utf-8")  # no process has this number
    leftover = shard_path(tmp_path, 0).with_name(".00000.99.part.h5")
    leftover.touch()
    assert ShardClaim(tmp_path, 0).take()
    assert not leftover.exists()


def test_a_claim_of_another_machine_is_respected_until_it_is_old(tmp_path: Path) -> None:
    import os
    import time

    claim = ShardClaim(tmp_path, 0)
    claim.path.parent.mkdir()
    claim.path.write_text(json.dumps({"host": "elsewhere", "pid": 1}), encoding="utf-8")
    assert not claim.take()
    os.utime(claim.path, (time.time() - 3600,) * 2)
    assert claim.take()


def test_a_claim_whose_owner_was_killed_before_it_wrote_its_name_is_soon_given_up(tmp_path: Path) -> None:
    import os
    import time

    claim = ShardClaim(tmp_path, 0)
    claim.path.parent.mkdir()
    claim.path.touch()
    assert not claim.take()  # perhaps it is just being written
    os.utime(claim.path, (time.time() - 6,) * 2)
    assert claim.take()
    assert json.loads(claim.path.read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_a_task_without_landmarks_can_be_stored(tmp_path: Path) -> None:
    write_header(tmp_path, header(task=replace(HIP, landmarks=()), count=2))
    bare = {**sample(0), names.LANDMARK: np.zeros((0, 2), np.float32), names.LANDMARK_VISIBLE: np.zeros(0, bool)}
    write_shard(tmp_path, 0, 0, [bare, bare], 1.0)
    assert XrayDataset(tmp_path)[1].landmarks.shape == (0, 2)


def test_the_checksum_is_that_of_the_content(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    twin = tmp_path_factory.mktemp("twin")
    write_header(twin, header(versions={"synthex": "other"}))
    write_shard(twin, 0, 0, [sample(i) for i in range(3)], 99.0)
    write_shard(twin, 1, 3, [sample(i) for i in range(3, 5)], 99.0)
    assert XrayDataset(twin).checksum() == XrayDataset(folder).checksum()
    write_shard(twin, 1, 3, [sample(i) for i in range(4, 6)], 99.0)
    assert XrayDataset(twin).checksum() != XrayDataset(folder).checksum()


def test_the_checksum_outlives_new_settings_of_tasks(folder: Path) -> None:
    old = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    del old["task"]["variation"]  # as a version wrote it that did not know them yet
    (folder / "dataset.json").write_text(json.dumps(old), encoding="utf-8")
    content = {key: value for key, value in old.items() if key != "versions"}
    shards = [check_shard(folder, shard)["sha256"] for shard in range(2)]
    expected = hashlib.sha256(json.dumps([content, shards], sort_keys=True).encode()).hexdigest()
    assert XrayDataset(folder).checksum() == expected
