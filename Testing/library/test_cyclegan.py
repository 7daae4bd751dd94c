"""CycleGAN: its parts against closed forms, a map of greys that it learns, resume, and the translated data set."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import SIZE, toy_sample, toy_task

from SyntheXLib.cli import main
from SyntheXLib.datasets.format import DatasetHeader, check_shard, write_header
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.datasets.writer import write_shard
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.discriminators import (
    MapDiscriminator,
    PatchDiscriminator,
    confusion_loss,
    discriminator_loss,
    domain_loss,
    generator_loss,
    relativistic_loss,
)
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.networks.translation import GrayRange, ResNetGenerator, blocks_for, translate_any_size
from SyntheXLib.networks.translator_file import Translator, load_translator, save_translator
from SyntheXLib.training.cyclegan import PRESETS, CycleGanConfig, CycleGanRun, train_cyclegan
from SyntheXLib.training.domains import open_domains
from SyntheXLib.training.image_pool import ImagePool
from SyntheXLib.training.report import TrainingProgress
from SyntheXLib.training.translated import translate_dataset

SIDE = 48


def write_domain(
    folder: Path, count: int, seed: int, dark: bool = False, specimens: tuple[str, ...] = ("a",), spacing: float = 2.0
) -> Path:
    """Toy images, enlarged to 48 pixels; a dark domain has the log image 2 - x / 2 where the other has x."""
    task = toy_task()
    configuration = {
        "image_size": SIDE,
        "pixel_spacing_mm": spacing,
        "source_to_detector_mm": 1020.0,
        "image_dtype": "float32",
        "level": "naive",
    }
    known = tuple({"name": name, "ct": [f"ct of {name}"]} for name in specimens)
    write_header(folder, DatasetHeader(task, known, configuration, seed, count, shard_size=5))
    grow = np.arange(SIDE) * SIZE // SIDE
    for shard in range(math.ceil(count / 5)):
        samples = []
        for number in range(5 * shard, min(5 * shard + 5, count)):
            sample = toy_sample(number, seed, task)
            absorbed = -np.log(sample["image"][np.ix_(grow, grow)])
            sample["image"] = np.exp(-(2 - absorbed / 2 if dark else absorbed)).astype(np.float32)
            sample["mask"] = sample["mask"][np.ix_(grow, grow)]
            sample["landmark"] = ((sample["landmark"] + 0.5) * SIDE / SIZE - 0.5).astype(np.float32)
            sample["parameters"] = {**sample["parameters"], "specimen": specimens[number % len(specimens)]}
            samples.append(sample)
        write_shard(folder, shard, 5 * shard, samples, 0.0)
    return folder


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domain(tmp_path_factory.mktemp("bright") / "data", 12, seed=0)


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domain(tmp_path_factory.mktemp("dark") / "data", 10, seed=7, dark=True)


def settings(bright: Path, dark: Path, out: Path, **changes: object) -> CycleGanConfig:
    values = {"epochs": 3, "images_per_epoch": 4, "width": 4, "discriminator_width": 4, "blocks": 1, "threads": 1, "pool": 3}
    return CycleGanConfig(source=(str(bright),), target=(str(dark),), out=str(out), **{**values, **changes})


# Networks


def test_the_generator_has_the_size_of_zhus_and_keeps_the_shape() -> None:
    count = sum(p.numel() for p in ResNetGenerator(9, 64).parameters())
    # Weights and biases: 7x7 in, two halvings, 9 blocks of two convolutions, two doublings, 7x7 out.
    halvings = 9 * (64 * 128 + 128 * 256) + 128 + 256
    doublings = 9 * (256 * 128 + 128 * 64) + 128 + 64
    assert count == (49 * 64 + 64) + halvings + 9 * 2 * (9 * 256**2 + 256) + doublings + (49 * 64 + 1)
    generator = ResNetGenerator(1, 4).eval()
    with torch.inference_mode():
        image = torch.rand(2, 1, 50, 46) * 2 - 1
        made = translate_any_size(generator, image)
    assert made.shape == image.shape
    assert made.abs().max() <= 1
    assert [blocks_for(side) for side in (96, 128, 255, 256, 360)] == [6, 6, 6, 9, 9]


def test_one_output_of_the_discriminator_sees_seventy_pixels() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(4)
    assert [type(m) for m in critic.modules() if isinstance(m, torch.nn.InstanceNorm2d)] == [torch.nn.InstanceNorm2d] * 3
    for module in critic.modules():  # an instance norm makes every pixel depend on all: the field is that of the convolutions
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda features: features  # type: ignore[method-assign]
    image = torch.rand(1, 1, 160, 160, requires_grad=True)
    logits = critic(image)
    assert logits.shape == (1, 1, 18, 18)
    logits[0, 0, 9, 9].backward()
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (70, 70)


def test_the_map_discriminator_gives_a_logit_a_pixel() -> None:
    critic = MapDiscriminator(16)
    assert [m.out_channels for m in critic if isinstance(m, torch.nn.Conv2d)] == [16, 8, 4, 1]
    assert critic(torch.randn(2, 16, 20, 24)).shape == (2, 1, 20, 24)


# Losses


def test_losses_against_values_computed_by_hand() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5])

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    log = -(math.log(sigmoid(2)) + math.log(sigmoid(-1))) / 2 - math.log(1 - sigmoid(0.5))
    assert discriminator_loss("log", real, fake).item() == pytest.approx(log, rel=1e-6)
    assert generator_loss("log", fake).item() == pytest.approx(math.log(1 - sigmoid(0.5)), rel=1e-6)
    assert discriminator_loss("least-squares", real, fake).item() == pytest.approx(((1 + 4) / 2 + 0.25) / 2)
    assert generator_loss("least-squares", fake).item() == pytest.approx(0.25)
    source, target = real, torch.tensor([0.3, -0.7])
    bce = -(math.log(sigmoid(2)) + math.log(sigmoid(-1)) + math.log(1 - sigmoid(0.3)) + math.log(1 - sigmoid(-0.7))) / 4
    assert domain_loss(source, target).item() == pytest.approx(bce, rel=1e-6)
    assert confusion_loss(target).item() == pytest.approx(-(math.log(sigmoid(0.3)) + math.log(sigmoid(-0.7))) / 2, rel=1e-6)
    pairs = [sigmoid(sigmoid(2) - sigmoid(0.3)), sigmoid(sigmoid(-1) - sigmoid(-0.7))]
    assert relativistic_loss(source, target).item() == pytest.approx(-sum(map(math.log, pairs)) / 2, rel=1e-6)
    with pytest.raises(SyntheXError, match="log, least-squares, found 'hinge'"):
        generator_loss("hinge", fake)


@pytest.mark.parametrize(("batch", "advice"), [(4, "--batch 2"), (1, "a smaller --crop or --width")])
def test_too_little_memory_names_what_to_try(
    bright: Path, dark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, advice: str
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ResNetGenerator, "forward", fail)
    with pytest.raises(SyntheXError, match=rf"does not hold a batch of {batch} images of \d+ x \d+ px: try {advice}\.$"):
        train_cyclegan(settings(bright, dark, tmp_path / "run", batch=batch))


@pytest.mark.parametrize("kind", ["log", "least-squares"])
def test_a_generator_is_drawn_to_what_the_discriminator_takes_for_real(kind: str) -> None:
    fake = torch.tensor([-1.0, 0.2], requires_grad=True)
    generator_loss(kind, fake).backward()
    assert (fake.grad < 0).all()
    real = torch.zeros(2, requires_grad=True)
    made = torch.zeros(2, requires_grad=True)
    discriminator_loss(kind, real, made).backward()
    assert (real.grad < 0).all()
    # Least squares at 0 is content with what is made; the logarithm pushes it away.
    assert (made.grad > 0).all() if kind == "log" else (made.grad == 0).all()


# Pool, ranges, order


def test_the_pool_keeps_its_size_and_hands_out_old_images() -> None:
    pool, generator = ImagePool(5), torch.Generator().manual_seed(0)
    first = torch.arange(5.0).reshape(5, 1, 1, 1)
    assert torch.equal(pool.exchange(first, generator), first)
    shown = [float(pool.exchange(torch.full((1, 1, 1, 1), 10.0 + n), generator)) for n in range(400)]
    assert len(pool.images) == 5
    new = sum(value == 10.0 + n for n, value in enumerate(shown)) / 400
    assert 0.4 < new < 0.6
    assert {0.0, 1.0, 2.0, 3.0, 4.0} <= set(shown)
    assert torch.equal(ImagePool(0).exchange(first, generator), first)


def test_a_gray_range_cuts_a_thousandth_off_and_comes_back() -> None:
    images = torch.linspace(0, 10, 10001)
    gray = GrayRange.of(images)
    assert (gray.low, gray.high) == (pytest.approx(0.01, abs=1e-3), pytest.approx(9.99, abs=1e-3))
    torch.testing.assert_close(gray.unscale(gray.scale(images)), images.clamp(gray.low, gray.high))
    flat = GrayRange.of(torch.full((4, 4), 3.0))
    assert torch.isfinite(flat.scale(torch.full((2, 2), 3.0))).all()


# The split


def test_held_out_specimens_are_in_neither_domain(tmp_path: Path) -> None:
    source = write_domain(tmp_path / "source", 9, seed=0, specimens=("a", "b", "c"))
    target = write_domain(tmp_path / "target", 8, seed=1, dark=True, specimens=("c", "d"))
    first, second, gone = open_domains([source], [target], ["c"], [])
    assert gone == ("c",)
    assert first.places == [0, 1, 3, 4, 6, 7]
    assert second.places == [1, 3, 5, 7]
    # The specimens of a data set for the test, by their CT.
    test = write_domain(tmp_path / "test", 4, seed=2, specimens=("a", "d"))
    first, second, gone = open_domains([source], [target], [], [test])
    assert (first.places, second.places, gone) == ([1, 2, 4, 5, 7, 8], [0, 2, 4, 6], ("a", "d"))
    order = first.order(10, 0, "source", 1)
    assert sorted(order[:6]) == first.places and set(order) == set(first.places)
    assert order != first.order(10, 0, "source", 2)
    with pytest.raises(SyntheXError, match="'x' that is to be held out must be one of a, b, c, d"):
        open_domains([source], [target], ["x"], [])
    with pytest.raises(SyntheXError, match=r"Nothing is left of .*target"):
        open_domains([source], [target], ["c", "d"], [])


def test_domains_must_have_the_same_pixels(bright: Path, tmp_path: Path) -> None:
    other = write_domain(tmp_path / "fine", 5, seed=1, spacing=1.0)
    with pytest.raises(SyntheXError, match="same pixel spacing, found 2 and 1 mm"):
        open_domains([bright], [other], [], [])


# Runs


def test_a_known_map_of_greys_is_learned(bright: Path, dark: Path, tmp_path: Path) -> None:
    """From x to 2 - x / 2: the gan never sees a pair, and must turn bright into dark."""
    small = {"width": 6, "discriminator_width": 6, "batch": 2}
    config = settings(bright, dark, tmp_path, epochs=8, images_per_epoch=24, learning_rate=3e-3, decay_epochs=3, **small)
    result = train_cyclegan(config)
    translator = load_translator(result.model)
    dataset = XrayDataset(bright)
    absorbed = log_image(torch.stack([torch.from_numpy(dataset[n].image)[None] for n in range(len(dataset))]))
    made = translator(absorbed)
    wanted = 2 - absorbed / 2
    correlation = torch.corrcoef(torch.stack([made.flatten(), wanted.flatten()]))[0, 1].item()
    untouched = torch.corrcoef(torch.stack([absorbed.flatten(), wanted.flatten()]))[0, 1].item()
    assert untouched < -0.99
    assert correlation > 0.7
    assert (made - wanted).abs().mean().item() < 0.1 < 1 < (absorbed - wanted).abs().mean().item()


@pytest.fixture(scope="module")
def whole(bright: Path, dark: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gan")
    train_cyclegan(settings(bright, dark, folder))
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_translator(folder / "translator.pt").generator.state_dict())


def test_a_stopped_run_goes_on_to_the_translator_of_an_undisturbed_one(whole: Path, bright: Path, dark: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []

    def stop_in_the_third_epoch(state: TrainingProgress) -> bool:
        seen.append(state)
        return not (state.epoch == 3 and state.images >= 9)

    stopped = train_cyclegan(settings(bright, dark, tmp_path), stop_in_the_third_epoch)
    assert (stopped.model, stopped.epochs) == (None, 2)
    assert not (tmp_path / "translator.pt").exists()
    assert stopped.stopped == tmp_path / "stopped.pt"
    moment = load_translator(stopped.stopped).generator.state_dict()
    assert any(not torch.equal(value, weights_of(whole)[name]) for name, value in moment.items())
    assert (seen[0].epochs, seen[0].images_in_all) == (3, 12)
    finished = train_cyclegan(settings(bright, dark, tmp_path))
    assert (finished.epochs, finished.stopped) == (3, None) and not (tmp_path / "stopped.pt").exists()
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").startswith("epoch,loss,adversarial_loss,cycle_loss,discriminator_loss,")
    ours, theirs = weights_of(whole), weights_of(tmp_path)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_file_named_stop_stops_the_run(bright: Path, dark: Path, tmp_path: Path) -> None:
    asked: list[TrainingProgress] = []

    def ask(state: TrainingProgress) -> None:
        asked.append(state)
        (tmp_path / "stop").touch()

    stopped = train_cyclegan(settings(bright, dark, tmp_path), ask)
    assert (len(asked), stopped.epochs, stopped.model) == (1, 0, None) and stopped.stopped is not None


def test_a_finished_run_does_nothing_and_other_settings_are_refused(
    whole: Path, bright: Path, dark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (whole / "translator.pt").stat().st_mtime_ns
    train_cyclegan(settings(bright, dark, whole))
    assert "is finished (3 epochs)" in capsys.readouterr().out
    assert (whole / "translator.pt").stat().st_mtime_ns == before
    with pytest.raises(SyntheXError, match=r"option 'cycle_weight' was 10.0, now it is 5"):
        train_cyclegan(settings(bright, dark, whole, cycle_weight=5))
    with pytest.raises(SyntheXError, match="data 'data set 1' was"):
        train_cyclegan(settings(dark, dark, whole))


def test_the_rate_falls_in_the_last_epochs_and_the_presets_differ_in_the_loss(bright: Path, dark: Path, tmp_path: Path) -> None:
    run = CycleGanRun(settings(bright, dark, tmp_path, epochs=10, decay_epochs=4, learning_rate=1.0))
    rates = [run.rate("generators", epoch * run.iterations) for epoch in range(10)]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    made = {name: CycleGanConfig(source=("a",), target=("b",), out="c", **values) for name, values in PRESETS.items()}
    assert (made["ours"].adversarial_loss, made["paper-text"].adversarial_loss) == ("least-squares", "log")
    assert (made["ours"].cycle_weight, made["ours"].pool) == (10, 50)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adversarial_loss": "hinge"}, "log, least-squares, found 'hinge'"),
        ({"epochs": 0}, "'epochs' must be at least 1, found 0"),
        ({"crop": 32}, "'crop' must be at least 48, found 32"),
        ({"source": ()}, "'source' must name at least one"),
        ({"cycle_weight": math.nan}, "'cycle_weight' must be at least 0, found nan"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(SyntheXError, match=sentence):
        CycleGanConfig(**{"source": ("a",), "target": ("b",), "out": "c", **changes})


# The translated data set


def test_the_translated_data_set_is_whole_and_has_all_labels(whole: Path, bright: Path, tmp_path: Path) -> None:
    translate_dataset(bright, whole / "translator.pt", tmp_path / "out", "cpu")
    original, made = XrayDataset(bright), XrayDataset(tmp_path / "out")
    for shard in range(made.header.shard_count):
        check_shard(made.folder, shard, checksum=True)
    assert len(made) == len(original)
    assert made.header.configuration["level"] == "naive-cyclegan"
    assert made.header.configuration["origin"]["translated_from"] == original.checksum()
    translator = load_translator(whole / "translator.pt")
    for n in range(len(made)):
        ours, theirs = made[n], original[n]
        for name in ("mask", "landmarks", "visible", "world_to_camera", "intrinsics"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert ours.parameters == theirs.parameters
        expected = torch.exp(-translator(log_image(torch.from_numpy(theirs.image)[None, None])))[0, 0].numpy()
        np.testing.assert_allclose(ours.image, expected, rtol=1e-4, atol=1e-5)
        assert not np.allclose(ours.image, theirs.image, atol=0.01)
    assert main(["dataset", "check", str(tmp_path / "out")]) == 0


def test_held_out_specimens_are_not_translated_unless_asked_for(tmp_path: Path) -> None:
    data = write_domain(tmp_path / "data", 6, seed=0, specimens=("a", "b"))
    translator = Translator(ResNetGenerator(1, 4), GrayRange(0, 2), GrayRange(0, 2), 2.0, ("b",))
    save_translator(tmp_path / "t.pt", translator)
    translate_dataset(data, tmp_path / "t.pt", tmp_path / "some", "cpu")
    made = XrayDataset(tmp_path / "some")
    assert ({name for name, _ in made.specimens()}, len(made)) == ({"a"}, 3)
    translate_dataset(data, tmp_path / "t.pt", tmp_path / "all", "cpu", include_held_out=True)
    assert len(XrayDataset(tmp_path / "all")) == 6
    save_translator(tmp_path / "none.pt", replace(translator, held_out=("a", "b")))
    with pytest.raises(SyntheXError, match=r"Nothing of .* is to be translated"):
        translate_dataset(data, tmp_path / "none.pt", tmp_path / "x", "cpu")
    save_translator(tmp_path / "fine.pt", replace(translator, pixel_spacing_mm=0.5))
    with pytest.raises(SyntheXError, match=r"must have the pixel spacing that .* was trained at, 0.5 mm, found 2 mm"):
        translate_dataset(data, tmp_path / "fine.pt", tmp_path / "x", "cpu")
    torch.save({"format": "other"}, tmp_path / "other.pt")
    with pytest.raises(SyntheXError, match="is not a translator file"):
        load_translator(tmp_path / "other.pt")


def test_the_command_learns_and_translates(bright: Path, dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--epochs", "1", "--images-per-epoch", "2", "--width", "4", "--blocks", "1", "--threads", "1", "--device", "cpu"]
    progress = tmp_path / "progress.jsonl"
    command = ["adapt", "cyclegan", str(bright), "--target", str(dark), "--out", str(tmp_path / "gan"), "--preset", "paper-text"]
    assert main([*command, *small, "--progress", str(progress)]) == 0
    assert json.loads(progress.read_text(encoding="utf-8").splitlines()[-1])["row"]["epoch"] == 1
    config = json.loads((tmp_path / "gan" / "config.json").read_text(encoding="utf-8"))
    assert config["adversarial_loss"] == "log"
    assert (
        main(
            ["adapt", "translate", str(tmp_path / "gan" / "translator.pt"), str(bright), "--out", str(tmp_path / "made"), "--device", "cpu"]
        )
        == 0
    )
    assert len(XrayDataset(tmp_path / "made")) == 12
    assert main([*command, "--held-out", "a"]) == 2
    assert "all of its specimens (a) are held out" in capsys.readouterr().err
