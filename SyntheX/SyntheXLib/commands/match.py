"""``synthex match``: real X-rays and their simulated twins."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.commands.register import (
    add_case_files,
    add_registration_options,
    case_files,
    estimate,
    load_predictor,
    read_landmarks_2d,
    read_view,
    write_pictures,
)
from SyntheXLib.errors import SyntheXError


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "match",
        help="make simulated twins of real X-rays of a CT's patient",
        description="Registers every X-ray of a folder (see synthex register) and writes data sets of the same views, masks and landmarks: "
        "real, naive, heuristic and realistic. Each femur stands as registered. Poses that are there already are taken as they are.",
        epilog="Example: synthex match --ct ct.nii.gz --labels seg.nii.gz --images xrays --landmarks-2d found --out matched",
    )
    add_case_files(parser)
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="the X-rays")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where poses, pictures and the four data sets go")
    parser.add_argument("--landmarks-2d", type=Path, metavar="FOLDER", help="IMAGE_landmarks.csv or IMAGE.csv of each, to start from")
    parser.add_argument("--sequence", action="store_true", help="the images follow each other: each starts from the last trusted pose")
    parser.add_argument("--image-size", type=int, metavar="PX", help="pixels a side of the data sets (default: the task's)")
    parser.add_argument("--keep-all", action="store_true", help="take poses that are not trusted too")
    add_registration_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np

    from SyntheXLib.inference.images import find_images, stem
    from SyntheXLib.registration.orientation import reoriented
    from SyntheXLib.registration.pose_file import camera_of, pose_record, read_pose, write_pose
    from SyntheXLib.scene.case_files import load_specimen
    from SyntheXLib.scene.moved_structures import move_structures
    from SyntheXLib.simulation.twins import RealView, write_twins
    from SyntheXLib.simulation.view import ViewSettings
    from SyntheXLib.tasks.task import load_task

    if options.landmarks_2d and options.model:
        raise SyntheXError("--landmarks-2d and --model are two ways to begin: expected one of them, found both.")
    task = load_task(options.task)
    files = case_files(options)
    specimen = load_specimen(files, task)
    predictor = load_predictor(options)
    paths = find_images([options.images])
    views: list[RealView] = []
    left_out: list[str] = []
    last: np.ndarray | None = None
    with progress_bar("register", "images") as progress:
        for number, path in enumerate(paths):
            name = stem(path)
            view = read_view(options, path, task)
            pose_path = options.out / "poses" / f"{name}.json"
            if not pose_path.exists():
                table = _table(options.landmarks_2d, name)
                pixels = None if table is None else read_landmarks_2d(table)
                from_last = last if options.sequence and pixels is None else None
                found = estimate(options, specimen, task, view, from_last, pixels, predictor)
                if from_last is not None and not found.trusted:  # it moved too far
                    found = estimate(options, specimen, task, view, predictor=predictor)
                write_pictures(pose_path, specimen, task, view, found)
                write_pose(pose_path, pose_record(found, path.name, specimen.name))
            record = read_pose(pose_path)
            if record["trusted"] or options.keep_all:
                taken = reoriented(view, record["orientation"])
                camera = camera_of(record)
                last = camera.world_to_camera
                bones = {bone: np.array(motion) for bone, motion in record["structures"].items()}
                signal = _signal(taken.image * (1 if record["bone"] == "bright" else -1), options.intensity)
                kept = {key: record[key] for key in ("similarity", "trusted", "orientation", "structures")}
                views.append(RealView(path.name, signal, camera, move_structures(specimen, bones, task), kept))
            else:
                left_out.append(path.name)
            progress(number + 1, len(paths))
    for name in left_out:
        print(f"left out: {name}: the pose is not to be trusted; look at its overlay in {options.out / 'poses'}", file=sys.stderr)
    if not views:
        raise SyntheXError(f"None of the {len(paths)} images of {options.images} has a pose that is to be trusted: nothing to match.")
    with progress_bar("simulate", "images") as progress:
        folders = write_twins(options.out, task, files, views, ViewSettings(image_size=options.image_size), options.seed, progress=progress)
    print("\n".join(map(str, folders)))
    return 1 if left_out else 0


def _table(folder: Path | None, name: str) -> Path | None:
    """The landmarks of an image."""
    if folder is None:
        return None
    for path in (folder / f"{name}_landmarks.csv", folder / f"{name}.csv"):
        if path.is_file():
            return path
    raise SyntheXError(f"No landmarks of image '{name}' in {folder}: expected {name}_landmarks.csv or {name}.csv.")


def _signal(bone_bright: Any, intensity: str) -> Any:
    """Detector signal of a log image: exact where it was linear; else the grey values are taken to span e^-4 to 1."""
    import numpy as np

    if intensity == "linear":
        return np.exp(-bone_bright)
    low, high = np.percentile(bone_bright, [0.5, 99.9])
    return np.exp(-4 * np.clip((bone_bright - low) / max(float(high - low), 1e-12), 0, 1)).astype(np.float32)
