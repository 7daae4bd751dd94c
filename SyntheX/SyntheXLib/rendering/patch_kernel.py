"""The ray caster for AVX-512: the voxels that a packet of rays meets in a plane are loaded once and looked up within registers.

The definition is that of `joseph_kernel.py`. A packet is a block of pixels; its groups of 4 x 4 rays all look into one patch of each plane,
8 voxels along the rows by 4 or 8 rows, found by straight lines that bound the rays. Packets that see more than that gather. A voxel is one
word: value in the low half, label bits in the high half, so what is loaded for the values tells of the labels too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SyntheXLib.rendering.joseph_kernel import (
    AXIS_NUMBERS,
    AXIS_POINTERS,
    PARAMETERS,
    VIEW_NUMBERS,
    dominant_axis,
    field_count,
    planes,
    pointer_to,
    ray,
    record,
)
from SyntheXLib.rendering.llvm_builder import FLOAT, I16, I32, I64, Function, Value, Variable
from SyntheXLib.rendering.volume import HU_OFFSET, RenderVolume, spread_zeros

# A group: 16 rays, four columns of four rows of the image.
GROUP = 4
# Voxels of a patch along the rows, and the numbers of rows tried, the cheaper first.
_COLUMNS, _ROWS = 8, (4, 8)
_VALUE = 0xFFFF
_NEVER = 1 << 30


def interleaved(volume: RenderVolume) -> np.ndarray:
    """(K, J, I) uint32 words of value and label bits, of a volume with 16-bit labels."""
    planes, rows, columns = volume.labels.shape
    words = spread_zeros((planes, rows, columns), np.uint32, 4)
    words[...] = volume.labels
    words <<= np.uint32(16)
    words |= volume.values
    return words


@dataclass
class _Group:
    """16 rays and what they have met so far."""

    columns: Value
    rows: Value
    slope_p: Value
    slope_q: Value
    begin: Value
    end: Value
    weight: Value
    sums: list[Variable]
    counts: list[Variable]
    hits: Variable


@dataclass
class _Packet:
    """What the groups of a packet share."""

    a: dict[str, Value]
    words: Value
    plane_stride: Value
    row_stride: Value
    first: Value
    last: Value
    missing: Variable
    """Label bits, in the high half, that some ray has not hit yet."""


def patch_kernel(cuts: Sequence[float], labelled: bool, groups: int) -> Function:
    """Build the kernel.

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising.
    labelled
        Whether to look at the label bits.
    groups
        Groups along each side of a packet.

    Returns
    -------
    Function
        Called as `joseph_kernel`'s; "values" points to words as `interleaved` gives them, "labels" to nothing. The
        first row and column are multiples of ``4 * groups``.
    """
    f = Function("march", GROUP * GROUP, PARAMETERS)
    view = record(f, f.parameter("view"), VIEW_NUMBERS)
    side = GROUP * groups
    (first_row, bands), (first_column, blocks) = _packets(f, "row", side), _packets(f, "column", side)
    with f.loop(0, bands) as band, f.loop(0, blocks) as block:
        row, column = band * side + first_row, block * side + first_column
        axis = dominant_axis(f, (column + side // 2).to(FLOAT), (row + side // 2).to(FLOAT))
        a = record(f, f.offset(f.parameter("axis_numbers"), axis * field_count(AXIS_NUMBERS), FLOAT), AXIS_NUMBERS)
        pointers = f.offset(f.parameter("axis_pointers"), axis * field_count(AXIS_POINTERS), I64)
        members = [
            _group(f, a, view, row + GROUP * down, column + GROUP * right, cuts) for down in range(groups) for right in range(groups)
        ]
        first, last = members[0].begin, members[0].end
        for member in members[1:]:
            first, last = f.minimum(first, member.begin), f.maximum(last, member.end)
        packet = _Packet(
            a=a,
            words=pointer_to(f, f.load(pointers, 0, I64)),
            plane_stride=f.load(pointers, 2, I64),
            row_stride=f.load(pointers, 3, I64),
            first=f.smallest_lane(first),
            last=f.largest_lane(last),
            missing=f.variable(f.constant(~_VALUE, I32)),
        )
        _march(f, packet, members, cuts, labelled)
        for member in members:
            _store(f, member, labelled)
    return f


def _packets(f: Function, direction: str, side: int) -> tuple[Value, Value]:
    """First row or column of pixels, and the number of packets from there."""
    first, last = f.parameter(f"first_{direction}"), f.parameter(f"last_{direction}")
    return first, (last - first + (side - 1)) / side


def _group(f: Function, a: dict[str, Value], view: dict[str, Value], row: Value, column: Value, cuts: Sequence[float]) -> _Group:
    lane = f.lane_numbers()
    columns, rows = (lane & (GROUP - 1)) + column, (lane >> 2) + row
    # Pixels beyond the image repeat the last ones, so that they do not widen the patch.
    x = f.minimum(columns, f.parameter("last_column") - 1).to(FLOAT)
    y = f.minimum(rows, f.parameter("last_row") - 1).to(FLOAT)
    across = ray(f, a, "across", x, y)
    per_plane = 1.0 / across  # mm of depth from plane to plane, signed
    slope_p, slope_q = ray(f, a, "p", x, y) * per_plane, ray(f, a, "q", x, y) * per_plane
    begin, end = planes(f, a, across, slope_p, slope_q, view["depth"])
    passes = begin <= end
    ray_x, ray_y = f.multiply_add(x, view["x_step"], view["x_0"]), f.multiply_add(y, view["y_step"], view["y_0"])
    zero = f.constant(0.0, FLOAT, f.lanes)
    return _Group(
        columns,
        rows,
        slope_p,
        slope_q,
        f.select(passes, begin, _NEVER),
        f.select(passes, end, -1),
        f.sqrt(ray_x * ray_x + (ray_y * ray_y + 1.0)) * f.absolute(per_plane),  # mm of ray from plane to plane
        [f.variable(zero) for _ in range(len(cuts) + 1)],
        [f.variable(zero) for _ in cuts],
        f.variable(f.select(passes, 0, -1)),  # a ray that passes nothing lacks no label
    )


def _march(f: Function, packet: _Packet, members: list[_Group], cuts: Sequence[float], labelled: bool) -> None:
    """Each packet goes through one of the loops: the cheapest patch that holds it, or gathers."""
    ends = [plane.to(FLOAT) - packet.a["origin_across"] for plane in (packet.first, packet.last)]
    span = f.maximum((packet.last - packet.first).to(FLOAT), 1.0)
    low, rise, spread = {}, {}, {}
    for axis in ("p", "q"):
        bounds = [_bounds(f, packet, members, axis, steps) for steps in ends]
        low[axis] = bounds[0][0]
        rise[axis] = (bounds[1][0] - bounds[0][0]) / span
        spread[axis] = f.maximum(*(upper - lower for lower, upper in bounds))
    stop = packet.last + 1
    undone = f.variable(f.constant(1, I32))
    for rows in _ROWS:
        # A cell's second voxel must still lie within the patch, and the patch within the volume.
        fits = (spread["p"] < _COLUMNS - 2.0) & (spread["q"] < rows - 2.0)
        fits = fits & (packet.a["last_p"] > _COLUMNS - 1.5) & (packet.a["last_q"] > rows - 1.5) & f.differs(undone.value, 0)
        with f.loop(packet.first, f.select(fits, stop, packet.first)) as plane:
            _through_patch(f, packet, members, cuts, labelled, plane, low, rise, rows)
        undone.value = f.select(fits, 0, undone.value)
    with f.loop(packet.first, f.select(f.differs(undone.value, 0), stop, packet.first)) as plane:
        for member in members:
            _through_memory(f, packet, member, cuts, labelled, plane)


def _bounds(f: Function, packet: _Packet, members: list[_Group], axis: str, steps: Value) -> tuple[Value, Value]:
    """Least and greatest coordinate of the rays in a plane, with a margin for rounding."""
    places = [_coordinate(f, packet, member, axis, steps) for member in members]
    low, high = places[0], places[0]
    for place in places[1:]:
        low, high = f.minimum(low, place), f.maximum(high, place)
    return f.smallest_lane(low) - 2e-3, f.largest_lane(high) + 2e-3


def _coordinate(f: Function, packet: _Packet, member: _Group, axis: str, steps: Value, base: Value | float = 0.0) -> Value:
    slope = member.slope_p if axis == "p" else member.slope_q
    return f.multiply_add(slope, steps, packet.a[f"origin_{axis}"] - base)


def _through_patch(
    f: Function,
    packet: _Packet,
    members: list[_Group],
    cuts: Sequence[float],
    labelled: bool,
    plane: Value,
    low: dict[str, Value],
    rise: dict[str, Value],
    rows: int,
) -> None:
    a = packet.a
    steps = plane.to(FLOAT) - a["origin_across"]
    since = (plane - packet.first).to(FLOAT)
    base = {}
    for axis, size in (("p", _COLUMNS), ("q", rows)):
        least = f.floor(f.multiply_add(rise[axis], since, low[axis]))
        # last_p and last_q are a hair below the last index
        base[axis] = f.minimum(f.maximum(least, 0.0), f.floor(a[f"last_{axis}"]) - (size - 2.0))
    start = plane.to(I64) * packet.plane_stride + base["q"].to(I64) * packet.row_stride + base["p"].to(I64)
    lines = [f.load(packet.words, start + packet.row_stride * row, I32, _COLUMNS) for row in range(rows)]
    tables = [f.join(one, two) for one, two in zip(lines[::2], lines[1::2], strict=True)]
    everything = tables[0]
    for table in tables[1:]:
        everything = everything | table

    def place(member: _Group) -> tuple[Value, Value, Value]:
        """Index of the ray's cell in the patch, and where in the cell it passes."""
        p, q = (_coordinate(f, packet, member, axis, steps, base[axis]) for axis in ("p", "q"))
        cell_p, cell_q = p.to(I32), q.to(I32)
        return (cell_q << 3) + cell_p, p - cell_p.to(FLOAT), q - cell_q.to(FLOAT)

    with f.when(f.any_lane(f.differs(everything & _VALUE, 0))):
        numbers = [(table & _VALUE).to(FLOAT) for table in tables]
        for member in members:
            cell, part_p, part_q = place(member)
            corners = [f.lookup(numbers, cell + step) for step in (0, 1, _COLUMNS, _COLUMNS + 1)]
            _tally(f, member, cuts, _bilinear(f, corners, part_p, part_q), _live(member, plane))
    if not labelled:
        return
    with f.when(f.any_lane(f.differs(everything & packet.missing.value, 0))):
        lacking = f.constant(0, I32)
        for member in members:
            cell, part_p, part_q = place(member)
            live = _live(member, plane)
            for right, below in _label_corners(f, member, part_p, part_q):
                found = f.lookup(tables, cell + f.select(right, 1, 0) + f.select(below, _COLUMNS, 0))
                member.hits.value = f.select(live, member.hits.value | found, member.hits.value)
            lacking = lacking | ~f.common_bits(member.hits.value)
        packet.missing.value = lacking & ~_VALUE


