"""A training says in one sentence what is wrong with its data or settings."""

from pathlib import Path

import numpy as np
import pytest
from toy_training import SIZE, config, toy_task, write_toy

from SyntheXLib.errors import SyntheXError
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.run import train


def test_a_data_set_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="at least one image, found 0"):
        train(config(write_toy(tmp_path / "empty", 0), tmp_path / "run"))


def test_data_sets_of_two_tasks_are_refused(toy: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", 4, task=toy_task(name="another"))
    with pytest.raises(SyntheXError, match="same task, found 'toy' and 'another'"):
        train(config(toy, tmp_path / "run", datasets=(str(toy), str(other))))
    with pytest.raises(SyntheXError, match="same task"):
        train(config(toy, tmp_path / "run", validation=str(other)))


def test_data_sets_of_two_spacings_are_refused(toy: Path, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", 4, spacing=3.0)
    with pytest.raises(SyntheXError, match=r"pixel spacing, found .* at 2 mm and .* at 3 mm"):
        train(config(toy, tmp_path / "run", datasets=(str(toy), str(other))))


@pytest.mark.parametrize("changes", [{}, {"cache_mib": 0, "workers": 1}])
def test_a_pixel_that_is_no_number_is_refused_with_its_image(tmp_path: Path, changes: dict) -> None:
    image = np.ones((SIZE, SIZE), np.float32)
    image[3, 4] = np.nan
    toy = write_toy(tmp_path / "toy", 10, spoil={"image": image})
    with pytest.raises(SyntheXError, match=r"^Image 1 of .*toy must hold finite numbers alone, found 1 pixels"):
        train(config(toy, tmp_path / "run", epochs=1, **changes))


def test_a_training_that_diverges_is_told(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="diverged in epoch 1"):
        train(config(toy, tmp_path, optimizer="sgd", learning_rate=1e30, clip_gradient=None, epochs=1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lerning_rate": 1}, r"Unknown option 'lerning_rate' of the training \(did you mean 'learning_rate'\?\)"),
        ({"optimizer": "adam"}, r"'optimizer' must be one of sgd, adamw, found 'adam' \(did you mean 'adamw'\?\)"),
        ({"size": "smal"}, "did you mean 'small'"),
        ({"randomization": "stronger"}, r"none, regular, strong, found 'stronger' \(did you mean 'strong'"),
        ({"epochs": 0}, "'epochs' must be at least 1, found 0"),
        ({"epochs": 2.5}, "'epochs' of the training must be of type int, found 2.5"),
        ({"epochs": True}, "type int, found True"),
        ({"learning_rate": float("nan")}, "'learning_rate' must be above 0, found nan"),
        ({"learning_rate": "fast"}, "type float, found 'fast'"),
        ({"validation_fraction": 1.0}, "below 1, found 1.0"),
        ({"datasets": ()}, "at least one data set folder, found none"),
        ({"preset": "paper"}, "paper-text"),
        ({"device": "tpu"}, "Device 'tpu' is not available"),
        ({"segmentation_weight": 0, "landmark_weight": 0}, "must not both be 0"),
        ({"validation_fraction": 0.99}, "leaves no image to train on"),
        ({"datasets": ("nowhere",)}, "nowhere is not a data set"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(toy: Path, tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(SyntheXError, match=sentence):
        train(config(toy, tmp_path, **change))


def test_a_missing_option_is_named() -> None:
    with pytest.raises(SyntheXError, match="Option 'out' of the training is missing"):
        TrainingConfig.from_dict({"datasets": ["x"]})
