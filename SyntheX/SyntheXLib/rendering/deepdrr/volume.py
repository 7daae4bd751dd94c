"""A CT as DeepDRR takes it: in every voxel one material and its density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import mass_attenuation
from SyntheXLib.physics.decomposition import CLASSES, CORTICAL_BONE_DENSITY, SOFT_TISSUE_DENSITY, Decomposition
from SyntheXLib.physics.tables.build import MATERIALS

# Mixtures of soft tissue and bone that stand for the continuum of `Decomposition`.
_BONES = 4


@dataclass(frozen=True)
class DensityVolume:
    """What DeepDRR needs to know of a CT.

    Attributes
    ----------
    density
        (K, J, I) float32, g/cm3.
    labels
        (K, J, I) uint16, place in `materials`.
    materials
        Names; air is the first.
    compounds
        Name to element to mass fraction, of all materials: ours, since DeepDRR knows no water, nitinol or steel and its soft tissue is not
        that of ICRU 44.
    """

    density: np.ndarray
    labels: np.ndarray
    materials: tuple[str, ...]
    compounds: Mapping[str, Mapping[str, float]]


def density_volume(hu: np.ndarray, cuts: Sequence[float], decomposition: Decomposition) -> DensityVolume:
    """Materials and densities of a CT, by the same rule as those of the area densities.

    The density is what attenuates at the CT's energy as the HU say; bone is one of four mixtures by volume with soft tissue.

    Parameters
    ----------
    hu
        (K, J, I) int16 HU.
    cuts
        Limits of the six HU classes, rising.
    decomposition
        What the classes are made of.

    Raises
    ------
    SyntheXError
        When there are not six classes.
    """
    if len(cuts) != len(CLASSES) - 1:
        raise SyntheXError(f"DeepDRR needs the six HU classes {', '.join(CLASSES)}, found {len(cuts) + 1} classes.")
    calibration = decomposition.calibration
    energy = calibration.energy_kev
    low = int(hu.min())
    values = np.arange(low, int(hu.max()) + 1)  # all HU that occur: the volume is looked up
    attenuation = calibration.attenuation_integral(np.full(len(values), 10.0), 10.0 * values)  # of 10 mm: per cm
    kind = np.searchsorted(cuts, values, side="right")

    soft, bone = (float(mass_attenuation(name, energy)) for name in ("soft_tissue", "cortical_bone"))
    soft_per_cm, bone_per_cm = soft * SOFT_TISSUE_DENSITY, bone * CORTICAL_BONE_DENSITY
    share = (attenuation - soft_per_cm) / (bone_per_cm - soft_per_cm)  # of the volume
    step = np.clip(np.floor(share * _BONES), 0, _BONES - 1).astype(int)

    compounds = {name: dict(MATERIALS[name]) for name in ("air", "lung", "adipose", "soft_tissue")}
    coefficients = [float(mass_attenuation(name, energy)) for name in compounds]
    for place in range(_BONES):
        middle = (place + 0.5) / _BONES
        mass = middle * CORTICAL_BONE_DENSITY / (middle * CORTICAL_BONE_DENSITY + (1 - middle) * SOFT_TISSUE_DENSITY)
        compounds[f"bone_{place + 1}"] = _mixed(MATERIALS["soft_tissue"], MATERIALS["cortical_bone"], mass)
        coefficients.append((1 - mass) * soft + mass * bone)
    compounds[decomposition.metal] = dict(MATERIALS[decomposition.metal])
    coefficients.append(float(mass_attenuation(decomposition.metal, energy)))

    label = np.select([kind < 4, kind == 4], [kind, 4 + step], len(coefficients) - 1)
    density = np.maximum(attenuation, 0) / np.array(coefficients)[label]
    index = hu.astype(np.int32) - low
    return DensityVolume(density.astype(np.float32)[index], label.astype(np.uint16)[index], tuple(compounds), compounds)


def _mixed(first: Mapping[str, float], second: Mapping[str, float], share: float) -> dict[str, float]:
    whole_first, whole_second = sum(first.values()), sum(second.values())
    elements = dict.fromkeys([*first, *second])
    return {e: (1 - share) * first.get(e, 0) / whole_first + share * second.get(e, 0) / whole_second for e in elements}
