"""The fused ray-casting kernel for GPUs, in Warp: Joseph's method, one thread a pixel, the formulas those of `reference.py`.

What a thread needs of a voxel is fused into one 32-bit word, and the four words between which it interpolates also hold both label reads:
a ray moves at most one voxel sideways from plane to plane, so half a plane before and behind it is still among the same four voxels.
"""
# Without `annotations` of __future__: Warp evaluates those of the kernel.

from functools import lru_cache
from typing import Any

import numpy as np

from SyntheXLib.rendering.volume import HU_OFFSET

# Threads of a block, which take a square of pixels, a warp of 32 threads a piece of 8 x 4: neighbours in both directions share voxels, so
# that loads coalesce and stay in the cache however the CT lies in the image.
TILE = 16
THREADS = TILE * TILE
# Integers that describe how the voxels lie in memory for each dominant axis: first voxel, and strides along the planes, q and p.
LAYOUT = ("start", "plane_stride", "q_stride", "p_stride")
# Of a view: x and y of the ray in the camera frame (at pixel 0 and a pixel), and the depth of the detector.
LENS = ("x_0", "x_step", "y_0", "y_step", "depth")


@lru_cache(maxsize=32)
def joseph_kernel(cuts: tuple[float, ...], wide_labels: bool, structures: int, plane_step: int) -> Any:
    """Build the kernel; Warp compiles it for a device when it is first launched there, and keeps it on disk.

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising; C = their number + 1.
    wide_labels
        Whether the label field has more than the 16 bits that fit into a word.
    structures
        Labels whose path length is wanted; 0 for none.
    plane_step
        Every which plane is read; what is left out is made up for by weight.

    Returns
    -------
    warp.Kernel
        To be launched over (views, rows of tiles, columns of tiles, `THREADS`). Its parameters: words, high_labels (flat; value | low 16
        labels << 16, and the high 16 labels), layout ((3, 4), `LAYOUT` for each dominant axis i, j, k), size (I, J, K), rays ((N, 4)
        vectors in index coordinates: source, direction of pixel (0, 0) a millimetre of depth, its change a column and a row), lens ((N, 5),
        `LENS`), first_row, last_row (rows to do, the last not included), and the outputs path and total (N, C, H, W) in mm and HU x mm,
        hits (N, H, W), and label_path (N, structures, H, W) in mm.
    """
    import warp as wp

    classes = len(cuts) + 1
    Sums: Any = wp.types.vector(length=classes, dtype=wp.float32)
    Structures: Any = wp.types.vector(length=max(structures, 1), dtype=wp.float32)
    # In stored values; the first class has no lower limit (an infinity cannot be written into the source).
    limits = wp.constant(Sums(*np.array([-1e30, *(cut + HU_OFFSET for cut in cuts)], np.float32).tolist()))
    offset = wp.constant(float(HU_OFFSET))
    tile, step = wp.constant(TILE), wp.constant(plane_step)

    @wp.func
    def turned(vector: wp.vec3, axis: int) -> wp.vec3:
        """Components (i, j, k) as (p, q, across) for the axis across the planes."""
        if axis == 0:
            return wp.vec3(vector[1], vector[2], vector[0])
        if axis == 1:
            return wp.vec3(vector[0], vector[2], vector[1])
        return vector

    @wp.func
    def inside(low: float, high: float, origin: float, slope: float, last: float) -> wp.vec2:
        """The part of the planes (low, high), counted from the source, in which a ray is between 0 and `last` along one axis."""
        safe = wp.where(wp.abs(slope) < 1.0e-9, 1.0e-9, slope)
        one, two = -origin / safe, (last - origin) / safe
        return wp.vec2(wp.max(low, wp.min(one, two)), wp.min(high, wp.max(one, two)))

    @wp.func
    def voxel_of(part_p: float, part_q: float, slope_p: float, slope_q: float, half: float) -> wp.vec2i:
        """Which of the two voxels along p and q is the nearest, half a plane before or behind."""
        return wp.vec2i(int(part_p + half * slope_p >= 0.5), int(part_q + half * slope_q >= 0.5))

    # Warp's own indexing takes negative numbers and any stride, which would be a third of the instructions of the loop.
    @wp.func_native("return words.data[place];")
    def voxel(words: wp.array[wp.uint32], place: int) -> wp.uint32: ...

    @wp.kernel(enable_backward=False, module="unique", module_options={"max_unroll": 32})
    def march(
        words: wp.array[wp.uint32],
        high_labels: wp.array[wp.uint16],
        layout: wp.array2d[wp.int32],
        size: wp.vec3,
        rays: wp.array2d[wp.vec3],
        lens: wp.array2d[wp.float32],
        first_row: int,
        last_row: int,
        path: wp.array4d[wp.float32],
        total: wp.array4d[wp.float32],
        hits: wp.array3d[wp.uint32],
        label_path: wp.array4d[wp.float32],
    ) -> None:
        view, tile_row, tile_column, thread = wp.tid()
        piece, pixel = thread // 32, thread % 32
        row = first_row + tile_row * tile + (piece // 2) * 4 + pixel // 8
        column = tile_column * tile + (piece % 2) * 8 + pixel % 8
        if row >= last_row or column >= path.shape[3]:
            return
        x, y = float(column), float(row)
        direction = rays[view, 1] + x * rays[view, 2] + y * rays[view, 3]
        speed = wp.vec3(wp.abs(direction[0]), wp.abs(direction[1]), wp.abs(direction[2]))
        axis = wp.where(speed[2] > wp.max(speed[0], speed[1]), 2, wp.where(speed[1] > speed[0], 1, 0))
        d, origin, last = turned(direction, axis), turned(rays[view, 0], axis), turned(size, axis) - wp.vec3(1.0, 1.0, 1.0)
        start, plane_stride, q_stride, p_stride = layout[axis, 0], layout[axis, 1], layout[axis, 2], layout[axis, 3]

        per_plane = 1.0 / d[2]  # mm of depth from plane to plane, signed
        slope_p, slope_q = d[0] * per_plane, d[1] * per_plane
        far = d[2] * lens[view, 4]
        # In the plane a sample needs its neighbour, so the last voxel itself is just out of reach.
        part = inside(wp.min(far, 0.0), wp.max(far, 0.0), origin[0], slope_p, last[0] - 1.0e-3)
        part = inside(part[0], part[1], origin[1], slope_q, last[1] - 1.0e-3)
        begin = int(wp.ceil(wp.clamp(part[0] + origin[2], 0.0, last[2] + 1.0)))
        end = int(wp.floor(wp.clamp(part[1] + origin[2], -1.0, last[2])))
        begin = ((begin + step - 1) // step) * step  # the same planes for all rays

        sums, counts = Sums(), Sums()  # of all samples, and of those at or above each cut
        found = wp.uint32(0)
        lengths = Structures()
        for plane in range(begin, end + 1, step):
            steps = float(plane) - origin[2]
            p, q = origin[0] + slope_p * steps, origin[1] + slope_q * steps
            cell_p, cell_q = int(p), int(q)
            part_p, part_q = p - float(cell_p), q - float(cell_q)
            cell = start + plane * plane_stride + cell_q * q_stride + cell_p * p_stride
            w00, w01 = voxel(words, cell), voxel(words, cell + p_stride)
            w10, w11 = voxel(words, cell + q_stride), voxel(words, cell + q_stride + p_stride)
            v00, v01 = float(w00 & wp.uint32(0xFFFF)), float(w01 & wp.uint32(0xFFFF))
            v10, v11 = float(w10 & wp.uint32(0xFFFF)), float(w11 & wp.uint32(0xFFFF))
            upper, lower = v00 + (v01 - v00) * part_p, v10 + (v11 - v10) * part_p
            value = upper + (lower - upper) * part_q
            for c in range(classes):
                above = value >= limits[c]
                sums[c] += wp.where(above, value, 0.0)
                counts[c] += wp.where(above, 1.0, 0.0)

            # Where the ray enters and where it leaves the plane's layer of voxels.
            into, out = voxel_of(part_p, part_q, slope_p, slope_q, -0.5), voxel_of(part_p, part_q, slope_p, slope_q, 0.5)
            enters = wp.where(into[1] == 1, wp.where(into[0] == 1, w11, w10), wp.where(into[0] == 1, w01, w00)) >> wp.uint32(16)
            leaves = wp.where(out[1] == 1, wp.where(out[0] == 1, w11, w10), wp.where(out[0] == 1, w01, w00)) >> wp.uint32(16)
            if wp.static(wide_labels):
                enters |= wp.uint32(high_labels[cell + into[0] * p_stride + into[1] * q_stride]) << wp.uint32(16)
                leaves |= wp.uint32(high_labels[cell + out[0] * p_stride + out[1] * q_stride]) << wp.uint32(16)
            found |= enters | leaves
            if wp.static(structures > 0):  # noqa: SIM102 (this test is made while the kernel is built, the next while it runs)
                if (enters | leaves) != wp.uint32(0):
                    for n in range(structures):
                        lengths[n] += 0.5 * float(((enters >> wp.uint32(n)) & wp.uint32(1)) + ((leaves >> wp.uint32(n)) & wp.uint32(1)))

        ray_x, ray_y = lens[view, 0] + x * lens[view, 1], lens[view, 2] + y * lens[view, 3]
        weight = wp.sqrt(ray_x * ray_x + ray_y * ray_y + 1.0) * wp.abs(per_plane) * float(step)  # mm of ray that a sample stands for
        for c in range(classes):  # differences of the sums above successive cuts
            value_sum, count = sums[c], counts[c]
            if wp.static(c + 1 < classes):
                value_sum -= sums[c + 1]
                count -= counts[c + 1]
            path[view, c, row, column] = count * weight
            total[view, c, row, column] = (value_sum - count * offset) * weight
        hits[view, row, column] = found
        if wp.static(structures > 0):
            for n in range(structures):
                label_path[view, n, row, column] = lengths[n] * weight

    return march
