"""A task: what the network is to see, and how the views of it are drawn. Read from TOML."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from SyntheXLib.errors import SyntheXError

Range = tuple[float, float]


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
    """

    name: str
    bit: int
    mirror: str
    color: tuple[int, int, int]
    totalsegmentator: tuple[int, ...] = ()
    segment_names: tuple[str, ...] = ()


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
        Names of the structures on which it lies.
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
    """Ranges from which a view is drawn uniformly; see `scene.poses` for axes and order.

    Attributes
    ----------
    isocenter
        Structures whose common centroid is the isocentre.
    source_to_isocenter_mm, lao_rao_deg, cran_caud_deg, roll_deg, translation_lr_mm, translation_is_mm, translation_ap_mm
        Lower and upper limit, mm or degrees.
    """

    isocenter: tuple[str, ...]
    source_to_isocenter_mm: Range = (700.0, 700.0)
    lao_rao_deg: Range = (0.0, 0.0)
    cran_caud_deg: Range = (0.0, 0.0)
    roll_deg: Range = (0.0, 0.0)
    translation_lr_mm: Range = (0.0, 0.0)
    translation_is_mm: Range = (0.0, 0.0)
    translation_ap_mm: Range = (0.0, 0.0)


@dataclass(frozen=True)
class Task:
    """What a network is to see.

    Attributes
    ----------
    name, title
        Key and words for people.
    segmentation
        ``"exclusive"`` (one label a pixel) or ``"multilabel"`` (every structure for itself).
    heatmap_sigma_mm
        Standard deviation of the landmark heatmaps, mm on the detector.
    c_arm, poses
        Device and views.
    structures, landmarks
        In the order of channels and bits.
    """

    name: str
    title: str
    segmentation: str
    heatmap_sigma_mm: float
    c_arm: CArmSettings
    poses: PoseSettings
    structures: tuple[Structure, ...]
    landmarks: tuple[Landmark, ...] = ()

    @property
    def structure_names(self) -> tuple[str, ...]:
        """Names of the structures, in the order of their bits."""
        return tuple(structure.name for structure in self.structures)

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """Names of the landmarks, in the order of their channels."""
        return tuple(landmark.name for landmark in self.landmarks)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any], where: str = "task") -> Task:
        """Build and check a task; `where` names the source in errors.

        Raises
        ------
        SyntheXError
            When a key is unknown or missing, a value has the wrong type, or a name does not refer to anything.
        """
        return _task_from_dict(values, where, text="")


