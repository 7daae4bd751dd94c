"""Redraw the pictures of the documentation from the sample pelvis: ``python Docs/figures.py``."""

from pathlib import Path

import numpy as np

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.inference.overlay import Layers, compose, write_picture
from SyntheXLib.rendering.display import to_uint8
from SyntheXLib.rendering.levels import LEVELS, make_image
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import load_specimen
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.tool_files import tool_from_dict
from SyntheXLib.simulation.view import binned
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

SCREENSHOTS = Path(__file__).parent / "Screenshots"
POSE = CArmPose(lao_rao_deg=-12, cran_caud_deg=8, roll_deg=2, translation_is_mm=-14, translation_ap_mm=-40)
SIDE = 360


def levels() -> None:
    """One view at the three realism levels, and with its structures and landmarks."""
    task, sample = load_task("hip"), fetch_sample("pelvis")
    specimen = load_specimen(sample.files, task)
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


def tools() -> None:
    """A manipulator with its drill, a screw and a K-wire in the pelvis."""
    task, sample = load_task("hip"), fetch_sample("pelvis")
    specimen = load_specimen(sample.files, task)
    isocenter = specimen.structure_centroid(task.poses.isocenter)
    head = specimen.landmarks["FH-l"]
    places = {
        "continuum_manipulator": {"origin_mm": isocenter + [40, 0, 35], "axis": [-0.6, 0.1, 0.8], "shaft_length_mm": 90.0, "drill": True},
        "screw": {"origin_mm": head + [45, 0, -5], "axis": [-0.9, 0, 0.45], "length_mm": 60.0, "diameter_mm": 6.5},
        "k_wire": {"origin_mm": isocenter + [-60, 0, 70], "axis": [0.5, 0.2, -0.7], "length_mm": 120.0},
    }
    places["continuum_manipulator"]["control_angles_deg"] = [3.0] * 5
    kinds = ({"kind": kind, **values} for kind, values in places.items())
    scene = Scene(specimen, tuple(tool_from_dict({k: np.asarray(v).tolist() for k, v in kind.items()}) for kind in kinds))
    pose = CArmPose(lao_rao_deg=-12, cran_caud_deg=8, translation_is_mm=-14, translation_ap_mm=-40)
    camera = task_camera(task.c_arm, pose.world_to_camera(isocenter), 1440)
    projection = make_renderer().render(scene, camera)
    assert projection is not None
    image = make_image("realistic", projection, camera, rng=np.random.default_rng(0))
    picture = compose(to_uint8(binned(image, 2), (4, 96)), task, Layers(), 720)
    write_picture(SCREENSHOTS / "tools.png", picture)


if __name__ == "__main__":
    levels()
    tools()
