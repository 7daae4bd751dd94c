"""What must hold in a task beyond the types of its values: names refer to something, numbers are possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.settings import NOT_NUMBERS, TOOL_PARAMETERS
from SyntheXLib.tasks.toml_reader import nearest

if TYPE_CHECKING:
    from SyntheXLib.tasks.task import Task

# From a path in the file to what errors call the place.
At = Callable[[str], str]
# A displacement field of this steepness cannot fold.
_STEEPEST = 0.1


def check_task(task: Task, at: At) -> None:
    """Check a task that has been read; `at` gives source and line of a path in the file.

    Raises
    ------
    SyntheXError
        When a name refers to nothing or a number is impossible.
    """
    _check_structures(task, at)
    _check_numbers(task, at)
    _check_references(task, at)
    for place, tool in enumerate(task.scene.tools):
        _check_tool(tool.kind, tool.parameters, tool.ranges, f"scene.tools[{place}]", at)


def _check_structures(task: Task, at: At) -> None:
    if not task.structures:
        raise SyntheXError(f"{at('')}: expected at least one [[structures]] entry, found none.")
    if len(task.structures) > 32:
        raise SyntheXError(f"{at('structures[32]')}: expected at most 32 structures (bits of a mask), found {len(task.structures)}.")
    for kind, names in (("structures", task.structure_names), ("landmarks", task.landmark_names)):
        for place, name in enumerate(names):
            if name in names[:place]:
                raise SyntheXError(f"{at(f'{kind}[{place}].name')}: {kind} must have different names, found '{name}' twice.")
    tools = {tool.structure for tool in task.scene.tools}
    for place, structure in enumerate(task.structures):
        if structure.source == "tool" and structure.name not in tools:
            raise SyntheXError(f"{at(f'structures[{place}].source')}: no [[scene.tools]] has the structure '{structure.name}'.")


def _check_numbers(task: Task, at: At) -> None:
    scene, simulation, variation = task.scene, task.simulation, task.variation
    least: list[tuple[str, float, float]] = [
        ("c_arm.image_size", task.c_arm.image_size, 16),
        ("c_arm.crop_px", task.c_arm.crop_px, 0),
        ("simulation.views_per_ct", simulation.views_per_ct, 1),
        ("simulation.views_per_specimen", simulation.views_per_specimen, 1),
        ("simulation.oversample", simulation.oversample, 1),
        ("simulation.ct_spacing_mm", simulation.ct_spacing_mm[0], 0),
        ("simulation.voxel_mm", simulation.voxel_mm, 0),
        ("variation.variants", variation.variants, 0),
        ("variation.scale", variation.scale[0], 0.5),
        ("variation.deformation_mm", variation.deformation_mm, 0),
        ("variation.deformation_spacing_mm", variation.deformation_spacing_mm, variation.deformation_mm / _STEEPEST),
        ("variation.attenuation_sd", variation.attenuation_sd, 0),
        ("variation.hu_shift_sd", variation.hu_shift_sd, 0),
        ("poses.source_to_isocenter_mm", task.poses.source_to_isocenter_mm[0], 1),
        ("training.epochs", task.training.epochs, 1),
    ]
    least += [(f"poses.translation_{axis}_sd_mm", getattr(task.poses, f"translation_{axis}_sd_mm"), 0) for axis in ("lr", "is", "ap")]
    shares = [
        ("variation.mirror_probability", variation.mirror_probability),
        ("evaluation.mask_threshold", task.evaluation.mask_threshold),
        ("evaluation.activation", task.evaluation.activation),
    ]
    for place, tool in enumerate(scene.tools):
        path = f"scene.tools[{place}]"
        least += [(f"{path}.shapes", tool.shapes, 0), (f"{path}.control_angle_sd_deg", tool.control_angle_sd_deg, 0)]
        shares += [(f"{path}.probability", tool.probability), (f"{path}.drill_probability", tool.drill_probability)]
    if more := scene.continuation:
        least += [(f"scene.continuation.{key}", getattr(more, key), 0) for key in ("above_mm", "below_mm", "sides_mm")]
        least.append(("scene.continuation.neck", more.neck, 0.1))
    if lesions := scene.lesions:
        least += [(f"scene.lesions.{key}", getattr(lesions, key)[0], 0) for key in ("count", "texture_sd_hu", "edge_mm")]
        least += [(f"scene.lesions.{key}", getattr(lesions, key)[0], 0.1) for key in ("diameter_mm", "texture_mm")]
        least.append(("scene.lesions.patterns", lesions.patterns, 0))
        shares += [(f"scene.lesions.{key}", getattr(lesions, key)) for key in ("consolidation_share", "peripheral", "lower")]
    if not task.heatmap_sigma_mm > 0:
        raise SyntheXError(f"{at('heatmap_sigma_mm')}: heatmap_sigma_mm must be above 0, found {task.heatmap_sigma_mm:g}.")
    for path, value, lowest in least:
        if not value >= lowest:
            raise SyntheXError(f"{at(path)}: {path} must be at least {lowest:g}, found {value:g}.")
    for path, value in shares:
        if not 0 <= value <= 1:
            raise SyntheXError(f"{at(path)}: {path} must be 0 to 1, found {value:g}.")
    if max(map(abs, scene.shear_deg)) > 60:
        raise SyntheXError(f"{at('scene.shear_deg')}: scene.shear_deg must be within -60 to 60, found {list(scene.shear_deg)}.")
    if scene.tools and any(scene.shear_deg):
        raise SyntheXError(f"{at('scene.shear_deg')}: scene.shear_deg is for tasks without tools, which are rigid.")


def _check_references(task: Task, at: At) -> None:
    structures, landmarks = task.structure_names, task.landmark_names
    references = [("poses.isocenter", name, structures) for name in task.poses.isocenter]
    references += [(f"structures[{n}].mirror", s.mirror, structures) for n, s in enumerate(task.structures)]
    references += [(f"landmarks[{n}].mirror", m.mirror, landmarks) for n, m in enumerate(task.landmarks)]
    references += [(f"landmarks[{n}].structures", name, structures) for n, m in enumerate(task.landmarks) for name in m.structures]
    references += [(f"scene.tools[{n}].structure", t.structure, structures) for n, t in enumerate(task.scene.tools) if t.structure]
    if lesions := task.scene.lesions:
        references += [("scene.lesions.structure", lesions.structure, structures)] if lesions.structure else []
        references += [("scene.lesions.lungs", name, structures) for name in lesions.lungs]
    for path, name, known in references:
        if name not in known:
            raise SyntheXError(f"{at(path)}: {path} names '{name}', expected one of {', '.join(known)}{nearest(name, known)}.")
    for place, structure in enumerate(task.structures):
        if task.structures[structures.index(structure.mirror)].mirror != structure.name:
            raise SyntheXError(
                f"{at(f'structures[{place}].mirror')}: '{structure.name}' has the mirror '{structure.mirror}', whose mirror is another."
            )
    for place, landmark in enumerate(task.landmarks):
        if task.landmarks[landmarks.index(landmark.mirror)].mirror != landmark.name:
            raise SyntheXError(
                f"{at(f'landmarks[{place}].mirror')}: '{landmark.name}' has the mirror '{landmark.mirror}', whose mirror is another."
            )
    if lesions and lesions.structure and task.structures[structures.index(lesions.structure)].source != "lesion":
        raise SyntheXError(f"{at('scene.lesions.structure')}: the structure '{lesions.structure}' must have source = 'lesion'.")


def _check_tool(kind: str, parameters: dict[str, object], ranges: dict[str, tuple[float, float]], path: str, at: At) -> None:
    known = TOOL_PARAMETERS[kind]
    numbers = tuple(name for name in known if name not in NOT_NUMBERS)
    for table, names, allowed in (("parameters", parameters, known), ("ranges", ranges, numbers)):
        for name in names:
            if name not in allowed:
                place = f"{path}.{table}.{name}"
                raise SyntheXError(f"{at(place)}: unknown parameter '{name}' of a {kind}{nearest(name, allowed)}.")
