"""Where what can be fetched or built again lies."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import disk_errors

# Folder in the cache, and what is in it. Nothing else in the cache is ever removed: SYNTHEX_CACHE may name a folder with other files.
CACHE_KINDS = {"samples": "sample CTs", "deepdrr": "DeepDRR's environment"}


def cache_folder() -> Path:
    """The user's cache of SyntheX; ``SYNTHEX_CACHE`` names another."""
    chosen = os.environ.get("SYNTHEX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "synthex"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "synthex"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthex"


def cache_sizes() -> dict[str, int]:
    """Bytes that each kind of `CACHE_KINDS` takes; 0 when there is nothing of it."""
    return {kind: folder_size(cache_folder() / kind) for kind in CACHE_KINDS}


def empty_cache(kinds: Iterable[str] | None = None) -> int:
    """Remove what is in the cache, all of it or the kinds named; returns the bytes freed.

    Raises
    ------
    SyntheXError
        When a kind is unknown or the disk refuses.
    """
    chosen = list(CACHE_KINDS if kinds is None else kinds)
    unknown = [kind for kind in chosen if kind not in CACHE_KINDS]
    if unknown:
        raise SyntheXError(f"Cache: one of {', '.join(CACHE_KINDS)} was expected, found '{unknown[0]}'.")
    freed = 0
    for kind in chosen:
        folder = cache_folder() / kind
        size = folder_size(folder)
        with disk_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)
        freed += size
    return freed


def folder_size(folder: Path) -> int:
    """Bytes of the files under a folder; links are not followed, an environment has some to the system."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  an environment has 50,000 files: Path takes twice the time
            except FileNotFoundError:  # removed meanwhile
                continue
    return size


def size_text(size: int) -> str:
    """Bytes for people: ``25.1 MB``, ``6.02 GB``."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
