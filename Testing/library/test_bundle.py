"""Models as MONAI bundles: written, checked, read, run by MONAI."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_network import toy_view, write_image

from SyntheXLib.cli import main
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.bundle import check_metadata, write_bundle
from SyntheXLib.inference.predictor import Predictor
from SyntheXLib.networks.joined_output import JoinedOutput
from SyntheXLib.networks.model_file import ModelDescription, build_network, load_model, read_model_description, save_model
from SyntheXLib.tasks.task import load_task


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    training = {"datasets": [{"folder": "data", "checksum": "abc"}]}
    description = ModelDescription("small", (40, 48), 2.0, load_task("hip").to_dict(), 2.0, training=training)
    save_model(path, build_network(description), description)
    return path


@pytest.fixture(scope="module")
def bundle(model: Path) -> Path:
    return write_bundle(model, model.parent / "bundle")


def test_a_bundle_is_the_model_again(model: Path, bundle: Path):
    (network, description), (again, same) = load_model(model), load_model(bundle)
    assert same == description == read_model_description(bundle)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    script = torch.jit.load(str(bundle / "models" / "model.ts"))
    x = torch.randn(1, 1, 48, 48)
    with torch.inference_mode():
        output, joined = network(x), script(x)
    torch.testing.assert_close(joined[:, :7], torch.softmax(output.segmentation, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(joined[:, 7:], output.heatmaps, rtol=1e-4, atol=1e-4)


def test_the_metadata_tells_what_a_user_needs(bundle: Path):
    told = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    channels = told["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert (channels["0"], channels["1"], channels["7"]) == ("background", "left_hemipelvis", "heatmap FH-l") and len(channels) == 21
    assert told["landmarks"][0] == "FH-l" and told["heatmap_sigma_px"] == 2.0 and told["pixel_spacing_mm"] == 2.0
    assert told["datasets"][0]["checksum"] == "abc" and "bone bright" in told["orientation"] and "deviation 1" in told["normalization"]
    check_metadata(bundle / "configs" / "metadata.json")


@pytest.mark.parametrize("missing", ["version", "monai_version", "network_data_format"])
def test_missing_metadata_is_named(bundle: Path, tmp_path: Path, missing: str):
    told = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    del told[missing]
    (tmp_path / "metadata.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(SyntheXError, match=missing):
        check_metadata(tmp_path / "metadata.json")


def test_monai_runs_the_bundle_and_finds_what_we_find(bundle: Path, tmp_path: Path):
    pytest.importorskip("ignite")
    from monai.bundle import ConfigWorkflow

    images = tmp_path / "images"
    images.mkdir()
    log = (255 * -np.log(toy_view(0, 44)[0]) / 3).round().astype(np.uint8)
    write_image(images / "a.png", log)
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        workflow_type="inference",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(tmp_path / "monai"),
        device="$torch.device('cpu')",
    )
    workflow.initialize()
    assert not workflow.check_properties()
    workflow.run()
    assert main(["infer", str(bundle), str(images / "a.png"), "--out", str(tmp_path / "ours"), "--device", "cpu",
                 "--polarity", "bone-bright", "--collimation", "none"]) == 0  # fmt: skip
    from PIL import Image

    pictures = [np.asarray(Image.open(tmp_path / name / "a_labels.png")) for name in ("monai", "ours")]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    tables = []
    for path in (tmp_path / "monai" / "a_landmarks.csv", tmp_path / "ours" / "landmarks.csv"):
        with path.open(encoding="utf-8") as file:
            tables.append([(row["landmark"], float(row["column"]), float(row["row"])) for row in csv.DictReader(file)])
    for ours, theirs in zip(*tables, strict=True):
        assert ours[0] == theirs[0] and ours[1:] == pytest.approx(theirs[1:], abs=0.02)


#: In our words what meta_schema_20240725 of MONAI asks for; a file of that name keeps verify_metadata from fetching it.
TENSOR = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "format", "dtype")},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
SIDES = {side: {"type": "object", "additionalProperties": TENSOR} for side in ("inputs", "outputs")}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors", "copyright")
SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in (*TEXTS, "intended_use")},
        **{name: {"type": "object"} for name in ("changelog", "required_packages_version")},
        "network_data_format": {"type": "object", "properties": SIDES, "required": ["inputs", "outputs"]},
    },
    "required": [*TEXTS, "required_packages_version", "network_data_format"],
}


def test_monai_verifies_the_metadata_without_network(bundle: Path, tmp_path: Path):
    pytest.importorskip("jsonschema")
    from monai.bundle import verify_metadata

    schema, wrong = tmp_path / "schema.json", tmp_path / "metadata.json"
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    told = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    told["network_data_format"]["outputs"]["pred"]["num_channels"] = "many"
    wrong.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(wrong), filepath=str(schema))


def test_monai_verifies_what_goes_into_the_network_and_comes_out(bundle: Path, tmp_path: Path):
    from monai.bundle import verify_net_in_out

    configs = bundle / "configs"
    arguments = {"config_file": str(configs / "inference.json"), "device": "cpu", "bundle_root": str(bundle)}
    verify_net_in_out("network_def", meta_file=str(configs / "metadata.json"), **arguments)
    told = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))
    told["network_data_format"]["outputs"]["pred"]["num_channels"] -= 1
    (tmp_path / "metadata.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="output channel number"):
        verify_net_in_out("network_def", meta_file=str(tmp_path / "metadata.json"), **arguments)


@pytest.mark.slow
def test_monais_own_command_runs_the_bundle(bundle: Path, tmp_path: Path):
    for package in ("ignite", "fire"):
        pytest.importorskip(package)
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "a.png", (255 * -np.log(toy_view(0, 44)[0]) / 3).round().astype(np.uint8))
    options = {
        "bundle_root": bundle,
        "config_file": bundle / "configs" / "inference.json",
        "meta_file": bundle / "configs" / "metadata.json",
        "dataset_dir": tmp_path / "images",
        "output_dir": tmp_path / "found",
    }
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        *(str(part) for name, value in options.items() for part in (f"--{name}", value)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in (tmp_path / "found").iterdir()} >= {"a_labels.png", "a_landmarks.csv"}


def test_a_bundle_that_is_none_or_damaged_is_told(bundle: Path, tmp_path: Path):
    import shutil

    with pytest.raises(SyntheXError, match=r"metadata\.json cannot be read"):
        load_model(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    weights = torch.load(copy / "models" / "model.pt", weights_only=True)
    del weights["segmentation_head.0.weight"]
    torch.save(weights, copy / "models" / "model.pt")
    with pytest.raises(SyntheXError, match=r"'segmentation_head\.0\.weight' is missing"):
        load_model(copy)
    torch.save({"a": Path("code")}, copy / "models" / "model.pt")  # a pickle of more than tensors
    with pytest.raises(SyntheXError, match="cannot be loaded as plain tensors"):
        load_model(copy)
    (copy / "models" / "model.pt").unlink()
    with pytest.raises(SyntheXError, match="found neither"):
        load_model(copy)


def test_an_existing_folder_is_left_alone(model: Path, bundle: Path, tmp_path: Path):
    with pytest.raises(SyntheXError, match="is there already"):
        write_bundle(model, bundle)
    with pytest.raises(SyntheXError, match="Cannot find"):
        write_bundle(tmp_path / "none.pt", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_onnx_gives_what_the_network_gives(model: Path, tmp_path: Path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    folder = tmp_path / "bundle"
    assert main(["bundle", str(model), "--onnx", "--out", str(folder)]) == 0
    told = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["export_differences"]
    assert set(told) == {"TorchScript", "ONNX"} and all(0 <= one < 1e-4 for one in told.values())
    session = runtime.InferenceSession(str(folder / "models" / "model.onnx"), providers=["CPUExecutionProvider"])
    x = torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(7))  # another input than the export's
    with torch.inference_mode():
        expected = JoinedOutput(load_model(model)[0], exclusive=True).eval()(x)
    found = torch.from_numpy(session.run(None, {"image": x.numpy()})[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_command_takes_ensembles_before_two_dashes_and_by_option(model: Path, bundle: Path, tmp_path: Path):
    log = (255 * -np.log(toy_view(0, 44)[0]) / 3).round().astype(np.uint8)
    image = str(write_image(tmp_path / "a.png", log))
    for number, arguments in enumerate(
        (
            ["--flip", "--device", "cpu", "--out", "OUT", str(model), str(bundle), "--", image],
            [str(model), image, "--model", str(bundle), "--flip", "--device", "cpu", "--out", "OUT"],
        )
    ):
        out = tmp_path / str(number)
        assert main(["infer", *(str(out) if one == "OUT" else one for one in arguments)]) == 0
        told = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
        assert Path(told["model"]["path"]) == model and [Path(one["path"]) for one in told["ensemble"]] == [bundle]
        assert told["views"] == ["plain", "flip"] and set(told["images"][0]["structure_spread"][0]) == set(
            Predictor.load(model).task.structure_names
        )
        assert (out / "a.mrk.json").is_file()
    with pytest.raises(SystemExit):
        main(["infer", str(model), "--out", str(tmp_path / "x")])
