"""Files that are either whole or not there."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SyntheXLib.errors import SyntheXError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk under `path` into one sentence.

    Raises
    ------
    SyntheXError
        When the block raises an ``OSError`` of the kinds a user can mend: no space, quota, no permission, read-only.
    """
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "permission is denied",
        errno.EROFS: "the disk is read-only",
    }
    try:
        yield
    except OSError as error:
        # h5py raises OSError without errno when HDF5's own write fails; its text then ends in the system's message.
        for number, reason in reasons.items():
            if error.errno == number or os.strerror(number) in str(error):
                raise SyntheXError(f"Cannot write {path}: {reason}.") from error
        raise


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success the file written there becomes `path`, on failure it is removed.

    Parameters
    ----------
    path
        The file to make. Its folder is made when missing.

    Yields
    ------
    Path
        A name in the same folder, with the same last suffix (``.nii.gz`` counts as one), unique to this process.

    Raises
    ------
    SyntheXError
        When the disk is full, read-only or not permitted.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix  # by which SimpleITK knows the format
        temporary = path.with_name(f".{path.name.removesuffix(suffix)}.{os.getpid()}.part{suffix}")
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
