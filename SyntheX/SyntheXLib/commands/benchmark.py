"""``synthex benchmark``: the published benchmarks, our numbers beside the paper's."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.cluster import part_of
from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from SyntheXLib.benchmarks.benchmark import Benchmark
    from SyntheXLib.tasks.task import Task

# What a training with each preset is adapted by: the same heatmap loss, as far as the adaptations have it.
_CYCLEGAN_PRESET = {"paper-text": "paper-text", "released-code": "paper-text", "ours": "ours"}
_ADDA_PRESET = {"paper-text": "paper-text", "released-code": "released-code", "ours": "released-code"}
_SLURM = (
    "On Slurm: first the same command with --sets, then a job array of N tasks whose script runs it with --part $SLURM_ARRAY_TASK_ID/N, "
    "then the command itself, which finds all done and prints the table."
)


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "benchmark",
        help="run a published benchmark, and print our numbers beside the paper's",
        description="The benchmarks of Gao et al. 2023. Started again, a command goes on from where it was stopped.",
        epilog="Examples: synthex benchmark deepfluoro --data ipcai_2020_full_res_data.h5 --out D --pretrained R50+ViT-B_16.npz; "
        "synthex benchmark tool --real xrays --sample pelvis --out D",
    )
    names = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    _add_deepfluoro(names)
    for name, task, what in (("tool", "tool", "continuum manipulator"), ("chest", "chest-paper", "lesions in chest X-rays")):
        _add_sim_and_real(names, name, task, what)


def _add_deepfluoro(names: Any) -> None:
    parser = names.add_parser(
        "deepfluoro",
        help="the controlled study of hip imaging on DeepFluoro's 366 real images",
        description="Reads DeepFluoro's full-resolution file, makes matched naive, heuristic and realistic twins of its images, trains on "
        "eight training sets at two levels of domain randomisation and three resolutions with one specimen left out in turn, tests on the "
        "real images of that specimen, and writes the table.",
        epilog=_SLURM,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="H5", help="ipcai_2020_full_res_data.h5")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="train on this alone, as realistic-CycleGAN; may be given several times"
    )
    parser.add_argument("--randomization", action="append", metavar="LEVEL", help="regular or strong; may be given twice (default: both)")
    parser.add_argument(
        "--image-size", action="append", type=int, metavar="PX", help="pixels a side; may be given several times (default: 180, 360, 480)"
    )
    parser.add_argument("--specimen", action="append", metavar="NAME", help="of these alone, at least two (default: all)")
    _add_training(parser, "50")
    parser.add_argument("--cyclegan", default="", metavar="TEXT", help="further options of 'synthex adapt cyclegan'")
    parser.add_argument("--adda", default="", metavar="TEXT", help="further options of 'synthex adapt adda'")
    _add_running(parser)
    parser.set_defaults(run=_deepfluoro)


def _add_sim_and_real(names: Any, name: str, task: str, what: str) -> None:
    parser = names.add_parser(
        name,
        help=f"{what}: Sim2Real and five-fold Real2Real on your real X-rays",
        description="Trains on simulated X-rays and tests on all real ones (Sim2Real), and trains on four fifths of the real ones and "
        "tests on the rest, five times (Real2Real).",
        epilog=f"{_SLURM} A text that is one word needs '=', as in --train=--random-start.",
    )
    parser.add_argument(
        "--real",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a data set, or a folder of images with NAME_mask.png, and NAME.csv or NAME.mrk.json for landmarks, beside them",
    )
    parser.add_argument("--import", default="", dest="import_options", metavar="TEXT", help="further options of 'synthex dataset import'")
    parser.add_argument("--task", default=task, help=f"name of a task, or its TOML file (default: {task})")
    parser.add_argument("--image-size", type=int, metavar="PX", help="pixels a side (default: the task's, or as the data set has)")
    parser.add_argument("--sample", action="append", default=[], metavar="NAME", help="a sample CT to simulate with")
    parser.add_argument("--cases", type=Path, metavar="CSV", help="table of cases to simulate with, see 'synthex simulate'")
    parser.add_argument("--count", type=int, metavar="N", help="simulated images (default: the task's, training and validation)")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="parts of the real images; no specimen in two (default: 5)")
    parser.add_argument("--randomization", default="strong", metavar="LEVEL", help="none, regular or strong (default: strong)")
    _add_training(parser, "the task's")
    parser.add_argument("--epochs-real", type=int, metavar="N", help="epochs of Real2Real (default: --epochs, or the task's)")
    _add_running(parser)
    parser.set_defaults(run=_sim_and_real, name=name)


def _add_training(parser: argparse.ArgumentParser, epochs: str) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--preset", default="paper-text", help="paper-text, released-code or ours (default: paper-text)")
    group.add_argument("--size", help="size of the network: small, medium or full (default: the preset's)")
    group.add_argument("--epochs", type=int, metavar="N", help=f"how often each image is seen (default: {epochs})")
    group.add_argument("--pretrained", type=Path, metavar="FILE", help="weights that the network starts from, which the size full needs")
    group.add_argument("--train", default="", metavar="TEXT", help="further options of 'synthex train', as \"--batch 16 --random-start\"")
    group.add_argument("--simulate", default="", metavar="TEXT", help="further options of 'synthex simulate'")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, order and randomisation (default: 0)")


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where data sets, runs, table and report go")
    group = parser.add_argument_group("running")
    group.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    group.add_argument("--sets", action="store_true", help="only make the data sets that all parts share")
    group.add_argument("--part", metavar="K/N", help="run this part of the trainings alone, K from 0 to N - 1; print no table")
    group.add_argument(
        "--no-heatmaps",
        action="store_true",
        help="do not store the tests' heatmaps: less disk; released-code then drops landmarks outside the predicted bone, and does not "
        "search for them inside it",
    )
    group.add_argument("--draws", type=int, default=2000, metavar="N", help="resamples of the bootstrap intervals (default: 2000)")


def _deepfluoro(options: argparse.Namespace) -> int:
    from SyntheXLib.benchmarks.controlled_study import ControlledSettings, controlled_study, specimens_of
    from SyntheXLib.tasks.task import load_task

    task = load_task("hip")
    train = _train_options(options, options.epochs or task.training.epochs_real)
    defaults = ControlledSettings()
    settings = ControlledSettings(
        training=tuple(options.only or defaults.training),
        randomization=tuple(options.randomization or defaults.randomization),
        image_sizes=tuple(options.image_size or defaults.image_sizes),
        train=train,
        cyclegan=f"--preset {_CYCLEGAN_PRESET[options.preset]} {options.cyclegan}".strip(),
        adda=f"--preset {_ADDA_PRESET[options.preset]} {options.adda}".strip(),
        simulate=options.simulate,
        seed=options.seed,
    )
    specimens = specimens_of(options.data, options.specimen or ())
    return _run(options, controlled_study(specimens, task, settings), options.data)


def _sim_and_real(options: argparse.Namespace) -> int:
    from SyntheXLib.benchmarks.sim_and_real import SimAndRealSettings, sim_and_real
    from SyntheXLib.datasets.format import HEADER_FILE, read_header
    from SyntheXLib.evaluation.study_runs import record_of
    from SyntheXLib.tasks.task import load_task

    task = load_task(options.task)
    # A name stays one: the commands run elsewhere.
    task_name = str(Path(options.task).resolve()) if options.task.endswith(".toml") else options.task
    if options.folds < 2:
        raise SyntheXError(f"--folds must be at least 2, found {options.folds}.")
    if options.count is not None and options.count < 1:
        raise SyntheXError(f"--count must be at least 1, found {options.count}.")
    if not options.real.is_dir():
        raise SyntheXError(f"--real must be a folder of X-rays or a data set, found nothing at {options.real}.")
    is_dataset = (options.real / HEADER_FILE).is_file()
    size = options.image_size or task.c_arm.image_size
    if is_dataset:
        header = read_header(options.real)
        names = (header.task.structure_names, header.task.landmark_names)
        if names != (task.structure_names, task.landmark_names):
            raise SyntheXError(f"{options.real} is of task '{header.task.name}', expected the structures and landmarks of '{task.name}'.")
        size = header.configuration["image_size"]
        if options.image_size not in (None, size):
            raise SyntheXError(f"{options.real} has images of {size} px, expected --image-size {size} or none, found {options.image_size}.")
    elif not record_of(options.out / "sets" / "imported").exists():
        _check_folder(options, task)
    cases = shlex.join([word for name in options.sample for word in ("--sample", name)])
    if options.cases is not None:
        cases = f"{cases} --cases {shlex.quote(str(options.cases.resolve()))}".strip()
    if not cases:
        raise SyntheXError("Expected CTs to simulate with: --sample NAME or --cases CSV, found none.")
    settings = SimAndRealSettings(
        task_name=task_name,
        image_size=size,
        cases=cases,
        count=options.count or task.training.images + task.training.validation_images,
        import_options=None if is_dataset else options.import_options,
        epochs=options.epochs or task.training.epochs,
        epochs_real=options.epochs_real or options.epochs or task.training.epochs_real,
        folds=options.folds,
        randomization=options.randomization,
        train=_train_options(options, None),
        simulate=options.simulate,
        seed=options.seed,
    )
    return _run(options, sim_and_real(options.name, task, settings), options.real)


def _check_folder(options: argparse.Namespace, task: Task) -> None:
    """Look through a folder of real images before hours are spent on the rest."""
    from SyntheXLib.commands.dataset_import import add_import, opened

    parser = argparse.ArgumentParser(prog="synthex benchmark --import")
    add_import(parser.add_subparsers())
    words = ["import", str(options.real), "--layout", "images", "--out", "unused", *shlex.split(options.import_options)]
    opened(parser.parse_args(words), task)


def _train_options(options: argparse.Namespace, epochs: int | None) -> str:
    """Options of ``synthex train``: all images are trained on and the last model is tested, as in the paper.

    Raises
    ------
    SyntheXError
        When the training would refuse them, which is better told before the data sets are made.
    """
    from SyntheXLib.training.config import PRESETS, nearest

    if options.preset not in PRESETS:
        raise SyntheXError(f"--preset must be one of {', '.join(PRESETS)}, found '{options.preset}'{nearest(options.preset, PRESETS)}.")
    words = ["--preset", options.preset, "--validation-fraction", "0", "--pictures", "0"]
    for name, value in (("--size", options.size), ("--epochs", epochs)):
        words += [name, str(value)] if value is not None else []
    if options.pretrained is not None:
        words += ["--pretrained", str(options.pretrained.resolve())]
    words += shlex.split(options.train)
    _check_training(words)
    return shlex.join(words)


def _check_training(words: list[str]) -> None:
    from SyntheXLib.commands.train import add, settings_of
    from SyntheXLib.training.config import TrainingConfig
    from SyntheXLib.training.start import describe_start

    parser = argparse.ArgumentParser(prog="synthex benchmark --train")
    add(parser.add_subparsers())
    describe_start(TrainingConfig.from_dict(settings_of(parser.parse_args(["train", "unused", "--out", "unused", *words]))))


def _run(options: argparse.Namespace, benchmark: Benchmark, data: Path) -> int:
    from SyntheXLib.benchmarks.benchmark import benchmark_steps, run_benchmark
    from SyntheXLib.benchmarks.line_results import line_results, write_reports
    from SyntheXLib.benchmarks.table import write_table

    if options.part is not None and options.sets:
        raise SyntheXError("--sets and --part exclude each other, found both.")
    if options.draws < 1:
        raise SyntheXError(f"--draws must be at least 1, found {options.draws}.")
    out, data = options.out.resolve(), data.resolve()
    how = (part_of(options.part), options.sets, not options.no_heatmaps)
    if options.dry_run:
        for step in benchmark_steps(benchmark, out, data, *how):
            print(f"synthex {shlex.join(step.command)}")
        return 0
    run_benchmark(benchmark, out, data, lambda line: print(line, flush=True), *how)
    if options.part is not None or options.sets:
        return 0
    text = write_table(benchmark, line_results(benchmark, out, options.draws), out)
    for report in write_reports(benchmark, out, options.draws):
        print(f"Report: {report}")
    print(f"Table: {out / 'table.md'}\n\n{text}", end="")
    return 0
