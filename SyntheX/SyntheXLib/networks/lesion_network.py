"""A network that finds lesions in a CT, for CTs whose lesions nobody has labelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.material_network import load_material_network
from SyntheXLib.scene.case_files import label_numbers
from SyntheXLib.tasks.task import Structure


class LesionNetwork:
    """A 3D lesion model: TorchScript or a MONAI bundle, read as `material_network.load_material_network` tells.

    Parameters
    ----------
    path
        File or folder. Its metadata names the channels; those that are called as the structure, or one of its segment names, are lesions.
    structure
        The task's lesions.

    Raises
    ------
    SyntheXError
        When it cannot be read, or no channel is a lesion.
    """

    def __init__(self, path: Path, structure: Structure) -> None:
        self._network = load_material_network(path, "Lesion network", str)
        channels = dict(enumerate(self._network.materials))
        self._lesions = label_numbers(structure, channels)
        if not self._lesions:
            wanted = ", ".join((structure.name, *structure.segment_names))
            raise SyntheXError(f"Lesion network {path}: expected a channel called {wanted}, found {', '.join(channels.values())}.")

    def segment(self, ct: sitk.Image, device: str = "auto") -> sitk.Image:
        """The mask (0, 1) of the lesions of a CT (HU).

        The network gets the CT with its axes along S, P and L; with two channels the highest score is the paper's threshold of 0.5. The
        mask has the CT's geometry in that order of axes.
        """
        turned = sitk.DICOMOrient(ct, "LPS")
        found = self._network.segment(sitk.GetArrayFromImage(turned), np.array(turned.GetSpacing()), device)
        mask = sitk.GetImageFromArray(np.isin(found, self._lesions).astype(np.uint8))
        mask.CopyInformation(turned)
        return mask
