"""Draw every effect of the domain randomisation at three strengths: ``python Docs/randomization_figure.py``."""

from pathlib import Path

import numpy as np
import torch
from figures import POSE
from PIL import Image, ImageDraw, ImageFont

from SyntheXLib.datasets.sample import fetch_sample
from SyntheXLib.inference.overlay import Layers, compose
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.corruption import BoxDropout, BoxNoise, Dropout, SaltAndPepper
from SyntheXLib.randomization.effect import Effect
from SyntheXLib.randomization.filters import BoxBlur, Emboss, GaussianBlur, MotionBlur, Pool, Sharpen
from SyntheXLib.randomization.fluoroscopy import CollimatorEdges, Polarity, SideMarker
from SyntheXLib.randomization.intensity import (
    Brightness,
    Gamma,
    Illumination,
    Invert,
    LinearContrast,
    LogContrast,
    Noise,
    PixelBrightness,
    Quantize,
    SigmoidContrast,
    Window,
)
from SyntheXLib.randomization.warps import Affine, Crop, Jitter, LocalDistortion, Mirror, Turn, mirrored_places
from SyntheXLib.rendering.levels import make_image
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import load_specimen
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

PAGE = Path(__file__).parent / "Screenshots" / "randomization.png"
SIDE, COLUMNS = 140, 3


def at(value: float) -> tuple[float, float]:
    """Limits that leave no choice."""
    return value, value


def main() -> None:
    """Draw the page."""
    task, sample = load_task("hip"), fetch_sample("pelvis")
    specimen = load_specimen(sample.files, task)
    isocenter = specimen.structure_centroid(task.poses.isocenter)
    camera = task_camera(task.c_arm, POSE.world_to_camera(isocenter), 240)
    projection = make_renderer().render(Scene(specimen), camera)
    assert projection is not None
    image = make_image("realistic", projection, camera, rng=np.random.default_rng(0))
    points, visible = camera.project(specimen.landmark_array(task.landmark_names))
    masks = structure_masks(projection.label_bits, len(task.structures)).astype(np.uint8)
    batch = XrayBatch(
        log_image(torch.from_numpy(image)[None, None]),
        torch.from_numpy(masks)[None],
        torch.from_numpy(points.astype(np.float32))[None],
        torch.from_numpy(visible)[None],
    )
    mirror = Mirror(mirrored_places(task.structures), mirrored_places(task.landmarks), exclusive=False)
    rows: dict[str, list[Effect]] = {
        "noise": [Noise(at(v)) for v in (0.01, 0.05, 0.1)],
        "gamma": [Gamma(at(v)) for v in (0.7, 1.3, 2.0)],
        "crop": [Crop(v) for v in (0.95, 0.9, 0.8)],
        "invert, polarity, window": [Invert(), Polarity(), Window(at(0.05), at(0.05))],
        "impulse, pepper, salt": [SaltAndPepper(salt=v) for v in (0.5, 0.0, 1.0)],
        "affine": [Affine(), Affine(at(5), at(2), at(1.1)), Affine(at(-15), at(5), at(0.85), 0.1)],
        "contrast linear, log, sigmoid": [LinearContrast(at(2)), LogContrast(at(1.4)), SigmoidContrast(at(10), at(0.5))],
        "blur Gaussian 3, box 4, box 7": [GaussianBlur(), BoxBlur((4, 4)), BoxBlur((7, 7))],
        "boxes of noise 1, 3, 5": [BoxNoise((n, n)) for n in (1, 3, 5)],
        "dropout pixels 5 %, 10 %, box": [Dropout(at(0.05)), Dropout(at(0.1)), BoxDropout(at(0.05))],
        "sharpen 0.5, 1, emboss": [Sharpen(at(0.5)), Sharpen(at(1.0)), Emboss(at(1.0))],
        "pooling 2, 3, 4": [Pool((n, n)) for n in (2, 3, 4)],
        "brightness 0.5, 1.5, per pixel": [Brightness(at(0.5)), Brightness(at(1.5)), PixelBrightness()],
        "local distortion": [LocalDistortion(deviation=at(v)) for v in (0.005, 0.015, 0.03)],
        "collimator": [
            CollimatorEdges(iris=0.0, shutter=1.0),
            CollimatorEdges((0.6, 0.7), 1.0),
            CollimatorEdges((0.7, 0.8), 0.0, shutter=0.0),
        ],
        "side marker": [SideMarker(at(v)) for v in (0.06, 0.09, 0.12)],
        "illumination": [Illumination(v) for v in (0.1, 0.2, 0.4)],
        "motion 3, 6, 9": [MotionBlur(at(v)) for v in (3, 6, 9)],
        "bits 8, 4, 2": [Quantize((n, n)) for n in (8, 4, 2)],
        "mirror, half turn, quarter": [mirror, Turn((2,)), Turn((1,))],
        "jitter 1, 2, 3.5": [Jitter(at(v)) for v in (1, 2, 3.5)],
    }
    lines = []
    for number, (name, effects) in enumerate(rows.items()):
        tiles = [_tile(effect(batch, torch.Generator().manual_seed(number)), task) for effect in effects]
        lines.append(np.vstack([_title(name, tiles[0].shape[1] * COLUMNS), np.hstack(tiles)]))
    lines += [np.full_like(lines[0], 255)] * (-len(lines) % 3)
    columns = [np.vstack(lines[first::3]) for first in range(3)]
    gap = np.full((columns[0].shape[0], 12, 3), 255, np.uint8)
    page = Image.fromarray(np.hstack([columns[0], gap, columns[1], gap, columns[2]]))
    page.quantize(128, dither=Image.Dither.NONE).save(PAGE, optimize=True)  # noise does not pack well


def _tile(batch: XrayBatch, task: object) -> np.ndarray:
    low, high = np.percentile(batch.image.numpy(), (2, 99.8))  # a network sees its input scaled, too
    gray = ((batch.image[0, 0].numpy() - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
    points = np.where(batch.visible[0, :, None].numpy(), batch.landmarks[0].numpy(), np.nan)
    return compose(gray, task, Layers(batch.labels[0].numpy().astype(bool), points), SIDE)  # type: ignore[arg-type]


def _title(text: str, width: int) -> np.ndarray:
    image = Image.new("RGB", (width, 20), "white")
    ImageDraw.Draw(image).text((4, 3), text, "black", ImageFont.load_default(13))
    return np.asarray(image)


if __name__ == "__main__":
    main()
