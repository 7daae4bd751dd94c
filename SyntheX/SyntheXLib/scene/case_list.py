"""A table of cases: one line a specimen."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import fields
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.tasks.task import nearest


def read_case_list(path: Path | str) -> tuple[CaseFiles, ...]:
    """Read cases from a CSV whose first line names the columns: the fields of `CaseFiles`, of which ``ct`` alone is needed.

    Paths are relative to the file's folder; an empty cell leaves a field out.

    Raises
    ------
    SyntheXError
        When the file cannot be read, a column is unknown or missing, a line has no CT, a file is missing, or a name stands twice.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SyntheXError(f"The case list {path} cannot be read: expected a CSV ({error}).") from error
    known = [field.name for field in fields(CaseFiles)]
    for column in columns:
        if column not in known:
            raise SyntheXError(f"{path}: unknown column '{column}', expected some of {', '.join(known)}{nearest(column, known)}.")
    if "ct" not in columns or not rows:
        raise SyntheXError(f"{path}: expected a column 'ct' and a line for each case, found {len(rows)} lines.")
    cases = tuple(_case(row, path, line) for line, row in enumerate(rows, 2))
    twice = [title for title, count in Counter(case.title for case in cases).items() if count > 1]
    if twice:
        raise SyntheXError(f"{path}: two cases have the name '{twice[0]}'; give each another in the column 'name'.")
    return cases


def _case(row: dict[str, str | None], path: Path, line: int) -> CaseFiles:
    if None in row:
        raise SyntheXError(f"{path}, line {line}: expected as many cells as there are columns, found more.")
    values = {column: value.strip() for column, value in row.items() if value and value.strip()}
    if "ct" not in values:
        raise SyntheXError(f"{path}, line {line}: expected a CT, found none.")
    files = {column: path.parent / value for column, value in values.items() if column != "name"}
    for column, file in files.items():
        if not file.exists():
            raise SyntheXError(f"{path}, line {line}: the {column} file {file} does not exist.")
    needed = {"labels": None, **files}
    return CaseFiles(name=values.get("name", ""), **needed)
