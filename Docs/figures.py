"""Redraw the pictures of the documentation from the sample pelvis: ``python Docs/figures.py``."""

from pathlib import Path

import numpy as np

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.inference.overlay import Layers, compose, write_picture
from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.rendering.levels import LEVELS, make_image
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

SCREENSHOTS = Path(__file__).parent / "Screenshots"
POSE = CArmPose(lao_rao_deg=-12, cran_caud_deg=8, roll_deg=2, translation_is_mm=-14, translation_ap_mm=-40)
SIDE = 360


def levels() -> None:
    """One view at the three realism levels, and with its structures and landmarks."""
    task, sample = load_task("hip"), fetch_sample("pelvis")
    specimen = load_specimen(CaseFiles(sample.ct, sample.labels, sample.landmarks, sample.label_names, sample.name), task)
    camera = task_camera(task.c_arm, POSE.world_to_camera(specimen.structure_centroid(task.poses.isocenter)))
    projection = make_renderer().render(Scene(specimen), camera)
    assert projection is not None
    images = {level: to_uint8(make_image(level, projection, camera, rng=np.random.default_rng(0)), (6, 99.8)) for level in LEVELS}
    pixels, visible = camera.project(specimen.landmark_array(task.landmark_names))
    points = np.where(visible[:, None], pixels, np.nan)
    layers = Layers(structure_masks(projection.label_bits, len(task.structures)), points, names=True)
    pictures = [compose(image, task, Layers(), SIDE) for image in images.values()]
    pictures.append(compose(images["realistic"], task, layers, SIDE))
    gap = np.full((SIDE, 4, 3), 255, np.uint8)
    write_picture(SCREENSHOTS / "levels.png", np.hstack([part for picture in pictures for part in (picture, gap)][:-1]))


if __name__ == "__main__":
    levels()
