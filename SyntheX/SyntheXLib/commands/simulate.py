"""``synthex simulate``: render a data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.cases import add_case_options, cases_of, with_lesion_masks, with_material_maps
from SyntheXLib.commands.cluster import add_cluster_options, own_command, part_of, slurm_settings
from SyntheXLib.commands.exposure_options import add_exposure_options, exposure_of
from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.renderer import RENDERERS

if TYPE_CHECKING:
    from SyntheXLib.simulation.job import ShardJob
    from SyntheXLib.simulation.slurm import SlurmSettings
    from SyntheXLib.tasks.task import Task


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
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--count", type=int, metavar="N", help="number of images; image i shows case i modulo their number")
    number.add_argument(
        "--matched",
        type=Path,
        metavar="JSON",
        help="render these views (a list of world_to_camera, with specimen and name) at every realism level, or at --level alone, "
        "each into a folder of its name",
    )
    number.add_argument("--views-per-ct", type=int, metavar="N", help="images of each case (default: the task's, 1000 for hip)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data set folder")
    parser.add_argument("--resume", action="store_true", help="go on with the data set that is already in the folder")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    parser.add_argument("--image-size", metavar="PX", help="pixels a side, or full: the whole detector with its own (default: the task's)")
    parser.add_argument("--oversample", type=int, metavar="N", help="rays along each side of a pixel, 1 to 8 (default: the task's)")
    parser.add_argument(
        "--vary",
        type=int,
        metavar="N",
        help="make N patients of each CT, mirrored, scaled, deformed and of other density as the task says; 0: none (default: the task's)",
    )
    parser.add_argument(
        "--tool",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML file of a tool in the scene (continuum_manipulator, screw, k_wire, stl); may be given several times",
    )
    parser.add_argument("--level", help="realism level: naive, heuristic or realistic (default: the task's)")
    parser.add_argument(
        "--poisson-photons",
        type=float,
        metavar="N",
        help="photons a pixel of the open beam at the naive and heuristic levels (default: no noise)",
    )
    add_exposure_options(parser)
    run_options = parser.add_argument_group("running and storage")
    run_options.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    run_options.add_argument("--renderer", default="own", help=f"{', '.join(RENDERERS)}; own and auto are the same (default: own)")
    run_options.add_argument("--shard-size", type=int, default=50, metavar="N", help="images a file (default: 50)")
    run_options.add_argument("--dtype", default="float32", help="type of the stored images: float32 or float16 (default: float32)")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.datasets.format import HEADER_FILE
    from SyntheXLib.simulation.job import ShardJob
    from SyntheXLib.simulation.slurm import sbatch_script
    from SyntheXLib.simulation.view import ViewSettings
    from SyntheXLib.tasks.task import load_task

    task = _task(options, load_task(options.task))
    if options.matched and options.vary is None:
        task = replace(task, variation=replace(task.variation, variants=0))  # the patient is the one on the real images
    simulation = task.simulation
    level, oversample = options.level or simulation.level, options.oversample or simulation.oversample
    options.randomize_exposure |= simulation.randomize_exposure and level == "realistic"
    exposure, ranges = exposure_of(options, task.c_arm.device)
    tools = tuple(str(Path(path).resolve()) for path in options.tool)
    settings = ViewSettings(
        level,
        exposure,
        int(options.image_size) if options.image_size not in (None, "full") else None,
        options.dtype,
        ranges,
        options.poisson_photons,
        oversample,
        tools,
        options.monte_carlo_scatter,
    )
    cases = cases_of(options, task)
    if options.lesion_network:
        cases = with_lesion_masks(cases, task, options.lesion_network, options.out / "lesions")
    if options.material_network:
        cases = with_material_maps(cases, task, options.material_network, options.out / "materials")
    count = options.count if options.count is not None else len(cases) * simulation.views_per_ct
    job = ShardJob(options.out, task, cases, settings, options.seed, count, options.shard_size, options.renderer)
    jobs = _matched(options, job) if options.matched else [job]
    for one in jobs:
        if (one.folder / HEADER_FILE).exists() and not options.resume:
            raise SyntheXError(f"{one.folder} already holds a data set: add --resume to go on with it, or choose another folder.")
    slurm = slurm_settings(options)
    if slurm is not None and options.dry_run:
        print(sbatch_script(slurm, own_command(options.arguments)), end="")
        return 0
    for one in jobs:
        _run(options, one, slurm)
    return 0


def _run(options: argparse.Namespace, job: ShardJob, slurm: SlurmSettings | None) -> None:
    """Make one data set, here or on the cluster, and say what was done."""
    from SyntheXLib.simulation.local import run_local
    from SyntheXLib.simulation.slurm import submit, wait

    with progress_bar(job.settings.level if options.matched else "simulate", "images") as progress:
        if slurm is None:
            part = part_of(options.part)
            result = run_local(job, options.workers, progress, on_warning=lambda warning: print(f"note: {warning}"), part=part)
        else:
            tasks = submit(job, slurm)
            print(f"Slurm job {tasks[0].job_id.partition('_')[0]}: {len(tasks)} tasks." if tasks else "Nothing is left to make.")
            if options.no_wait:
                return
            try:
                result = wait(job, tasks, progress)
            except KeyboardInterrupt:
                print("The tasks go on: scancel with the number of the job ends them.")
                raise
    print(f"{job.folder}: {result.rendered} images rendered in {result.seconds:.1f} s, {result.reused} were there before.")
    if not result.complete:
        print("Another process is making the rest; the data set is complete when it has finished.")


def _matched(options: argparse.Namespace, job: ShardJob) -> list[ShardJob]:
    """The job's views, given by a file, at every realism level; what differs is the appearance alone."""
    from SyntheXLib.rendering.levels import LEVELS
    from SyntheXLib.scene.given_views import read_views

    views = read_views(options.matched)
    levels = (options.level,) if options.level else LEVELS
    drawn = job.settings.exposure_ranges
    return [
        replace(
            job,
            folder=options.out / level,
            count=len(views),
            views=views,
            settings=replace(job.settings, level=level, exposure_ranges=drawn if level == "realistic" else None),
        )
        for level in levels
    ]


def _task(options: argparse.Namespace, task: Task) -> Task:
    """The task with what the options change."""
    from SyntheXLib.scene.c_arm import load_device

    if options.device:
        task = replace(task, c_arm=replace(task.c_arm, device=options.device))
    if options.image_size == "full":
        device = load_device(task.c_arm.device)
        if device.rows != device.columns:
            raise SyntheXError(f"--image-size full needs a square detector, found {device.rows} x {device.columns} pixels.")
        task = replace(task, c_arm=replace(task.c_arm, crop_px=0, image_size=device.rows))
    elif options.image_size is not None and not options.image_size.isdigit():
        raise SyntheXError(f"--image-size must be a number of pixels or full, found '{options.image_size}'.")
    for option, name, lowest in (("--vary", "vary", 0), ("--views-per-ct", "views_per_ct", 1)):
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise SyntheXError(f"{option} must be at least {lowest}, found {value}.")
    if options.vary is not None:
        task = replace(task, variation=replace(task.variation, variants=options.vary))
    if options.views_per_ct is not None:
        task = replace(task, simulation=replace(task.simulation, views_per_ct=options.views_per_ct))
    return task
