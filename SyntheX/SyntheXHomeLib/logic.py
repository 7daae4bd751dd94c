"""What the home module does, without Qt."""

from importlib import metadata
from pathlib import Path
from typing import Any

import slicer

from SyntheXLib.datasets import sample
from SyntheXLib.errors import SyntheXError

# What `pip install synthex[train]` brings; without numpy and SimpleITK, which are part of every Slicer.
PACKAGES = ("torch", "monai", "h5py", "scikit-image", "scipy", "pillow", "llvmlite", "tqdm", "pytorch-ignite", "tensorboard", "matplotlib")


class SyntheXLogic:
    """Sample cases in the scene, and what is installed."""

    def sampleNames(self) -> list[str]:
        """Names that `loadSample` takes."""
        return list(sample.SAMPLES)

    def loadSample(self, name: str) -> tuple[Any, Any, Any | None]:
        """Load a labelled CT, downloaded on first use.

        Parameters
        ----------
        name
            See `sampleNames`.

        Returns
        -------
        volumeNode, labelmapNode, markupsNode
            New vtkMRMLScalarVolumeNode (HU), vtkMRMLLabelMapVolumeNode with named labels, and vtkMRMLMarkupsFiducialNode or None.

        Raises
        ------
        SyntheXError
            When the name is unknown, the download fails, or a file cannot be loaded.
        """
        case = sample.fetch_sample(name)
        volumes = slicer.modules.volumes.logic()
        volumeNode = _loaded(volumes.AddArchetypeVolume(str(case.ct), name, 0), case.ct)
        labelmapNode = _loaded(volumes.AddArchetypeVolume(str(case.labels), f"{name} labels", 1), case.labels)
        colors = _loaded(slicer.modules.colors.logic().LoadColorFile(str(case.label_names), f"{name} label names"), case.label_names)
        labelmapNode.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
        if case.landmarks is None:
            return volumeNode, labelmapNode, None
        markups = slicer.modules.markups.logic().LoadMarkups(str(case.landmarks), f"{name} landmarks")
        return volumeNode, labelmapNode, _loaded(slicer.mrmlScene.GetNodeByID(markups) if markups else None, case.landmarks)

    def removeSamples(self) -> int:
        """Delete the downloaded files and return the bytes freed; nodes in the scene stay."""
        return sample.remove_samples()

    def installed(self) -> dict[str, str | None]:
        """Version of every Python package that some step needs; None where it is missing."""
        return {name: _version(name) for name in PACKAGES}


def _loaded(node: Any, path: Path) -> Any:
    if node is None:
        raise SyntheXError(f"Slicer cannot load {path}; its log says why.")
    return node


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