def _through_memory(f: Function, packet: _Packet, member: _Group, cuts: Sequence[float], labelled: bool, plane: Value) -> None:
    live = _live(member, plane)
    steps = plane.to(FLOAT) - packet.a["origin_across"]
    p, q = (_coordinate(f, packet, member, axis, steps) for axis in ("p", "q"))
    cell_p, cell_q = p.to(I32), q.to(I32)
    part_p, part_q = p - cell_p.to(FLOAT), q - cell_q.to(FLOAT)
    words, stride = f.offset(packet.words, plane.to(I64) * packet.plane_stride, I32), packet.row_stride.to(I32)
    cell = cell_q * stride + cell_p
    corners = [f.gather(f.offset(words, cell + step, I32), I32, live, 4) for step in (0, 1, stride, stride + 1)]
    _tally(f, member, cuts, _bilinear(f, [(corner & _VALUE).to(FLOAT) for corner in corners], part_p, part_q), live)
    if labelled:
        for right, below in _label_corners(f, member, part_p, part_q):
            upper, lower = f.select(right, corners[1], corners[0]), f.select(right, corners[3], corners[2])
            member.hits.value = member.hits.value | f.select(below, lower, upper)  # lanes that are not live hold zero


def _live(member: _Group, plane: Value) -> Value:
    return (member.begin <= plane) & (member.end >= plane)


