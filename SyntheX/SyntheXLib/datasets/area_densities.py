"""Area densities as a data set stores them, and the image that the simulator makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SyntheXLib.datasets.format import PATH_STEP, DatasetHeader
from SyntheXLib.errors import SyntheXError


def stored_paths(densities: Mapping[str, np.ndarray], materials: Sequence[str]) -> np.ndarray:
    """Area densities (H, W) by material, g/cm2, as (M, H, W) uint16 in steps of `format.PATH_STEP`; what is below 0 or above 65 is cut.

    Raises
    ------
    SyntheXError
        When there is a material that is not among `materials`.
    """
    unknown = [name for name, found in densities.items() if name not in materials and found.any()]
    if unknown:
        raise SyntheXError(f"Area densities are stored of {', '.join(materials)}, found '{unknown[0]}' too: store the image instead.")
    shape = next(iter(densities.values())).shape
    whole = np.stack([densities.get(name, np.zeros(shape, np.float32)) for name in materials])
    return np.rint(whole / PATH_STEP).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)


def simulated_image(header: DatasetHeader, paths: np.ndarray, parameters: Mapping[str, Any], index: int) -> np.ndarray:
    """The image, (H, W) float32, that the simulator makes of stored area densities: with the exposure of the data set or that view.

    The noise comes from the view's own stream of random numbers, so that it is the simulator's but for the rounding of the densities. With
    more than one ray a pixel they were averaged before, not after, their absorption.
    """
    from SyntheXLib.rendering.exposure import Exposure
    from SyntheXLib.rendering.projection import Projection
    from SyntheXLib.rendering.realistic import realistic
    from SyntheXLib.scene.c_arm import load_device, task_camera

    configuration = header.configuration
    camera = task_camera(header.task.c_arm, np.eye(4), configuration["image_size"])
    exposure = Exposure.from_dict(configuration["exposure"]).with_values(parameters.get("exposure", {}))
    nothing = np.zeros((0, *camera.shape), np.float32)
    projection = Projection((), nothing, nothing, np.zeros(camera.shape, np.uint16))
    materials = dict(zip(configuration["materials"], paths * np.float32(PATH_STEP), strict=True))
    noise = np.random.default_rng(np.random.SeedSequence(header.seed, spawn_key=(index, 1)))
    native = load_device(header.task.c_arm.device).pixel_spacing_mm
    return np.asarray(realistic(projection, camera, exposure, noise, native, materials=materials), np.float32)
