"""The page of a training's inputs shows what the network gets; the validation's pages are kept few and whole."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_training import config, toy_task

from SyntheXLib.cli import main
from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.tasks.task import Task
from SyntheXLib.training import engines, pictures
from SyntheXLib.training.pictures import ValidationPictures, write_samples
from SyntheXLib.training.run import TrainingResult, train
from SyntheXLib.training.run_folder import find_pictures, forget_run


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path))


def test_the_page_shows_what_the_network_gets(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    prepare = engines.prepare_batch

    def watch(*arguments: Any, **options: Any) -> Any:
        images, targets = prepare(*arguments, **options)
        seen.append(images.clone())
        return images, targets

    monkeypatch.setattr(engines, "prepare_batch", watch)
    train(config(toy, tmp_path / "run", epochs=1, batch=5))
    trained, drawn = torch.cat(seen)[:7], []
    gray = pictures.to_gray
    monkeypatch.setattr(pictures, "to_gray", lambda image, **options: drawn.append(image) or gray(image, **options))
    write_samples(config(toy, tmp_path / "unused", batch=5), tmp_path / "page.png", count=7)
    np.testing.assert_array_equal(np.stack(drawn), trained[:, 0].numpy())
    assert not (tmp_path / "unused").exists()
    page = pixels(tmp_path / "page.png")
    assert page.shape == (3 * 2 * 256, 3 * 256, 3)
    assert page[:512, :256].any() and not page[-512:, 256:].any()  # seven of nine places


def test_the_command_draws_the_page_and_trains_nothing(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(toy), "--batch", "6", "--validation-fraction", "0.25", "--seed", "5"]
    assert main([*arguments, "--preview", str(tmp_path / "page.png")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
    write_samples(config(toy, tmp_path / "run"), tmp_path / "same.png")
    np.testing.assert_array_equal(pixels(tmp_path / "page.png"), pixels(tmp_path / "same.png"))
    main([*arguments, "--randomization", "none", "--preview", str(tmp_path / "plain.png")])
    assert (pixels(tmp_path / "plain.png") != pixels(tmp_path / "same.png")).any()
    capsys.readouterr()
    assert main(arguments) != 0
    assert "Option 'out' of the training is missing." in capsys.readouterr().err


def test_a_run_draws_its_validation_keeps_the_last_five_and_the_best(toy: Path, tmp_path: Path) -> None:
    result = train(config(toy, tmp_path, epochs=7))
    best = max(result.rows, key=lambda row: row["validation_score"])["epoch"]
    names = [path.name for path in find_pictures(tmp_path)]
    assert names == [*(f"epoch_{n:03d}.png" for n in range(3, 8)), "best.png"]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in find_pictures(tmp_path)}
    assert len(set(sums.values())) >= 5
    if best >= 3:
        assert sums["best.png"] == sums[f"epoch_{best:03.0f}.png"]
    assert pixels(tmp_path / "validation" / "best.png").shape == (512, 3 * 256, 3)
    forget_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_or_validation_there_is_no_folder_and_the_weights_are_the_same(
    finished: TrainingResult, toy: Path, tmp_path: Path
) -> None:
    from toy_training import assert_same_weights

    train(config(toy, tmp_path / "none", pictures=0))
    train(config(toy, tmp_path / "unvalidated", epochs=1, validation_fraction=0))
    assert not (tmp_path / "none" / "validation").exists()
    assert not (tmp_path / "unvalidated" / "validation").exists()
    assert_same_weights(finished.folder / "model.pt", tmp_path / "none" / "model.pt")


@pytest.mark.parametrize("segmentation", ["exclusive", "multilabel"])
def test_what_is_found_is_drawn_under_the_truth(tmp_path: Path, segmentation: str) -> None:
    task: Task = toy_task(segmentation=segmentation)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 4:16] = True
    labels = inside[None, None].to(torch.uint8)
    both = labels if segmentation == "exclusive" else torch.cat([labels, 0 * labels], 1)
    truth = Targets(both, torch.full((1, 2, 2), torch.nan), torch.zeros(1, 2, dtype=torch.bool))
    logits = torch.zeros(1, 3 if segmentation == "exclusive" else 2, 32, 32)
    other = inside.flip(1)  # found on the wrong side
    logits[0, 1 if segmentation == "exclusive" else 0] = torch.where(other, 5.0, -5.0)
    pages = ValidationPictures(tmp_path, task, 1.5, 1)
    pages.add(torch.zeros(1, 1, 32, 32), NetworkOutput(logits, torch.zeros(1, 2, 32, 32)), truth)
    pages.write(1, False)
    page = pixels(tmp_path / "validation" / "epoch_001.png").astype(int)
    colored = page.max(2) > page.min(2) + 5  # the image is grey
    middle = {"truth": (128, 80), "found": (256 + 128, 256 - 80)}
    assert colored[middle["truth"]] and colored[middle["found"]]
    assert not colored[128, 256 - 80] and not colored[256 + 128, 80]