def _bilinear(f: Function, corners: Sequence[Value], part_p: Value, part_q: Value) -> Value:
    upper = f.multiply_add(corners[1] - corners[0], part_p, corners[0])
    lower = f.multiply_add(corners[3] - corners[2], part_p, corners[2])
    return f.multiply_add(lower - upper, part_q, upper)


def _label_corners(f: Function, member: _Group, part_p: Value, part_q: Value) -> list[tuple[Value, Value]]:
    """Which voxel of its cell is nearest where the ray enters and where it leaves the plane's layer: the right one, one of the lower row.

    Half a plane's slope is at most half a voxel, so it is one of the cell's four.
    """
    return [
        (f.multiply_add(member.slope_p, half, part_p) >= 0.5, f.multiply_add(member.slope_q, half, part_q) >= 0.5) for half in (-0.5, 0.5)
    ]


def _tally(f: Function, member: _Group, cuts: Sequence[float], value: Value, live: Value) -> None:
    """Add a sample to the sums of all, and of those at or above each cut; what none reaches is left out with all above it."""

    def masked(variable: Variable, increment: Value | float, where: Value) -> None:
        now = variable.value
        variable.value = f.select(where, now + increment, now)

    def above(number: int) -> None:
        if number == len(cuts):
            return
        reached = live & (value >= cuts[number] + HU_OFFSET)
        with f.when(f.any_lane(reached)):
            masked(member.sums[number + 1], value, reached)
            masked(member.counts[number], 1.0, reached)
            above(number + 1)

    masked(member.sums[0], value, live)
    above(0)


def _store(f: Function, member: _Group, labelled: bool) -> None:
    """Differences of the sums above successive cuts are the classes'; weigh them and write the group's rows of all planes of the image."""
    width = f.parameter("width")
    inside = (member.columns < f.parameter("last_column")) & (member.rows < f.parameter("last_row"))
    pixel = (member.rows * width + member.columns).to(I64)
    size = (f.parameter("height") * width).to(I64)
    passed = f.maximum(member.end - member.begin + 1, 0)
    sums, counts = [v.value for v in member.sums], [passed.to(FLOAT), *(v.value for v in member.counts)]
    for kind in range(len(sums)):
        total, count = sums[kind], counts[kind]
        if kind + 1 < len(sums):
            total, count = total - sums[kind + 1], count - counts[kind + 1]
        for values, name in ((count, "path"), (f.multiply_add(count, -float(HU_OFFSET), total), "total")):
            f.scatter(values * member.weight, f.offset(f.parameter(name), pixel + size * kind, FLOAT), inside)
    hits = f.select(f.differs(passed, 0), member.hits.value >> 16, 0) if labelled else f.constant(0, I32, f.lanes)
    f.scatter(hits.to(I16), f.offset(f.parameter("hits"), pixel, I16), inside)
