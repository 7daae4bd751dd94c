"""The ray caster for AVX-512: the voxels that a packet of rays meets in a plane are loaded once and looked up within registers.

The definition is that of `joseph_kernel.py`. A packet is a block of pixels in groups of 4 x 4 rays. All groups look into one patch of each
plane, 8 voxels along the rows by 4 or 8 rows, found by straight lines that bound the rays; or each group has a patch of its own, at most 16
by 8; or, where the rays are wider apart, they gather. A voxel is one word: value in the low half, label bits in the high half, so what is
loaded for the values tells of the labels too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

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
from SyntheXLib.rendering.volume import HU_OFFSET, spread_zeros
from SyntheXLib.scene.specimen import Specimen

# A group: 16 rays, four columns of four rows of the image.
GROUP = 4
# Groups along the side of the largest packet.
MOST_GROUPS = 4
# Patches tried, the cheaper first: voxels along the rows, and rows; shared by a packet, and of each group's own.
_SHARED = ((8, 4), (8, 8))
_ALONE = (*_SHARED, (16, 8))
# Planes by which loading to the cache runs ahead.
_AHEAD = 8
_VALUE = 0xFFFF
_NEVER = 1 << 30


def interleaved(specimen: Specimen, each: Callable[[Callable[[int], None], Iterable[int]], Iterable[None]] = map) -> np.ndarray:
    """(K + 2, J + 2, I + 2) uint32 words of value and label bits, padded as `render_volume` does; `each` may do planes in parallel.

    The label field must be of 16 bits.
    """
    planes, rows, columns = specimen.hu.shape
    words = spread_zeros((planes + 2, rows + 2, columns + 2), np.uint32, 4)

    def fill(plane: int) -> None:
        inner = words[plane + 1, 1:-1, 1:-1]
        np.maximum(specimen.hu[plane], -HU_OFFSET, out=inner, casting="unsafe")
        inner += np.uint32(HU_OFFSET)  # wraps round for negative values and so comes out right
        inner |= specimen.labels[plane].astype(np.uint32) << np.uint32(16)

    for _ in each(fill, range(planes)):
        pass
    return words


class _State:
    """What every group of a packet has met so far; too much for the registers of a large packet, so it lies in memory."""

    def __init__(self, f: Function, cuts: int) -> None:
        def vectors(kind: str) -> Callable[[Value], Variable]:
            return f.variables(MOST_GROUPS**2, kind, f.lanes)

        self._floats = {name: vectors(FLOAT) for name in ("slope_p", "slope_q", "weight")}
        self._integers = {name: vectors(I32) for name in ("begin", "end", "hits")}
        self._patch = {name: f.variables(MOST_GROUPS**2, FLOAT) for name in ("low_p", "low_q", "rise_p", "rise_q")}
        self._missing = f.variables(MOST_GROUPS**2, I32)
        self._sums, self._counts = [vectors(FLOAT) for _ in range(cuts + 1)], [vectors(FLOAT) for _ in range(cuts)]

    def group(self, number: Value) -> _Group:
        """The state of one group."""
        named = {name: at(number) for name, at in (self._floats | self._integers).items()}
        patch = {name: at(number) for name, at in self._patch.items()}
        return _Group(
            **named,
            patch=patch,
            missing=self._missing(number),
            sums=[at(number) for at in self._sums],
            counts=[at(number) for at in self._counts],
        )


@dataclass
class _Group:
    """16 rays: how they run, and their sums of values and counts of samples, of all (counted by `begin` and `end`) and above each cut."""

    slope_p: Variable
    slope_q: Variable
    weight: Variable
    begin: Variable
    end: Variable
    hits: Variable
    patch: dict[str, Variable]
    """Least coordinates in the packet's first plane and their change from plane to plane, for a patch of its own."""
    missing: Variable
    """Label bits, in the high half, that some ray has not hit yet."""
    sums: list[Variable]
    counts: list[Variable]

    def live(self, plane: Value) -> Value:
        """Which rays pass a plane inside the volume."""
        return (self.begin.value <= plane) & (self.end.value >= plane)


