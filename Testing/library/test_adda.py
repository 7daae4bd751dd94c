"""ADDA: what its steps minimise, whose turn it is, and that it pulls the predictions of two domains together."""

import math
from pathlib import Path

import pytest
import torch
from test_cyclegan import SIDE, write_domain
from toy_training import config

from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.discriminators import confusion_loss, domain_loss, relativistic_loss
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.networks.normalization import forward_any_size, normalize
from SyntheXLib.training.adda import PRESETS, AddaConfig, AddaRun, train_adda
from SyntheXLib.training.run import train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domain(tmp_path_factory.mktemp("source") / "data", 12, seed=0, specimens=("a", "b"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domain(tmp_path_factory.mktemp("target") / "data", 10, seed=7, dark=True)


@pytest.fixture(scope="module")
def model(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = train(config(source, tmp_path_factory.mktemp("trained"), epochs=2, validation_fraction=0.0))
    assert result.model is not None
    return result.model


def settings(model: Path, source: Path, target: Path, out: Path, preset: str = "paper-text", **changes: object) -> AddaConfig:
    values = {**PRESETS[preset], "epochs": 2, "batch": 4, "images_per_epoch": 8, "threads": 1}
    return AddaConfig(model=str(model), source=(str(source),), target=(str(target),), out=str(out), **{**values, **changes})


def built(made: AddaConfig) -> AddaRun:
    run = AddaRun(made)
    torch.manual_seed(0)
    run.build()
    return run


def test_the_presets_have_the_weights_of_paper_and_code() -> None:
    paper, code = (
        AddaConfig(model="m", source=("a",), target=("b",), out="c", **PRESETS[name]) for name in ("paper-text", "released-code")
    )
    assert (paper.adversarial_weight, paper.reconstruction_weight, paper.heatmap_loss) == (0.001, 0.01, "mse")
    assert (code.adversarial_weight, code.reconstruction_weight, code.heatmap_loss, code.epochs) == (0.01, 0, "ncc", 50)
    with pytest.raises(SyntheXError, match=r"must be 0, found 0\.01"):
        AddaConfig(model="m", source=("a",), target=("b",), out="c", variant="released-code")


def test_the_released_code_takes_twenty_and_five_turns_and_halves_by_its_own_steps(
    model: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    run = built(settings(model, source, target, tmp_path, "released-code"))
    batch = run.source.tensors.load([0, 1]), run.target.tensors.load([0, 1])
    kinds = ["discriminator_loss" in run.step(*batch, iteration) for iteration in range(50)]
    assert kinds == ([True] * 20 + [False] * 5) * 2
    # 625 iterations are 500 steps of the discriminator and 125 of the network.
    assert run.rate("discriminator", 619) == 1e-3
    assert run.rate("discriminator", 625) == 5e-4
    assert (run.rate("task", 2499), run.rate("task", 2500)) == (1e-4, 5e-5)
    assert built(settings(model, source, target, tmp_path)).rate("task", 10**6) == 1e-4


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_step_minimises_the_sum_that_the_paper_or_the_code_has(
    preset: str, model: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    run = built(settings(model, source, target, tmp_path, preset))
    for module in run.modules.values():
        module.eval()
    for optimizer in run.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 0.0
    here, there = run.source.tensors.load([0, 1]), run.target.tensors.load([2, 3])
    parts = {**run.step(here, there, 0), **run.step(here, there, 24)}
    images = normalize(here.image), normalize(there.image)
    with torch.no_grad():
        outputs = [run.network(image) for image in images]
        task = run.loss(outputs[0], Targets(here.labels, here.landmarks, here.visible)).item()
        if preset == "released-code":
            judged = [run.network.features(image)[0] for image in images]
            assert judged[0].shape[1] == 16
        else:
            judged = [torch.cat([o.segmentation.softmax(1), o.heatmaps / o.heatmaps.abs().amax((2, 3), keepdim=True)], 1) for o in outputs]
        logits = [run.modules["discriminator"](maps) for maps in judged]
        if preset == "released-code":
            discriminator, adversarial, rebuilt = relativistic_loss(*logits), relativistic_loss(*reversed(logits)), torch.zeros(())
        else:
            discriminator, adversarial = domain_loss(*logits), confusion_loss(logits[1])
            rebuilt = (run.modules["decoder"](judged[1]).segmentation - images[1]).square().mean()
    assert parts["discriminator_loss"] == pytest.approx(discriminator.item(), rel=1e-4)
    assert parts["adversarial_loss"] == pytest.approx(adversarial.item(), rel=1e-4)
    weights = run.config.adversarial_weight, run.config.reconstruction_weight
    assert parts["loss"] == pytest.approx(task + weights[0] * adversarial.item() + weights[1] * rebuilt.item(), rel=1e-4)


def test_the_discriminator_learns_and_the_network_moves_towards_what_it_takes_for_source(
    model: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    run = built(settings(model, source, target, tmp_path, adversarial_weight=1.0))
    here, there = run.source.tensors.load(list(range(3))), run.target.tensors.load(list(range(3)))
    pictures = {"source": normalize(here.image), "target": normalize(there.image)}
    run.optimizers["discriminator"].param_groups[0]["lr"] = 1e-2
    costs = [run._discriminate(pictures)["discriminator_loss"] for _ in range(40)]
    assert costs[-1] < 0.8 * costs[0] < 0.8 * 1.2 * math.log(2)
    truth = Targets(here.labels, here.landmarks, here.visible)
    run.optimizers["task"].param_groups[0]["lr"] = 1e-3
    fooled = [run._learn_task(pictures, truth)["adversarial_loss"] for _ in range(10)]
    assert fooled[-1] < 0.7 * fooled[0]


def test_both_domains_are_randomised_by_seed_and_epoch(model: Path, source: Path, target: Path, tmp_path: Path) -> None:
    plain = built(settings(model, source, target, tmp_path))
    batch = plain.source.tensors.load([0, 1, 2])
    assert torch.equal(plain._load(batch).image, batch.image)
    run = built(settings(model, source, target, tmp_path, randomization="strong"))
    seen = []
    for epoch in (1, 2, 1):
        run.begin_epoch(epoch)
        seen.append([run._load(batch) for _ in range(2)])
    assert all(torch.equal(ours.image, theirs.image) for ours, theirs in zip(seen[0], seen[2], strict=True))
    assert not torch.equal(seen[0][0].image, seen[0][1].image) and not torch.equal(seen[0][0].image, seen[1][0].image)
    assert built(settings(model, source, target, tmp_path, "released-code")).randomization is not None
    with pytest.raises(SyntheXError, match="'randomization' must be one of none, regular, strong, found 'weak'"):
        settings(model, source, target, tmp_path, randomization="weak")


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_stopped_run_goes_on_to_the_model_of_an_undisturbed_one(
    preset: str, model: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    whole = train_adda(settings(model, source, target, tmp_path / "whole", preset))
    stopped = train_adda(
        settings(model, source, target, tmp_path / "cut", preset), lambda state: not (state.epoch == 2 and state.images >= 12)
    )
    assert (stopped.model, stopped.epochs) == (None, 1)
    again = train_adda(settings(model, source, target, tmp_path / "cut", preset))
    ours, theirs = (load_model(result.model)[0].state_dict() for result in (whole, again))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_the_command_writes_a_model_that_infers_and_says_where_it_comes_from(
    model: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    command = ["adapt", "adda", str(source), "--model", str(model), "--target", str(target), "--out", str(tmp_path), "--held-out", "b"]
    assert main([*command, "--epochs", "1", "--images-per-epoch", "4", "--batch", "2", "--threads", "1", "--device", "cpu"]) == 0
    network, description = load_model(tmp_path / "model.pt")
    record = description.training
    assert record["adda"]["held_out"] == ["b"]
    assert (record["adda"]["adversarial_weight"], record["start"]) == (0.001, "random")
    image = torch.from_numpy(XrayDataset(target)[0].image)[None, None]
    with torch.inference_mode():
        assert forward_any_size(network, normalize(image)).segmentation.shape == (1, 3, SIDE, SIDE)


def test_data_that_do_not_fit_the_model_are_refused(model: Path, tmp_path: Path) -> None:
    other = write_domain(tmp_path / "fine", 5, seed=1, spacing=1.0)
    with pytest.raises(SyntheXError, match=r"was trained with another pixel spacing than .*fine has, expected 2.0, found 1.0"):
        train_adda(settings(model, other, other, tmp_path / "run"))
