"""A model as a MONAI bundle: a folder that ``python -m monai.bundle run`` and `synthex infer` take.

``configs/metadata.json`` tells what the channels are and how an image has to come (and, under ``synthex``, all of the model's
description), ``models/model.pt`` holds the weights, ``models/model.ts`` the network as TorchScript, ``models/model.onnx`` as ONNX if asked
for. Both exports are run on the same input as the network and must give the same.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SyntheXLib import __version__
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import disk_errors
from SyntheXLib.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from SyntheXLib.networks.model_file import ModelDescription

#: Largest difference that an export may have, as a share of the output's range.
_TOLERANCE = 1e-4
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
#: What MONAI's schema asks of every metadata.
_REQUIRED = ("schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
             "description", "authors", "copyright", "network_data_format")  # fmt: skip
_FORMAT_REQUIRED = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def")


def write_bundle(model_path: Path | str, folder: Path | str, onnx: bool = False) -> Path:
    """Write a model file as a bundle.

    Parameters
    ----------
    model_path
        Model file, or another bundle.
    folder
        The bundle's folder; must not be there yet, or be empty.
    onnx
        Export to ONNX too; needs the packages onnx and onnxruntime.

    Raises
    ------
    SyntheXError
        When the model cannot be read, the folder is not empty or cannot be written, or an export gives other numbers than the network.
    """
    import torch

    from SyntheXLib.networks.joined_output import JoinedOutput
    from SyntheXLib.networks.model_file import load_model

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SyntheXError(f"Bundle {folder} is there already, expected a new or an empty folder.")
    network, description = load_model(model_path)
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    task = Task.from_dict(description.task, "model")
    joined = JoinedOutput(network, task.segmentation == "exclusive").eval()
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name in ("configs", "models", "docs"):
                (temporary / name).mkdir()
            torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, temporary / "models" / "model.pt")
            shape = padded_size(description)
            example = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
            differences = {"TorchScript": _export_script(joined, example, temporary / "models" / "model.ts")}
            if onnx:
                differences["ONNX"] = _export_onnx(joined, example, temporary / "models" / "model.onnx")
            told = bundle_metadata(description, task) | {"export_differences": differences}
            _write_json(temporary / "configs" / "metadata.json", told)
            _write_json(temporary / "configs" / "inference.json", _inference())
            (temporary / "docs" / "README.md").write_text(_readme(task), encoding="utf-8")
            check_metadata(temporary / "configs" / "metadata.json")
            temporary.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def padded_size(description: ModelDescription) -> tuple[int, int]:
    """Rows and columns of the training's images, padded to what the network takes."""
    from SyntheXLib.networks.transunet import PATCH

    rows, columns = (side + -side % PATCH for side in description.image_size)
    return rows, columns


def bundle_metadata(description: ModelDescription, task: Task) -> dict[str, Any]:
    """``metadata.json``: what MONAI wants to know, and the whole description under ``synthex``."""
    names = [*(["background"] if task.segmentation == "exclusive" else []), *task.structure_names]
    channels = [*names, *(f"heatmap {name}" for name in task.landmark_names)]
    shape = list(padded_size(description))
    image = {
        "type": "image", "format": "magnitude", "modality": "XR", "num_channels": 1, "spatial_shape": shape, "dtype": "float32",
        "value_range": [], "is_patch_data": False, "channel_def": {"0": "log image, bone bright"},
    }  # fmt: skip
    pred = {
        "type": "image", "format": "segmentation", "num_channels": len(channels), "spatial_shape": shape, "dtype": "float32",
        "value_range": [], "is_patch_data": False, "channel_def": {str(n): name for n, name in enumerate(channels)},
    }  # fmt: skip
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"written by SyntheX {__version__}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": np.__version__,
        "required_packages_version": {"synthex": __version__},
        "task": f"{task.title}: structures and landmarks in X-ray images",
        "description": f"{description.architecture} ({description.size}), trained on simulated X-ray images by SyntheX.",
        "authors": "SyntheX",
        "copyright": "see the model's training record",
        "intended_use": "research",
        "image_size": list(description.image_size),
        "pixel_spacing_mm": description.pixel_spacing_mm,
        "orientation": "column to the right, row down, pixel (0, 0) is the centre of the first; bone bright",
        "normalization": "log image, then mean 0 and standard deviation 1 for each image; padded by reflection to multiples of 16",
        "structures": list(task.structure_names),
        "segmentation": task.segmentation,
        "landmarks": list(task.landmark_names),
        "heatmap_sigma_px": description.heatmap_sigma_px,
        "datasets": description.training.get("datasets", description.training.get("dataset", [])),
        "python_version": platform.python_version(),
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
        "synthex": description.to_dict(),
    }


