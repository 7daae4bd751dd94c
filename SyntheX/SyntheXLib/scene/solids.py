"""Bodies of closed form, and bodies combined of others, cut by rays exactly.

A ray is ``origin + t * direction`` with t in [0, inf); directions need not have unit length. Lengths are mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene import intervals
from SyntheXLib.scene.intervals import Intervals

Span = tuple[np.ndarray, np.ndarray]


class Solid(Protocol):
    """A body that knows where rays run inside it."""

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3): least and greatest x, y, z of a box around the body, mm."""
        ...

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """Intervals of the rays from `origin` along `directions` (N, 3) inside the body.

        `origin` is (3,) mm; closed forms and what is combined of them also take (N, 3), one for each ray.
        """
        ...


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of vectors, (..., 3) each."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _origins(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """The origin, or the origins, of some of the rays."""
    return origin if origin.ndim == 1 else origin[rays]


def rays_near(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Indices (M,), increasing, of the rays that meet the ball around a box: a cheap test that drops most rays of a view."""
    centre = bounds.mean(0) - origin
    along = _dot(centre, directions)
    distance = _dot(centre, centre) - ((bounds[1] - bounds[0]) ** 2).sum() / 4 * (1 + 1e-9)
    # From outside the ball it must also lie ahead.
    return np.flatnonzero((along**2 >= distance * _dot(directions, directions)) & ((along > 0) | (distance <= 0)))


def _slabs(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> Span:
    """Where rays (N, A) run between planes at `bounds` (2, A) across each axis: enter and leave, (N,) each; a miss has no leave > enter."""
    enter, leave = np.full(len(directions), -np.inf), np.full(len(directions), np.inf)
    # Axis by axis, which numpy does several times faster than along rows of three.
    for low, high, start, along in zip(*bounds, origin.T, directions.T, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = (low - start) / along, (high - start) / along
        # A ray in one of the planes gives 0 / 0; nan stays, compares false and so is a miss.
        enter, leave = np.maximum(enter, np.minimum(one, two)), np.minimum(leave, np.maximum(one, two))
    return enter, leave


def _convex(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray, span: Callable[[np.ndarray, np.ndarray], Span]) -> Intervals:
    """Intervals of a convex body from `span`, which cuts whole lines (origin, directions): the part of each ahead of the source."""
    rays = rays_near(bounds, origin, directions)
    enter, leave = span(_origins(origin, rays), directions[rays])
    enter = np.maximum(enter, 0.0)
    hit = leave > enter
    return Intervals(rays[hit], enter[hit], leave[hit])


@dataclass(frozen=True)
class Box:
    """A box along the axes, from corner `low` (3,) to corner `high` (3,), mm."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        return np.array([self.low, self.high], float)

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        return _convex(self.bounds, origin, directions, lambda start, rays: _slabs(self.bounds, start, rays))


@dataclass(frozen=True)
class Sphere:
    """A ball, mm."""

    radius: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        return np.array([self.centre, self.centre]) + [[-self.radius], [self.radius]]

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""

        def span(start: np.ndarray, rays: np.ndarray) -> Span:
            centre = self.centre - start
            squared = _dot(rays, rays)
            middle = _dot(centre, rays) / squared
            # From the point nearest the centre, not from |centre|^2, which is large beside the radius.
            off = centre - middle[:, None] * rays
            half = np.sqrt(np.maximum(self.radius**2 - _dot(off, off), 0.0) / squared)
            return middle - half, middle + half

        return _convex(self.bounds, origin, directions, span)


@dataclass(frozen=True)
class Cone:
    """A frustum along z, closed by flat ends: from `radius_start` at `start` to `radius_end` at `end` > `start`, mm; one may be 0."""

    radius_start: float
    radius_end: float
    start: float
    end: float

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        radius = max(self.radius_start, self.radius_end)
        return np.array([[-radius, -radius, self.start], [radius, radius, self.end]])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        slope = (self.radius_end - self.radius_start) / (self.end - self.start)

        def span(start: np.ndarray, rays: np.ndarray) -> Span:
            bottom, top = _slabs(np.array([[self.start], [self.end]]), start[..., 2:], rays[:, 2:])
            # Inside: a s^2 + 2 b s + c <= 0, with s counted from the nearest point to the axis' middle to keep the digits.
            shift = _dot(np.array([0.0, 0.0, (self.start + self.end) / 2]) - start, rays) / _dot(rays, rays)
            x, y, z = (start + shift[:, None] * rays).T
            radius, growth = self.radius_start + slope * (z - self.start), slope * rays[:, 2]
            # -0: the limit of a line just steeper than the cone.
            a = rays[:, 0] ** 2 + rays[:, 1] ** 2 - growth**2
            a[a == 0] = -0.0
            b = x * rays[:, 0] + y * rays[:, 1] - radius * growth
            c = x**2 + y**2 - radius**2
            root = np.sqrt(np.maximum(b * b - a * c, 0.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                # Roots without cancellation; for a = 0 one of them is at infinity, on the side where the body goes on.
                q = -(b + np.copysign(root, b))
                one, two = q / a, c / q
            low, high = np.fmin(one, two), np.fmax(one, two)
            convex = a > 0
            real = b * b - a * c >= 0
            # a <= 0: steeper than the cone, the line runs inside both nappes to infinity; the frustum is where the radius is positive.
            enter = np.where(convex, low, np.where(real & (growth > 0), high, -np.inf))
            leave = np.where(convex, high, np.where(real & (growth < 0), low, np.inf))
            outside = np.where(convex, ~real, (a == 0) & (b == 0) & (c >= 0))
            enter = np.where(outside, np.inf, enter)
            return np.maximum(enter + shift, bottom), np.minimum(leave + shift, top)

        return _convex(self.bounds, origin, directions, span)


@dataclass(frozen=True)
class Cylinder:
    """A capped cylinder along z of `radius` from `start` to `end` > `start`, mm."""

    radius: float
    start: float
    end: float

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        return np.array([[-self.radius, -self.radius, self.start], [self.radius, self.radius, self.end]])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        return Cone(self.radius, self.radius, self.start, self.end).intersect(origin, directions)


def within_bounds(
    solid: Solid, origin: np.ndarray, directions: np.ndarray, cut: Callable[[np.ndarray, np.ndarray], Intervals]
) -> Intervals:
    """`cut` (origin, directions) applied to the rays that meet the bounds of a solid alone."""
    rays = rays_near(solid.bounds, origin, directions)
    if not len(rays):
        return Intervals.none()
    enter, leave = _slabs(solid.bounds, _origins(origin, rays), directions[rays])
    rays = rays[(leave >= enter) & (leave >= 0)]
    return cut(_origins(origin, rays), directions[rays]).of_rays(rays) if len(rays) else Intervals.none()


@dataclass(frozen=True)
class Union:
    """All that lies in any of the solids."""

    solids: tuple[Solid, ...]

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        boxes = np.array([solid.bounds for solid in self.solids])
        return np.array([boxes[:, 0].min(0), boxes[:, 1].max(0)])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        return within_bounds(
            self, origin, directions, lambda start, rays: intervals.union(*(solid.intersect(start, rays) for solid in self.solids))
        )


@dataclass(frozen=True)
class Intersection:
    """What lies in both solids."""

    one: Solid
    two: Solid

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        low, high = np.maximum(self.one.bounds[0], self.two.bounds[0]), np.minimum(self.one.bounds[1], self.two.bounds[1])
        return np.array([low, np.maximum(low, high)])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        return within_bounds(
            self,
            origin,
            directions,
            lambda start, rays: intervals.intersection(self.one.intersect(start, rays), self.two.intersect(start, rays)),
        )


@dataclass(frozen=True)
class Difference:
    """What lies in `solid` and in none of the `removed` ones."""

    solid: Solid
    removed: tuple[Solid, ...]

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        return self.solid.bounds

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        whole = self.solid.intersect(origin, directions)
        rays, local = np.unique(whole.ray, return_inverse=True)
        start, met = _origins(origin, rays), directions[rays]
        holes = (solid.intersect(start, met) for solid in self.removed)
        return intervals.difference(Intervals(local, whole.enter, whole.leave), *holes).of_rays(rays)


@dataclass(frozen=True, eq=False)
class Placed:
    """A solid moved by `transform`, (4, 4) in mm from the solid's frame to the outer one; rigid, or any affine map that can be inverted."""

    solid: Solid
    transform: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.transform) != (4, 4) or not np.linalg.det(self.transform):
            raise SyntheXError(f"The transform of a solid must be a 4 x 4 matrix that can be inverted, found {np.asarray(self.transform)}.")

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self.transform)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        corners = np.array(list(product(*self.solid.bounds.T))) @ self.transform[:3, :3].T + self.transform[:3, 3]
        return np.array([corners.min(0), corners.max(0)])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        # t is the same in both frames.
        linear, shift = self._inverse[:3, :3], self._inverse[:3, 3]
        return within_bounds(self, origin, directions, lambda start, rays: self.solid.intersect(start @ linear.T + shift, rays @ linear.T))


