"""The model file: whole, safe, and clear about what is wrong."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.model_file import ModelDescription, build_network, load_model, save_model
from SyntheXLib.tasks.task import load_task


def description(**changes: object) -> ModelDescription:
    values = {"size": "small", "image_size": (40, 64), "pixel_spacing_mm": 2.2, "task": load_task("hip").to_dict(), "heatmap_sigma_px": 1.8}
    return ModelDescription(**{**values, **changes})  # type: ignore[arg-type]


def saved(folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(folder / "model.pt", build_network(description()), description())
    return folder / "model.pt"


def content_of(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(description()).eval()
    told = description(training={"seed": 3, "datasets": [{"folder": "x", "checksum": "0" * 64}]}, source_to_isocenter_mm=700.0)
    save_model(tmp_path / "model.pt", network, told)
    loaded, read = load_model(tmp_path / "model.pt")
    assert read == ModelDescription.from_dict(json.loads(json.dumps(told.to_dict())))
    assert read.image_size == (40, 64)
    assert not loaded.training
    image = torch.randn(1, 1, 48, 64)
    with torch.inference_mode():
        for ours, theirs in zip(network(image), loaded(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_loading_draws_no_random_weights_and_imports_no_compiler(tmp_path: Path) -> None:
    # Both would be paid for with seconds of the first image.
    script = (
        "import sys, torch; from SyntheXLib.networks.model_file import load_model; state = torch.get_rng_state();"
        "load_model(sys.argv[1]); assert torch.equal(state, torch.get_rng_state()); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(saved(tmp_path))], check=True, timeout=120)


def test_the_network_follows_the_task() -> None:
    hip = load_task("hip").to_dict()
    network = build_network(description())
    assert (network.classes, network.landmarks) == (7, 14)
    # 40 rows become 48 for the network.
    assert network.transformer.embeddings.grid == (3, 4)
    network = build_network(description(task={**hip, "segmentation": "multilabel", "landmarks": []}))
    assert (network.classes, network.landmarks) == (6, 0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match=r"Cannot find the model file .*nothing\.pt"):
        load_model(tmp_path / "nothing.pt")


def test_another_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"text\.pt is not a model file"):
        load_model(tmp_path / "text.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(SyntheXError, match=r"other\.pt is not a SyntheX model file"):
        load_model(tmp_path / "other.pt")


def test_a_cut_off_file_is_no_model(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SyntheXError, match="is not a model file"):
        load_model(path)


class Evil:
    ran = False

    def __reduce__(self) -> tuple:
        return (setattr, (Evil, "ran", True))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil()))
    assert Evil.ran  # it would run
    Evil.ran = False
    torch.save({"format": "synthex-model", "version": 1, "description": Evil(), "weights": {}}, tmp_path / "evil.pt")
    with pytest.raises(SyntheXError, match=r"evil\.pt is not a model file"):
        load_model(tmp_path / "evil.pt")
    assert not Evil.ran


@pytest.mark.parametrize("key", ["description", "weights"])
def test_a_missing_part_is_named(tmp_path: Path, key: str) -> None:
    content = content_of(saved(tmp_path))
    del content[key]
    torch.save(content, tmp_path / "part.pt")
    with pytest.raises(SyntheXError, match=f"'{key}' is missing"):
        load_model(tmp_path / "part.pt")


@pytest.mark.parametrize("key", ["size", "image_size", "pixel_spacing_mm", "task", "heatmap_sigma_px"])
def test_a_missing_entry_of_the_description_is_named(tmp_path: Path, key: str) -> None:
    content = content_of(saved(tmp_path))
    del content["description"][key]
    torch.save(content, tmp_path / "part.pt")
    with pytest.raises(SyntheXError, match=f"'{key}' of the model description is missing"):
        load_model(tmp_path / "part.pt")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": "huge"}, "full, medium, small, found 'huge'"),
        ({"image_size": [64]}, "image_size"),
        ({"architecture": "unet"}, "'transunet'"),
    ],
)
def test_a_wrong_description_is_told(tmp_path: Path, change: dict, sentence: str) -> None:
    content = content_of(saved(tmp_path))
    content["description"].update(change)
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(SyntheXError, match=sentence):
        load_model(tmp_path / "wrong.pt")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    whole = content_of(saved(tmp_path))
    name = "segmentation_head.0.bias"
    for weights, sentence in [
        ({key: value for key, value in whole["weights"].items() if key != name}, f"'{name}' is missing"),
        ({**whole["weights"], name: torch.zeros(3)}, rf"'{name}' should have shape \(7,\), found \(3,\)"),
        ({**whole["weights"], "extra": torch.zeros(3)}, "unknown weight 'extra'"),
    ]:
        torch.save({**whole, "weights": weights}, tmp_path / "misfit.pt")
        with pytest.raises(SyntheXError, match=sentence):
            load_model(tmp_path / "misfit.pt")


def test_a_later_version_is_told(tmp_path: Path) -> None:
    torch.save({**content_of(saved(tmp_path)), "version": 99}, tmp_path / "later.pt")
    with pytest.raises(SyntheXError, match="version 99"):
        load_model(tmp_path / "later.pt")
