"""``synthex simulate``: render a data set."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from SyntheXLib.commands.cases import add_case_options, cases_of
from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "simulate",
        help="render a data set of labelled X-rays",
        description="Render labelled X-rays of annotated CTs. Image i depends on the seed and i alone: an interrupted run that is started "
        "again with --resume gives the same data set, whatever the number of workers.",
        epilog="Example: synthex simulate --task hip --sample pelvis --count 1000 --image-size 180 --out data",
    )
    parser.add_argument("--task", default="hip", help="name of a task, or its TOML file (default: hip)")
    add_case_options(parser)
    parser.add_argument("--count", type=int, required=True, metavar="N", help="number of images; image i shows case i modulo their number")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data set folder")
    parser.add_argument("--resume", action="store_true", help="go on with the data set that is already in the folder")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    parser.add_argument("--image-size", type=int, metavar="PX", help="pixels a side (default: the task's)")
    parser.add_argument("--level", default="realistic", help="realism level: naive, heuristic or realistic (default: realistic)")
    parser.add_argument(
        "--poisson-photons",
        type=float,
        metavar="N",
        help="photons a pixel of the open beam at the naive and heuristic levels (default: no noise)",
    )
    beam = parser.add_argument_group("exposure (realistic level)")
    beam.add_argument("--kvp", type=float, default=90.0, metavar="KV", help="tube voltage, 40 to 150 kV (default: 90)")
    beam.add_argument("--aluminium", type=float, default=4.0, metavar="MM", help="aluminium filtration, mm (default: 4)")
    beam.add_argument("--copper", type=float, default=0.0, metavar="MM", help="copper filtration, mm (default: 0)")
    beam.add_argument(
        "--dose", type=float, default=5.0, metavar="UGY", help="air kerma at the detector without patient, uGy an image (default: 5)"
    )
    beam.add_argument("--no-grid", action="store_true", help="take the anti-scatter grid out of the beam")
    run_options = parser.add_argument_group("running and storage")
    run_options.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    run_options.add_argument("--renderer", default="auto", help="ray caster: auto, cpu or reference (default: auto)")
    run_options.add_argument("--shard-size", type=int, default=50, metavar="N", help="images a file (default: 50)")
    run_options.add_argument("--dtype", default="float32", help="type of the stored images: float32 or float16 (default: float32)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.datasets.format import HEADER_FILE
    from SyntheXLib.rendering.levels import Exposure
    from SyntheXLib.scene.case_files import load_specimen
    from SyntheXLib.simulation.job import ShardJob
    from SyntheXLib.simulation.local import run_local
    from SyntheXLib.simulation.view import ViewSettings
    from SyntheXLib.tasks.task import load_task

    exposure = Exposure(options.kvp, options.aluminium, options.copper, options.dose)
    if options.no_grid:
        exposure = replace(exposure, grid=None)
    settings = ViewSettings(options.level, exposure, options.image_size, options.dtype, options.poisson_photons)
    task = load_task(options.task)
    if (options.out / HEADER_FILE).exists() and not options.resume:
        raise SyntheXError(f"{options.out} already holds a data set: add --resume to go on with it, or choose another folder.")
    cases = cases_of(options)
    job = ShardJob(options.out, task, cases, settings, options.seed, options.count, options.shard_size, options.renderer)
    # Loading checks the cases before any process starts, and tells what is odd about them once.
    for case in cases:
        for warning in load_specimen(case, task).warnings:
            print(f"note: {warning}")
    with progress_bar("simulate", "images") as progress:
        result = run_local(job, options.workers, progress)
    print(f"{options.out}: {result.rendered} images rendered in {result.seconds:.1f} s, {result.reused} were there before.")
    if not result.complete:
        print("Another process is making the rest; the data set is complete when it has finished.")
    return 0
