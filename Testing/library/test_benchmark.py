"""The published benchmarks: which commands they are, that nothing of the test is trained on, the table, and what is refused."""

import shlex
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from other_layouts import DeepFluoro, write_synthex_hdf5
from PIL import Image
from test_folds import make_folds
from toy_network import toy_task

from SyntheXLib.benchmarks.benchmark import Benchmark, Fold, Line, benchmark_steps, run_benchmark
from SyntheXLib.benchmarks.controlled_study import ControlledSettings, controlled_study, specimens_of
from SyntheXLib.benchmarks.line_results import line_results, write_reports
from SyntheXLib.benchmarks.paper_numbers import paper_number, paper_numbers
from SyntheXLib.benchmarks.sim_and_real import SimAndRealSettings, sim_and_real
from SyntheXLib.benchmarks.table import write_table
from SyntheXLib.cli import main
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.study import StudyRun, run_folder
from SyntheXLib.evaluation.study_runs import record_of
from SyntheXLib.tasks.task import load_task

SIX = ("17-1882", "18-1109", "18-0725", "18-2799", "18-2800", "17-1905")
OUT, DATA = Path("/study"), Path("/real data/full.h5")
HIP = load_task("hip")


def commands(benchmark: Benchmark, **how: object) -> list[tuple[str, ...]]:
    return [step.command for step in benchmark_steps(benchmark, OUT, DATA, **how)]


def test_the_paper_has_its_numbers() -> None:
    assert paper_number("deepfluoro", "realistic", "strong", 360).error_mm == "6.44 ± 7.05"
    assert paper_number("deepfluoro", "naive", "regular", 360).dice == "< 0.80"
    assert paper_number("deepfluoro", "real", "regular", 360) is None and paper_number("deepfluoro", "real", "strong", 180) is None
    assert paper_number("chest", "Real2Real", "strong", 224).accuracy == "93.95 %"
    for name in ("deepfluoro", "tool", "chest"):
        assert paper_numbers(name) and all(one.source for one in paper_numbers(name))


def test_the_controlled_study_is_all_of_the_papers() -> None:
    study = controlled_study(SIX, HIP, ControlledSettings())
    assert len(study.lines) == 8 * 2 * 3 and len(study.units) == 18
    found = commands(study)
    count = {name: sum(command[0] == name for command in found) for name in ("train", "infer", "simulate", "evaluate")}
    # ADDA goes on from the training of its unadapted line: six trainings for eight training sets.
    assert count == {"train": 6 * 2 * 3 * 6, "infer": 8 * 2 * 3 * 6, "simulate": 18, "evaluate": 0}
    kinds = [command[1] for command in found if command[0] == "adapt"]
    assert kinds.count("cyclegan") == 2 * 3 * 6 and kinds.count("adda") == 2 * 2 * 3 * 6 and kinds.count("translate") == 36 * 5
    assert all(command[-1] == "--heatmaps" for command in found if command[0] == "infer")
    imported = next(command for command in found if "--cases-only" in command)
    assert imported[:5] == ("dataset", "import", "--layout", "deepfluoro", str(DATA))


def test_nothing_of_the_specimen_that_is_tested_on_is_learned_from() -> None:
    study = controlled_study(SIX, HIP, ControlledSettings(image_sizes=(180,)))
    for number, unit in enumerate(study.units):
        test = unit.rpartition(" ")[2]
        found = commands(study, part=(number, len(study.units)))
        tested = [command for command in found if command[0] == "infer"]
        assert len(tested) == 16 and all(command[2].endswith(f"sets/real_180_{test}") for command in tested)
        for command in found:
            if command[0] == "train" or (command[0] == "adapt" and command[1] != "translate"):
                shown = command[: command.index("--test")] if "--test" in command else command
                folders = [part for part in shown if "/sets/" in part]
                # Source and target of an adaptation have five specimens each.
                assert len(folders) == (5 if command[0] == "train" else 10)
                for folder in folders:
                    assert not folder.removesuffix("/realistic").removesuffix("/naive").removesuffix("/heuristic").endswith(test)
            if command[0] == "adapt" and command[1] == "translate":
                assert test not in command[3] and f"without_{test}" in command[2]


