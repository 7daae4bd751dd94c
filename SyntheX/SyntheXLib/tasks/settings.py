"""The parts of a task file, as dataclasses: a key of the file is an attribute here, and what it means is told here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# [lower, upper].
Range = tuple[float, float]

# Parameters of the tools (`scene.continuum_manipulator`, `scene.implants`) that a task may set, and those of them that are numbers.
TOOL_PARAMETERS: dict[str, tuple[str, ...]] = {
    "continuum_manipulator": ("shaft_length_mm", "shape"),
    "screw": (
        "length_mm",
        "diameter_mm",
        "core_diameter_mm",
        "pitch_mm",
        "head_diameter_mm",
        "head_length_mm",
        "cannula_diameter_mm",
        "material",
    ),
    "k_wire": ("length_mm", "diameter_mm", "tip_length_mm", "material"),
}
NOT_NUMBERS = ("shape", "material")


@dataclass(frozen=True)
class Structure:
    """A structure that is segmented.

    Attributes
    ----------
    name
        Its key everywhere.
    bit
        Its place in the bit field of masks (the order in the task file).
    mirror
        Name of the structure that it becomes when left and right are exchanged (itself on the midline).
    color
        Red, green and blue, 0-255.
    totalsegmentator
        Numbers of TotalSegmentator v2 that make it up.
    segment_names
        Other names under which a segmentation may hold it or one of its parts.
    source
        ``labels``: the label map holds it. ``tool``: a tool in the beam is it. ``lesion``: the label map or a lesion mask holds it, or
        lesions are synthesised.
    """

    name: str
    bit: int
    mirror: str
    color: tuple[int, int, int]
    totalsegmentator: tuple[int, ...] = ()
    segment_names: tuple[str, ...] = ()
    source: Literal["labels", "tool", "lesion"] = "labels"


@dataclass(frozen=True)
class Landmark:
    """A point that is found.

    Attributes
    ----------
    name
        Its key everywhere, as in the markups file.
    mirror
        Name of the landmark that it becomes when left and right are exchanged.
    structures
        Names of the structures on which it lies; one on a tool is the tool's own.
    """

    name: str
    mirror: str
    structures: tuple[str, ...] = ()


@dataclass(frozen=True)
class CArmSettings:
    """The device and what is kept of its detector.

    Attributes
    ----------
    device
        Name of a preset of `scene.c_arm`.
    crop_px
        Detector pixels cut off on every side.
    image_size
        Pixels a side of the simulated image, to which the rest of the detector is resized.
    """

    device: str = "cios-fusion"
    crop_px: int = 0
    image_size: int = 360


@dataclass(frozen=True)
class PoseSettings:
    """From what a view is drawn; see `scene.poses` for axes and order.

    Attributes
    ----------
    isocenter
        Structures whose common centroid is the isocentre; none takes the middle of the CT.
    isocenter_spread_mm
        How far the isocentre is moved from there at most, uniformly, along the patient's R, A and S, mm.
    source_to_isocenter_mm, lao_rao_deg, cran_caud_deg, roll_deg, translation_lr_mm, translation_is_mm, translation_ap_mm
        Lower and upper limit, mm or degrees; drawn uniformly.
    translation_lr_sd_mm, translation_is_sd_mm, translation_ap_sd_mm
        Standard deviation of a normal shift that is added, mm.
    """

    isocenter: tuple[str, ...] = ()
    isocenter_spread_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    source_to_isocenter_mm: Range = (700.0, 700.0)
    lao_rao_deg: Range = (0.0, 0.0)
    cran_caud_deg: Range = (0.0, 0.0)
    roll_deg: Range = (0.0, 0.0)
    translation_lr_mm: Range = (0.0, 0.0)
    translation_is_mm: Range = (0.0, 0.0)
    translation_ap_mm: Range = (0.0, 0.0)
    translation_lr_sd_mm: float = 0.0
    translation_is_sd_mm: float = 0.0
    translation_ap_sd_mm: float = 0.0


@dataclass(frozen=True)
class ToolSettings:
    """A tool that is drawn anew for every image; see `scene.drawn_tools`.

    Attributes
    ----------
    kind
        ``continuum_manipulator``, ``screw`` or ``k_wire``.
    probability
        Share of the images that show it.
    structure
        The task's structure that it is; empty for none.
    parameters
        Fixed parameters of that kind, as in a tool file.
    ranges
        Parameters of that kind drawn uniformly, mm.
    shapes
        Of the continuum manipulator: how many bends there are in the whole data set; 0 bends it anew for every image.
    control_angle_sd_deg
        Standard deviation of its control angles, degrees a notch.
    drill_probability
        Share of the images in which a drill is in it.
    offset_mm
        How far its origin is moved from the isocentre at most, uniformly, along R, A and S, mm.
    rotation_s_deg, rotation_r_deg, rotation_a_deg
        Turn about its own axis, which points to S, then about R, then about A, degrees; drawn uniformly.
    """

    kind: Literal["continuum_manipulator", "screw", "k_wire"]
    probability: float = 1.0
    structure: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)
    shapes: int = 0
    control_angle_sd_deg: float = 2.5
    drill_probability: float = 0.0
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_s_deg: Range = (0.0, 0.0)
    rotation_r_deg: Range = (0.0, 0.0)
    rotation_a_deg: Range = (0.0, 0.0)


@dataclass(frozen=True)
class LesionSettings:
    """Lesions that are put into the lungs of a CT that has none labelled; see `scene.lesions`.

    Attributes
    ----------
    structure
        The structure of source ``lesion`` that they make up; empty where they are seen and not segmented.
    lungs
        Structures in which they may lie.
    patterns
        How many sets of lesions a CT gets in turn.
    count
        Least and largest number of lesions.
    diameter_mm
        Of the ellipsoid that a lesion is shaped from, mm.
    consolidation_share
        Probability that a lesion is a consolidation; else it is ground glass.
    ground_glass_hu, consolidation_hu
        Mean density of a lesion, HU.
    texture_sd_hu, texture_mm
        Standard deviation and grain of its texture.
    edge_mm
        Width of its margin, across which it fades into the lung.
    peripheral
        0: anywhere; 1: at the pleura.
    lower
        0: at any height; 1: in the lower and rear lung, where the lower lobes are.
    """

    lungs: tuple[str, ...]
    structure: str = ""
    patterns: int = 40
    count: tuple[int, int] = (1, 8)
    diameter_mm: Range = (15.0, 80.0)
    consolidation_share: float = 0.4
    ground_glass_hu: Range = (-700.0, -400.0)
    consolidation_hu: Range = (-150.0, 40.0)
    texture_sd_hu: Range = (30.0, 90.0)
    texture_mm: Range = (2.0, 6.0)
    edge_mm: Range = (2.0, 8.0)
    peripheral: float = 0.7
    lower: float = 0.6


@dataclass(frozen=True)
class ContinuationSettings:
    """How the patient goes on where the CT ends; see `scene.continuation`.

    Attributes
    ----------
    above_mm, below_mm, sides_mm
        How far, above the CT's top, below its bottom and beyond either side, mm.
    neck
        Size of the cross-section at the upper end relative to the CT's top slice: below 1 the shoulders slope to a neck.
    """

    above_mm: float = 0.0
    below_mm: float = 0.0
    sides_mm: float = 0.0
    neck: float = 1.0


@dataclass(frozen=True)
class SceneSettings:
    """What stands in the beam besides the patient, and how the patient is changed from image to image.

    Attributes
    ----------
    shear_deg
        Shear of the patient about the isocentre: a point at the height S moves by S tan(angle) towards R. Drawn uniformly.
    tools
        Drawn for every image; where two overlap, the earlier wins.
    lesions
        Synthesised lesions; None for none.
    continuation
        How the patient goes on where the CT ends; None leaves air there.
    """

    shear_deg: Range = (0.0, 0.0)
    tools: tuple[ToolSettings, ...] = ()
    lesions: LesionSettings | None = None
    continuation: ContinuationSettings | None = None


@dataclass(frozen=True)
class VariationSettings:
    """How a CT becomes several patients; see `scene.specimen_variation`.

    Attributes
    ----------
    variants
        Patients made of each CT; 0 leaves the CT as it is.
    mirror_probability
        Share of the patients in which left and right are exchanged.
    scale
        Factor of the size along R, along A and along S, each drawn uniformly.
    deformation_mm, deformation_spacing_mm
        Standard deviation of the smooth displacement at its control points, mm, and their distance, mm.
    attenuation_sd
        Of every structure: standard deviation of the logarithm of the factor on its attenuation.
    hu_shift_sd
        Of the whole patient: standard deviation of the shift of water, HU; air stays.
    """

    variants: int = 0
    mirror_probability: float = 0.5
    scale: Range = (0.9, 1.1)
    deformation_mm: float = 4.0
    deformation_spacing_mm: float = 80.0
    attenuation_sd: float = 0.05
    hu_shift_sd: float = 10.0


@dataclass(frozen=True)
class SimulationSettings:
    """How many images are made, and how.

    Attributes
    ----------
    views_per_ct
        Images of each CT.
    views_per_specimen
        Consecutive images of a CT that show the same variant and the same lesions.
    level
        Realism level.
    oversample
        Rays along each side of a pixel.
    randomize_exposure
        Whether the exposure of every image is drawn from the device's ranges.
    ct_spacing_mm
        Voxel sizes of the CTs that the task was published with, mm; a coarser CT is told. [0, 0] for none.
    voxel_mm
        A CT of finer voxels is averaged, by whole factors, to about this size, mm; 0 leaves it.
    """

    views_per_ct: int = 1000
    views_per_specimen: int = 25
    level: Literal["naive", "heuristic", "realistic"] = "realistic"
    oversample: int = 1
    randomize_exposure: bool = False
    ct_spacing_mm: Range = (0.0, 0.0)
    voxel_mm: float = 0.0


@dataclass(frozen=True)
class TrainingSettings:
    """Network and training that the task was published with, or that we take.

    Attributes
    ----------
    preset
        Name of a preset of `training.config`.
    network
        Size of the network.
    epochs, epochs_real
        Passes over simulated images (Sim2Real), and over real ones (Real2Real).
    images, validation_images
        Simulated images of the published data set.
    """

    preset: Literal["ours", "paper-text", "released-code"] = "ours"
    network: Literal["small", "medium", "full"] = "small"
    epochs: int = 20
    epochs_real: int = 50
    images: int = 18000
    validation_images: int = 2000


@dataclass(frozen=True)
class EvaluationSettings:
    """How results are counted.

    Attributes
    ----------
    measures
        ``dice`` with landmark errors, or ``confusion``: accuracy, sensitivity, specificity, precision, F1, F2 of the pixels.
    mask_threshold
        Response above which a pixel belongs to a structure.
    activation
        Landmarks whose confidence is above it are counted in the tables.
    landmark_rule
        ``maximum`` of the heatmap anywhere, or ``inside``: within the predicted structure of the landmark.
    folds
        Real2Real: ``specimen`` leaves one specimen out, ``five`` are five folds.
    """

    measures: Literal["dice", "confusion"] = "dice"
    mask_threshold: float = 0.5
    activation: float = 0.9
    landmark_rule: Literal["maximum", "inside"] = "maximum"
    folds: Literal["specimen", "five"] = "specimen"