@dataclass
class _Packet:
    """What the groups of a packet share."""

    f: Function
    cuts: Sequence[float]
    labelled: bool
    state: _State
    a: dict[str, Value]
    words: Value
    plane_stride: Value
    row_stride: Value
    missing: Variable
    """As a group's, of all groups together."""

    @contextmanager
    def groups(self) -> Iterator[_Group]:
        """One group after the other."""
        side = self.f.parameter("groups")
        with self.f.loop(0, side * side) as number:
            yield self.state.group(number)

    @contextmanager
    def only(self, group: _Group) -> Iterator[_Group]:
        """This one."""
        yield group

    @contextmanager
    def placed_groups(self, row: Value, column: Value) -> Iterator[tuple[_Group, Value, Value]]:
        """One after the other, with the columns and rows of its pixels; the packet's first pixel is given."""
        f, side, lane = self.f, self.f.parameter("groups"), self.f.lane_numbers()
        with f.loop(0, side) as down, f.loop(0, side) as right:
            columns, rows = (lane & (GROUP - 1)) + (column + right * GROUP), (lane >> 2) + (row + down * GROUP)
            yield self.state.group(down * side + right), columns, rows

    def coordinate(self, group: _Group, axis: str, plane: Value, base: Value | float = 0.0) -> Value:
        """Where the rays pass a plane, from `base` on."""
        slope = group.slope_p if axis == "p" else group.slope_q
        steps = plane.to(FLOAT) - self.a["origin_across"]
        return self.f.multiply_add(slope.value, steps, self.a[f"origin_{axis}"] - base)


def patch_kernel(cuts: Sequence[float], labelled: bool) -> Function:
    """Build the kernel.

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising.
    labelled
        Whether to look at the label bits.

    Returns
    -------
    Function
        Called as `joseph_kernel`'s, with the number of groups along each side of a packet (1 to `MOST_GROUPS`) as one more parameter;
        "values" points to words as `interleaved` gives them, "labels" to nothing. The first row and column are multiples of ``4 * groups``.
    """
    f = Function("march", GROUP * GROUP, PARAMETERS | {"groups": I32})
    view = record(f, f.parameter("view"), VIEW_NUMBERS)
    state = _State(f, len(cuts))
    side = f.parameter("groups") * GROUP
    (first_row, bands), (first_column, blocks) = _packets(f, "row", side), _packets(f, "column", side)
    with f.loop(0, bands) as band, f.loop(0, blocks) as block:
        row, column = band * side + first_row, block * side + first_column
        ends = f.minimum(column + side, f.parameter("last_column")), f.minimum(row + side, f.parameter("last_row"))
        middle = (column + ends[0]) / 2, (row + ends[1]) / 2
        axis = dominant_axis(f, middle[0].to(FLOAT), middle[1].to(FLOAT))
        a = record(f, f.offset(f.parameter("axis_numbers"), axis * field_count(AXIS_NUMBERS), FLOAT), AXIS_NUMBERS)
        pointers = f.offset(f.parameter("axis_pointers"), axis * field_count(AXIS_POINTERS), I64)
        words, plane_stride, row_stride = (f.load(pointers, place, I64) for place in (0, 2, 3))
        missing = f.variable(f.constant(~_VALUE, I32))
        packet = _Packet(f, cuts, labelled, state, a, pointer_to(f, words), plane_stride, row_stride, missing)
        first, last = _set_up(packet, view, row, column)
        _march(packet, first, last)
        _store(packet, row, column)
    return f


def _packets(f: Function, direction: str, side: Value) -> tuple[Value, Value]:
    """First row or column of pixels, and the number of packets from there."""
    first, last = f.parameter(f"first_{direction}"), f.parameter(f"last_{direction}")
    return first, (last - first + side - 1) / side