def test_translated_images_replace_the_originals_and_adapted_networks_are_tested() -> None:
    settings = ControlledSettings(("naive-CycleGAN", "naive-ADDA"), ("strong",), (180,), cyclegan="--epochs 3", adda="--epochs 2")
    found = commands(controlled_study(SIX[:2], HIP, settings), part=(0, 2))
    gan, translate = (next(c for c in found if c[:2] == ("adapt", kind)) for kind in ("cyclegan", "translate"))
    sets = OUT / "sets"
    assert shlex.join(gan) == (
        f"adapt cyclegan {sets}/matched_180_18-1109/naive --target {sets}/real_180_18-1109 --test {sets}/real_180_17-1882 "
        f"--seed 0 --epochs 3 --out {sets}/naive-cyclegan_180_without_17-1882"
    )
    assert translate[2] == f"{sets}/naive-cyclegan_180_without_17-1882/translator.pt" and translate[3] == gan[2]
    first, second = (command for command in found if command[0] == "train")
    assert first[1] == translate[-1] and second[1] == gan[2]
    adda = next(c for c in found if c[:2] == ("adapt", "adda"))
    assert adda[adda.index("--model") + 1] == f"{second[-1]}/model.pt" and adda[adda.index("--target") + 1] == gan[4]
    # The same folder as where its own line is asked for too.
    assert second[-1] == str(run_folder(OUT, StudyRun("naive, strong, 180 px, without 17-1882", (), ""), 0) / "run")


def test_parts_share_nothing_but_the_sets() -> None:
    settings = ControlledSettings(randomization=("strong",), image_sizes=(180, 360))
    study = controlled_study(SIX[:3], HIP, settings)
    shared = {command for command in commands(study, sets_alone=True)}
    assert len(shared) == 3 + 2 * 3 * 2 and all(command[0] in ("dataset", "simulate") for command in shared)
    parts = [set(commands(study, part=(number, 4))) - shared for number in range(4)]
    assert set.union(*parts) == set(commands(study)) - shared and sum(map(len, parts)) == len(set.union(*parts))
    with pytest.raises(SyntheXError, match="--part 6/7 has nothing to do: the benchmark has 6 units"):
        commands(study, part=(6, 7))


def test_a_part_waits_for_the_sets(tmp_path: Path) -> None:
    study = controlled_study(SIX[:2], HIP, ControlledSettings(image_sizes=(180,)))
    with pytest.raises(SyntheXError, match=r"must be made first, by the same command with --sets.*4 are missing .* as 'cases_18-1109'"):
        run_benchmark(study, tmp_path, DATA, print, part=(0, 2))


