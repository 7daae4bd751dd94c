"""Material decomposition by a map: what every voxel is made of, told by a label map or a network, in place of the HU classes.

Where a voxel's material is known, its density follows from its HU and the area density of a material is the line integral of that density
over the material's voxels: one more cast of the rays for each material.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.physics.attenuation import material_name
from SyntheXLib.physics.decomposition import HounsfieldCalibration, area_density
from SyntheXLib.rendering.renderer import Renderer, make_renderer
from SyntheXLib.rendering.volume import HU_OFFSET
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.case_files import itk_image, on_grid_of, read_image, read_label_names, segment_names
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

_MOST_MG_CM3 = 32767 - HU_OFFSET  # densities are carried where HU else are, 16 bit


@dataclass(frozen=True)
class MaterialMap:
    """What every voxel is made of.

    Attributes
    ----------
    index
        (K, J, I) uint8, place of the voxel's material in `names`, on the grid of the CT.
    names
        Materials of `physics.attenuation.materials`.
    """

    index: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.index.size and int(self.index.max()) >= len(self.names):
            raise SyntheXError(f"Material map: found the index {int(self.index.max())}, expected below {len(self.names)} (materials).")

    def density_mg_cm3(self, hu: np.ndarray, material: str, calibration: HounsfieldCalibration) -> np.ndarray:
        """(K, J, I) int16 density in mg/cm3 that gives the HU in the voxels of a material; 0 elsewhere."""
        found = np.zeros(hu.shape, np.int16)
        inside = np.isin(self.index, [place for place, name in enumerate(self.names) if name == material])
        # Of 1 cm, so that g/cm2 are g/cm3.
        density = area_density(material, np.array(10.0, np.float32), hu[inside].astype(np.float32) * 10, calibration)
        found[inside] = np.rint(density * 1000).clip(0, _MOST_MG_CM3)
        return found


def read_material_map(path: Path, specimen: Specimen, names: Path | None = None) -> MaterialMap:
    """Read a label map whose labels are materials, and bring it onto the CT's grid.

    Parameters
    ----------
    path
        Label map in the frame of the CT.
    specimen
        The CT.
    names
        Colour table or CSV of number and material; None takes the names in the file itself (``.seg.nrrd``), or the table of the file's
        name (``.csv``, ``.ctbl``) beside it. Number 0 is air unless named.

    Raises
    ------
    SyntheXError
        When a file cannot be read, a number has no name, a name is no material, or the frames do not meet.
    """
    image = read_image(path, "material map")
    reference = itk_image(np.zeros(specimen.hu.shape, np.uint8), specimen.ijk_to_ras)
    image, _ = on_grid_of(image, reference, specimen.name, str(path))
    beside = [_stem(path).with_suffix(suffix) for suffix in (".csv", ".ctbl")]
    names = names or next((table_file for table_file in beside if table_file.exists()), None)
    table = {0: "air"} | (read_label_names(names) if names else segment_names(image))
    labels = sitk.GetArrayFromImage(image)
    numbers = [int(number) for number in np.unique(labels)]
    unknown = [number for number in numbers if number not in table]
    if unknown:
        raise SyntheXError(
            f"Material map {path}: no name for the number {unknown[0]}; expected a colour table or CSV of number and material"
            + (f", found only {', '.join(map(str, table))} in {names}." if names else ".")
        )
    found = [material_name(table[number]) for number in numbers]
    kinds = tuple(dict.fromkeys(found))
    places = np.array([kinds.index(material) for material in found], np.uint8)
    return MaterialMap(places[np.searchsorted(numbers, labels)], kinds)


def write_material_map(path: Path, material_map: MaterialMap, ijk_to_ras: np.ndarray) -> None:
    """Write a map as a label map and, beside it, a CSV of number and material; `ijk_to_ras` is (4, 4), mm."""
    with atomic_write(_stem(path).with_suffix(".csv")) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(enumerate(material_map.names))
    with atomic_write(path) as temporary:
        sitk.WriteImage(itk_image(material_map.index, ijk_to_ras), str(temporary), useCompression=True)


def _stem(path: Path) -> Path:
    """The path without its suffixes."""
    return path.with_name(path.name.split(".")[0])


class MaterialCaster:
    """Casts the area densities of a specimen's materials, keeping a prepared volume for each.

    Parameters
    ----------
    specimen
        CT of the map.
    material_map
        What its voxels are made of.
    calibration
        Meaning of the HU; None takes the definition of the scale.
    renderer, threads
        As for `renderer.make_renderer`.
    """

    def __init__(
        self,
        specimen: Specimen,
        material_map: MaterialMap,
        calibration: HounsfieldCalibration | None = None,
        renderer: str = "auto",
        threads: int | None = None,
    ) -> None:
        if material_map.index.shape != specimen.hu.shape:
            raise SyntheXError(
                f"Material map of {specimen.name}: expected the CT's shape {specimen.hu.shape}, found {material_map.index.shape}."
            )
        self._parts: dict[str, tuple[Specimen, Renderer]] = {}
        unlabelled = np.zeros_like(specimen.labels)
        for name in dict.fromkeys(material_map.names):
            density = material_map.density_mg_cm3(specimen.hu, name, calibration or HounsfieldCalibration())
            if density.any():
                # Stored value = HU + 1000, so that a density of 0 is what lies around the CT too.
                part = replace(specimen, hu=density - np.int16(HU_OFFSET), labels=unlabelled)
                self._parts[name] = (part, make_renderer(renderer, (), threads))

    def area_densities(self, scene: Scene, camera: Camera) -> dict[str, np.ndarray]:
        """Area densities (H, W) in g/cm2 by material, for a scene with the caster's specimen."""
        found: dict[str, np.ndarray] = {}
        for name, (part, renderer) in self._parts.items():
            projection = renderer.render(replace(scene, specimen=part), camera)
            assert projection is not None  # nobody cancels
            length, total = projection.path_length.sum(0), projection.hu_integral.sum(0)
            found[name] = np.maximum(total + HU_OFFSET * length, 0) * np.float32(1e-4)  # mg/cm3 mm to g/cm2
        return found or {"air": np.zeros(camera.shape, np.float32)}
