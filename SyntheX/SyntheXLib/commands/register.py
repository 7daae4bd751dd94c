"""``synthex register``: where the C-arm stood when an X-ray of a CT's patient was taken."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.commands.progress import progress_bar
from SyntheXLib.datasets.sample import SAMPLES
from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    import numpy as np

    from SyntheXLib.inference.images import XrayImage
    from SyntheXLib.inference.predictor import Predictor
    from SyntheXLib.registration.estimate import Estimate
    from SyntheXLib.registration.views import View
    from SyntheXLib.scene.c_arm import Camera
    from SyntheXLib.scene.case_files import CaseFiles
    from SyntheXLib.scene.specimen import Specimen
    from SyntheXLib.tasks.task import Task

# Projections that a registration usually makes from a start, after a search of the task's poses, and more for each bone that moves; for the
# bar, which moves every so many projections.
_STARTED, _SEARCHED, _A_BONE, _COUNTED = 3500, 15000, 3900, 50


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "register",
        help="find the pose of the C-arm for a real X-ray of a CT's patient",
        description="2D/3D registration: from a start (landmarks, a rough pose, or a search of the task's poses) to the pose under which "
        "the CT looks most like the X-ray, then each femur on its own. Writes a pose (JSON), an overlay and a checkerboard beside it.",
        epilog="Example: synthex register --sample pelvis --image image.dcm --landmarks-2d image_landmarks.csv --out pose.json",
    )
    add_case_files(parser)
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="X-ray: PNG, TIFF, NRRD, NIfTI or DICOM")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="pose file to write")
    parser.add_argument("--start", type=Path, metavar="JSON", help="rough pose: a file with world_to_camera")
    parser.add_argument(
        "--landmarks-2d", type=Path, metavar="CSV", help="landmarks in the image: landmark, column, row, as synthex infer writes them"
    )
    add_registration_options(parser)
    parser.set_defaults(run=run)


def add_case_files(parser: argparse.ArgumentParser) -> None:
    """Add the one case: --sample, or --ct with --labels."""
    parser.add_argument("--task", default="hip", help="name of a task, or its TOML file (default: hip)")
    parser.add_argument("--sample", choices=tuple(SAMPLES), help="a sample CT, fetched when needed")
    parser.add_argument("--ct", type=Path, metavar="FILE", help="CT: NIfTI, NRRD, or folder of a DICOM series")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="label map of the CT")
    parser.add_argument("--landmarks-3d", type=Path, metavar="FILE", help="landmarks (.mrk.json) of the CT")
    parser.add_argument("--label-names", type=Path, metavar="FILE", help="what the numbers in the label map mean: colour table or CSV")


def add_registration_options(parser: argparse.ArgumentParser) -> None:
    """Add geometry, grey values and search."""
    geometry = parser.add_argument_group("geometry", "The first of these that is given counts.")
    geometry.add_argument(
        "--intrinsics",
        type=Path,
        metavar="JSON",
        help="'source_to_detector_mm' with 'intrinsics' (3 x 3, px), or with 'pixel_spacing_mm' and, where known, 'principal_point' (px)",
    )
    geometry.add_argument("--dicom", action="store_true", help="distance and pixel size of the DICOM file, principal point in the middle")
    geometry.add_argument("--device", metavar="NAME", help="preset, device file, or ROWSxCOLUMNS,MM,MM (default: the task's, cropped)")
    geometry.add_argument(
        "--free-principal-point", type=float, default=0.0, metavar="MM", help="find it too; it may be off by so much (SD on the detector)"
    )
    geometry.add_argument(
        "--free-distance", type=float, default=0.0, metavar="PERCENT", help="find source to detector too; it may be off by so much (SD)"
    )
    meaning = parser.add_argument_group("grey values")
    meaning.add_argument("--polarity", default="auto", help="bone-bright, bone-dark or auto (default: auto)")
    meaning.add_argument("--intensity", default="log", help="log (film-like) or linear (detector signal) (default: log)")
    meaning.add_argument("--no-field", action="store_true", help="take the whole image, do not look for the border of the collimator")
    meaning.add_argument(
        "--orientation",
        default="as-stored",
        help="how the file holds the image: as-stored, mirrored, turned-180, mirrored-turned, or detect, which takes four times as long",
    )
    search = parser.add_argument_group("search")
    search.add_argument("--model", type=Path, metavar="FILE", help="start from the landmarks that this network finds in the image")
    search.add_argument(
        "--threshold", type=float, default=0.5, metavar="C", help="confidence that such a landmark must have at least (default: 0.5)"
    )
    search.add_argument("--no-bones", action="store_true", help="leave the femurs as they are in the CT")
    search.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    search.add_argument("--threads", type=int, metavar="N", help="cores (default: all)")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.registration.pose_file import pose_record, write_pose
    from SyntheXLib.scene.case_files import load_specimen
    from SyntheXLib.scene.given_views import read_views
    from SyntheXLib.tasks.task import load_task

    given = [name for name in ("start", "landmarks_2d", "model") if getattr(options, name)]
    if len(given) > 1:
        raise SyntheXError(f"{' and '.join('--' + name.replace('_', '-') for name in given)} are ways to begin: expected one of them.")
    task = load_task(options.task)
    specimen = load_specimen(case_files(options), task)
    view = read_view(options, options.image, task)
    start = read_views(options.start)[0].matrix if options.start else None
    pixels = read_landmarks_2d(options.landmarks_2d) if options.landmarks_2d else None
    with progress_bar("register", "projections") as progress:
        found = estimate(options, specimen, task, view, start, pixels, load_predictor(options), progress)
    if found.landmarks:
        left = [name for name in pixels or () if name not in found.landmarks]
        print(f"start from {len(found.landmarks)} landmarks" + (f"; left out: {', '.join(left)}" if left else ""))
    elif options.model:
        print("start from a search of the task's poses, since the network's landmarks led nowhere")
    write_pose(options.out, pose_record(found, options.image.name, specimen.name))
    write_pictures(options.out, specimen, task, view, found)
    print(report(found))
    print(options.out)
    return 0 if found.trusted else 1


def case_files(options: argparse.Namespace) -> CaseFiles:
    """The files of the case that the options name.

    Raises
    ------
    SyntheXError
        When there is no case.
    """
    from SyntheXLib.datasets.sample import fetch_sample
    from SyntheXLib.scene.case_files import CaseFiles

    if options.sample:
        sample = fetch_sample(options.sample)
        return replace(sample.files, landmarks=options.landmarks_3d or sample.landmarks)
    if options.ct and options.labels:
        return CaseFiles(options.ct, options.labels, options.landmarks_3d, options.label_names)
    raise SyntheXError("Expected a case: --sample NAME, or --ct FILE with --labels FILE; found neither.")


def read_view(options: argparse.Namespace, path: Path, task: Task) -> View:
    """An image with its camera (at no pose yet), its field found.

    Raises
    ------
    SyntheXError
        When the image cannot be read, or its geometry is not known.
    """
    import numpy as np

    from SyntheXLib.inference.images import read_image
    from SyntheXLib.registration.views import View, open_view

    polarity = "bone-dark" if options.intensity == "linear" else "bone-bright"
    image = read_image(path, polarity if options.polarity == "auto" else options.polarity, options.intensity)
    pixels = image.bone_bright()
    camera = _camera(options, path, image, task)
    return View(pixels, camera, np.ones(pixels.shape, bool)) if options.no_field else open_view(pixels, camera)


def _camera(options: argparse.Namespace, path: Path, image: XrayImage, task: Task) -> Camera:
    import numpy as np

    from SyntheXLib.registration.intrinsics import dicom_camera, read_intrinsics
    from SyntheXLib.scene.c_arm import load_device, task_camera

    if options.intrinsics:
        return read_intrinsics(options.intrinsics, image.shape)
    if options.dicom:
        return dicom_camera(path, image.shape)
    if options.device:
        return load_device(options.device).camera(np.eye(4), shape=image.shape)
    camera = task_camera(task.c_arm, np.eye(4))
    return camera.resized(image.shape)


def read_landmarks_2d(path: Path) -> dict[str, np.ndarray]:
    """Name to (2,) column and row; those that a network did not find (``activated`` 0) are left out.

    Raises
    ------
    SyntheXError
        When the table cannot be read or lacks a column.
    """
    import numpy as np

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            rows = list(table)
        if missing := {"landmark", "column", "row"} - set(table.fieldnames or ()):
            raise KeyError(", ".join(sorted(missing)))
        return {
            row["landmark"]: np.array([float(row["column"]), float(row["row"])])
            for row in rows
            if row.get("activated", "1") != "0" and row["column"] and row["row"]
        }
    except (OSError, KeyError, ValueError) as error:
        raise SyntheXError(f"{path}: expected a table with the columns landmark, column and row, found a problem with {error}.") from error


def load_predictor(options: argparse.Namespace) -> Predictor | None:
    """The network that finds the landmarks to start from, if there is one."""
    if options.model is None:
        return None
    from SyntheXLib.inference.predictor import Predictor

    return Predictor.load(options.model)


def estimate(
    options: argparse.Namespace,
    specimen: Specimen,
    task: Task,
    view: View,
    start: np.ndarray | None = None,
    pixels: Mapping[str, np.ndarray] | None = None,
    predictor: Predictor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Estimate:
    """Register as the options say: from a pose, from landmarks in the image as the file holds it, from a network's, or by a search.

    `progress` is called with the projections made and their usual number.

    Raises
    ------
    SyntheXError
        When landmarks do not give a pose, or the image does not fit the network.
    """
    from SyntheXLib.registration.bones import movable_structures
    from SyntheXLib.registration.estimate import AFTER_PREDICTION, estimate_from_landmarks, estimate_pose
    from SyntheXLib.registration.geometry import OpenGeometry
    from SyntheXLib.registration.orientation import ORIENTATIONS, reoriented, reoriented_pixels
    from SyntheXLib.registration.predicted import START_TOLERANCE_MM, predicted_landmarks

    movable = () if options.no_bones else movable_structures(task, specimen)
    orientations = tuple(ORIENTATIONS) if options.orientation == "detect" else (options.orientation,)
    searched = start is None and pixels is None and predictor is None
    usual = len(orientations) * (_SEARCHED if searched else _STARTED) + len(movable) * _A_BONE
    made = 0

    def counted() -> bool:
        nonlocal made
        made += 1
        if progress is not None and made % _COUNTED == 0:
            progress(min(made, usual), usual)
        return False

    open_by = options.free_principal_point, options.free_distance / 100
    more: dict[str, Any] = {
        "movable": movable,
        "polarity": 0 if options.polarity == "auto" else 1,
        "seed": options.seed,
        "threads": options.threads,
        "geometry": OpenGeometry(*open_by) if any(open_by) else None,
        "cancelled": counted,
    }
    if start is not None or (pixels is None and predictor is None):
        return estimate_pose(specimen, task, view, start, orientations=orientations, **more)
    if pixels is not None:
        if len(orientations) > 1:
            raise SyntheXError("--orientation detect does not go with --landmarks-2d: name the orientation.")
        taken = {name: reoriented_pixels(place[None], view.image.shape, orientations[0])[0] for name, place in pixels.items()}
        found = estimate_from_landmarks(specimen, task, reoriented(view, orientations[0]), taken, search=False, **more)
        return replace(found, orientation=orientations[0])
    assert predictor is not None
    tried = []
    for name in orientations:
        turned = reoriented(view, name)
        seen = predicted_landmarks(predictor, turned, more["polarity"], options.threshold)
        found = estimate_from_landmarks(specimen, task, turned, seen, START_TOLERANCE_MM, AFTER_PREDICTION, **more)
        tried.append(replace(found, orientation=name))
    return max(tried, key=lambda one: one.registration.similarity)


def write_pictures(out: Path, specimen: Specimen, task: Task, view: View, found: Estimate) -> None:
    """Write ``NAME_overlay.png`` and ``NAME_checkerboard.png`` beside the pose."""
    from dataclasses import replace

    from SyntheXLib.registration.attenuation import BoneCaster
    from SyntheXLib.registration.orientation import reoriented
    from SyntheXLib.registration.pictures import checkerboard, overlay, write_picture
    from SyntheXLib.rendering.renderer import make_renderer
    from SyntheXLib.scene.moved_structures import move_structures
    from SyntheXLib.scene.scene import Scene

    taken = reoriented(view, found.orientation)
    small = replace(taken, camera=found.camera).at(720)
    patient = move_structures(specimen, found.bones, task)
    projection = BoneCaster(patient).image(small.camera)
    drawn = make_renderer("own").render(Scene(patient), small.camera)
    assert drawn is not None  # nobody cancels
    masks = [((drawn.label_bits >> s.bit) & 1 > 0, s.color) for s in task.structures]
    image = small.image * found.registration.polarity
    write_picture(out.with_name(f"{out.stem}_overlay.png"), overlay(image, projection, masks))
    write_picture(out.with_name(f"{out.stem}_checkerboard.png"), checkerboard(image, projection, small.mask))


def report(found: Estimate) -> str:
    """What was found, for people."""
    import numpy as np

    from SyntheXLib.registration.intensity import TRUSTED_SIMILARITY
    from SyntheXLib.registration.motion import DEPTH_MM

    result, spread = found.registration, found.registration.spread
    lines = [
        f"similarity   {result.similarity:.3f} ({'trusted' if found.trusted else 'NOT trusted'}, from {TRUSTED_SIMILARITY:g})",
        f"search       {result.agreeing} of {result.starts} starts agree, {result.evaluations} projections, "
        f"{'came to rest' if result.converged else 'did not come to rest'}",
    ]
    if np.isfinite(spread).all():
        lines.append(
            f"spread       {np.linalg.norm(spread[:3]):.2f} degrees, {np.linalg.norm(spread[3:5]):.2f} mm in the image plane, "
            f"{spread[5] * DEPTH_MM:.1f} mm along the ray, before the last level"
        )
    lines.append(f"image        {found.orientation}, bone {'bright' if result.polarity > 0 else 'dark'}")
    if found.geometry is not None:
        across, down, longer = found.geometry.change
        lines.append(f"geometry     principal point {across:+.1f}, {down:+.1f} mm, distance {100 * np.expm1(longer):+.1f} %")
    lines += [f"{name:<12} similarity {value:.3f}" for name, value in found.bone_similarity.items()]
    if not found.trusted:
        print("The pose is not to be trusted: look at the overlay, try other landmarks or --orientation detect.", file=sys.stderr)
    return "\n".join(lines)
