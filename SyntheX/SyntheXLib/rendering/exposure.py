"""The parameters of the realistic level: tube, object, beam, detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.blur import GeometricBlur
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.physics.decomposition import Decomposition
from SyntheXLib.physics.detector import Detector
from SyntheXLib.physics.geometry import CATHODE_SIDES
from SyntheXLib.physics.scatter import AntiScatterGrid, Scatter
from SyntheXLib.physics.spectrum import ANODE_ANGLE_DEG, Spectrum, tube_spectrum
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
        Side of the image on which the tube's cathode lies: ``left``, ``right``, ``up`` or ``down``; the open beam is weaker towards the
        other side (heel effect), which flat-fielding hides but for the noise. ``none`` leaves the effect out. C-arms mostly have the axis
        of the tube across the plane of the C, so along the patient when the C stands across the table.
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

    def to_dict(self) -> dict[str, Any]:
        """Names and numbers, for JSON."""
        return asdict(self)
