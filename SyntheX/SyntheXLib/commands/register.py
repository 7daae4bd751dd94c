"""``synthex register``: where the C-arm stood when an X-ray of a CT's patient was taken."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SyntheXLib.datasets.sample import SAMPLES
from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    import numpy as np

    from SyntheXLib.inference.images import XrayImage
    from SyntheXLib.registration.estimate import Estimate
    from SyntheXLib.registration.views import View
    from SyntheXLib.scene.c_arm import Camera
    from SyntheXLib.scene.case_files import CaseFiles
    from SyntheXLib.scene.specimen import Specimen
    from SyntheXLib.tasks.task import Task


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
    geometry.add_argument("--intrinsics", type=Path, metavar="JSON", help="'intrinsics' (3 x 3, px) and 'source_to_detector_mm'")
    geometry.add_argument("--dicom", action="store_true", help="distance and pixel size of the DICOM file, principal point in the middle")
    geometry.add_argument("--device", metavar="NAME", help="preset, device file, or ROWSxCOLUMNS,MM,MM (default: the task's, cropped)")
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
    search.add_argument("--no-bones", action="store_true", help="leave the femurs as they are in the CT")
    search.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    search.add_argument("--threads", type=int, metavar="N", help="cores (default: all)")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.registration.estimate import AFTER_LANDMARKS, ROUGH, start_from_landmarks
    from SyntheXLib.registration.orientation import reoriented_pixels
    from SyntheXLib.registration.pose_file import pose_record, write_pose
    from SyntheXLib.scene.case_files import load_specimen
    from SyntheXLib.scene.given_views import read_views
    from SyntheXLib.tasks.task import load_task

    if options.start and options.landmarks_2d:
        raise SyntheXError("--start and --landmarks-2d are two ways to begin: expected one of them, found both.")
    task = load_task(options.task)
    specimen = load_specimen(case_files(options), task)
    view = read_view(options, options.image, task)
    start, uncertainty = None, ROUGH
    used: tuple[str, ...] = ()
    if options.start:
        start = read_views(options.start)[0].matrix
    elif options.landmarks_2d:
        pixels = read_landmarks_2d(options.landmarks_2d)
        if options.orientation == "detect":
            raise SyntheXError("--orientation detect does not go with --landmarks-2d: name the orientation.")
        taken = {name: reoriented_pixels(place[None], view.image.shape, options.orientation)[0] for name, place in pixels.items()}
        start, used = start_from_landmarks(specimen, taken, view.camera)
        uncertainty = AFTER_LANDMARKS
        left = [name for name in pixels if name not in used]
        print(f"start from {len(used)} landmarks" + (f"; left out: {', '.join(left)}" if left else ""))
    found = estimate(options, specimen, task, view, start, uncertainty, used)
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

    from SyntheXLib.scene.c_arm import Camera, CArm, load_device, task_camera

    if options.intrinsics:
        try:
            values = json.loads(options.intrinsics.read_text(encoding="utf-8"))
            matrix, distance = np.array(values["intrinsics"], float).reshape(3, 3), float(values["source_to_detector_mm"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SyntheXError(
                f"{options.intrinsics}: expected JSON with 'intrinsics' (3 x 3, px) and 'source_to_detector_mm', "
                f"found a problem with {error}."
            ) from error
        return Camera(np.eye(4), matrix, image.shape, distance)
    if options.dicom:
        spacing, distance = _dicom_geometry(path)
        return CArm(*image.shape, spacing, distance).camera(np.eye(4))
    if options.device:
        return load_device(options.device).camera(np.eye(4), shape=image.shape)
    camera = task_camera(task.c_arm, np.eye(4))
    return camera.resized(image.shape)


def _dicom_geometry(path: Path) -> tuple[float, float]:
    """Imager Pixel Spacing (0018,1164) and Distance Source to Detector (0018,1110), mm."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        rows, columns = map(float, reader.GetMetaData("0018|1164").split("\\"))
        distance = float(reader.GetMetaData("0018|1110"))
    except (RuntimeError, ValueError) as error:
        raise SyntheXError(
            f"Image {path}: --dicom expects a DICOM file with Imager Pixel Spacing and Distance Source to Detector, found them not: "
            "give --intrinsics."
        ) from error
    if abs(rows - columns) > 1e-4:
        raise SyntheXError(f"Image {path}: expected square pixels, found {rows:g} x {columns:g} mm: give --intrinsics.")
    return rows, distance


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


def estimate(
    options: argparse.Namespace,
    specimen: Specimen,
    task: Task,
    view: View,
    start: np.ndarray | None,
    uncertainty: Any,
    landmarks: tuple[str, ...] = (),
) -> Estimate:
    """Register as the options say."""
    from dataclasses import replace

    from SyntheXLib.registration.bones import movable_structures
    from SyntheXLib.registration.estimate import estimate_pose
    from SyntheXLib.registration.orientation import ORIENTATIONS

    found = estimate_pose(
        specimen,
        task,
        view,
        start,
        uncertainty,
        tuple(ORIENTATIONS) if options.orientation == "detect" else (options.orientation,),
        () if options.no_bones else movable_structures(task, specimen),
        0 if options.polarity == "auto" else 1,
        options.seed,
        options.threads,
    )
    return replace(found, landmarks=landmarks)


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
    lines += [f"{name:<12} similarity {value:.3f}" for name, value in found.bone_similarity.items()]
    if not found.trusted:
        print("The pose is not to be trusted: look at the overlay, try other landmarks or --orientation detect.", file=sys.stderr)
    return "\n".join(lines)
