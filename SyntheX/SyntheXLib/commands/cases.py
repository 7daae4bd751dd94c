"""Options that name cases: samples, or files of CT, labels and landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from SyntheXLib.datasets.sample import SAMPLES, fetch_sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add --sample, --ct, --labels, --landmarks and --label-names."""
    group = parser.add_argument_group("cases", "Each --ct takes the --labels and --landmarks at its place; repeat them for several cases.")
    group.add_argument("--sample", action="append", default=[], choices=tuple(SAMPLES), help="a sample CT, fetched when needed")
    group.add_argument("--ct", action="append", default=[], type=Path, metavar="FILE", help="CT: NIfTI, NRRD, or folder of a DICOM series")
    group.add_argument("--labels", action="append", default=[], type=Path, metavar="FILE", help="label map of the CT")
    group.add_argument("--landmarks", action="append", default=[], type=Path, metavar="FILE", help="landmarks (.mrk.json) of the CT")
    group.add_argument(
        "--label-names",
        type=Path,
        metavar="FILE",
        help="what the numbers in the label maps mean: colour table or CSV (default: TotalSegmentator's numbers)",
    )


def cases_of(options: argparse.Namespace) -> tuple[CaseFiles, ...]:
    """The cases that the options name; samples are fetched.

    Raises
    ------
    SyntheXError
        When the lists do not match, there is no case, or a sample cannot be fetched.
    """
    count = len(options.ct)
    if len(options.labels) != count or len(options.landmarks) not in (0, count):
        raise SyntheXError(
            "Expected one --labels for each --ct, and one --landmarks for each or none, "
            f"found {count} --ct, {len(options.labels)} --labels and {len(options.landmarks)} --landmarks."
        )
    samples = [fetch_sample(name) for name in options.sample]
    cases = [CaseFiles(sample.ct, sample.labels, sample.landmarks, sample.label_names, sample.name) for sample in samples]
    for place, (ct, labels) in enumerate(zip(options.ct, options.labels, strict=True)):
        cases.append(CaseFiles(ct, labels, options.landmarks[place] if options.landmarks else None, options.label_names))
    if not cases:
        raise SyntheXError("Expected a case: --sample NAME, or --ct FILE with --labels FILE; found neither.")
    return tuple(cases)
