"""Landmark files of 3D Slicer (.mrk.json, .fcsv): names and positions in RAS millimetres."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write

# Schema and keys: Slicer, Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json; what Slicer 5.12 writes for a point
# without position was looked at in its output.
SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
POINT_LISTS = ("Fiducial", "PointList")
# Numbers: vtkMRMLStorageNode's enumeration, found in older files.
TO_RAS = {"LPS": (-1.0, -1.0, 1.0), "1": (-1.0, -1.0, 1.0), "RAS": (1.0, 1.0, 1.0), "0": (1.0, 1.0, 1.0)}
UNIT_MM = {"mm": 1.0, "um": 0.001}
FCSV_COLUMNS = ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatedNodeID"]
FCSV_DEFINED = "2"
UNKNOWN = (np.nan, np.nan, np.nan)


def read_markups(path: Path | str) -> dict[str, np.ndarray]:
    """Read the named points of a landmark file.

    All point lists of the file are taken together; lines, curves, planes and other markups are passed over, and so are points without
    a label, since a landmark is known by its name.

    Parameters
    ----------
    path
        A ``.mrk.json`` (or ``.json``) or ``.fcsv`` file of 3D Slicer, in LPS or RAS.

    Returns
    -------
    dict
        Name to position, float64 (3,), RAS mm, in the order of the file; NaN for a point that the file names but does not place
        (``positionStatus`` other than ``defined``).

    Raises
    ------
    SyntheXError
        When the file is missing, is not a landmark file, has an unknown coordinate system or unit, or names a point twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SyntheXError(f"Landmark file {path} does not exist.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise SyntheXError(f"{path} is not a landmark file of 3D Slicer (.mrk.json or .fcsv): {_reason(error)}.") from error
    points = _read_fcsv(path, text) if path.suffix.lower() == ".fcsv" else _read_json(path, text)
    landmarks: dict[str, np.ndarray] = {}
    for name, position in points:
        if not name:
            continue
        if name in landmarks:
            raise SyntheXError(f"Landmark file {path} names the point {name!r} twice; every landmark needs a name of its own.")
        landmarks[name] = np.asarray(position, dtype=np.float64)
    return landmarks


def write_markups(
    path: Path | str,
    landmarks: Mapping[str, ArrayLike],
    *,
    name: str = "landmarks",
    descriptions: Mapping[str, str] | None = None,
    coordinate_system: str = "LPS",
) -> None:
    """Write landmarks as one point list that 3D Slicer loads.

    Parameters
    ----------
    path
        File to write, usually ``*.mrk.json``; whole or not there.
    landmarks
        Name to position (3,), RAS mm. A position with a NaN is written as a named point that is not placed (``undefined``).
    name
        Name of the point list.
    descriptions
        Landmark name to a sentence stored with the point, for some or all of them.
    coordinate_system
        ``LPS`` (as Slicer writes) or ``RAS``: of the numbers in the file, not of `landmarks`.

    Raises
    ------
    SyntheXError
        When the disk refuses.
    ValueError
        When `coordinate_system` is neither ``LPS`` nor ``RAS`` or a position has not three numbers.
    """
    if coordinate_system not in ("LPS", "RAS"):
        raise ValueError(f"coordinate_system: LPS or RAS expected, not {coordinate_system!r}")
    descriptions = descriptions or {}
    signs = np.array(TO_RAS[coordinate_system])
    points = []
    for number, (label, position) in enumerate(landmarks.items(), start=1):
        ras = np.asarray(position, dtype=np.float64)
        if ras.shape != (3,):
            raise ValueError(f"landmark {label!r}: three coordinates expected, not an array of shape {ras.shape}")
        placed = bool(np.all(np.isfinite(ras)))
        points.append(
            {
                "id": str(number),
                "label": label,
                "description": descriptions.get(label, ""),
                "associatedNodeID": "",
                # A tenth of a micrometre; + 0.0 turns -0.0 into 0.0. Slicer itself writes "" for a point without position.
                "position": (np.round(ras * signs, 4) + 0.0).tolist() if placed else "",
                "orientation": [signs[0], 0.0, 0.0, 0.0, signs[1], 0.0, 0.0, 0.0, 1.0],
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined" if placed else "undefined",
            }
        )
    markup = {
        "type": "Fiducial",
        "name": name,
        "coordinateSystem": coordinate_system,
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"@schema": SCHEMA, "markups": [markup]}, indent=2) + "\n", encoding="utf-8")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _read_json(path: Path, text: str) -> list[tuple[str, np.ndarray]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise SyntheXError(f"{path} is not a landmark file of 3D Slicer (.mrk.json): it is not JSON ({_reason(error)}).") from error
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list):
        raise SyntheXError(f'{path} is not a landmark file of 3D Slicer (.mrk.json): its "markups" list is missing.')
    lists = [markup for markup in markups if isinstance(markup, dict) and markup.get("type") in POINT_LISTS]
    if not lists:
        found = ", ".join(sorted({str(m.get("type")) for m in markups if isinstance(m, dict)})) or "nothing"
        raise SyntheXError(f"Landmark file {path}: a point list (markup of type Fiducial) was expected, found {found}.")
    return [point for markup in lists for point in _json_points(path, markup)]


