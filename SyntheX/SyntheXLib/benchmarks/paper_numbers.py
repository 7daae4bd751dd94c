"""The paper's numbers, which stand beside ours."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from SyntheXLib.tasks.toml_reader import TomlReader

#: The file that holds them, with their sources.
PAPER_NUMBERS = Path(__file__).with_name("paper_numbers.toml")


@dataclass(frozen=True)
class PaperNumber:
    """A result of the paper, in its own digits.

    Attributes
    ----------
    benchmark
        ``deepfluoro``, ``tool`` or ``chest``.
    training
        What was trained on.
    randomization
        Level, as ``strong``; empty where it is all of them, or not told and our table has but one.
    image_size
        Pixels a side.
    source
        Section of the paper.
    error_mm, dice, accuracy
        Mean ± SD, or a bound; empty where the text prints none.
    note
        What is uncertain about it.
    """

    benchmark: str
    training: str
    randomization: str
    image_size: int
    source: str
    error_mm: str = ""
    dice: str = ""
    accuracy: str = ""
    note: str = ""


@dataclass(frozen=True)
class _File:
    numbers: tuple[PaperNumber, ...]


@cache
def paper_numbers(benchmark: str) -> tuple[PaperNumber, ...]:
    """Those of one benchmark."""
    text = PAPER_NUMBERS.read_text(encoding="utf-8")
    content: _File = TomlReader(PAPER_NUMBERS.name, text).build(_File, tomllib.loads(text))
    return tuple(number for number in content.numbers if number.benchmark == benchmark)


def paper_number(benchmark: str, training: str, randomization: str, image_size: int) -> PaperNumber | None:
    """The number that a line of our table stands against; None where the text prints none."""
    for number in paper_numbers(benchmark):
        if (number.training, number.image_size) == (training, image_size) and number.randomization in ("", randomization):
            return number
    return None