def task_files() -> dict[str, Path]:
    """The tasks that come with the library: name and file."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_task(name_or_path: str | Path) -> Task:
    """Load a task by the name of one that comes with the library, or from a TOML file.

    Raises
    ------
    SyntheXError
        When there is no such task or file, or the file is not right; the sentence names file, line and the nearest right key.
    """
    known = task_files()
    path = known.get(str(name_or_path)) or Path(name_or_path)
    if not path.is_file():
        raise SyntheXError(
            f"Unknown task '{name_or_path}': expected a TOML file or one of {', '.join(known)}{nearest(str(name_or_path), known)}."
        )
    text = path.read_text(encoding="utf-8")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SyntheXError(f"Task file {path} is not valid TOML: {error}.") from error
    return _task_from_dict(values, str(path), text)


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _task_from_dict(values: dict[str, Any], where: str, text: str) -> Task:
    values = dict(values)
    structures = values.get("structures")
    if isinstance(structures, list | tuple):
        values["structures"] = [{**item, "bit": bit} if isinstance(item, dict) else item for bit, item in enumerate(structures)]
    task: Task = _Reader(where, text).build(Task, values, "")
    _check(task, where)
    return task


def _check(task: Task, where: str) -> None:
    """Names must refer to something, ranges be in order."""
    if not task.structures:
        raise SyntheXError(f"{where}: expected at least one [[structures]] entry, found none.")
    if len(task.structures) > 32:
        raise SyntheXError(f"{where}: expected at most 32 structures (bits of a mask), found {len(task.structures)}.")
    if task.segmentation not in ("exclusive", "multilabel"):
        raise SyntheXError(f"{where}: segmentation must be 'exclusive' or 'multilabel', found '{task.segmentation}'.")
    if task.heatmap_sigma_mm <= 0:
        raise SyntheXError(f"{where}: heatmap_sigma_mm must be above 0, found {task.heatmap_sigma_mm}.")
    if task.c_arm.image_size < 16 or task.c_arm.crop_px < 0:
        raise SyntheXError(
            f"{where}: c_arm.image_size must be at least 16 and crop_px at least 0, found {task.c_arm.image_size} and {task.c_arm.crop_px}."
        )
    for kind, names in (("structures", task.structure_names), ("landmarks", task.landmark_names)):
        doubles = {name for name in names if names.count(name) > 1}
        if doubles:
            raise SyntheXError(f"{where}: {kind} must have different names, found '{doubles.pop()}' twice.")
    references = [("poses.isocenter", name, task.structure_names) for name in task.poses.isocenter]
    references += [(f"structure '{s.name}': mirror", s.mirror, task.structure_names) for s in task.structures]
    references += [(f"landmark '{m.name}': mirror", m.mirror, task.landmark_names) for m in task.landmarks]
    references += [(f"landmark '{m.name}': structures", name, task.structure_names) for m in task.landmarks for name in m.structures]
    for key, name, known in references:
        if name not in known:
            raise SyntheXError(f"{where}: {key} names '{name}', expected one of {', '.join(known)}{nearest(name, known)}.")
    for field in fields(task.poses):
        value = getattr(task.poses, field.name)
        if field.name != "isocenter" and value[0] > value[1]:
            raise SyntheXError(f"{where}: poses.{field.name} must be [lower, upper], found [{value[0]}, {value[1]}].")


class _Reader:
    """Builds nested dataclasses from plain dictionaries, naming the line of what is wrong."""

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        self.lines = text.splitlines()

    def build(self, cls: type, values: Any, path: str) -> Any:
        if not isinstance(values, dict):
            raise SyntheXError(f"{self.where}: '{path}' must be a table, found {values!r}.")
        known = {field.name: field for field in fields(cls)}
        for key in values:
            if key not in known:
                raise SyntheXError(f"{self.where}{self._line(key)}: unknown key '{path}{key}'{nearest(key, known)}.")
        hints = typing.get_type_hints(cls)
        arguments = {}
        for name, field in known.items():
            if name in values:
                arguments[name] = self._convert(hints[name], values[name], path + name, name)
            elif field.default is MISSING:
                raise SyntheXError(f"{self.where}: key '{path}{name}' is missing.")
        return cls(**arguments)

    def _convert(self, hint: Any, value: Any, path: str, key: str) -> Any:
        if is_dataclass(hint) and isinstance(hint, type):
            return self.build(hint, value, path + ".")
        if isinstance(hint, types.GenericAlias):  # tuple[X, ...] or tuple[X, Y]
            inner = hint.__args__
            if not isinstance(value, list | tuple) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
                count = "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
                raise SyntheXError(f"{self.where}{self._line(key)}: '{path}' must be {count}, found {value!r}.")
            kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
            return tuple(
                self._convert(kind, item, f"{path}[{place}]", key) for place, (kind, item) in enumerate(zip(kinds, value, strict=True))
            )
        accepted = (int, float) if hint is float else (hint,)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise SyntheXError(f"{self.where}{self._line(key)}: '{path}' must be of type {hint.__name__}, found {value!r}.")
        return hint(value)

    def _line(self, key: str) -> str:
        for number, line in enumerate(self.lines, 1):
            if re.match(rf"\s*(\[+\s*)?{re.escape(key)}\s*[=\].]", line):
                return f", line {number}"
        return ""
