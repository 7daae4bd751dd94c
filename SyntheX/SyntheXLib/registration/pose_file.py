"""A registered pose on disk: JSON that `synthex simulate --matched` and `synthex match` read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.registration.estimate import Estimate
from SyntheXLib.registration.intensity import TRUSTED_SIMILARITY
from SyntheXLib.registration.motion import DEPTH_MM
from SyntheXLib.scene.c_arm import Camera

FORMAT = "synthex-pose-1"


def pose_record(estimate: Estimate, name: str, specimen: str) -> dict[str, Any]:
    """What a pose file says, see `write_pose`."""
    found, camera = estimate.registration, estimate.camera
    spread = found.spread * [1, 1, 1, 1, 1, DEPTH_MM]
    known = bool(np.isfinite(spread).all())
    return {
        "format": FORMAT,
        "name": name,
        "specimen": specimen,
        "world_to_camera": camera.world_to_camera.tolist(),
        "intrinsics": camera.intrinsics.tolist(),
        "image_shape": list(camera.shape),
        "source_to_detector_mm": camera.source_to_detector_mm,
        "geometry": _geometry(estimate),
        "orientation": estimate.orientation,
        "bone": "bright" if found.polarity > 0 else "dark",
        "trusted": estimate.trusted,
        "similarity": found.similarity,
        "trusted_from": TRUSTED_SIMILARITY,
        "converged": found.converged,
        "starts": found.starts,
        "agreeing_starts": found.agreeing,
        "spread_of_starts": {
            "rotation_deg": float(np.linalg.norm(spread[:3])) if known else None,
            "shift_mm": float(np.linalg.norm(spread[3:5])) if known else None,
            "depth_mm": float(spread[5]) if known else None,
        },
        "projections": found.evaluations,
        "landmarks": list(estimate.landmarks),
        "structures": {name: np.asarray(motion).tolist() for name, motion in estimate.bones.items()},
        "bone_similarity": {name: float(value) for name, value in estimate.bone_similarity.items()},
    }


def _geometry(estimate: Estimate) -> dict[str, float] | None:
    """How the camera's geometry was changed; None where it is as it was given or assumed."""
    if estimate.geometry is None:
        return None
    across, down, longer = (float(value) for value in estimate.geometry.change)
    return {"principal_point_columns_mm": across, "principal_point_rows_mm": down, "distance_ratio": float(np.exp(longer))}


def write_pose(path: Path, record: Mapping[str, Any]) -> None:
    """Write a pose as JSON, whole or not at all.

    ``world_to_camera`` (RAS, mm), ``intrinsics`` (px) and ``image_shape`` belong to the image in its ``orientation``; ``structures`` holds
    for each bone that stands otherwise than in the CT its motion (4, 4) in the CT's world (RAS, mm), as `scene.given_views` takes it.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_pose(path: Path | str) -> dict[str, Any]:
    """A pose file's content.

    Raises
    ------
    SyntheXError
        When it is missing or something else.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SyntheXError(f"The pose {path} cannot be read: expected JSON of synthex register ({error}).") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SyntheXError(f"{path}: expected a pose file ('format': '{FORMAT}'), found something else.")
    return record


def camera_of(record: Mapping[str, Any]) -> Camera:
    """The camera that a pose file describes."""
    rows, columns = record["image_shape"]
    return Camera(
        np.array(record["world_to_camera"], float),
        np.array(record["intrinsics"], float),
        (int(rows), int(columns)),
        float(record["source_to_detector_mm"]),
    )
