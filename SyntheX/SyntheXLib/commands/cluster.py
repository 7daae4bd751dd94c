"""Options of the commands that can run as a Slurm job array."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from SyntheXLib.simulation.slurm import SlurmSettings

# What is left out of a task's own command; True takes a value.
_OPTIONS = {name: True for name in ("--slurm", "--cpus-per-task", "--minutes", "--sbatch", "--workers", "--part")}
_OPTIONS |= {name: False for name in ("--dry-run", "--no-wait", "--resume")}


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add --slurm and what belongs to it."""
    group = parser.add_argument_group("cluster (Slurm)", "Needs the extra [cluster], except for --dry-run.")
    group.add_argument("--slurm", type=int, metavar="TASKS", help="run as a job array of so many tasks")
    group.add_argument("--cpus-per-task", type=int, default=4, metavar="N", help="cores of a task (default: 4)")
    group.add_argument("--minutes", type=int, default=240, metavar="N", help="time limit of a task (default: 240)")
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="NAME=VALUE", help="further option of sbatch, as partition=short or mem=16G"
    )
    group.add_argument("--dry-run", action="store_true", help="print the script for sbatch and submit nothing")
    group.add_argument("--no-wait", action="store_true", help="submit and return")
    group.add_argument("--part", metavar="K/N", help="begin with this part of the shards, for processes that fill one folder together")


def slurm_settings(options: argparse.Namespace) -> SlurmSettings | None:
    """What the options ask of the cluster; None without --slurm.

    Raises
    ------
    SyntheXError
        When an option is not of the form NAME=VALUE, a number is impossible, or --dry-run lacks --slurm.
    """
    from SyntheXLib.simulation.slurm import SlurmSettings

    if options.slurm is None:
        if options.dry_run or options.no_wait:
            raise SyntheXError("--dry-run and --no-wait belong to --slurm TASKS, which is missing.")
        return None
    pairs = [text.lstrip("-").partition("=") for text in options.sbatch]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise SyntheXError(f"--sbatch must be NAME=VALUE, as partition=short, found '{name}{equals}{value}'.")
    return SlurmSettings(options.slurm, options.cpus_per_task, options.minutes, {name: value for name, _, value in pairs})


def part_of(text: str | None) -> tuple[int, int]:
    """(number, parts) of --part K/N; (0, 1) without.

    Raises
    ------
    SyntheXError
        When it is something else.
    """
    if text is None:
        return 0, 1
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        raise SyntheXError(f"--part must be K/N with K from 0 to N - 1, found '{text}'.")
    return int(number), int(parts)


def own_command(arguments: Sequence[str]) -> list[str]:
    """The command of a task: `arguments` (what follows ``synthex``) without what concerns the cluster or is set by the task itself."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name not in _OPTIONS:
            kept.append(argument)
        elif _OPTIONS[name] and not equals:
            next(rest)
    return [sys.executable, "-m", "SyntheXLib.cli", *kept]
