"""What the modules remember from one start of Slicer to the next, in its settings."""

from __future__ import annotations

from typing import Any

import slicer

# The data set folder that Simulate made last, which Train is opened with, and the model file that Train made last, for Infer.
LAST_DATASET = "SyntheX/LastDataset"
LAST_MODEL = "SyntheX/LastModel"

_WITHOUT_APPLICATION: dict[str, str] = {}  # slicer-core has no settings: as long as the process lives


def recall(key: str, ofThisSlicer: bool = False) -> str:
    """What `remember` was given last; empty when nothing was."""
    settings = _settings(ofThisSlicer)
    return _WITHOUT_APPLICATION.get(key, "") if settings is None else str(settings.value(key) or "")


def remember(key: str, value: str, ofThisSlicer: bool = False) -> None:
    """Keep a text.

    Parameters
    ----------
    key
        Starts with ``SyntheX/``.
    value
        The text; empty forgets.
    ofThisSlicer
        True for what holds for this version of Slicer alone, as its Python packages.
    """
    settings = _settings(ofThisSlicer)
    if settings is None:
        _WITHOUT_APPLICATION[key] = value
    else:
        settings.setValue(key, value)


def _settings(ofThisSlicer: bool) -> Any | None:
    app = getattr(slicer, "app", None)
    if app is None:
        return None
    return app.revisionUserSettings() if ofThisSlicer else app.userSettings()
