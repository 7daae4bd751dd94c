"""What the panel made, the last first to go: nodes, and files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXHomeLib.subject_hierarchy import remove_nodes
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from SyntheXSimulateLib.parameters import SimulateParameters

# Kind of a result to the parameters that refer to its nodes.
NODES: dict[str, tuple[str, ...]] = {
    "segmentation": ("segmentation",),
    "xray": ("xray", "masks", "points", "beam", "detector", "toolModels"),
    "cloud": ("cloud",),
    "histogram": ("histogram",),
    "browse": ("browsed",),
    "match": ("matched",),
}
# Kinds of results that are files; the path stands behind the kind.
FILES = ("export", "dataset")


@dataclass(frozen=True)
class Result:
    """A kind (of `NODES` or `FILES`), and for files where they lie."""

    kind: str
    path: str = ""


class Results:
    """The history of results, kept in the parameter node and so saved with the scene.

    Parameters
    ----------
    parameters
        The panel's.
    """

    def __init__(self, parameters: SimulateParameters) -> None:
        self._parameters: Any = parameters

    def add(self, kind: str, path: Path | str = "") -> None:
        """Note that something was made, or made anew."""
        entry = f"{kind}|{path}"
        if list(self._parameters.results[-1:]) == [entry]:
            return
        self._parameters.results = [*(known for known in self._parameters.results if known != entry), entry]

    def last(self) -> Result | None:
        """The last result that is still there."""
        for entry in reversed(self._parameters.results):
            kind, _, path = entry.partition("|")
            if (kind in NODES and self._nodes(kind)) or (kind in FILES and _marker(kind, path).exists()):
                return Result(kind, path)
        return None

    def delete(self, result: Result) -> None:
        """Remove its nodes from the scene, or its files from the disk; ask before.

        Raises
        ------
        SyntheXError
            When a file cannot be deleted.
        """
        self._parameters.results = [entry for entry in self._parameters.results if entry != f"{result.kind}|{result.path}"]
        if result.kind in NODES:
            remove_nodes(self._nodes(result.kind))
            for name in NODES[result.kind]:
                empty: Any = [] if name in ("toolModels", "histogram", "browsed", "matched") else None
                setattr(self._parameters, name, empty)
            return
        try:
            if result.kind == "export":
                Path(result.path).unlink(missing_ok=True)
            else:
                deleteDataset(Path(result.path))
        except OSError as error:
            raise SyntheXError(f"{result.path} cannot be deleted: {error}.") from error

    def _nodes(self, kind: str) -> list[Any]:
        """Nodes of a result that are in the scene."""
        found: list[Any] = []
        for name in NODES[kind]:
            value = getattr(self._parameters, name)
            found.extend(value if isinstance(value, Iterable) else [value])
        return [node for node in found if node is not None and node.GetScene() is not None]


def _marker(kind: str, path: str) -> Path:
    """The file that shows that a result is there."""
    return Path(path, HEADER_FILE) if kind == "dataset" else Path(path)


def deleteDataset(folder: Path) -> None:
    """Delete the files of a data set, and its folder unless there is something else in it."""
    if (folder / "shards").exists():
        shutil.rmtree(folder / "shards")
    (folder / HEADER_FILE).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
