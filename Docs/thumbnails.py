"""Redraw the pictures of the samples in Slicer's module Sample Data and in the home panel: ``python Docs/thumbnails.py``."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.datasets.sample import SAMPLES, fetch_sample
from SyntheXLib.inference.overlay import write_picture
from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.rendering.levels import make_image
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.case_files import ijk_to_ras, read_image
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import make_specimen
from SyntheXLib.simulation.view import binned

ICONS = Path(__file__).parents[1] / "SyntheX" / "Resources" / "Icons"
# The size that Slicer shows there; rendered finer and binned.
WIDTH, HEIGHT, FINER = 260, 280, 3
SOURCE_TO_DETECTOR_MM, SOURCE_TO_ISOCENTER_MM = 1400.0, 1100.0  # further away than a C-arm, so that all of the patient is seen


def thumbnail(name: str, width_mm: float, shift_is_mm: float = 0.0) -> None:
    """A frontal X-ray through the middle of the CT, `width_mm` wide there."""
    image = read_image(fetch_sample(name).ct)
    hu, matrix = sitk.GetArrayFromImage(image), ijk_to_ras(image)
    # No structures are wanted, but a specimen has one.
    specimen = make_specimen(name, hu, matrix, {"patient": hu > -300}, ["patient"])
    middle = matrix[:3, :3] @ ((np.array(image.GetSize()) - 1) / 2) + matrix[:3, 3] + [0, 0, shift_is_mm]
    pose = CArmPose(source_to_isocenter_mm=SOURCE_TO_ISOCENTER_MM)
    focal_px = WIDTH * FINER * SOURCE_TO_ISOCENTER_MM / width_mm
    intrinsics = np.array([[focal_px, 0, (WIDTH * FINER - 1) / 2], [0, focal_px, (HEIGHT * FINER - 1) / 2], [0, 0, 1]])
    camera = Camera(pose.world_to_camera(middle), intrinsics, (HEIGHT * FINER, WIDTH * FINER), SOURCE_TO_DETECTOR_MM)
    projection = make_renderer().render(Scene(specimen), camera)
    assert projection is not None
    picture = to_uint8(binned(make_image("heuristic", projection, camera), FINER), (5, 99.3))
    write_picture(ICONS / f"SyntheX{name.capitalize()}.png", np.repeat(picture[..., None], 3, axis=2))


if __name__ == "__main__":
    thumbnail(SAMPLES["pelvis"].name, 330.0, -18.0)
    thumbnail(SAMPLES["chest"].name, 370.0)
