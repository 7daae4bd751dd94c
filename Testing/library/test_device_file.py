"""Device files, and exposures drawn from their ranges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.exposure import PARAMETERS, Exposure, device_exposure, draw_exposure, draw_values, parameter_ranges
from SyntheXLib.scene.c_arm import DEVICES, CArm, load_device
from SyntheXLib.scene.device_file import device_files, read_device_file

CIOS = device_files()["cios-fusion"]


def changed(tmp_path: Path, old: str, new: str) -> str:
    text = CIOS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def test_the_presets_geometry_and_defaults() -> None:
    assert DEVICES["cios-fusion"] == CArm(rows=1536, columns=1536, pixel_spacing_mm=0.194, source_to_detector_mm=1020.0)
    exposure = device_exposure("cios-fusion")
    assert exposure.collimator is not None and exposure.collimator.iris_mm > 298 * np.sqrt(2)  # open
    assert replace(exposure, collimator=None) == Exposure() == device_exposure("1024x1024,0.3,1100")
    for parameter in read_device_file(CIOS).parameters.values():
        assert parameter.unit and parameter.range


def test_a_file_of_ones_own_is_a_device(tmp_path: Path) -> None:
    name = changed(tmp_path, "rows = 1536", "rows = 1024")
    assert load_device(name).rows == 1024
    name = changed(tmp_path, "default = 90.0", "default = 85")
    assert device_exposure(name).kvp == 85.0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kvp = {", "kpv = {", r"mine.toml, line 13: the exposure has no parameter 'kpv' \(did you mean 'kvp'"),
        ("rows =", "row =", r"mine.toml, line 7: unknown key 'geometry.row' \(did you mean 'rows'"),
        ("rows = 1536", "rows = 15.5", "line 7: 'rows' must be a whole number, found 15.5"),
        (
            "focal_spot_mm = { unit",
            "focal_spot_mm = { units",
            r"line 35: unknown key 'exposure.blur.focal_spot_mm.units'",
        ),
        ("range = [70.0, 110.0]", "range = [95.0, 110.0]", "line 13: the default of 'kvp' must lie in its range"),
        ("range = [70.0, 110.0]", "range = [70.0, 200.0]", "line 13: Tube voltage must lie within 40 to 150 kV, found 200"),
        ("range = [70.0, 110.0]", "range = 70.0", "line 13: 'kvp' must have a number and a range"),
        ("default = 16, range = [14, 16]", "default = 16, range = [13.5, 16]", "'detector.adc_bits' must be of the kind of 16, found 13.5"),
        ("[exposure]", "[exposre]", r"unknown key 'exposre' \(did you mean 'exposure'"),
        ("columns = 1536\n", "", "line 6: key 'geometry.columns' is missing"),
        ("[geometry]", "[geometry", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    name = changed(tmp_path, old, new)
    with pytest.raises(SyntheXError, match=expected):
        load_device(name), device_exposure(name)


def test_exposures_fill_their_ranges() -> None:
    ranges = parameter_ranges("cios-fusion")
    drawn = [draw_values(ranges, np.random.default_rng(i)) for i in range(400)]
    for place, limits in ranges.items():
        values = [values[place] for values in drawn]
        if isinstance(limits[0], str):
            assert set(values) == set(limits)
            continue
        low, high = map(float, limits)
        assert low <= min(values) < low + 0.05 * (high - low) + 1e-9 and high >= max(values) > high - 0.05 * (high - low) - 1e-9
        assert abs(np.mean(values) - (low + high) / 2) < 4.5 * (high - low) / np.sqrt(12 * 400)
    assert all(isinstance(values["detector.adc_bits"], int) for values in drawn)
    exposure = draw_exposure("cios-fusion", np.random.default_rng(7))
    assert exposure == draw_exposure("cios-fusion", np.random.default_rng(7)) != draw_exposure("cios-fusion", np.random.default_rng(8))
    assert exposure.kvp == drawn[7]["kvp"] and exposure.detector.full_scale == drawn[7]["detector.full_scale"]


def test_values_are_set_by_place() -> None:
    exposure = Exposure(grid=None).with_values({"kvp": 80, "blur.motion_mm": 0.3, "grid.primary_transmission": 0.66})
    assert (exposure.kvp, exposure.blur.motion_mm, exposure.blur.focal_spot_mm) == (80.0, 0.3, 0.6)
    assert exposure.grid is not None and exposure.grid.primary_transmission == 0.66
    assert Exposure().with_values({}) == Exposure() and PARAMETERS["scatter.air_gap_mm"] == 200.0
    with pytest.raises(SyntheXError, match=r"unknown parameter 'blur.focal_spot' \(did you mean 'blur.focal_spot_mm'"):
        Exposure().with_values({"blur.focal_spot": 1})
