"""``synthex study``: simulate, train and test a list of runs, and gather the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "study",
        help="run a list of trainings and tests, and gather the table",
        description="Make the data sets of a study, train and test each of its runs with each seed, and write the table. Started again it "
        "goes on from where it was stopped, or with what was added to its file.",
        epilog="Example: synthex study Docs/studies/domain-shift.toml --out study",
    )
    parser.add_argument("study", type=Path, help="the study's TOML file, see Docs/studies")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where data sets, runs and the table go")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="data from outside that the study names {data}")
    parser.add_argument("--only", action="append", default=[], metavar="RUN", help="this run alone; may be given several times")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    import shlex

    from SyntheXLib.errors import SyntheXError
    from SyntheXLib.evaluation.study import read_study, steps
    from SyntheXLib.evaluation.study_runs import results, run_steps, write_table

    study, out = read_study(options.study), options.out.resolve()
    data = options.data.resolve() if options.data is not None else None
    if data is not None and not data.is_dir():
        raise SyntheXError(f"--data must be a folder, found nothing at {data}.")
    found = list(steps(study, out, options.only, data))
    if options.dry_run:
        for step in found:
            print(f"synthex {shlex.join(step.command)}")
        return 0
    run_steps(found, lambda line: print(line, flush=True), out, data)
    print(write_table(results(study, out), out), end="")
    return 0