def check_metadata(path: Path) -> None:
    """What MONAI's schema asks for, checked without fetching it (``monai.bundle verify_metadata`` does).

    Raises
    ------
    SyntheXError
        When an entry is missing or has the wrong form.
    """
    told = json.loads(path.read_text(encoding="utf-8"))
    for name in _REQUIRED:
        if name not in told:
            raise SyntheXError(f"{path}: the entry '{name}' of a bundle's metadata is missing.")
    for kind, side in (("inputs", "image"), ("outputs", "pred")):
        entry = told["network_data_format"].get(kind, {}).get(side, {})
        for name in _FORMAT_REQUIRED:
            if name not in entry:
                raise SyntheXError(f"{path}: the entry '{name}' of network_data_format's {kind} is missing.")
        if sorted(map(int, entry["channel_def"])) != list(range(entry["num_channels"])):
            raise SyntheXError(f"{path}: channel_def of {kind} must name channels 0 to {entry['num_channels'] - 1}.")


def _export_script(network: nn.Module, example: Tensor, path: Path) -> float:
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the checks of sizes, which are fixed in a trace
        script = torch.jit.trace(network, example, check_trace=False)
        torch.jit.save(script, str(path))
        loaded = torch.jit.load(str(path))
        return _difference("TorchScript", network(example).numpy(), loaded(example).numpy())


def _export_onnx(network: nn.Module, example: Tensor, path: Path) -> float:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ModuleNotFoundError as error:
        raise SyntheXError(f"ONNX export needs the package {error.name}, which is not installed: pip install onnx onnxruntime.") from None
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), str(path), input_names=["image"], output_names=["pred"], dynamo=False, opset_version=17)
        expected = network(example).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return _difference("ONNX", expected, session.run(None, {"image": example.numpy()})[0])


def _difference(kind: str, expected: np.ndarray, found: np.ndarray) -> float:
    """The largest, as a share of its channel's range, as heatmaps are on a scale of their own; one beyond the tolerance is an error."""
    span = np.maximum(np.ptp(expected, axis=(0, 2, 3)), 1e-6)
    worst = float((np.abs(found - expected).max((0, 2, 3)) / span).max())
    if not worst <= _TOLERANCE:
        raise SyntheXError(
            f"The {kind} export differs from the network by {worst:.2g} of a channel's range, expected at most {_TOLERANCE:g}."
        )
    return worst


def _inference() -> dict[str, Any]:
    """``inference.json``: images of ``dataset_dir`` in, masks and landmarks into ``output_dir``."""
    parts = "SyntheXLib.inference.bundle_parts"
    return {
        "imports": ["$import glob", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "polarity": "bone-bright",
        "intensity": "auto",
        "network_def": {"_target_": "SyntheXLib.networks.joined_output.bundle_network", "folder": "@bundle_root"},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": f"{parts}.ReadXray", "folder": "@bundle_root", "polarity": "@polarity", "intensity": "@intensity"},
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'path': path} for path in sorted(glob.glob(@dataset_dir + '/*'))]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": f"{parts}.WriteFound", "folder": "@bundle_root", "output_dir": "@output_dir"}],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "$@network.network"},
                "map_location": "@device",
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": [],
        "run": ["$@evaluator.run()"],
        "finalize": [],
    }


def _readme(task: Task) -> str:
    return (
        f"# {task.title}\n\nStructures: {', '.join(task.structure_names)}.\nLandmarks: {', '.join(task.landmark_names) or 'none'}.\n\n"
        "`synthex infer THIS_FOLDER IMAGE ... --out FOLDER`, or with SyntheX installed\n"
        "`python -m monai.bundle run --bundle_root THIS_FOLDER --config_file THIS_FOLDER/configs/inference.json "
        "--meta_file THIS_FOLDER/configs/metadata.json --dataset_dir IMAGES --output_dir FOLDER`.\n"
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _version(package: str) -> str:
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "0.0.0"
