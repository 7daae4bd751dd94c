"""A network that tells what the voxels of a CT are made of: TorchScript, or a MONAI bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.bundle_network import load_bundle_network
from SyntheXLib.networks.device import choose_device
from SyntheXLib.physics.attenuation import material_name

_METADATA = "metadata.json"
_OVERLAP = 0.25


@dataclass(frozen=True)
class MaterialNetwork:
    """A segmentation network and how it wants its input.

    Attributes
    ----------
    network
        Maps (B, 1, K, J, I) to (B, materials, K, J, I) scores.
    materials
        By channel of the output.
    window
        Voxels of the sliding window along k, j and i.
    hu_range, value_range
        HU between these limits become values between those, clipped.
    spacing_mm
        Side of the voxels that it was trained on, mm; 0 takes the CT as it is.
    """

    network: torch.nn.Module
    materials: tuple[str, ...]
    window: tuple[int, int, int] = (96, 96, 96)
    hu_range: tuple[float, float] = (-1000.0, 2000.0)
    value_range: tuple[float, float] = (0.0, 1.0)
    spacing_mm: float = 0.0

    def segment(self, hu: np.ndarray, spacing_mm: np.ndarray, device: str = "auto") -> np.ndarray:
        """What the voxels of a CT are made of.

        Parameters
        ----------
        hu
            (K, J, I) Hounsfield units.
        spacing_mm
            (3,) voxel size along i, j and k, mm.
        device
            As in `networks.device.choose_device`.

        Returns
        -------
        numpy.ndarray
            (K, J, I) uint8 places in `materials`.

        Raises
        ------
        SyntheXError
            When the network's output has another number of channels than there are materials.
        """
        from monai.inferers.utils import sliding_window_inference
        from torch.nn.functional import interpolate

        chosen = choose_device(device)
        (low, high), (first, last) = self.hu_range, self.value_range
        values = torch.from_numpy(hu.astype(np.float32))[None, None].clip(low, high)
        values = first + (values - low) * ((last - first) / (high - low))
        if self.spacing_mm:
            size = np.maximum(np.rint(np.array(hu.shape) * spacing_mm[::-1] / self.spacing_mm), 1).astype(int)
            values = interpolate(values, size=tuple(size.tolist()), mode="trilinear")
        with torch.inference_mode():
            scores: Any = sliding_window_inference(
                values,
                self.window,
                1,
                self.network.to(chosen).eval(),
                overlap=_OVERLAP,
                mode="gaussian",
                sw_device=chosen,
                device=torch.device("cpu"),
            )
        if scores.shape[1] != len(self.materials):
            raise SyntheXError(f"Material network: expected {len(self.materials)} output channels (materials), found {scores.shape[1]}.")
        index = scores.argmax(1, keepdim=True)
        if self.spacing_mm:
            index = interpolate(index.float(), size=hu.shape, mode="nearest-exact")
        return index[0, 0].numpy().astype(np.uint8)


def load_material_network(path: Path, what: str = "Material network", name_of: Callable[[str], str] = material_name) -> MaterialNetwork:
    """Load a network from TorchScript (``.ts``, ``.pt``) with MONAI's ``metadata.json`` in it, or from the folder of a MONAI bundle.

    A bundle gives TorchScript as ``models/model.ts``, or weights as ``models/model.pt`` and the network in ``configs/inference.json`` or
    ``.yaml``, see `bundle_network`. The metadata names the materials in ``network_data_format.outputs.pred.channel_def`` and may give the
    input's ``spatial_shape`` and ``value_range``; a table ``synthex`` may give ``hu_range`` and ``spacing_mm``. TorchScript is a program
    of its own, without access to Python, but one whose source should be trusted all the same. Errors call the network
    `what`; `name_of` makes the name of a channel of that in the metadata.

    Raises
    ------
    SyntheXError
        When there is no such file, it is no TorchScript and no bundle that can be loaded safely, or the metadata is missing or not right.
    """
    script = path / "models" / "model.ts" if path.is_dir() else path
    extra = {_METADATA: ""}
    network: torch.nn.Module
    if script.is_file():
        try:
            network = torch.jit.load(str(script), map_location="cpu", _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise SyntheXError(f"{what} {script} is no TorchScript file: {str(error).splitlines()[0]}.") from error
    elif (path / "models" / "model.pt").is_file():
        network = load_bundle_network(path)
    else:
        raise SyntheXError(
            f"{what} {path}: expected a TorchScript file or a MONAI bundle with models/model.ts or models/model.pt, found none."
        )
    beside = path / "configs" / _METADATA
    text = extra[_METADATA] or (beside.read_text(encoding="utf-8") if path.is_dir() and beside.is_file() else "")
    if not text:
        raise SyntheXError(f"{what} {path}: expected {_METADATA} (MONAI) with the materials of the channels, found none.")
    try:
        metadata = json.loads(text)
        form, own = metadata["network_data_format"], metadata.get("synthex", {})
        names = {int(number): str(name) for number, name in form["outputs"]["pred"]["channel_def"].items()}
        given = form.get("inputs", {}).get("image", {})
        options: dict[str, Any] = {}
        shape = given.get("spatial_shape", ())
        if len(shape) == 3 and all(isinstance(side, int) for side in shape):  # else a formula such as "*"
            options["window"] = tuple(shape)
        for key, value in (("value_range", given.get("value_range")), ("hu_range", own.get("hu_range"))):
            if value is not None:
                low, high = map(float, value)
                options[key] = (low, high)
        options["spacing_mm"] = float(own.get("spacing_mm", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SyntheXError(f"{what} {path}: {_METADATA} is not as MONAI has it ({type(error).__name__}: {error}).") from error
    if sorted(names) != list(range(len(names))):
        raise SyntheXError(
            f"{what} {path}: expected materials for the channels 0 to {len(names) - 1}, found {', '.join(map(str, sorted(names)))}."
        )
    return MaterialNetwork(network, tuple(name_of(names[channel]) for channel in range(len(names))), **options)