def test_an_import_that_was_not_recorded_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr("SyntheXLib.benchmarks.benchmark.run_steps", lambda found, *_: ran.extend(step.command for step in found))
    study = controlled_study(SIX[:2], HIP, ControlledSettings(("real",), ("regular",), (180,)))
    for name in ("real_180_17-1882", "real_180_18-1109"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    record_of(tmp_path / "sets" / "real_180_18-1109").write_text("[]", encoding="utf-8")
    run_benchmark(study, tmp_path, DATA, print)
    assert not (tmp_path / "sets" / "real_180_17-1882").exists() and (tmp_path / "sets" / "real_180_18-1109").exists()
    assert [command[0] for command in ran] == ["dataset", "dataset", "train", "infer", "train", "infer"]


def test_sim2real_tests_on_all_and_real2real_on_each_fold() -> None:
    settings = SimAndRealSettings("tool", 96, "--sample pelvis", 40, "--masks labels", 10, 50, train="--size small")
    study = sim_and_real("tool", load_task("tool"), settings)
    found = commands(study)
    train = [command for command in found if command[0] == "train"]
    assert len(train) == 1 + 5 and sum(command[0] == "infer" for command in found) == 10
    sets = OUT / "sets"
    assert train[0][1] == f"{sets}/simulated" and train[0][train[0].index("--epochs") + 1] == "10"
    for number, command in enumerate(train[1:]):
        assert list(command[1:5]) == [f"{sets}/real/part_{other:02d}" for other in range(5) if other != number]
        assert command[command.index("--epochs") + 1] == "50"
    assert found[1] == (
        *("dataset", "import", "--layout", "images", str(DATA), "--task", "tool", "--image-size", "96", "--masks", "labels"),
        *("--out", f"{sets}/imported"),
    )
    assert {fold.name for fold in study.lines[0].folds} == {"all"} and len(study.units) == 6
    assert "import" not in sum(commands(sim_and_real("tool", load_task("tool"), replace(settings, import_options=None))), ())


def with_tests(folder: Path, name: str = "deepfluoro", measures: str = "dice") -> tuple[Benchmark, Path]:
    """A benchmark of one line at 360 px, tested on the two folds of `make_folds`."""
    task = toy_task()
    task = replace(task, evaluation=replace(task.evaluation, measures=measures))
    out = folder / "out"
    (out / "sets").mkdir(parents=True)
    predictions, _ = make_folds(out / "sets", task)
    folds = tuple(Fold(test, StudyRun(f"run {test}", ("x",), test), test) for test in ("one", "two"))
    size, training = (224, "Sim2Real") if name == "chest" else (360, "realistic")
    benchmark = Benchmark(name, task, (), (), (Line(training, "strong", size, folds),), "", 3)
    for fold, found in zip(folds, predictions, strict=True):
        place = run_folder(out, fold.run, 3)
        place.mkdir(parents=True)
        found.rename(place / "found")
    return benchmark, out


def test_the_table_stands_beside_the_papers(tmp_path: Path) -> None:
    benchmark, out = with_tests(tmp_path)
    text = write_table(benchmark, line_results(benchmark, out, 10), out)
    assert (out / "table.md").read_text(encoding="utf-8") == text and text.count("| realistic | strong | 360 | 2 of 2 | 5 |") == 3
    pooled = text.split("\n\n")[1].splitlines()
    # Dice pooled: (8 + 2 x 0.67) / 10; activated 4 of the 8 that are visible.
    assert "| 50.0 % | 0.93 ± 0.13 [" in pooled[2] and pooled[2].endswith("| 6.44 ± 7.05 [1] | 0.80 ± 0.23 [1] |")
    assert any(line.startswith("| realistic, scaled up | strong | 360 | – |") for line in pooled)
    assert "Paper: Gao et al. 2023, 'Sim2Real benchmark findings'; the randomisation is that of the released code's README [1]." in text
    lines = (out / "table.csv").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("realistic,strong,360,2,5,paper-text,dice,0.916667,") for line in lines)


def test_the_chest_is_measured_by_its_pixels(tmp_path: Path) -> None:
    benchmark, out = with_tests(tmp_path, "chest", "confusion")
    text = write_table(benchmark, line_results(benchmark, out, 10), out)
    _, code, _, paper, *_ = text.split("\n\n")
    assert "| accuracy (cube) |" in code and "| 99.40 % |" in code and "| 85.03 % [1] |" in code
    assert "| 99.25 % | 75.00 % |" in paper


def test_numbers_are_kept_until_the_predictions_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark, out = with_tests(tmp_path)
    first = line_results(benchmark, out, 10)
    (report,) = write_reports(benchmark, out, 10)
    assert "realistic, strong, 360 px" in report.read_text(encoding="utf-8")
    made = report.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("SyntheXLib.benchmarks.line_results.compare", None)
        assert line_results(benchmark, out, 10) == first
        write_reports(benchmark, out, 10)
    assert report.stat().st_mtime_ns == made
    (run_folder(out, benchmark.lines[0].folds[1].run, 3) / "found" / "predictions.json").unlink()
    (less,) = line_results(benchmark, out, 10)
    assert (less.folds, less.images) == (1, 3)
    assert "1 of 1 lines are not tested on all of their folds yet." in write_table(benchmark, [less], out)
    assert write_reports(benchmark, out, 10) == []


def test_specimens_are_those_of_the_file(tmp_path: Path) -> None:
    fluoro = DeepFluoro(tmp_path / "full.h5")
    assert specimens_of(fluoro.path) == list(fluoro.specimens)
    with pytest.raises(SyntheXError, match="expected two specimens or more, to leave one out for the test, found 17-1882"):
        specimens_of(fluoro.path, ["17-1882"])


