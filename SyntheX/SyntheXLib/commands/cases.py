"""Options that name cases: samples, or files of CT, labels and landmarks."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from SyntheXLib.datasets.sample import SAMPLES, fetch_sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.scene.case_files import CaseFiles, load_specimen, read_image
from SyntheXLib.scene.case_list import read_case_list
from SyntheXLib.tasks.task import Task


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add --sample, --ct, --pseudo-ct and what belongs to a CT."""
    group = parser.add_argument_group(
        "cases", "Each --ct takes the --labels, --landmarks and --lesions at its place; repeat them for several cases."
    )
    group.add_argument(
        "--cases", type=Path, metavar="CSV", help="table of cases: columns ct, labels, landmarks, name ...; paths from its folder"
    )
    group.add_argument("--sample", action="append", default=[], choices=tuple(SAMPLES), help="a sample CT, fetched when needed")
    group.add_argument("--ct", action="append", default=[], type=Path, metavar="FILE", help="CT: NIfTI, NRRD, or folder of a DICOM series")
    group.add_argument("--labels", action="append", default=[], type=Path, metavar="FILE", help="label map of the CT")
    group.add_argument("--landmarks", action="append", default=[], type=Path, metavar="FILE", help="landmarks (.mrk.json) of the CT")
    group.add_argument(
        "--lesions",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="mask of the CT's lesions (default: in the label map)",
    )
    group.add_argument(
        "--lesion-network", type=Path, metavar="FILE", help="network that makes the masks that are not given: TorchScript or MONAI bundle"
    )
    group.add_argument(
        "--pseudo-ct",
        action="append",
        default=[],
        type=Path,
        metavar="LABELS",
        help="label map without CT, filled with textured HU",
    )
    group.add_argument(
        "--label-names",
        type=Path,
        metavar="FILE",
        help="what the numbers in the label maps mean: colour table or CSV (default: TotalSegmentator's numbers)",
    )
    group.add_argument(
        "--materials", action="append", default=[], type=Path, metavar="FILE", help="label map of materials (default: materials by HU)"
    )
    group.add_argument("--material-names", type=Path, metavar="FILE", help="what its numbers mean: colour table or CSV")
    group.add_argument(
        "--material-network", type=Path, metavar="FILE", help="network that makes the maps of materials: TorchScript or MONAI bundle"
    )


def cases_of(options: argparse.Namespace, task: Task) -> tuple[CaseFiles, ...]:
    """The cases that the options name for a task; samples are fetched.

    Raises
    ------
    SyntheXError
        When the lists do not match, there is no case, or a sample cannot be fetched.
    """
    count = len(options.ct)
    needed = any(s.source == "labels" for s in task.structures)
    if any(len(given) not in (0, count) for given in (options.labels, options.landmarks, options.lesions)) or (
        needed and len(options.labels) != count
    ):
        raise SyntheXError(
            "Expected one --labels for each --ct, and one --landmarks and --lesions for each or none, "
            f"found {count} --ct, {len(options.labels)} --labels, {len(options.landmarks)} --landmarks, {len(options.lesions)} --lesions."
        )
    if len(options.materials) not in (0, count) or (options.materials and options.material_network):
        raise SyntheXError(
            f"Expected one --materials for each --ct or none, or --material-network in their place, found {count} --ct and "
            f"{len(options.materials)} --materials{' with --material-network' if options.material_network else ''}."
        )
    cases = [fetch_sample(name).files for name in options.sample]
    for place, ct in enumerate(options.ct):
        of_ct: dict[str, Any] = {
            key: getattr(options, key)[place] if getattr(options, key) else None for key in ("labels", "landmarks", "lesions", "materials")
        }
        cases.append(
            CaseFiles(
                ct,
                **of_ct,
                label_names=options.label_names if of_ct["labels"] else None,
                material_names=options.material_names if of_ct["materials"] else None,
            )
        )
    if options.cases:
        cases += read_case_list(options.cases)
    # Files of one name in different folders, as `label.mhd` of several patients, are told apart by their folders.
    stems = [path.name.split(".")[0] for path in options.pseudo_ct]
    for path, stem in zip(options.pseudo_ct, stems, strict=True):
        name = f"{path.resolve().parent.name}-{stem}" if stems.count(stem) > 1 else stem
        cases.append(CaseFiles(None, path, label_names=options.label_names, name=name))
    if not cases:
        raise SyntheXError("Expected a case: --sample NAME, or --ct FILE with --labels FILE, or --cases CSV; found none.")
    return tuple(cases)


def with_material_maps(cases: tuple[CaseFiles, ...], task: Task, network: Path, folder: Path) -> tuple[CaseFiles, ...]:
    """The cases with maps of materials that a network makes, written into a folder; those already there are taken as they are.

    Raises
    ------
    SyntheXError
        When the network cannot be read, or a case cannot.
    """
    from SyntheXLib.networks.material_network import load_material_network
    from SyntheXLib.rendering.material_map import MaterialMap, write_material_map

    loaded = None
    mapped = []
    for place, case in enumerate(cases):
        path = folder / f"{place:03d}.nrrd"
        if not path.exists():
            loaded = loaded or load_material_network(network)
            specimen = load_specimen(case, task)
            index = loaded.segment(specimen.hu, specimen.spacing_mm)
            write_material_map(path, MaterialMap(index, loaded.materials), specimen.ijk_to_ras)
        mapped.append(replace(case, materials=path, material_names=path.with_suffix(".csv")))
    return tuple(mapped)


def with_lesion_masks(cases: tuple[CaseFiles, ...], task: Task, network: Path, folder: Path) -> tuple[CaseFiles, ...]:
    """The cases with masks of lesions that a network makes, written into a folder; those already there are taken as they are.

    Raises
    ------
    SyntheXError
        When the task has no lesions, the network cannot be read, or a case has no CT.
    """
    import SimpleITK as sitk

    from SyntheXLib.networks.lesion_network import LesionNetwork

    structures = [structure for structure in task.structures if structure.source == "lesion"]
    if not structures:
        raise SyntheXError(f"--lesion-network needs a task with a structure of source 'lesion', found none in task '{task.name}'.")
    loaded = None
    masked = []
    for place, case in enumerate(cases):
        path = folder / f"{place:03d}.nrrd"
        if case.lesions is None:
            if case.ct is None:
                raise SyntheXError(f"Case {case.title}: --lesion-network needs a CT, found a label map alone.")
            if not path.exists():
                loaded = loaded or LesionNetwork(network, structures[0])
                mask = loaded.segment(read_image(case.ct, "CT"))
                with atomic_write(path) as temporary:
                    sitk.WriteImage(mask, str(temporary), useCompression=True)
            case = replace(case, lesions=path)
        masked.append(case)
    return tuple(masked)
