"""A MONAI bundle of weights and a configuration: what it gives, and what of it is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": "@dimensions",
    "in_channels": 1,
    "out_channels": 3,
    "channels": ["@width#first", "$2 * 4 + 8"],
    "strides": "$[2]",
    "act": ["PRELU", {"init": 0.25}],
}
METADATA = {
    "network_data_format": {
        "inputs": {"image": {"spatial_shape": [16, 16, 16]}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "soft tissue", "2": "bone"}}},
    }
}


def write_bundle(folder: Path, network: object = None, weights: object = None, suffix: str = "json") -> Path:
    """A bundle as MONAI's are, with what surrounds the network; without `weights`, those of the network it should be."""
    (folder / "models").mkdir(parents=True)
    (folder / "configs").mkdir()
    configuration = {
        "imports": ["$import os"],
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "dimensions": 3,
        "width": {"first": 8},
        "network_def": NETWORK if network is None else network,
        "network": "$@network_def.to(@device)",
    }
    # JSON is YAML.
    (folder / "configs" / f"inference.{suffix}").write_text(json.dumps(configuration), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    torch.save(expected_network().state_dict() if weights is None else weights, folder / "models" / "model.pt")
    return folder


def expected_network() -> "torch.nn.Module":
    from monai.networks.nets import UNet

    torch.manual_seed(3)
    return UNet(3, 1, 3, (8, 16), (2,), act=("PRELU", {"init": 0.25}))


@pytest.mark.parametrize("full_name", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_bundle_gives_its_network_with_its_weights(tmp_path: Path, full_name: bool, checkpoint: bool) -> None:
    from SyntheXLib.networks.material_network import load_material_network

    network = NETWORK | ({"_target_": "monai.networks.nets.UNet", "_desc_": "a text"} if full_name else {})
    weights = {"model": expected_network().state_dict(), "epoch": 7} if checkpoint else None
    loaded = load_material_network(write_bundle(tmp_path / "bundle", network, weights))
    assert loaded.materials == ("air", "soft_tissue", "cortical_bone") and loaded.window == (16, 16, 16)
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded.network.eval()(image), expected_network().eval()(image))
    index = loaded.segment(np.full((16, 16, 16), 40, np.int16), np.ones(3), "cpu")
    assert index.shape == (16, 16, 16) and index.max() < 3


def test_yaml_serves_as_well(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    from SyntheXLib.networks.bundle_network import load_bundle_network

    assert isinstance(load_bundle_network(write_bundle(tmp_path / "b", suffix="yaml")), type(expected_network()))


def test_numbers_are_no_files(tmp_path: Path) -> None:
    from SyntheXLib.networks.bundle_network import load_bundle_network

    with pytest.raises(SyntheXError, match="cannot be built"):  # UNet knows no drop_path_rate, but it comes to that
        load_bundle_network(write_bundle(tmp_path / "b", NETWORK | {"drop_path_rate": 0.1}))


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (NETWORK | {"_target_": "os.system", "command": "touch evil"}, "the target 'os.system'"),
        (NETWORK | {"_target_": "torch.hub.load"}, "the target 'torch.hub.load'"),
        # Names that begin well and lead elsewhere.
        (NETWORK | {"_target_": "torch.nn.functional.torch.hub.load"}, "the target 'torch.nn.functional"),
        (NETWORK | {"_target_": "monai.networks.utils.eval_mode"}, "the target 'monai.networks.utils"),
        (NETWORK | {"_target_": "torch.nn.utils.rnn.warnings.os.system"}, "the target"),
        (NETWORK | {"_target_": "torch.nnx.Thing"}, "the target"),
        (NETWORK | {"act": {"_target_": "builtins.eval", "source": "1"}}, "the target 'builtins.eval'"),
        (NETWORK | {"channels": "$__import__('os').system('touch evil')"}, "the expression"),
        (NETWORK | {"channels": "$[open('evil', 'w'), 16]"}, "the expression"),
        (NETWORK | {"channels": "$[0] * 9999999999"}, "the expression"),
        (NETWORK | {"channels": "$10 ** 10 ** 10"}, "the expression"),
        (NETWORK | {"channels": "@device"}, "the expression"),
        (NETWORK | {"channels": "@nothing::there"}, "to nothing"),
        (NETWORK | {"channels": "@network_def"}, "circles"),
        (NETWORK | {"channels": "%other.json::channels"}, "'%other"),
        (NETWORK | {"_mode_": "callable"}, "the entry '_mode_'"),
        (NETWORK | {"_requires_": "$print(1)"}, "the entry '_requires_'"),
        (NETWORK | {"pretrained": True}, "the argument pretrained"),
    ],
)
def test_what_could_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: dict, what: str) -> None:
    from SyntheXLib.networks.bundle_network import load_bundle_network

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SyntheXError, match=r"is not run because its network has .*expected networks of monai.networks or torch.nn") as told:
        load_bundle_network(write_bundle(tmp_path / "bundle", network))
    assert what in str(told.value) and not (tmp_path / "evil").exists()


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


def test_weights_that_are_more_or_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXLib.networks.bundle_network import load_bundle_network

    monkeypatch.chdir(tmp_path)
    for name, weights, expected in (
        ("pickle", {"model": Evil()}, "holds more than weights, which could run code"),
        ("module", expected_network(), "holds more than weights, which could run code"),
        ("list", [1, 2], "must hold the weights of a network"),
        ("other", torch.nn.Linear(2, 2).state_dict(), "does not fit the network of inference.json"),
    ):
        with pytest.raises(SyntheXError, match=expected):
            load_bundle_network(write_bundle(tmp_path / name, weights=weights))
    assert not (tmp_path / "evil").exists()
    broken = write_bundle(tmp_path / "broken")
    (broken / "models" / "model.pt").write_bytes(b"no zip")
    with pytest.raises(SyntheXError, match=r"model.pt"):
        load_bundle_network(broken)


def test_a_configuration_that_is_none_is_told(tmp_path: Path) -> None:
    from SyntheXLib.networks.bundle_network import load_bundle_network

    bundle = write_bundle(tmp_path / "one", NETWORK | {"strides": []})
    with pytest.raises(SyntheXError, match=r"inference.json cannot be built"):
        load_bundle_network(bundle)
    (bundle / "configs" / "inference.json").write_text("{", encoding="utf-8")
    with pytest.raises(SyntheXError, match=r"inference.json cannot be read"):
        load_bundle_network(bundle)
    (bundle / "configs" / "inference.json").write_text('{"network": 1}', encoding="utf-8")
    with pytest.raises(SyntheXError, match="must describe the network as network_def"):
        load_bundle_network(bundle)
    (bundle / "configs" / "inference.json").unlink()
    with pytest.raises(SyntheXError, match=r"expected configs/inference.json \(or .yaml\)"):
        load_bundle_network(bundle)
