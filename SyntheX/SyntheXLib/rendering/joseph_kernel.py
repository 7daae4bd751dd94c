"""The fused ray-casting kernel: Joseph's method over packets of pixels, written with the builder.

One pass gives, for every HU class, path length and HU integral, and the bits of all labels hit. The formulas are those of `reference.py`; a
packet of `lanes` neighbouring pixels of a row shares one dominant axis, that of its middle ray.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SyntheXLib.rendering.llvm_builder import FLOAT, I16, I32, I64, POINTER, Function, Value, Variable
from SyntheXLib.rendering.volume import HU_OFFSET

# One record for each index axis that may be dominant ("across" the planes); p and q are the axes in the plane, p the contiguous one.
AXIS_NUMBERS = np.dtype(
    [(f"{name}_{axis}", np.float32) for axis in ("p", "q", "across") for name in ("origin", "ray", "ray_x", "ray_y", "last")]
    + [("preference", np.float32)]
)
AXIS_POINTERS = np.dtype([("values", np.int64), ("labels", np.int64), ("plane_stride", np.int64), ("row_stride", np.int64)])
# Of the whole view: x and y of the ray in the camera frame (at pixel 0 and a pixel), and the depth of the detector.
VIEW_NUMBERS = np.dtype([(name, np.float32) for name in ("x_0", "x_step", "y_0", "y_step", "depth")])

PARAMETERS = {
    "axis_numbers": POINTER,
    "axis_pointers": POINTER,
    "view": POINTER,
    "path": POINTER,
    "total": POINTER,
    "hits": POINTER,
    "height": I32,
    "width": I32,
    "first_row": I32,
    "last_row": I32,
    "first_column": I32,
    "last_column": I32,
}


def joseph_kernel(lanes: int, cuts: Sequence[float], label_bits: int, label_paths: int = 0) -> Function:
    """Build the kernel.

    Parameters
    ----------
    lanes
        Pixels of a packet.
    cuts
        Limits of the HU classes, rising.
    label_bits
        Width of the label field, 16 or 32; 0 reads no labels (the hits, 16 bits wide, are then zero).
    label_paths
        Structures whose path lengths are measured, from bit 0 on.

    Returns
    -------
    Function
        Its parameters are `PARAMETERS`: records of `AXIS_NUMBERS` and `AXIS_POINTERS` for the three axes, one of `VIEW_NUMBERS`, outputs
        path and total (C, H, W) float32 in mm and HU x mm, hits (H, W), the image's size, and the rows and columns to do (the last
        not included; the first column a multiple of `lanes`). With `label_paths` one more, the output label_path (L, H, W) float32 in mm.
    """
    f = Function("march", lanes, PARAMETERS | ({"label_path": POINTER} if label_paths else {}))
    view = record(f, f.parameter("view"), VIEW_NUMBERS)
    packets = (f.parameter("last_column") - f.parameter("first_column") + (lanes - 1)) / lanes
    with f.loop(f.parameter("first_row"), f.parameter("last_row")) as row, f.loop(0, packets) as packet:
        y = row.to(FLOAT)
        first_column = packet * lanes + f.parameter("first_column")
        columns = first_column + f.lane_numbers()
        x = columns.to(FLOAT)
        axis = dominant_axis(f, f.minimum(first_column + lanes // 2, f.parameter("last_column") - 1).to(FLOAT), y)
        a = record(f, f.offset(f.parameter("axis_numbers"), axis * field_count(AXIS_NUMBERS), FLOAT), AXIS_NUMBERS)
        pointers = f.offset(f.parameter("axis_pointers"), axis * field_count(AXIS_POINTERS), I64)

        across = ray(f, a, "across", x, y)
        per_plane = 1.0 / across  # mm of depth from plane to plane, signed
        slope_p, slope_q = ray(f, a, "p", x, y) * per_plane, ray(f, a, "q", x, y) * per_plane
        begin, end = planes(f, a, across, slope_p, slope_q, view["depth"])
        sums, counts, hits, inside = _march(f, a, pointers, begin, end, slope_p, slope_q, cuts, label_bits, label_paths)

        ray_x = f.multiply_add(x, view["x_step"], view["x_0"])
        ray_y = f.multiply_add(y, view["y_step"], view["y_0"])
        weight = f.sqrt(ray_x * ray_x + (ray_y * ray_y + 1.0)) * f.absolute(per_plane)  # mm of ray from plane to plane
        _store(f, row, first_column, columns < f.parameter("last_column"), weight, sums, counts, hits, label_bits, inside)
    return f


def field_count(dtype: np.dtype) -> int:
    """Numbers in a record."""
    assert dtype.names is not None
    return len(dtype.names)


def record(f: Function, pointer: Value, dtype: np.dtype) -> dict[str, Value]:
    """Load all float32 fields of a record."""
    assert dtype.names is not None
    return {name: f.load(pointer, place, FLOAT) for place, name in enumerate(dtype.names)}


def ray(f: Function, a: dict[str, Value], axis: str, x: Value, y: Value) -> Value:
    """Index coordinates along `axis` a millimetre of depth, of the rays at columns x and row y."""
    return f.multiply_add(x, a[f"ray_x_{axis}"], f.multiply_add(y, a[f"ray_y_{axis}"], a[f"ray_{axis}"]))


def dominant_axis(f: Function, x: Value, y: Value) -> Value:
    """Axis (0, 1, 2) along which the ray through (x, y) passes most planes; preference 0 rules an axis out."""
    assert AXIS_NUMBERS.names is not None
    best, axis = f.variable(f.constant(-1.0, FLOAT)), f.variable(f.constant(0, I32))
    for number in range(3):
        fields = {
            name: f.load(f.parameter("axis_numbers"), number * field_count(AXIS_NUMBERS) + AXIS_NUMBERS.names.index(name), FLOAT)
            for name in ("ray_across", "ray_x_across", "ray_y_across", "preference")
        }
        speed = f.absolute(ray(f, fields, "across", x, y)) * fields["preference"]
        better = speed > best.value
        axis.value = f.select(better, number, axis.value)
        best.value = f.select(better, speed, best.value)
    return axis.value


def planes(f: Function, a: dict[str, Value], across: Value, slope_p: Value, slope_q: Value, depth: Value) -> tuple[Value, Value]:
    """First and last plane (I32) that each ray passes inside the volume and between source and detector."""
    far = across * depth
    low, high = f.minimum(far, 0.0), f.maximum(far, 0.0)  # planes relative to the source
    for axis, slope in (("p", slope_p), ("q", slope_q)):
        safe = f.select(f.absolute(slope) < 1e-9, 1e-9, slope)
        one, two = (0.0 - a[f"origin_{axis}"]) / safe, (a[f"last_{axis}"] - a[f"origin_{axis}"]) / safe
        low, high = f.maximum(low, f.minimum(one, two)), f.minimum(high, f.maximum(one, two))
    origin, last = a["origin_across"], a["last_across"]
    begin = f.ceil(f.minimum(f.maximum(low + origin, 0.0), last + 1.0))
    end = f.floor(f.maximum(f.minimum(high + origin, last), -1.0))
    return begin.to(I32), end.to(I32)


def _march(
    f: Function,
    a: dict[str, Value],
    pointers: Value,
    begin: Value,
    end: Value,
    slope_p: Value,
    slope_q: Value,
    cuts: Sequence[float],
    label_bits: int,
    label_paths: int,
) -> tuple[list[Value], list[Value], Value, list[Value]]:
    """Sums of stored values and counts of samples, of all and above each cut; the OR of the labels; planes in each structure."""
    zero, none = f.constant(0.0, FLOAT, f.lanes), f.constant(0, I32, f.lanes)
    sums = [f.variable(zero) for _ in range(len(cuts) + 1)]
    counts = [f.variable(zero) for _ in range(len(cuts) + 1)]
    hits = f.variable(none)
    inside = [f.variable(zero) for _ in range(label_paths)]
    values, labels = (pointer_to(f, f.load(pointers, place, I64)) for place in (0, 1))
    plane_stride, row_stride = f.load(pointers, 2, I64), f.load(pointers, 3, I64).to(I32)
    label_kind, label_bytes = (I32, 4) if label_bits == 32 else (I16, 2)
    with f.loop(f.smallest_lane(begin), f.largest_lane(end) + 1) as plane:
        live = (begin <= plane) & (end >= plane)
        steps = plane.to(FLOAT) - a["origin_across"]
        p, q = f.multiply_add(slope_p, steps, a["origin_p"]), f.multiply_add(slope_q, steps, a["origin_q"])
        cell_p, cell_q = p.to(I32), q.to(I32)
        part_p, part_q = p - cell_p.to(FLOAT), q - cell_q.to(FLOAT)
        cell = cell_q * row_stride + cell_p
        start = plane.to(I64) * plane_stride
        plane_values, plane_labels = f.offset(values, start, I16), f.offset(labels, start, label_kind)

        upper, lower = (_along_row(f, plane_values, index, part_p, live) for index in (cell, cell + row_stride))
        value = f.multiply_add(lower - upper, part_q, upper)
        for half in (-0.5, 0.5) if label_bits else ():  # where the ray enters and where it leaves the plane's layer of voxels
            voxel_p, voxel_q = _voxel(f, a, "p", p, slope_p, half), _voxel(f, a, "q", q, slope_q, half)
            voxel = f.offset(plane_labels, voxel_q * row_stride + voxel_p, label_kind)
            bits = f.gather(voxel, I32, live, label_bytes)
            hits.value = hits.value | bits
            for bit, planes_inside in enumerate(inside):
                _add(planes_inside, f.select(f.differs((bits >> bit) & 1, 0), 0.5, 0.0))

        _add(sums[0], value)  # lanes that are not live hold zero
        _add(counts[0], f.select(live, 1.0, 0.0))
        for cut, total, count in zip(cuts, sums[1:], counts[1:], strict=True):
            above = value >= cut + HU_OFFSET
            _add(total, f.select(above, value, zero))
            _add(count, f.select(above, 1.0, 0.0))
    found = hits.value if label_bits == 32 else hits.value & 0xFFFF
    return [v.value for v in sums], [v.value for v in counts], found, [v.value for v in inside]


def _voxel(f: Function, a: dict[str, Value], axis: str, coordinate: Value, slope: Value, half: float) -> Value:
    """Nearest voxel half a plane before or behind a coordinate, not beyond the volume."""
    return (f.minimum(f.multiply_add(slope, half, coordinate), a[f"last_{axis}"]) + 0.5).to(I32)


def pointer_to(f: Function, address: Value) -> Value:
    """The pointer of an I64 address."""
    return f.emit(f"inttoptr i64 {address.text} to ptr", POINTER, 0)


def _along_row(f: Function, plane: Value, index: Value, part: Value, live: Value) -> Value:
    """Linear interpolation between a voxel and its neighbour in the row: both 16-bit values come with one 32-bit load."""
    pair = f.gather(f.offset(plane, index, I16), I32, live, 2)
    low, high = (pair & 0xFFFF).to(FLOAT), (pair >> 16).to(FLOAT)
    return f.multiply_add(high - low, part, low)


def _add(variable: Variable, value: Value) -> None:
    variable.value = variable.value + value


def _store(
    f: Function,
    row: Value,
    first_column: Value,
    inside: Value,
    weight: Value,
    sums: list[Value],
    counts: list[Value],
    hits: Value,
    label_bits: int,
    inside_labels: list[Value],
) -> None:
    """Differences of the sums above successive cuts are the classes'; weigh them and write all planes of the image."""
    width = f.parameter("width")
    pixel = (row * width + first_column).to(I64)
    size = (f.parameter("height") * width).to(I64)
    for kind in range(len(sums)):
        total, count = sums[kind], counts[kind]
        if kind + 1 < len(sums):
            total, count = total - sums[kind + 1], count - counts[kind + 1]
        place = pixel + size * kind
        f.store(count * weight, f.offset(f.parameter("path"), place, FLOAT), inside)
        f.store(f.multiply_add(count, -float(HU_OFFSET), total) * weight, f.offset(f.parameter("total"), place, FLOAT), inside)
    for number, planes_inside in enumerate(inside_labels):
        f.store(planes_inside * weight, f.offset(f.parameter("label_path"), pixel + size * number, FLOAT), inside)
    label_kind = I32 if label_bits == 32 else I16
    f.store(hits.to(label_kind), f.offset(f.parameter("hits"), pixel, label_kind), inside)