def _json_points(path: Path, markup: dict[str, Any]) -> Iterable[tuple[str, np.ndarray]]:
    to_ras = _signs(path, markup.get("coordinateSystem", "LPS")) * _unit(path, markup.get("coordinateUnits", "mm"))
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise SyntheXError(f"Landmark file {path}: the controlPoints of a point list were expected to be a list of points.")
    for point in points:
        label = str(point.get("label", ""))
        if point.get("positionStatus", "defined") == "defined":
            yield label, _position(path, label, point.get("position")) * to_ras
        else:
            yield label, np.array(UNKNOWN)


def _read_fcsv(path: Path, text: str) -> Iterable[tuple[str, np.ndarray]]:
    header = [line for line in text.splitlines() if line.startswith("#")]
    if not any("fiducial file" in line for line in header):
        raise SyntheXError(
            f"{path} is not a landmark file of 3D Slicer (.fcsv): its first line should tell the Markups fiducial file version."
        )
    system, columns = "0", FCSV_COLUMNS
    for line in header:
        key, _, value = line.lstrip("# ").partition("=")
        if key.strip() == "CoordinateSystem":
            system = value.strip()
        elif key.strip() == "columns":
            columns = [column.strip() for column in value.split(",")]
    if missing := [column for column in ("x", "y", "z", "label") if column not in columns]:
        raise SyntheXError(f"Landmark file {path}: the column {missing[0]!r} was expected, found {', '.join(columns)}.")
    to_ras = _signs(path, system)
    for row in csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        fields = dict(zip(columns, row, strict=False))
        label = fields.get("label", "")
        # Slicer 5 adds two columns that its header does not name: position status and auto-created.
        status = row[len(FCSV_COLUMNS)] if columns == FCSV_COLUMNS and len(row) > len(FCSV_COLUMNS) else FCSV_DEFINED
        if status == FCSV_DEFINED:
            yield label, _position(path, label, [fields.get(axis) for axis in "xyz"]) * to_ras
        else:
            yield label, np.array(UNKNOWN)


def _position(path: Path, label: str, value: object) -> np.ndarray:
    try:
        position = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        position = np.empty(0)
    if position.shape != (3,):
        raise SyntheXError(f"Landmark file {path}, point {label!r}: three numbers were expected as position, found {value!r}.")
    return position if np.all(np.isfinite(position)) else np.array(UNKNOWN)


def _signs(path: Path, system: object) -> np.ndarray:
    try:
        return np.array(TO_RAS[str(system).strip().upper()])
    except KeyError:
        raise SyntheXError(f"Landmark file {path}: coordinate system LPS or RAS (1 or 0) was expected, found {system!r}.") from None


def _unit(path: Path, units: object) -> float:
    code = units[0] if isinstance(units, list) and units else units
    if not isinstance(code, str) or code not in UNIT_MM:
        raise SyntheXError(f"Landmark file {path}: coordinates in mm or um were expected, found {units!r}.")
    return UNIT_MM[code]
