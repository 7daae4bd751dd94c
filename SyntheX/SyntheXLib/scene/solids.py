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
        """Intervals of the rays from `origin` (3,) mm along `directions` (N, 3) inside the body."""
        ...


def rays_near(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Indices (M,), increasing, of the rays that meet the ball around a box: a cheap test that drops most rays of a view."""
    centre = bounds.mean(0) - origin
    radius = np.linalg.norm(bounds[1] - bounds[0]) / 2
    x, y, z = directions.T
    along = centre[0] * x + centre[1] * y + centre[2] * z
    distance = centre @ centre - radius**2 * (1 + 1e-9)
    near = along**2 >= distance * (x * x + y * y + z * z)
    # From outside the ball it must also lie ahead.
    return np.flatnonzero(near & (along > 0) if distance > 0 else near)


def _slabs(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> Span:
    """Where rays (N, A) run between planes at `bounds` (2, A) across each axis: enter and leave, (N,) each; a miss has no leave > enter."""
    enter, leave = np.full(len(directions), -np.inf), np.full(len(directions), np.inf)
    # Axis by axis, which numpy does several times faster than along rows of three.
    for low, high, start, along in zip(*bounds, origin, directions.T, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = (low - start) / along, (high - start) / along
        # A ray in one of the planes gives 0 / 0; nan stays, compares false and so is a miss.
        enter, leave = np.maximum(enter, np.minimum(one, two)), np.minimum(leave, np.maximum(one, two))
    return enter, leave


def _convex(bounds: np.ndarray, origin: np.ndarray, directions: np.ndarray, span: Callable[[np.ndarray], Span]) -> Intervals:
    """Intervals of a convex body from `span`, which cuts whole lines: the part of each ahead of the source."""
    rays = rays_near(bounds, origin, directions)
    enter, leave = span(directions[rays])
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
        return _convex(self.bounds, origin, directions, lambda rays: _slabs(self.bounds, origin, rays))


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

        def span(rays: np.ndarray) -> Span:
            centre = self.centre - origin
            squared = (rays**2).sum(1)
            middle = rays @ centre / squared
            # From the point nearest the centre, not from |centre|^2, which is large beside the radius.
            off = centre - middle[:, None] * rays
            half = np.sqrt(np.maximum(self.radius**2 - (off**2).sum(1), 0.0) / squared)
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

        def span(rays: np.ndarray) -> Span:
            bottom, top = _slabs(np.array([[self.start], [self.end]]), origin[2:], rays[:, 2:])
            # Inside: a s^2 + 2 b s + c <= 0, with s counted from the nearest point to the axis' middle to keep the digits.
            squared = (rays**2).sum(1)
            shift = rays @ (np.array([0.0, 0.0, (self.start + self.end) / 2]) - origin) / squared
            x, y, z = (origin + shift[:, None] * rays).T
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


def within_bounds(solid: Solid, origin: np.ndarray, directions: np.ndarray, cut: Callable[[np.ndarray], Intervals]) -> Intervals:
    """`cut` applied to the rays that meet the bounds of a solid alone."""
    rays = rays_near(solid.bounds, origin, directions)
    if not len(rays):
        return Intervals.none()
    enter, leave = _slabs(solid.bounds, origin, directions[rays])
    rays = rays[(leave >= enter) & (leave >= 0)]
    return cut(directions[rays]).of_rays(rays) if len(rays) else Intervals.none()


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
            self, origin, directions, lambda rays: intervals.union(*(solid.intersect(origin, rays) for solid in self.solids))
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
            lambda rays: intervals.intersection(self.one.intersect(origin, rays), self.two.intersect(origin, rays)),
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
        holes = intervals.union(*(solid.intersect(origin, directions[rays]) for solid in self.removed))
        return intervals.difference(Intervals(local, whole.enter, whole.leave), holes).of_rays(rays)


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
        return within_bounds(self, origin, directions, lambda rays: self.solid.intersect(linear @ origin + shift, rays @ linear.T))
