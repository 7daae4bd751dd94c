"""Write shards so that many processes and machines can fill one folder, and a kill at any moment leaves nothing invalid."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.datasets.format import PARAMETERS, shard_path, sidecar_path
from SyntheXLib.files import atomic_write, disk_errors, sha256
from SyntheXLib.process_tree import is_alive

# A claim of another machine, or of a process that hangs, is given up when its owner has not touched it for so long.
_STALE_S = 600.0
# One that does not say whose it is: its owner writes that at once, unless it was killed before.
_NAMELESS_STALE_S = 5.0


class ShardClaim:
    """Exclusive right to make a shard, held as a file beside it.

    Parameters
    ----------
    folder
        Data set folder.
    shard
        Number of the shard.
    """

    def __init__(self, folder: Path, shard: int) -> None:
        self._shard = shard_path(folder, shard)
        self.path = self._shard.with_suffix(".claim")

    def take(self) -> bool:
        """Claim the shard; False when somebody alive holds it. Clears what a dead owner left."""
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                try:
                    with self.path.open("x", encoding="utf-8") as file:
                        json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
                    break
                except FileExistsError:
                    if not self._is_stale():
                        return False
                    # Renaming is atomic: of several who find the claim stale, one gets it out of the way.
                    grave = self.path.with_suffix(f".stale{os.getpid()}")
                    try:
                        self.path.replace(grave)
                    except FileNotFoundError:
                        continue
                    grave.unlink(missing_ok=True)
            else:
                return False
        for leftover in self._shard.parent.glob(f".{self._shard.stem}.*.part.*"):
            leftover.unlink(missing_ok=True)
        return True

    def touch(self) -> None:
        """Show that the owner is alive."""
        self.path.touch()

    def release(self) -> None:
        """Give the claim up."""
        self.path.unlink(missing_ok=True)

    def _is_stale(self) -> bool:
        try:
            age = time.time() - self.path.stat().st_mtime
            if age > _STALE_S:
                return True
            owner = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # just released
            return False
        except ValueError:
            return age > _NAMELESS_STALE_S
        return owner["host"] == socket.gethostname() and not is_alive(owner["pid"])


def write_shard(folder: Path, shard: int, first: int, samples: Sequence[Mapping[str, Any]], seconds: float) -> None:
    """Write a shard and then its sidecar.

    Parameters
    ----------
    folder
        Data set folder.
    shard
        Number of the shard.
    first
        Index of its first image in the data set.
    samples
        For each image the arrays of `format.SHARD_ARRAYS` (the same for all: one of ``image`` and ``paths`` may be missing), without the
        leading axis; ``parameters`` a dictionary.
    seconds
        Time that making them took, for the record.

    Raises
    ------
    SyntheXError
        When the disk is full or not writable.
    """
    import h5py

    path = shard_path(folder, shard)
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        for name in samples[0]:
            if name == PARAMETERS:
                texts = [json.dumps(sample[name], sort_keys=True) for sample in samples]
                file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
                continue
            values = np.stack([sample[name] for sample in samples])
            # One image a chunk, no filter: any image is one read.
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]) if values.size else None)
    sidecar = {
        "shard": shard,
        "first": first,
        "count": len(samples),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "seconds": round(seconds, 3),
    }
    with atomic_write(sidecar_path(folder, shard)) as temporary:
        temporary.write_text(json.dumps(sidecar, indent=1) + "\n", encoding="utf-8")
