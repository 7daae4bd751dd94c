"""What a training leaves in its folder; without torch, so that Slicer can look at a run and remove it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

#: Folder of the pictures of the validation, see `training.validation_pictures`.
PICTURES = "validation"
_CHECKPOINT = re.compile(r"checkpoint-\d{5}\.pt")
_PICTURE = re.compile(r"epoch_\d{3,}\.png")
#: A file of this name in the folder of a run stops it; see `stop_asked`.
STOP = "stop"
_FILES = ("model.pt", "translator.pt", "best.pt", "stopped.pt", "log.csv", "config.json", STOP)


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in the folder of a run, oldest first."""
    return sorted(path for path in folder.glob("checkpoint-*.pt") if _CHECKPOINT.fullmatch(path.name))


def stop_asked(folder: Path) -> bool:
    """Whether somebody wants the run to stop: a file ``stop`` lies in its folder, which every system and cluster can make."""
    return (folder / STOP).exists()


def find_pictures(folder: Path) -> list[Path]:
    """Validation pictures in the folder of a run: those of the last epochs, oldest first, then that of the best."""
    found = [path for path in (folder / PICTURES).glob("epoch_*.png") if _PICTURE.fullmatch(path.name)]
    best = folder / PICTURES / "best.png"
    return sorted(found, key=lambda path: int(path.stem.removeprefix("epoch_"))) + ([best] if best.is_file() else [])


def forget_run(folder: Path) -> None:
    """Remove what a run left in its folder, and nothing else; folders of it that are then empty go too."""
    events = (folder / "tensorboard").glob("events.out.tfevents.*")
    for path in [*find_checkpoints(folder), *find_pictures(folder), *(folder / name for name in _FILES), *events]:
        path.unlink(missing_ok=True)
    for name in (PICTURES, "tensorboard"):
        with suppress(OSError):  # not there, or something of the user's is in it
            (folder / name).rmdir()
