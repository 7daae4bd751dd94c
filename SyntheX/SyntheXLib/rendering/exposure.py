"""The parameters of the realistic level: tube, object, beam, detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.blur import GeometricBlur
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.physics.decomposition import Decomposition, HounsfieldCalibration
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.geometry import CATHODE_SIDES
from SyntheXLib.physics.scatter import AntiScatterGrid, Scatter
from SyntheXLib.physics.spectrum import ANODE_ANGLE_DEG, Spectrum, tube_spectrum
from SyntheXLib.scene.c_arm import device_file
from SyntheXLib.scene.device_file import Value
from SyntheXLib.tasks.task import nearest


@dataclass(frozen=True)
class Exposure:
    """The parameters of the realistic level.

    Attributes
    ----------
    kvp
        Tube voltage, kV.
    aluminium_mm, copper_mm
        Total filtration, mm.
    open_beam_dose_ugy
        Air kerma on the central ray in front of grid and detector without an object, uGy an image. The default gives some 40 nGy of
        primary radiation behind 20 cm of water, as in fluoroscopy.
    anode_angle_deg
        Angle between the anode's face and the central ray, 6 to 20 degrees.
    cathode_side
        Side of the image on which the tube's cathode lies: ``left``, ``right``, ``up`` or ``down``; the beam is weaker and harder towards
        the other side (heel effect), of which flat-fielding leaves the hardness and the noise. ``none`` leaves the effect out. Which side
        it is on a device is seldom told: "down" is a choice.
    collimator
        Blades and iris that bound the beam; None leaves all of the detector lit.
    decomposition
        What the HU classes are made of.
    scatter
        Scattered radiation.
    grid
        Anti-scatter grid, as C-arms carry one; None takes it out.
    blur
        Focal spot and motion.
    detector
        The detector.
    """

    kvp: float = 90.0
    aluminium_mm: float = 4.0
    copper_mm: float = 0.0
    open_beam_dose_ugy: float = 5.0
    anode_angle_deg: float = ANODE_ANGLE_DEG
    cathode_side: str = "down"
    collimator: Collimator | None = None
    decomposition: Decomposition = field(default_factory=Decomposition)
    scatter: Scatter = field(default_factory=Scatter)
    grid: AntiScatterGrid | None = field(default_factory=AntiScatterGrid)
    blur: GeometricBlur = field(default_factory=GeometricBlur)
    detector: Detector = field(default_factory=Detector)

    def __post_init__(self) -> None:
        if not self.open_beam_dose_ugy > 0:
            raise SyntheXError(f"Exposure: open_beam_dose_ugy must be above 0, found {self.open_beam_dose_ugy:g}.")
        if self.cathode_side not in CATHODE_SIDES:
            raise SyntheXError(
                f"Exposure: cathode_side must be one of {', '.join(CATHODE_SIDES)}, found '{self.cathode_side}'"
                f"{nearest(self.cathode_side, CATHODE_SIDES)}."
            )
        _ = self.spectrum  # tells what is out of range before anything is rendered

    @property
    def spectrum(self) -> Spectrum:
        """Of the open beam on the central ray."""
        return tube_spectrum(self.kvp, self.aluminium_mm, self.copper_mm, self.anode_angle_deg)

    def with_values(self, values: Mapping[str, Value]) -> Exposure:
        """Another exposure in which parameters, by place such as ``kvp`` or ``blur.focal_spot_mm``, have other values.

        A value for a grid or collimator that is not there puts one in.

        Raises
        ------
        SyntheXError
            When a parameter is unknown or a value impossible.
        """
        parts: dict[str, dict[str, Value]] = {}
        for place, value in values.items():
            if place not in PARAMETERS:
                raise SyntheXError(f"Exposure: unknown parameter '{place}'{nearest(place, PARAMETERS)}.")
            part, _, name = place.rpartition(".")
            parts.setdefault(part, {})[name] = float(value) if isinstance(PARAMETERS[place], float) else value
        changes: dict[str, Any] = dict(parts.pop("", {}))
        for part, inner in parts.items():
            changes[part] = replace(getattr(self, part) or _PARTS[part], **inner)
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Names and numbers, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Exposure:
        """The exposure of which `to_dict` told."""
        parts: dict[str, Any] = dict(values)
        kinds = {"collimator": Collimator, "scatter": Scatter, "grid": AntiScatterGrid, "blur": GeometricBlur, "detector": Detector}
        for name, kind in kinds.items():
            if parts[name] is not None:
                parts[name] = kind(**parts[name])
        classes = dict(parts["decomposition"])
        parts["decomposition"] = Decomposition(**{**classes, "calibration": HounsfieldCalibration(**classes["calibration"])})
        return Exposure(**parts)


# What a value for a part that is not there puts in.
_PARTS: dict[str, Any] = {"grid": AntiScatterGrid(), "collimator": Collimator()}


def _all_parameters() -> dict[str, Value]:
    exposure = Exposure()
    found: dict[str, Value] = {}
    for item in fields(Exposure):
        value = _PARTS.get(item.name, getattr(exposure, item.name))
        inner = {f"{item.name}.{name}": part for name, part in vars(value).items()} if is_dataclass(value) else {item.name: value}
        found |= {place: part for place, part in inner.items() if isinstance(part, int | float | str)}
    return found


# All parameters that are one number or word, by place, with their defaults.
PARAMETERS = _all_parameters()


def _checked(device: str) -> tuple[Exposure, dict[str, tuple[Value, ...]]]:
    file = device_file(device)
    if file is None:
        return Exposure(), {}
    exposure = Exposure()
    for place, parameter in file.parameters.items():
        if place not in PARAMETERS:
            raise SyntheXError(f"{file.where(place)}: the exposure has no parameter '{place}'{nearest(place, PARAMETERS)}.")
        kind = (float, int) if isinstance(PARAMETERS[place], float) else type(PARAMETERS[place])
        for value in (parameter.default, *parameter.range):
            if not isinstance(value, kind):
                raise SyntheXError(f"{file.where(place)}: '{place}' must be of the kind of {PARAMETERS[place]!r}, found {value!r}.")
        try:
            for value in parameter.range:  # what is impossible is told now, not at the image that draws it
                exposure.with_values({place: value})
            exposure = exposure.with_values({place: parameter.default})
        except SyntheXError as error:
            raise SyntheXError(f"{file.where(place)}: {error}") from error
    return exposure, {place: parameter.range for place, parameter in file.parameters.items()}


def device_exposure(device: str) -> Exposure:
    """The defaults of a device (see `scene.c_arm.load_device`); a device written as numbers has the library's.

    Raises
    ------
    SyntheXError
        When its file is not right; the sentence names file and line.
    """
    return _checked(device)[0]


def parameter_ranges(device: str) -> dict[str, tuple[Value, ...]]:
    """The ranges from which a device's parameters are drawn, by place; see `draw_values`."""
    return _checked(device)[1]


def draw_values(ranges: Mapping[str, tuple[Value, ...]], rng: np.random.Generator) -> dict[str, Value]:
    """Draw each parameter uniformly, for itself, in the order given: from [lowest, highest], or from the words."""
    drawn: dict[str, Value] = {}
    for place, limits in ranges.items():
        if isinstance(limits[0], str):
            drawn[place] = limits[int(rng.integers(len(limits)))]
        elif isinstance(PARAMETERS[place], int):
            drawn[place] = int(rng.integers(int(limits[0]), int(limits[1]) + 1))
        else:
            drawn[place] = float(rng.uniform(float(limits[0]), float(limits[1])))
    return drawn


def draw_exposure(device: str, rng: np.random.Generator) -> Exposure:
    """An exposure of a device, drawn from its ranges."""
    return device_exposure(device).with_values(draw_values(parameter_ranges(device), rng))
