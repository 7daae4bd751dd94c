"""A task: what the network is to see, and how the views of it are drawn. Read from TOML."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.checks import check_task
from SyntheXLib.tasks.settings import (
    CArmSettings,
    EvaluationSettings,
    Landmark,
    PoseSettings,
    SceneSettings,
    SimulationSettings,
    Structure,
    TrainingSettings,
    VariationSettings,
)
from SyntheXLib.tasks.toml_reader import TomlReader, nearest

__all__ = ["CArmSettings", "Landmark", "PoseSettings", "Structure", "Task", "load_task", "nearest", "task_files"]


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
    scene, variation
        What stands in the beam besides the patient, and how one CT becomes several patients.
    simulation, training, evaluation
        How images are made, a network is trained and results are counted.
    """

    name: str
    title: str
    segmentation: Literal["exclusive", "multilabel"]
    heatmap_sigma_mm: float
    c_arm: CArmSettings
    poses: PoseSettings
    structures: tuple[Structure, ...]
    landmarks: tuple[Landmark, ...] = ()
    scene: SceneSettings = field(default_factory=SceneSettings)
    variation: VariationSettings = field(default_factory=VariationSettings)
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    @property
    def structure_names(self) -> tuple[str, ...]:
        """Names of the structures, in the order of their bits."""
        return tuple(structure.name for structure in self.structures)

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """Names of the landmarks, in the order of their channels."""
        return tuple(landmark.name for landmark in self.landmarks)

    @property
    def made_structures(self) -> tuple[str, ...]:
        """Structures that need not be in a label map: tools, and lesions where they are synthesised."""
        synthesised = self.scene.lesions is not None and self.scene.lesions.patterns > 0
        return tuple(s.name for s in self.structures if s.source == "tool" or (s.source == "lesion" and synthesised))

    @property
    def patient_landmarks(self) -> tuple[str, ...]:
        """Landmarks that are looked for in a case; the others are a tool's own."""
        tools = {s.name for s in self.structures if s.source == "tool"}
        return tuple(m.name for m in self.landmarks if not m.structures or not set(m.structures) <= tools)

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
    """The tasks that are known by name, and their files: the library's own, and the user's from `user_tasks`."""
    own, users = (sorted(folder.glob("*.toml")) for folder in (Path(__file__).parent, user_tasks()))
    return {path.stem: path for path in (*own, *(path for path in users if path.stem not in {known.stem for known in own}))}


def user_tasks() -> Path:
    """Folder in which a user's task files are found by their names: ``.synthex/tasks`` at home; ``SYNTHEX_TASKS`` names another."""
    chosen = os.environ.get("SYNTHEX_TASKS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".synthex" / "tasks"


def load_task(name_or_path: str | Path) -> Task:
    """Load a task by its name (see `task_files`), or from a TOML file.

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
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SyntheXError(f"Task file {path} is not valid TOML: {error}.") from error
    return _task_from_dict(values, str(path), text)


def _task_from_dict(values: dict[str, Any], where: str, text: str) -> Task:
    values = dict(values)
    structures = values.get("structures")
    if isinstance(structures, list | tuple):
        values["structures"] = [{**item, "bit": bit} if isinstance(item, dict) else item for bit, item in enumerate(structures)]
    reader = TomlReader(where, text)
    task: Task = reader.build(Task, values)
    check_task(task, reader.at)
    return task
