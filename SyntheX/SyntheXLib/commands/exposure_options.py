"""Options of the device and the exposure."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from SyntheXLib.errors import SyntheXError

if TYPE_CHECKING:
    from SyntheXLib.rendering.exposure import Exposure


def add_exposure_options(parser: argparse.ArgumentParser) -> None:
    """Add --device, --randomize-exposure and the parameters of tube, grid and scatter."""
    beam = parser.add_argument_group(
        "device and exposure (realistic level)",
        "What is not given is the device's default (cios-fusion: 90 kV, 4 mm Al, 5 uGy, anode of 12 degrees, cathode down, open field); "
        "--randomize-exposure draws it for every image.",
    )
    beam.add_argument("--device", metavar="NAME", help="C-arm: a preset or a device file, TOML (default: the task's)")
    beam.add_argument("--randomize-exposure", action="store_true", help="draw all that is not given here from the device's ranges")
    beam.add_argument("--kvp", type=float, metavar="KV", help="tube voltage, 40 to 150 kV")
    beam.add_argument("--aluminium", type=float, metavar="MM", help="aluminium filtration, mm")
    beam.add_argument("--copper", type=float, metavar="MM", help="copper filtration, mm")
    beam.add_argument("--dose", type=float, metavar="UGY", help="air kerma at the detector without patient, uGy an image")
    beam.add_argument("--anode-angle", type=float, metavar="DEG", help="anode angle, 6 to 20 degrees")
    beam.add_argument("--cathode-side", metavar="SIDE", help="left, right, up or down in the image; none: no heel effect")
    beam.add_argument(
        "--collimator", metavar="WxH|D", help="field on the detector, mm: width x height of the blades, or diameter of the iris"
    )
    beam.add_argument("--no-grid", action="store_true", help="take the anti-scatter grid out of the beam")
    beam.add_argument(
        "--monte-carlo-scatter",
        type=int,
        metavar="PHOTONS",
        help="scatter by following so many photons through every view, instead of kernels: slow, 10000000 take half a minute",
    )


def exposure_of(options: argparse.Namespace, device: str) -> tuple[Exposure, dict[str, Any] | None]:
    """The exposure that the options name, and the ranges of what is drawn."""
    from SyntheXLib.rendering.exposure import device_exposure, parameter_ranges

    given: dict[str, float | str | None] = {
        "kvp": options.kvp,
        "aluminium_mm": options.aluminium,
        "copper_mm": options.copper,
        "open_beam_dose_ugy": options.dose,
        "anode_angle_deg": options.anode_angle,
        "cathode_side": options.cathode_side,
        **_field(options.collimator),
    }
    values = {place: value for place, value in given.items() if value is not None}
    exposure = device_exposure(device).with_values(values)
    # A field that is given is given as a whole.
    fixed = (*values, *(("grid.",) * options.no_grid), *(("collimator.",) * bool(options.collimator)))
    if options.no_grid:
        exposure = replace(exposure, grid=None)
    if not options.randomize_exposure:
        return exposure, None
    return exposure, {place: limits for place, limits in parameter_ranges(device).items() if not place.startswith(fixed)}


def _field(text: str | None) -> dict[str, float]:
    """Parameters of the collimator that ``WxH`` or ``D`` means."""
    if text is None:
        return {}
    names = ("collimator.width_mm", "collimator.height_mm") if "x" in text else ("collimator.iris_mm",)
    try:
        return dict(zip(names, map(float, text.split("x")), strict=True))
    except ValueError:
        raise SyntheXError(f"--collimator must be WIDTHxHEIGHT or a DIAMETER in mm, found '{text}'.") from None
