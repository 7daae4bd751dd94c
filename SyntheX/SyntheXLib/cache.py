"""Where what can be fetched or built again lies."""

import os
import sys
from pathlib import Path


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
