"""From path lengths and HU integrals to the area density of each material.

All of it is linear in path length and HU integral, so it works on projections and needs no second pass of the ray caster. The price:
within one HU class a ray's average decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import CT_ENERGY_KEV, mass_attenuation
from SyntheXLib.tasks.task import nearest

# The HU classes, in the order of the ray caster's.
CLASSES = ("air", "lung", "adipose", "soft tissue", "bone", "metal")
METALS = ("titanium", "nitinol", "steel_316l")

# g/cm3, ICRU Report 44.
SOFT_TISSUE_DENSITY, CORTICAL_BONE_DENSITY = 1.06, 1.92


@dataclass(frozen=True)
class HounsfieldCalibration:
    """What a CT's numbers mean: attenuation at one energy, linear between the numbers of air and water.

    Attributes
    ----------
    energy_kev
        Energy at which the scale holds, keV; the effective energy of the scanner's beam in the patient (a 120 kVp beam: about 70).
    air_hu, water_hu
        What the scanner shows for air and water (HU); -1000 and 0 by definition, a phantom tells what they are.
    """

    energy_kev: float = CT_ENERGY_KEV
    air_hu: float = -1000.0
    water_hu: float = 0.0

    def __post_init__(self) -> None:
        if not self.air_hu < self.water_hu:
            raise SyntheXError(f"HU calibration: air_hu must be below water_hu, found {self.air_hu:g} and {self.water_hu:g}.")
        mass_attenuation("water", self.energy_kev)  # tells when the energy is out of range

    def attenuation_integral(self, path_length_mm: np.ndarray, hu_integral: np.ndarray) -> np.ndarray:
        """Integral of the attenuation coefficient at `energy_kev` (dimensionless) over paths (mm) with an HU integral (HU x mm)."""
        water_cm = (hu_integral - self.air_hu * path_length_mm) * (0.1 / (self.water_hu - self.air_hu))
        return water_cm * float(mass_attenuation("water", self.energy_kev))


def area_density(
    material: str, path_length_mm: np.ndarray, hu_integral: np.ndarray, calibration: HounsfieldCalibration | None = None
) -> np.ndarray:
    """Area density along a ray of what is taken to be one material of varying density.

    Parameters
    ----------
    material
        One of `attenuation.materials()`.
    path_length_mm, hu_integral
        Path length (mm) and integral of HU over it (HU x mm), of one shape.
    calibration
        Meaning of the HU; None takes the definition of the scale.

    Returns
    -------
    numpy.ndarray
        g/cm2, the same shape: the density that attenuates at the CT's energy as its HU says.
    """
    calibration = calibration or HounsfieldCalibration()
    return calibration.attenuation_integral(path_length_mm, hu_integral) / float(mass_attenuation(material, calibration.energy_kev))


@dataclass(frozen=True)
class Decomposition:
    """What the six HU classes are made of.

    Air, lung, adipose tissue, soft tissue and metal are one material each, of a density that follows the HU. Bone is soft tissue
    (1.06 g/cm3) and cortical bone (1.92 g/cm3) mixed by volume so that the attenuation at the CT's energy is the voxel's: pure cortical
    bone at about 1560 HU, beyond which the rule goes on linearly.

    Attributes
    ----------
    metal
        Material of the metal class: titanium, nitinol or steel_316l. Most CTs clip HU at 3071, far below any metal's, so that implants
        come out too light; the true thickness takes a tool as a scene object.
    calibration
        Meaning of the HU.
    """

    metal: str = "titanium"
    calibration: HounsfieldCalibration = field(default_factory=HounsfieldCalibration)

    def __post_init__(self) -> None:
        if self.metal not in METALS:
            raise SyntheXError(
                f"Decomposition: unknown metal '{self.metal}', expected one of {', '.join(METALS)}{nearest(self.metal, METALS)}."
            )

    def area_densities(self, path_length_mm: np.ndarray, hu_integral: np.ndarray) -> dict[str, np.ndarray]:
        """Area densities (g/cm2) by material, each (...), of (6, ...) path lengths (mm) and HU integrals (HU x mm) of the classes.

        Raises
        ------
        SyntheXError
            When there are not six classes.
        """
        if len(path_length_mm) != len(CLASSES):
            raise SyntheXError(f"The decomposition needs the six HU classes {', '.join(CLASSES)}, found {len(path_length_mm)} classes.")

        def whole(material: str, index: int) -> np.ndarray:
            return area_density(material, path_length_mm[index], hu_integral[index], self.calibration)

        soft, bone = self._bone(path_length_mm[4], hu_integral[4])
        return {
            "air": whole("air", 0),
            "lung": whole("lung", 1),
            "adipose": whole("adipose", 2),
            "soft_tissue": whole("soft_tissue", 3) + soft,
            "cortical_bone": bone,
            self.metal: whole(self.metal, 5),
        }

    def _bone(self, path_length_mm: np.ndarray, hu_integral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        energy = self.calibration.energy_kev
        soft = float(mass_attenuation("soft_tissue", energy)) * SOFT_TISSUE_DENSITY  # per cm
        bone = float(mass_attenuation("cortical_bone", energy)) * CORTICAL_BONE_DENSITY
        path_cm = path_length_mm / 10
        bone_cm = (self.calibration.attenuation_integral(path_length_mm, hu_integral) - soft * path_cm) / (bone - soft)
        return SOFT_TISSUE_DENSITY * (path_cm - bone_cm), CORTICAL_BONE_DENSITY * bone_cm
