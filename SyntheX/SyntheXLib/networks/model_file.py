"""The model file: weights and all that is needed to use them, in one file that is safe to load."""

from __future__ import annotations

import json
import zipfile
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.networks.heatmaps import READOUTS
from SyntheXLib.networks.monai_network import PREFIX, MonaiNetwork
from SyntheXLib.networks.safetensors_file import read_safetensors
from SyntheXLib.networks.transunet import PATCH, TransUNet
from SyntheXLib.tasks.task import Task, nearest

_FORMAT = "synthex-model"
_VERSION = 1
_TRANSUNET_OPTIONS = ("compatibility", "landmark_head", "presence")
BUNDLE_KEY = "synthex"  # of a MONAI bundle's metadata: the description


@dataclass(frozen=True)
class ModelDescription:
    """What a user of the weights must know; plain values, so that it can be written as JSON.

    Attributes
    ----------
    size
        Size of the network, a name in `transunet.SIZES`.
    image_size
        (H, W) of the images trained on, before padding to a multiple of 16.
    pixel_spacing_mm
        Of these images, on the detector.
    task
        `Task.to_dict` of the task.
    heatmap_sigma_px
        Standard deviation of the target heatmaps, pixels.
    source_to_detector_mm, source_to_isocenter_mm
        Of the training images, where they have one value (None otherwise); for errors in mm at the isocentre.
    training
        Record: data sets with checksums, epochs, optimizer, seed, randomisation, versions, what the weights started from.
    architecture
        ``"transunet"``, or ``"monai:NAME"`` for a network of MONAI.
    options
        Of the architecture: ``compatibility``, ``landmark_head`` and ``presence`` of `TransUNet`, or the arguments of MONAI's network;
        for both ``readout``, ``"parabola"`` (default) or ``"centroid"``, see `read_peaks`.
    """

    size: str
    image_size: tuple[int, int]
    pixel_spacing_mm: float
    task: dict[str, Any]
    heatmap_sigma_px: float
    source_to_detector_mm: float | None = None
    source_to_isocenter_mm: float | None = None
    training: dict[str, Any] = field(default_factory=dict)
    architecture: str = "transunet"
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        result: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return result

    @staticmethod
    def from_dict(values: dict[str, Any], where: str = "model description") -> ModelDescription:
        """Rebuild a description; unknown keys (of later versions) are left out.

        Raises
        ------
        SyntheXError
            When a key is missing or has the wrong type; `where` names the source.
        """
        known = {item.name: item for item in fields(ModelDescription)}
        for name, item in known.items():
            if name not in values and item.default is MISSING and item.default_factory is MISSING:
                raise SyntheXError(f"{where}: the entry '{name}' of the model description is missing.")
        kept = {name: value for name, value in values.items() if name in known}
        size = kept["image_size"]
        if not (isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
            raise SyntheXError(f"{where}: image_size of the model description must be two numbers above 0 (rows, columns), found {size!r}.")
        if not isinstance(kept["task"], dict):
            raise SyntheXError(f"{where}: task of the model description must be a table, found {kept['task']!r}.")
        return ModelDescription(**{**kept, "image_size": (size[0], size[1])})


def build_network(description: ModelDescription) -> TransUNet | MonaiNetwork:
    """Network of a description, with random weights.

    Raises
    ------
    SyntheXError
        When the architecture, one of its options, the size or the task is not known.
    """
    task = Task.from_dict(description.task, "task of the model")
    classes = len(task.structures) + (task.segmentation == "exclusive")
    options = {name: value for name, value in description.options.items() if name != "readout"}
    readout_of(description)
    if description.architecture.startswith(PREFIX):
        return MonaiNetwork(description.architecture.removeprefix(PREFIX), classes, len(task.landmarks), options)
    if description.architecture != "transunet":
        raise SyntheXError(f"The network architecture must be 'transunet' or '{PREFIX}NAME', found '{description.architecture}'.")
    for name in options:
        if name not in _TRANSUNET_OPTIONS:
            known = (*_TRANSUNET_OPTIONS, "readout")
            raise SyntheXError(f"Option '{name}' of the network must be one of {', '.join(known)}{nearest(name, known)}.")
    rows, columns = (side + -side % PATCH for side in description.image_size)
    return TransUNet(description.size, classes, len(task.landmarks), (rows, columns), **options)


def readout_of(description: ModelDescription) -> str:
    """How landmarks are read from the heatmaps of a model.

    Raises
    ------
    SyntheXError
        When it names none of `heatmaps.READOUTS`.
    """
    readout = description.options.get("readout", READOUTS[0])
    if readout not in READOUTS:
        raise SyntheXError(f"Option 'readout' of the network must be one of {', '.join(READOUTS)}, found {readout!r}.")
    return str(readout)


def save_model(path: Path | str, network: torch.nn.Module, description: ModelDescription) -> None:
    """Write weights and description; the file appears whole or not at all.

    Raises
    ------
    SyntheXError
        When the disk is full or read-only.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(path) as temporary:
        torch.save({"format": _FORMAT, "version": _VERSION, "description": description.to_dict(), "weights": weights}, temporary)


def load_model(path: Path | str, device: str | torch.device = "cpu") -> tuple[TransUNet | MonaiNetwork, ModelDescription]:
    """Read a model file, or the folder of a MONAI bundle that `synthex bundle` wrote, without running any code that it may hold.

    Returns
    -------
    tuple
        The network, in evaluation mode on `device`, and its description.

    Raises
    ------
    SyntheXError
        When the file is missing, is no model file, comes from a later version, or its weights do not fit its description.
    """
    path = Path(path)
    content, description = _read(path)
    if description.architecture.startswith(PREFIX):  # MONAI's may compute something when they are made
        network = build_network(description)
        load_weights(network, content["weights"], path)
    else:
        with _WithoutDrawing():
            network = build_network(description)
        load_weights(network, content["weights"], path, assign=True)
    return network.to(device).to(memory_format=torch.channels_last).eval(), description  # type: ignore[call-overload]


class _WithoutDrawing(TorchFunctionMode):
    """Leaves the memory of new weights as it is: they are loaded next, and drawing them first takes as long as all else.

    The device meta would not even take the memory, but it imports torch's compiler, which takes seconds, to find that there is nothing to
    compute.
    """

    def __torch_function__(self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None) -> Any:
        named = named or {}
        if getattr(function, "__module__", None) == "torch.nn.init" or getattr(function, "__name__", None) in ("normal_", "uniform_"):
            return named.get("tensor", arguments[0] if arguments else None)
        return function(*arguments, **named)


def read_model_description(path: Path | str) -> ModelDescription:
    """What a model file says of itself; errors as of `load_model`, but the weights are not looked at."""
    return _read(Path(path))[1]


def weights_file(path: Path | str) -> Path:
    """The file that holds the weights: a model file itself, of a MONAI bundle's folder the one in ``models``.

    Raises
    ------
    SyntheXError
        When there is none.
    """
    path = Path(path)
    if path.is_dir():
        known = [path / "models" / name for name in ("model.safetensors", "model.pt")]
        found = next((file for file in known if file.is_file()), None)
        if found is None:
            raise SyntheXError(f"MONAI bundle {path}: expected models/model.safetensors or models/model.pt, found neither.")
        return found
    if not path.is_file():
        raise SyntheXError(f"Model file {path} does not exist.")
    return path


def _read_bundle(folder: Path) -> tuple[dict[str, Any], ModelDescription]:
    """A bundle that `synthex bundle` wrote: description in its metadata, weights as plain tensors beside it."""
    metadata = folder / "configs" / "metadata.json"
    try:
        told = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = type(error).__name__
        raise SyntheXError(f"Folder {folder} is not a MONAI bundle: configs/metadata.json cannot be read ({reason}).") from error
    if not isinstance(told, dict) or not isinstance(told.get(BUNDLE_KEY), dict):
        raise SyntheXError(f"MONAI bundle {folder} is not one of SyntheX: configs/metadata.json has no table '{BUNDLE_KEY}'.")
    description = ModelDescription.from_dict(told[BUNDLE_KEY], str(metadata))
    file = weights_file(folder)
    weights = read_safetensors(file) if file.suffix == ".safetensors" else load_safely(file, "file of weights")
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise SyntheXError(f"{file} must hold the weights of a network (a state_dict), found {type(weights).__name__}.")
    return {"weights": weights}, description


def _read(path: Path) -> tuple[dict[str, Any], ModelDescription]:
    if path.is_dir():
        return _read_bundle(path)
    content = load_safely(path, "model file")
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SyntheXError(f"{path} is not a SyntheX model file: expected the format '{_FORMAT}' (as `synthex train` writes model.pt).")
    if content.get("version") != _VERSION:
        raise SyntheXError(f"{path} is a model file of version {content.get('version')}, expected {_VERSION}; a newer SyntheX may read it.")
    for key in ("description", "weights"):
        if not isinstance(content.get(key), dict):
            raise SyntheXError(f"{path} is a damaged model file: the entry '{key}' is missing.")
    return content, ModelDescription.from_dict(content["description"], str(path))


def load_safely(path: Path, kind: str) -> Any:
    """`torch.load` of plain tensors and numbers alone, on the CPU.

    Raises
    ------
    SyntheXError
        When there is no such file or it holds something else; `kind` says what was expected.
    """
    if not path.is_file():
        raise SyntheXError(f"Cannot find the {kind} {path}.")
    if not zipfile.is_zipfile(path):
        raise SyntheXError(f"{path} is not a {kind}: expected a file written by torch, found other content.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files and refused content
        raise SyntheXError(f"{path} is not a {kind}: it cannot be loaded as plain tensors ({type(error).__name__}).") from error


def load_weights(network: torch.nn.Module, weights: dict[str, torch.Tensor], where: Path | str, assign: bool = False) -> None:
    """Copy weights into a network that must have exactly these names and shapes; with `assign` they take the place of its own.

    Raises
    ------
    SyntheXError
        When a weight is missing, left over or of another shape.
    """
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise SyntheXError(f"{where} does not fit the network: the weight '{name}' is missing.")
        if tuple(weights[name].shape) != tuple(tensor.shape):
            found = tuple(weights[name].shape)
            wanted = tuple(tensor.shape)
            raise SyntheXError(f"{where} does not fit the network: the weight '{name}' should have shape {wanted}, found {found}.")
    left = sorted(set(weights) - set(expected))
    if left:
        raise SyntheXError(f"{where} does not fit the network: it holds the unknown weight '{left[0]}'.")
    network.load_state_dict(weights, assign=assign)
