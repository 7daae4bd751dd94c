"""Stands in for DeepDRR 1.2.2: its interface and conventions, rendered slowly with scipy, its displacement of FAKE_SHIFT voxels included.

Written from our own description of the interface; nothing of DeepDRR's code is in it.
"""

import json
import os
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.ndimage import map_coordinates

from SyntheXLib.physics.attenuation import mass_attenuation, materials

from . import geo

print("noise on the standard output that must not disturb the protocol", flush=True)
if os.environ.get("FAKE_IMPORT") == "fails":
    raise ImportError("libEGL.so.1 is missing")


class Material:
    known: ClassVar[dict[str, str]] = {}
    made: ClassVar[set[str]] = set()

    @classmethod
    def register_map(cls, mapping: dict[str, str]) -> None:
        cls.known.update(mapping)

    @classmethod
    def from_string(cls, name: str, compound_string: bool = False) -> None:
        if compound_string:
            cls.made.add(cls.known[name])
        elif cls.known.get(name) not in cls.made:
            raise AttributeError(f"Material '{name}' not found")


def coefficient(name: str, energy: float) -> float:
    """cm2/g; mixtures of soft tissue and cortical bone tell their shares by their calcium."""
    if name in materials():
        return float(mass_attenuation(name, energy))
    calcium = float(re.search(r"Ca([0-9.]+)", Material.known[name])[1]) / 0.225
    return float((1 - calcium) * mass_attenuation("soft_tissue", energy) + calcium * mass_attenuation("cortical_bone", energy))


class Volume:
    def __init__(self, data, materials, anatomical_from_IJK, anatomical_coordinate_system) -> None:
        names, labels = materials
        assert data.dtype == np.float32 and labels.dtype == np.uint16 and data.shape == labels.shape
        assert list(names.values()) == list(range(len(names))) and anatomical_coordinate_system == "RAS"
        self.data, self.names, self.labels, self.matrix = data, list(names), labels, np.asarray(anatomical_from_IJK)


class Projector:
    def __init__(self, volume, camera_intrinsics, source_to_detector_distance, step, spectrum, **options) -> None:
        assert isinstance(volume, Volume)  # one, not several
        for name in volume.names:
            Material.from_string(name)
        self.volume, self.size, self.spectrum, self.ready = volume, camera_intrinsics.sensor_size, spectrum, False
        if "FAKE_LOG" in os.environ:
            record = {**options, "step": step, "distance": source_to_detector_distance, "shape": volume.data.shape, "names": volume.names}
            record |= {"first_eV": spectrum[0, 0], "border": float(volume.data[:2].max()), "origin": volume.matrix[:3, 3].tolist()}
            Path(os.environ["FAKE_LOG"]).write_text(json.dumps(record), encoding="utf-8")

    def initialize(self) -> None:
        self.ready = True

    def free(self) -> None:
        self.ready = False

    def __call__(self, projection: geo.CameraProjection) -> np.ndarray:
        assert self.ready
        width, height = self.size
        u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(projection.intrinsic.data).T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        world_from_camera = np.linalg.inv(projection.extrinsic.data)
        index_from_camera = np.linalg.inv(self.volume.matrix) @ world_from_camera
        middle = np.linalg.inv(index_from_camera) @ [*(np.array(self.volume.data.shape) - 1) / 2, 1]
        reach = np.linalg.norm(self.volume.matrix[:3, :3] @ np.array(self.volume.data.shape)) / 2
        step = 2.0
        area = np.zeros((len(self.volume.names), height, width))  # g/cm2
        for distance in np.arange(max(np.linalg.norm(middle[:3]) - reach, 0), np.linalg.norm(middle[:3]) + reach, step):
            index = (rays * distance) @ index_from_camera[:3, :3].T + index_from_camera[:3, 3] - float(os.environ.get("FAKE_SHIFT", "1"))
            places = index.transpose(2, 0, 1)
            density = map_coordinates(self.volume.data, places, order=1)
            label = map_coordinates(self.volume.labels, places, order=0)
            for number in range(len(area)):
                area[number] += np.where(label == number, density, 0) * (step / 10)
        image = np.zeros((height, width))
        for energy, photons in self.spectrum / [1000, self.spectrum[:, 1].sum()]:
            exponent = np.zeros_like(image)
            for name, density in zip(self.volume.names, area, strict=True):
                exponent += coefficient(name, energy) * density
            image += photons * energy * np.exp(-exponent)
        return image.astype(np.float32)