def _set_up(packet: _Packet, view: dict[str, Value], row: Value, column: Value) -> tuple[Value, Value]:
    """Fill the state, and find the first and last plane that some ray passes."""
    f, a = packet.f, packet.a
    first, last = f.variable(f.constant(_NEVER, I32)), f.variable(f.constant(-1, I32))
    with packet.placed_groups(row, column) as (group, columns, rows):
        # Pixels beyond the image repeat the last ones, so that they do not widen the patch.
        x = f.minimum(columns, f.parameter("last_column") - 1).to(FLOAT)
        y = f.minimum(rows, f.parameter("last_row") - 1).to(FLOAT)
        across = ray(f, a, "across", x, y)
        per_plane = 1.0 / across  # mm of depth from plane to plane, signed
        slope_p, slope_q = ray(f, a, "p", x, y) * per_plane, ray(f, a, "q", x, y) * per_plane
        begin, end = planes(f, a, across, slope_p, slope_q, view["depth"])
        passes = begin <= end
        begin, end = f.select(passes, begin, _NEVER), f.select(passes, end, -1)
        ray_x, ray_y = f.multiply_add(x, view["x_step"], view["x_0"]), f.multiply_add(y, view["y_step"], view["y_0"])
        group.weight.value = f.sqrt(ray_x * ray_x + (ray_y * ray_y + 1.0)) * f.absolute(per_plane)  # mm of ray from plane to plane
        group.slope_p.value, group.slope_q.value, group.begin.value, group.end.value = slope_p, slope_q, begin, end
        group.hits.value = f.select(passes, 0, -1)  # a ray that passes nothing lacks no label
        group.missing.value = ~_VALUE
        for variable in (*group.sums, *group.counts):
            variable.value = 0.0
        first.value = f.minimum(first.value, f.smallest_lane(begin))
        last.value = f.maximum(last.value, f.largest_lane(end))
    return first.value, last.value


def _march(packet: _Packet, first: Value, last: Value) -> None:
    """Each packet goes through one of the loops: the cheapest patches that hold it, shared or one a group, or gathers."""
    f, a = packet.f, packet.a
    span = f.maximum((last - first).to(FLOAT), 1.0)
    shared = {axis: [f.variable(f.constant(limit, FLOAT)) for limit in (1e9, -1e9, 1e9, -1e9)] for axis in ("p", "q")}
    spread_alone = {axis: f.variable(f.constant(0.0, FLOAT)) for axis in shared}
    with packet.groups() as group:
        for axis, bounds in shared.items():
            low, high, low_end, high_end = (*_bounds(packet, group, axis, first), *_bounds(packet, group, axis, last))
            group.patch[f"low_{axis}"].value, group.patch[f"rise_{axis}"].value = low, (low_end - low) / span
            widest = spread_alone[axis]
            widest.value = f.maximum(widest.value, f.maximum(high - low, high_end - low_end))
            for bound, found, extreme in zip(bounds, (low, high, low_end, high_end), (f.minimum, f.maximum) * 2, strict=True):
                bound.value = extreme(bound.value, found)
    lows, rises, spreads = {}, {}, {}
    for axis, bounds in shared.items():
        least, most, least_end, most_end = (bound.value for bound in bounds)
        lows[axis], rises[axis], spreads[axis] = least, (least_end - least) / span, f.maximum(most - least, most_end - least_end)
    alone = {axis: widest.value for axis, widest in spread_alone.items()}

    undone = f.variable(f.constant(1, I32))
    for spread, (columns, rows) in [(spreads, shape) for shape in _SHARED] + [(alone, shape) for shape in _ALONE]:
        # A cell's second voxel must still lie within the patch, and the patch within the volume.
        fits = (spread["p"] < columns - 2.0) & (spread["q"] < rows - 2.0) & f.differs(undone.value, 0)
        fits = fits & (a["last_p"] > columns - 1.5) & (a["last_q"] > rows - 1.5)
        with f.loop(first, f.select(fits, last + 1, first)) as plane:
            since = (plane - first).to(FLOAT)
            if spread is spreads:
                _through_patch(packet, packet.groups, packet.missing, plane, _moved(f, lows, rises, since), rises, (columns, rows))
            else:  # neighbours one after the other in the same plane: what one loads serves the next
                with packet.groups() as group:
                    own_lows, own_rises = ({axis: group.patch[f"{what}_{axis}"].value for axis in lows} for what in ("low", "rise"))
                    only = partial(packet.only, group)
                    _through_patch(packet, only, group.missing, plane, _moved(f, own_lows, own_rises, since), own_rises, (columns, rows))
        undone.value = f.select(fits, 0, undone.value)
    with f.loop(first, f.select(f.differs(undone.value, 0), last + 1, first)) as plane, packet.groups() as group:
        _through_memory(packet, group, plane)