def test_dry_run_prints_the_commands_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fluoro = DeepFluoro(tmp_path / "full.h5")
    command = ["benchmark", "deepfluoro", "--data", str(fluoro.path), "--out", str(tmp_path / "out"), "--dry-run", "--train=--random-start"]
    assert main([*command, "--only", "real", "--image-size", "180", "--randomization", "regular"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("synthex train ") for line in lines) == 2 and not (tmp_path / "out").exists()
    assert "--preset paper-text --validation-fraction 0 --pictures 0 --epochs 50 --random-start --randomization regular" in lines[-1 - 1]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["benchmark", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--only", "realistik"], "--only must be one of real, realistic, .* found 'realistik' (did you mean 'realistic'?)"),
        (["--randomization", "none"], "--randomization must be one of regular, strong, found 'none'"),
        (["--image-size", "8"], "--image-size must be at least 16 px, found 8"),
        (["--preset", "paper"], "--preset must be one of ours, paper-text, released-code, found 'paper'"),
        (["--train", ""], "The size full starts from pretrained weights"),
        (["--specimen", "17-1883"], "no specimen '17-1883', expected one of 17-1882, 18-0725"),
        (["--sets", "--part", "0/2"], "--sets and --part exclude each other"),
        (["--part", "2/2"], "--part must be K/N"),
        (["--draws", "0"], "--draws must be at least 1"),
    ],
)
def test_wrong_options_are_one_sentence(options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fluoro = DeepFluoro(tmp_path / "full.h5")
    start = [] if "--train" in options else ["--train=--random-start"]
    line = refused(["deepfluoro", "--data", str(fluoro.path), "--out", str(tmp_path / "out"), *start, *options], capsys)
    beginning, _, end = expected.partition(".*")
    assert beginning.strip() in line and end in line
    assert not (tmp_path / "out").exists()


def test_files_that_are_none_of_deepfluoro_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(path: Path) -> str:
        return refused(["deepfluoro", "--data", str(path), "--out", str(tmp_path / "out"), "--size", "small"], capsys)

    assert "none.h5 does not exist" in told(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no", encoding="utf-8")
    assert "text.h5 cannot be read: expected an HDF5 file" in told(tmp_path / "text.h5")
    images, _ = write_synthex_hdf5(tmp_path, {"01": 1})
    assert "expected the group 'proj-params', found '01'" in told(images)
    fluoro = DeepFluoro(tmp_path / "full.h5")
    with h5py.File(fluoro.path, "r+") as file:
        del file["18-0725/vol-seg"]
    assert "full.h5:18-0725: expected the group 'vol-seg'" in told(fluoro.path)


def test_folders_that_are_no_real_x_rays_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "xrays"

    def told(*options: str) -> str:
        return refused(["tool", "--real", str(folder), "--out", str(tmp_path / "out"), "--size", "small", *options], capsys)

    assert "--real must be a folder of X-rays or a data set, found nothing at" in told("--sample", "pelvis")
    folder.mkdir()
    picture = Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30))
    picture.save(folder / "a.png")
    assert "a.png: expected its mask a_mask.png (or another image format) beside it, found none" in told("--sample", "pelvis")
    Image.fromarray(np.eye(30, dtype=np.uint8)).save(folder / "a_mask.png")
    assert "Expected CTs to simulate with: --sample NAME or --cases CSV, found none" in told()
    assert "--folds must be at least 2, found 1" in told("--folds", "1")
    assert "--count must be at least 1, found 0" in told("--count", "0")
    make_folds(tmp_path)
    folder = tmp_path / "one"
    assert "is of task 'toy', expected the structures and landmarks of 'tool'" in told("--sample", "pelvis")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_controlled_study_runs_from_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from small_deepfluoro import SmallDeepFluoro

    data = SmallDeepFluoro(tmp_path / "full.h5", views=2).path
    command = ["benchmark", "deepfluoro", "--data", str(data), "--out", str(tmp_path / "out"), "--preset", "ours", "--epochs", "1"]
    command += ["--only", "real", "--only", "naive", "--image-size", "48", "--randomization", "regular", "--draws", "10"]
    assert main([*command, "--sets"]) == 0
    assert main([*command, "--part", "0/2"]) == 0 and main([*command, "--part", "1/2"]) == 0
    capfd.readouterr()
    assert main(command) == 0
    out = capfd.readouterr().out
    assert "[1/" not in out and "| naive | regular | 48 | 2 of 2 | 4 |" in out
