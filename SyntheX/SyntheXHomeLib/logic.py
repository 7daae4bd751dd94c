"""What the home module does, without Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from SyntheXHomeLib import handover
from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.subject_hierarchy import put_in_folder
from SyntheXLib.cache import cache_folder, cache_sizes, empty_cache
from SyntheXLib.datasets import sample
from SyntheXLib.datasets.pip_download import Progress
from SyntheXLib.errors import SyntheXError
from SyntheXLib.installation import PackageState, package_states

_FOLDER = "SyntheX samples"  # in the subject hierarchy


class SyntheXLogic:
    """Sample cases in the scene, what is installed, and what lies in the data folder."""

    def sampleNames(self) -> list[str]:
        """Names that `loadSample` takes."""
        return list(sample.SAMPLES)

    def loadSample(self, name: str, progress: Progress | None = None) -> tuple[Any, Any, Any | None]:
        """Load a labelled CT, downloaded on first use; later no network is needed.

        Parameters
        ----------
        name
            See `sampleNames`.
        progress
            Called about ten times a second with the bytes downloaded and in all; what it raises ends the download.

        Returns
        -------
        volumeNode, labelmapNode, markupsNode
            New vtkMRMLScalarVolumeNode (HU), vtkMRMLLabelMapVolumeNode with named labels, and vtkMRMLMarkupsFiducialNode or None.

        Raises
        ------
        SyntheXError
            When the name is unknown, the download fails, or a file cannot be loaded; then the scene is as before.
        """
        case = sample.fetch_sample(name, progress)
        volumes = slicer.modules.volumes.logic()
        made: list[Any] = []
        try:
            volumeNode = _loaded(volumes.AddArchetypeVolume(str(case.ct), name, 0), case.ct, made)
            labelmapNode = _loaded(volumes.AddArchetypeVolume(str(case.labels), f"{name} labels", 1), case.labels, made)
            colorFile = slicer.modules.colors.logic().LoadColorFile(str(case.label_names), f"{name} label names")
            colors = _loaded(colorFile, case.label_names, made)
            labelmapNode.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
            markupsNode = None
            if case.landmarks is not None:
                markups = slicer.modules.markups.logic().LoadMarkups(str(case.landmarks))
                markupsNode = _loaded(slicer.mrmlScene.GetNodeByID(markups) if markups else None, case.landmarks, made)
                markupsNode.SetName(f"{name} landmarks")  # in place of the one in the file
        except SyntheXError:
            for node in made:
                slicer.mrmlScene.RemoveNode(node)
            raise
        handover.markAsSample(name, volumeNode, labelmapNode, markupsNode)
        for node in filter(None, (volumeNode, labelmapNode, markupsNode)):
            put_in_folder(node, _FOLDER, name)
        return volumeNode, labelmapNode, markupsNode

    def sampleSizes(self) -> dict[str, int]:
        """Bytes that each sample takes in the data folder; 0 when it was not downloaded."""
        return sample.sample_sizes()

    def packages(self) -> tuple[PackageState, ...]:
        """Every Python package that some step needs, and whether it is there; by its metadata, so nothing is imported."""
        return package_states()

    def check(self) -> LibraryCommand:
        """Start to find out, in a child process, all that ``synthex doctor`` tells; its output is for `Installation.from_json`."""
        return LibraryCommand("doctor", "--json")

    def installDeepDrr(self) -> LibraryCommand:
        """Start to make DeepDRR's environment, in a child process."""
        return LibraryCommand("doctor", "--install-deepdrr", "--yes")

    def dataFolder(self) -> Path:
        """Folder of what can be fetched or built again."""
        return cache_folder()

    def dataSizes(self) -> dict[str, int]:
        """Bytes in the data folder by kind, see `SyntheXLib.cache.CACHE_KINDS`."""
        return cache_sizes()

    def emptyData(self, kinds: list[str]) -> int:
        """Delete kinds of files from the data folder and return the bytes freed; nodes in the scene stay."""
        return empty_cache(kinds)


def _loaded(node: Any, path: Path, made: list[Any]) -> Any:
    if node is None:
        raise SyntheXError(f"Slicer cannot load {path}; its log says why.")
    made.append(node)
    # Without its file: saving an edited node would write into the data folder or the extension itself.
    storage = node.GetStorageNode()
    if storage is not None:
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)
    return node