def _moved(f: Function, lows: dict[str, Value], rises: dict[str, Value], since: Value) -> dict[str, Value]:
    return {axis: f.multiply_add(rises[axis], since, lows[axis]) for axis in lows}


def _bounds(packet: _Packet, group: _Group, axis: str, plane: Value) -> tuple[Value, Value]:
    """Least and greatest coordinate of a group's rays in a plane, with a margin for rounding."""
    place = packet.coordinate(group, axis, plane)
    return packet.f.smallest_lane(place) - 2e-3, packet.f.largest_lane(place) + 2e-3


def _through_patch(
    packet: _Packet,
    groups: Callable[[], AbstractContextManager[_Group]],
    missing: Variable,
    plane: Value,
    low: dict[str, Value],
    rise: dict[str, Value],
    shape: tuple[int, int],
) -> None:
    """Sample one plane for groups that share a patch; `low` are their least coordinates there, `rise` the change from plane to plane."""
    f, a = packet.f, packet.a
    columns, rows = shape
    base = {}
    for axis, size in zip(("p", "q"), shape, strict=True):  # last_p and last_q are a hair below the last index
        base[axis] = f.minimum(f.maximum(f.floor(low[axis]), 0.0), f.floor(a[f"last_{axis}"]) - (size - 2.0))
    start = plane.to(I64) * packet.plane_stride + base["q"].to(I64) * packet.row_stride + base["p"].to(I64)
    drift = {axis: (rise[axis] * float(_AHEAD)).to(I32).to(I64) for axis in rise}
    ahead = start + packet.plane_stride * _AHEAD + drift["q"] * packet.row_stride + drift["p"]
    lines = []
    for row in range(rows):
        for column in (0, columns - 1):  # often two cache lines
            f.prefetch(f.offset(packet.words, ahead + (packet.row_stride * row + column), I32))
        lines.append(f.load(packet.words, start + packet.row_stride * row, I32, columns))
    tables = lines if columns == f.lanes else [f.join(one, two) for one, two in zip(lines[::2], lines[1::2], strict=True)]
    everything = tables[0]
    for table in tables[1:]:
        everything = everything | table

    def place(group: _Group) -> tuple[Value, Value, Value]:
        """Index of the ray's cell in the patch, and where in the cell it passes."""
        p, q = (packet.coordinate(group, axis, plane, base[axis]) for axis in ("p", "q"))
        cell_p, cell_q = p.to(I32), q.to(I32)
        return cell_q * columns + cell_p, p - cell_p.to(FLOAT), q - cell_q.to(FLOAT)

    with f.when(f.any_lane(f.differs(everything & _VALUE, 0))):
        numbers = [(table & _VALUE).to(FLOAT) for table in tables]
        with groups() as group:
            cell, part_p, part_q = place(group)
            corners = [f.lookup(numbers, cell + step) for step in (0, 1, columns, columns + 1)]
            _tally(packet, group, _bilinear(f, corners, part_p, part_q), group.live(plane))
    if not packet.labelled:
        return
    with f.when(f.any_lane(f.differs(everything & missing.value, 0))):
        missing.value = 0
        with groups() as group:
            cell, part_p, part_q = place(group)
            hits, live = group.hits.value, group.live(plane)
            for right, below in _label_corners(f, group, part_p, part_q):
                hits = f.select(live, hits | f.lookup(tables, cell + f.select(right, 1, 0) + f.select(below, columns, 0)), hits)
            group.hits.value = hits
            missing.value = missing.value | (~f.common_bits(hits) & ~_VALUE)


