"""``synthex simulate``: render a data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.cases import add_case_options, cases_of, with_material_maps
from SyntheXLib.commands.cluster import add_cluster_options, own_command, part_of, slurm_settings
from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.renderer import RENDERERS

if TYPE_CHECKING:
    from SyntheXLib.rendering.exposure import Exposure


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
    parser.add_argument("--oversample", type=int, default=1, metavar="N", help="rays along each side of a pixel, 1 to 8 (default: 1)")
    parser.add_argument(
        "--tool",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML file of a tool in the scene (continuum_manipulator, screw, k_wire, stl); may be given several times",
    )
    parser.add_argument("--level", default="realistic", help="realism level: naive, heuristic or realistic (default: realistic)")
    parser.add_argument(
        "--poisson-photons",
        type=float,
        metavar="N",
        help="photons a pixel of the open beam at the naive and heuristic levels (default: no noise)",
    )
    beam = parser.add_argument_group(
        "device and exposure (realistic level)",
        "What is not given is the device's default (cios-fusion: 90 kV, 4 mm Al, 5 uGy, anode of 12 degrees, cathode down, open field); "
        "--randomize-exposure draws it for every image.",
    )
    beam.add_argument("--device", metavar="NAME", help="C-arm: a preset or a device file, TOML (default: the task's)")
    beam.add_argument("--randomize-exposure", action="store_true", help="draw all that is not given here from the device's ranges")
    beam.add_argument("--kvp", type=float, metavar="KV", help="tube voltage, 40 to 150 kV")
    beam.add_argument("--aluminium", type=float, metavar="MM", help="aluminium filtration, mm")
    beam.add_argument("--copper", type=float, metavar="MM", help="copper filtration, mm")
    beam.add_argument("--dose", type=float, metavar="UGY", help="air kerma at the detector without patient, uGy an image")
    beam.add_argument("--anode-angle", type=float, metavar="DEG", help="anode angle, 6 to 20 degrees")
    beam.add_argument("--cathode-side", metavar="SIDE", help="left, right, up or down in the image; none: no heel effect")
    beam.add_argument(
        "--collimator", metavar="WxH|D", help="field on the detector, mm: width x height of the blades, or diameter of the iris"
    )
    beam.add_argument("--no-grid", action="store_true", help="take the anti-scatter grid out of the beam")
    beam.add_argument(
        "--monte-carlo-scatter",
        type=int,
        metavar="PHOTONS",
        help="scatter by following so many photons through every view, instead of kernels: slow, 10000000 take half a minute",
    )
    run_options = parser.add_argument_group("running and storage")
    run_options.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    run_options.add_argument("--renderer", default="own", help=f"{', '.join(RENDERERS)}; own and auto are the same (default: own)")
    run_options.add_argument("--shard-size", type=int, default=50, metavar="N", help="images a file (default: 50)")
    run_options.add_argument(
        "--store",
        default="image",
        help="image, paths (area densities of the materials, for training with --physics-in-the-loop) or both (default: image)",
    )
    run_options.add_argument("--dtype", default="float32", help="type of the stored images: float32 or float16 (default: float32)")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.datasets.format import HEADER_FILE
    from SyntheXLib.simulation.job import ShardJob
    from SyntheXLib.simulation.local import run_local
    from SyntheXLib.simulation.slurm import sbatch_script, submit, wait
    from SyntheXLib.simulation.view import ViewSettings
    from SyntheXLib.tasks.task import load_task

    task = load_task(options.task)
    if options.device:
        task = replace(task, c_arm=replace(task.c_arm, device=options.device))
    exposure, ranges = _exposure(options, task.c_arm.device)
    tools = tuple(str(Path(path).resolve()) for path in options.tool)
    settings = ViewSettings(
        options.level,
        exposure,
        options.image_size,
        options.dtype,
        ranges,
        options.poisson_photons,
        options.oversample,
        tools,
        options.monte_carlo_scatter,
        options.store,
    )
    if (options.out / HEADER_FILE).exists() and not options.resume:
        raise SyntheXError(f"{options.out} already holds a data set: add --resume to go on with it, or choose another folder.")
    cases = cases_of(options)
    if options.material_network:
        cases = with_material_maps(cases, task, options.material_network, options.out / "materials")
    job = ShardJob(options.out, task, cases, settings, options.seed, options.count, options.shard_size, options.renderer)
    slurm, part = slurm_settings(options), part_of(options.part)
    if slurm is not None and options.dry_run:
        print(sbatch_script(slurm, own_command(options.arguments)), end="")
        return 0
    with progress_bar("simulate", "images") as progress:
        if slurm is None:
            result = run_local(job, options.workers, progress, on_warning=lambda warning: print(f"note: {warning}"), part=part)
        else:
            tasks = submit(job, slurm)
            print(f"Slurm job {tasks[0].job_id.partition('_')[0]}: {len(tasks)} tasks." if tasks else "Nothing is left to make.")
            if options.no_wait:
                return 0
            try:
                result = wait(job, tasks, progress)
            except KeyboardInterrupt:
                print("The tasks go on: scancel with the number of the job ends them.")
                raise
    print(f"{options.out}: {result.rendered} images rendered in {result.seconds:.1f} s, {result.reused} were there before.")
    if not result.complete:
        print("Another process is making the rest; the data set is complete when it has finished.")
    return 0


def _exposure(options: argparse.Namespace, device: str) -> tuple[Exposure, dict[str, Any] | None]:
    """The exposure that the options name, and the ranges of what is drawn."""
    from SyntheXLib.rendering.exposure import device_exposure, parameter_ranges

    given: dict[str, float | str | None] = {
        "kvp": options.kvp,
        "aluminium_mm": options.aluminium,
        "copper_mm": options.copper,
        "open_beam_dose_ugy": options.dose,
        "anode_angle_deg": options.anode_angle,
        "cathode_side": options.cathode_side,
        **_field(options.collimator),
    }
    values = {place: value for place, value in given.items() if value is not None}
    exposure = device_exposure(device).with_values(values)
    # A field that is given is given as a whole.
    fixed = (*values, *(("grid.",) * options.no_grid), *(("collimator.",) * bool(options.collimator)))
    if options.no_grid:
        exposure = replace(exposure, grid=None)
    if not options.randomize_exposure:
        return exposure, None
    return exposure, {place: limits for place, limits in parameter_ranges(device).items() if not place.startswith(fixed)}


def _field(text: str | None) -> dict[str, float]:
    """Parameters of the collimator that ``WxH`` or ``D`` means."""
    if text is None:
        return {}
    names = ("collimator.width_mm", "collimator.height_mm") if "x" in text else ("collimator.iris_mm",)
    try:
        return dict(zip(names, map(float, text.split("x")), strict=True))
    except ValueError:
        raise SyntheXError(f"--collimator must be WIDTHxHEIGHT or a DIAMETER in mm, found '{text}'.") from None
