"""What is kept for validation: whole specimens where there are enough, else single images."""

from pathlib import Path

import pytest
from toy_training import config, write_toy

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.training.run import train
from SyntheXLib.training.split import split, split_fold, split_named, split_sources


def test_the_split_is_drawn_once_and_keeps_images_apart() -> None:
    train_part, held_out = split(100, 0.1, seed=3)
    assert len(held_out) == 10
    assert sorted(train_part + held_out) == list(range(100))
    assert split(100, 0.1, seed=3) == (train_part, held_out)
    assert split(100, 0.1, seed=4) != (train_part, held_out)
    assert split(5, 0.01, seed=0)[1] != []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[XrayDataset]:
    """Two data sets of 20 images of five specimens each; one CT is in both, and two CTs share the name `a`."""
    folder = tmp_path_factory.mktemp("many")
    first = [(name, f"ct {name}") for name in "abcde"]
    second = [("a", "another ct"), ("c again", "ct c"), *((name, f"ct {name}") for name in "fgh")]
    return [XrayDataset(write_toy(folder / str(n), 20, n, specimens=one)) for n, one in enumerate((first, second))]


def test_whole_specimens_are_held_out_where_there_are_enough(many: list[XrayDataset]) -> None:
    keys = [key for source in many for _, key in source.specimens()]
    assert len(set(keys)) == 9 and keys.count("ct c") == 8
    for seed in range(8):
        parts = split_sources(many, 0.2, seed)
        assert {keys[n] for n in parts.trained_on}.isdisjoint(keys[n] for n in parts.validated_on)
        assert sorted(parts.trained_on + parts.validated_on) == list(range(40))
        assert 8 <= len(parts.validated_on) <= 16
        assert parts == split_sources(many, 0.2, seed)
    assert len({split_sources(many, 0.2, seed).held_out for seed in range(8)}) > 1


def test_images_are_held_out_where_a_specimen_would_be_too_much(many: list[XrayDataset], toy: Path) -> None:
    parts = split_sources(many, 0.04, 0)  # 1.6 images wanted, the smallest specimen has 4
    assert (len(parts.validated_on), parts.held_out) == (2, ())
    assert "2 images of the 9 specimens that are trained on" in parts.sentence
    alone = split_sources([XrayDataset(toy)], 0.25, 5)
    assert (alone.trained_on, alone.validated_on) == split(24, 0.25, 5)
    assert alone.sentence == ""
    assert split_sources(many, 0.0, 0).validated_on == []


def test_one_specimen_is_left_to_train_on(tmp_path: Path) -> None:
    two = [XrayDataset(write_toy(tmp_path / "two", 10, specimens=[("a", "1"), ("b", "2")]))]
    parts = split_sources(two, 0.9, 0)
    assert (len(parts.trained_on), len(parts.validated_on), len(parts.held_out)) == (5, 5, 1)


def test_a_data_set_for_validation_that_shows_known_specimens_is_told(many: list[XrayDataset], toy: Path) -> None:
    parts = split_named(many[:1], many[1:])
    assert (parts.trained_on, parts.validated_on) == (list(range(20)), list(range(20)))
    assert parts.shared == ("c again",)  # by its CT; the other `a` is another patient
    assert parts.sentence == "validating on 20 images, some of specimens that are trained on too: c again"
    assert split_named(many[:1], [XrayDataset(toy)]).sentence == ""


def test_two_data_sets_are_trained_on_at_once_and_the_model_says_what_it_has_not_seen(
    many: list[XrayDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tuple(str(source.folder) for source in many)
    settings = config(many[0].folder, tmp_path, datasets=folders, epochs=1, validation_fraction=0.2)
    result = train(settings)
    said = load_model(tmp_path / "model.pt")[1].training
    parts = split_sources(many, 0.2, 5)
    assert said["held_out"] == list(parts.held_out) != []
    assert said["images"] == len(parts.trained_on)
    assert [one["images"] for one in said["datasets"]] == [20, 20]
    assert f"images of {', '.join(parts.held_out)}, of which none is trained on" in capsys.readouterr().err
    assert result.epochs == 1
    with pytest.raises(SyntheXError, match="data 'data set 1'"):
        train(config(many[0].folder, tmp_path, datasets=folders[::-1], epochs=1, validation_fraction=0.2))


def test_folds_hold_out_every_specimen_once_and_are_those_of_dataset_split(many: list[XrayDataset], tmp_path: Path) -> None:
    from SyntheXLib.datasets.derived import specimen_parts

    keys = [key for source in many for _, key in source.specimens()]
    folds = [split_fold(many, f"{number}/3") for number in (1, 2, 3)]
    assert sorted(place for fold in folds for place in fold.validated_on) == list(range(40))
    for fold in folds:
        assert {keys[n] for n in fold.trained_on}.isdisjoint(keys[n] for n in fold.validated_on)
        assert sorted(fold.trained_on + fold.validated_on) == list(range(40)) and 12 <= len(fold.validated_on) <= 16
    assert [split_fold(many[:1], f"{n}/2").validated_on for n in (1, 2)] == specimen_parts(many[0], 2)
    one_out = [split_fold(many, f"{number}/9") for number in range(1, 10)]
    assert all(len({keys[n] for n in fold.validated_on}) == 1 for fold in one_out)
    assert "none is trained on" in one_out[0].sentence
    with pytest.raises(SyntheXError, match=r"Option 'fold' 1/10 needs at least 10 specimens, found 9 \(a, b, c, c again, d, e, f, g, h\)"):
        split_fold(many, "1/10")
    for wrong in ("5", "0/5", "6/5", "1/1", "a/b"):
        with pytest.raises(SyntheXError, match=f"two parts or more, such as 2/5, found '{wrong}'"):
            config(many[0].folder, tmp_path, fold=wrong)
    with pytest.raises(SyntheXError, match="'fold' \\(1/2\\) and 'validation' of the training exclude each other"):
        config(many[0].folder, tmp_path, fold="1/2", validation=str(many[1].folder))


def test_a_fold_is_trained_by_the_command_and_recorded(many: list[XrayDataset], tmp_path: Path) -> None:
    from SyntheXLib.cli import main

    options = ["--fold", "2/5", "--epochs", "1", "--pictures", "0", "--threads", "1", "--out", str(tmp_path)]
    assert main(["train", "--data", str(many[0].folder), *options]) == 0
    _, description = load_model(tmp_path / "model.pt")
    held_out = split_fold(many[:1], "2/5").held_out
    assert description.training["held_out"] == list(held_out) and len(held_out) == 1
    assert description.training["config"]["fold"] == "2/5" and description.training["images"] == 16


def test_a_data_set_given_twice_is_seen_twice_and_split_as_one(many: list[XrayDataset]) -> None:
    simulated, real = many
    parts = split_fold([simulated, real, real], "1/3")
    keys = [key for source in (simulated, real, real) for _, key in source.specimens()]
    assert {keys[n] for n in parts.trained_on}.isdisjoint(keys[n] for n in parts.validated_on)
    assert len(parts.trained_on) + len(parts.validated_on) == 60