def _through_memory(packet: _Packet, group: _Group, plane: Value) -> None:
    f, live = packet.f, group.live(plane)
    p, q = (packet.coordinate(group, axis, plane) for axis in ("p", "q"))
    cell_p, cell_q = p.to(I32), q.to(I32)
    part_p, part_q = p - cell_p.to(FLOAT), q - cell_q.to(FLOAT)
    words, stride = f.offset(packet.words, plane.to(I64) * packet.plane_stride, I32), packet.row_stride.to(I32)
    cell = cell_q * stride + cell_p
    corners = [f.gather(f.offset(words, cell + step, I32), I32, live, 4) for step in (0, 1, stride, stride + 1)]
    _tally(packet, group, _bilinear(f, [(corner & _VALUE).to(FLOAT) for corner in corners], part_p, part_q), live)
    if packet.labelled:
        for right, below in _label_corners(f, group, part_p, part_q):
            upper, lower = f.select(right, corners[1], corners[0]), f.select(right, corners[3], corners[2])
            group.hits.value = group.hits.value | f.select(below, lower, upper)  # lanes that are not live hold zero


def _bilinear(f: Function, corners: Sequence[Value], part_p: Value, part_q: Value) -> Value:
    upper = f.multiply_add(corners[1] - corners[0], part_p, corners[0])
    lower = f.multiply_add(corners[3] - corners[2], part_p, corners[2])
    return f.multiply_add(lower - upper, part_q, upper)


def _label_corners(f: Function, group: _Group, part_p: Value, part_q: Value) -> list[tuple[Value, Value]]:
    """Which voxel of its cell is nearest where the ray enters and where it leaves the plane's layer: the right one, one of the lower row.

    Half a plane's slope is at most half a voxel, so it is one of the cell's four.
    """
    slope_p, slope_q = group.slope_p.value, group.slope_q.value
    return [(f.multiply_add(slope_p, half, part_p) >= 0.5, f.multiply_add(slope_q, half, part_q) >= 0.5) for half in (-0.5, 0.5)]


def _tally(packet: _Packet, group: _Group, value: Value, live: Value) -> None:
    """Add a sample to the sums of all, and of those at or above each cut; what none reaches is left out with all above it."""
    f = packet.f

    def add_where(condition: Value, variable: Variable, increment: Value | float) -> None:
        now = variable.value
        variable.value = f.select(condition, now + increment, now)

    def above(number: int) -> None:
        if number == len(packet.cuts):
            return
        reached = live & (value >= packet.cuts[number] + HU_OFFSET)
        with f.when(f.any_lane(reached)):
            add_where(reached, group.sums[number + 1], value)
            add_where(reached, group.counts[number], 1.0)
            above(number + 1)

    add_where(live, group.sums[0], value)
    above(0)


def _store(packet: _Packet, row: Value, column: Value) -> None:
    """Differences of the sums above successive cuts are the classes'; weigh them and write them to all planes of the image."""
    f, width = packet.f, packet.f.parameter("width")
    size = (f.parameter("height") * width).to(I64)
    with packet.placed_groups(row, column) as (group, columns, rows):
        inside = (columns < f.parameter("last_column")) & (rows < f.parameter("last_row"))
        pixel = (rows * width + columns).to(I64)
        passed = f.maximum(group.end.value - group.begin.value + 1, 0)
        sums, counts = [v.value for v in group.sums], [passed.to(FLOAT), *(v.value for v in group.counts)]
        for kind in range(len(sums)):
            total, count = sums[kind], counts[kind]
            if kind + 1 < len(sums):
                total, count = total - sums[kind + 1], count - counts[kind + 1]
            for values, name in ((count, "path"), (f.multiply_add(count, -float(HU_OFFSET), total), "total")):
                f.scatter(values * group.weight.value, f.offset(f.parameter(name), pixel + size * kind, FLOAT), inside)
        hits = f.select(f.differs(passed, 0), group.hits.value >> 16, 0) if packet.labelled else f.constant(0, I32, f.lanes)
        f.scatter(hits.to(I16), f.offset(f.parameter("hits"), pixel, I16), inside)
