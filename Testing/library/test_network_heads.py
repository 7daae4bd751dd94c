"""Heads, read-out, networks of MONAI, and what a training starts from."""

import json
import math
from pathlib import Path

import pytest
import torch
from toy_training import config, toy_task, write_toy

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.heatmaps import find_peaks, gaussian_heatmaps, read_peaks, soft_peaks
from SyntheXLib.networks.losses import Targets, TaskLoss, presence_loss
from SyntheXLib.networks.model_file import ModelDescription, build_network, load_model, save_model
from SyntheXLib.networks.monai_network import MonaiNetwork
from SyntheXLib.networks.normalization import forward_any_size
from SyntheXLib.networks.transunet import NetworkOutput, TransUNet
from SyntheXLib.training.run import train

SIGMA = 2.5


def description(**changes: object) -> ModelDescription:
    return ModelDescription(
        **{
            "size": "small",
            "image_size": (64, 64),
            "pixel_spacing_mm": 1.0,
            "task": toy_task().to_dict(),
            "heatmap_sigma_px": SIGMA,
            **changes,
        }
    )


# Heads


def test_the_deep_head_is_not_linear_and_learns_with_the_rest() -> None:
    torch.manual_seed(0)
    network = TransUNet("small", 3, 2, (64, 64), landmark_head="deep", presence=True)
    output = network(torch.randn(2, 1, 64, 64))
    assert output.heatmaps.shape == (2, 2, 64, 64)
    assert output.presence.shape == (2, 2)
    (output.heatmaps.square().sum() + output.presence.square().sum()).backward()
    heads = [p for part in (network.landmark_head, network.presence_head) for p in part.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads)
    head = network.landmark_head.eval()
    joined = torch.randn(1, 19, 8, 8)
    with torch.inference_mode():
        assert (head(joined) + head(-joined) - 2 * head(torch.zeros_like(joined))).abs().max() > 1e-3


def test_without_a_presence_head_there_is_no_presence() -> None:
    output = TransUNet("small", 3, 2, (64, 64))(torch.randn(2, 1, 64, 64))
    assert output.presence.shape == (2, 0)
    cropped = forward_any_size(TransUNet("small", 3, 2, (64, 64), presence=True).eval(), torch.randn(1, 1, 50, 60))
    assert (cropped.segmentation.shape, cropped.presence.shape) == ((1, 3, 50, 60), (1, 2))


def test_presence_is_the_cross_entropy_over_known_landmarks() -> None:
    logits = torch.tensor([[2.0, -1.0, 5.0]])
    landmarks = torch.tensor([[[3.0, 4.0], [-9.0, 2.0], [math.nan, math.nan]]])
    visible = torch.tensor([[True, False, False]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert presence_loss(logits, landmarks, visible).item() == pytest.approx(expected, rel=1e-5)
    loss = TaskLoss(True, "ncc", SIGMA, presence_weight=0.5)
    maps = NetworkOutput(torch.randn(1, 3, 16, 16), torch.randn(1, 3, 16, 16))
    targets = Targets(torch.zeros(1, 1, 16, 16), landmarks, visible)
    without = loss(maps, targets)
    with_presence = loss(maps._replace(presence=logits), targets)
    assert (with_presence - without).item() == pytest.approx(0.5 * expected, rel=1e-4)
    assert loss.parts["presence"].item() == pytest.approx(expected, rel=1e-5)


# Read-out


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (200, -3), (0.01, 50)])
def test_the_centroid_finds_the_place_of_a_gaussian_whatever_its_scale(scale: float, offset: float) -> None:
    torch.manual_seed(0)
    places = torch.rand(4, 10, 2) * torch.tensor([40.0, 30.0]) + 10
    maps = gaussian_heatmaps(places, torch.ones(4, 10, dtype=torch.bool), (52, 64), SIGMA)
    torch.testing.assert_close(soft_peaks(scale * maps + offset, SIGMA), places, rtol=0, atol=0.01)
    assert torch.equal(read_peaks(maps, SIGMA, "centroid"), soft_peaks(maps, SIGMA))
    assert torch.equal(read_peaks(maps, SIGMA), find_peaks(maps))


def test_the_centroid_is_steadier_under_noise_than_the_parabola() -> None:
    torch.manual_seed(0)
    places = torch.rand(8, 20, 2) * 30 + 15
    maps = gaussian_heatmaps(places, torch.ones(8, 20, dtype=torch.bool), (64, 64), SIGMA) + 0.1 * torch.randn(8, 20, 64, 64)
    errors = {
        name: torch.linalg.vector_norm(read_peaks(maps, SIGMA, name) - places, dim=-1).mean().item() for name in ("parabola", "centroid")
    }
    assert errors["centroid"] < 0.5 * errors["parabola"]