@dataclass(frozen=True, eq=False)
class Copies:
    """The same solid at several places, `transforms` (M, 4, 4) in mm, all rigid: a union whose members are cut in one go.

    The solid is a closed form or combined of such. Rays start at one origin.
    """

    solid: Solid
    transforms: np.ndarray

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        boxes = np.array([Placed(self.solid, transform).bounds for transform in self.transforms])
        return np.array([boxes[:, 0].min(0), boxes[:, 1].max(0)])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `Solid`."""
        return within_bounds(self, origin, directions, self._cut)

    def _cut(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        linear = np.swapaxes(self.transforms[:, :3, :3], 1, 2)  # the inverse of a rotation
        starts = np.einsum("mij,mj->mi", linear, origin - self.transforms[:, :3, 3])
        # Pairs of a copy and a ray that meets the ball around its box, as in `rays_near`.
        low, high = self.solid.bounds
        centre = self.transforms[:, :3, :3] @ ((low + high) / 2) + self.transforms[:, :3, 3] - origin
        distance = _dot(centre, centre) - ((high - low) ** 2).sum() / 4 * (1 + 1e-9)
        along = centre @ directions.T
        near = (along**2 >= distance[:, None] * _dot(directions, directions)) & ((along > 0) | (distance <= 0)[:, None])
        copy, ray = np.nonzero(near)
        local = np.einsum("eij,ej->ei", linear[copy], directions[ray])
        body = self.solid.intersect(starts[copy], local)
        return intervals.union(Intervals(ray[body.ray], body.enter, body.leave))