def test_the_centroid_stays_inside_flat_and_border_maps_and_can_be_differentiated() -> None:
    flat = soft_peaks(torch.zeros(1, 1, 20, 20), SIGMA)
    assert torch.isfinite(flat).all()
    border = gaussian_heatmaps(torch.tensor([[[0.0, 19.0]]]), torch.ones(1, 1, dtype=torch.bool), (20, 20), SIGMA).requires_grad_()
    found = soft_peaks(border, SIGMA)
    assert found.min() >= 0 and found.max() <= 19
    (gradient,) = torch.autograd.grad(soft_peaks(border * 1.0, SIGMA).sum(), border, allow_unused=False)
    assert torch.isfinite(gradient).all()


# Networks of MONAI


def test_a_network_of_monai_is_named_described_saved_and_loaded(tmp_path: Path) -> None:
    wanted = description(architecture="monai:BasicUNet", options={"features": [8, 8, 16, 16, 32, 8], "readout": "centroid"})
    network = build_network(wanted).eval()
    assert isinstance(network, MonaiNetwork)
    save_model(tmp_path / "model.pt", network, wanted)
    loaded, found = load_model(tmp_path / "model.pt")
    assert found.to_dict() == wanted.to_dict()
    image = torch.randn(1, 1, 40, 50)
    with torch.inference_mode():
        ours, theirs = forward_any_size(network, image), forward_any_size(loaded, image)
    assert (ours.segmentation.shape, ours.heatmaps.shape) == ((1, 3, 40, 50), (1, 2, 40, 50))
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_swin_unetr_in_two_dimensions_learns_a_step() -> None:
    pytest.importorskip("einops")
    network = build_network(description(architecture="monai:SwinUNETR", options={"feature_size": 12}))
    image = torch.randn(1, 1, 64, 64)
    output = network(image)
    targets = Targets(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), torch.full((1, 2, 2), 20.0), torch.ones(1, 2, dtype=torch.bool))
    TaskLoss(True, "ncc", SIGMA)(output, targets).backward()
    assert output.segmentation.shape == (1, 3, 64, 64)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "monai:SwimUNETR"}, r"found none of that name \(did you mean 'SwinUNETR'\?\)"),
        ({"architecture": "monai:BasicUNet", "options": {"feature": [1]}}, "cannot be made with the options .*feature"),
        ({"architecture": "monai:BasicUNet", "options": {"out_channels": 3}}, "'out_channels' .* is set by the task"),
        ({"architecture": "unet"}, "must be 'transunet' or 'monai:NAME', found 'unet'"),
        ({"options": {"landmark_heads": "deep"}}, r"did you mean 'landmark_head'"),
        ({"options": {"landmark_head": "wide"}}, "must be one of linear, deep, found 'wide'"),
        ({"options": {"presence": 1}}, "must be true or false, found 1"),
        ({"options": {"readout": "mean"}}, "must be one of parabola, centroid, found 'mean'"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_sentence(changes: dict, sentence: str) -> None:
    with pytest.raises(SyntheXError, match=sentence):
        build_network(description(**changes))


# Starts


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("few") / "data", 8)


def test_a_training_starts_from_a_model_file_and_writes_that_into_the_record(few: Path, tmp_path: Path) -> None:
    options = json.dumps({"landmark_head": "deep", "presence": True, "readout": "centroid"})
    first = train(config(few, tmp_path / "first", epochs=1, network_options=options))
    model, found = load_model(first.model)
    assert found.training["start"] == "random"
    assert found.options == {"landmark_head": "deep", "presence": True, "readout": "centroid"}
    # With a rate of almost nothing the weights stay those that it starts from.
    second = train(
        config(
            few, tmp_path / "second", epochs=1, network_options=options, pretrained=str(first.model), learning_rate=1e-12, weight_decay=0.0
        )
    )
    again, found = load_model(second.model)
    start = found.training["start"]
    assert start["file"] == "model.pt" and len(start["sha256"]) == 64
    for (name, ours), theirs in zip(again.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6, msg=name)


def test_the_full_size_asks_for_weights_or_for_a_random_start(few: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="--random-start"):
        train(config(few, tmp_path, size="full"))
    with pytest.raises(SyntheXError, match="contradict"):
        train(config(few, tmp_path, pretrained="x.npz", random_start=True))
    with pytest.raises(SyntheXError, match="must be a JSON table"):
        train(config(few, tmp_path, network_options="deep"))
