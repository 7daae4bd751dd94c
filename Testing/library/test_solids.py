"""Bodies cut by rays against closed forms."""

import numpy as np
import pytest

from SyntheXLib.scene import intervals
from SyntheXLib.scene.intervals import Intervals, lengths
from SyntheXLib.scene.solids import Box, Cone, Copies, Cylinder, Difference, Intersection, Placed, Solid, Sphere, Union

SOURCE = np.array([3.0, -700.0, 11.0])


def rays(count: int, spread: float, seed: int = 0) -> np.ndarray:
    """Directions (N, 3) from `SOURCE`, of unequal length, through random points within `spread` mm of the origin."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(-spread, spread, (count, 3)) - SOURCE) * rng.uniform(0.5, 2.0, (count, 1))


def path(solid: Solid, directions: np.ndarray, origin: np.ndarray = SOURCE) -> np.ndarray:
    """Mm inside a solid, (N,)."""
    return lengths(solid.intersect(origin, directions), len(directions)) * np.linalg.norm(directions, axis=1)


def turned(seed: int) -> np.ndarray:
    """A random rigid transform, (4, 4)."""
    rng = np.random.default_rng(seed)
    transform = np.eye(4)
    rotation, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation = rotation * np.sign(np.diag(upper))
    rotation[:, 0] *= np.linalg.det(rotation)
    transform[:3, :3] = rotation
    transform[:3, 3] = rng.uniform(-5, 5, 3)
    return transform


def random_intervals(rng: np.random.Generator) -> Intervals:
    """Intervals of 50 rays with ends on a grid of 0 to 40, so that ends often meet."""
    ends = np.sort(np.array([rng.choice(41, 8, replace=False) for _ in range(50)]), axis=1).reshape(-1, 2).astype(float)
    keep = rng.random(len(ends)) < 0.7
    return Intervals(np.repeat(np.arange(50), 4)[keep], ends[keep, 0], ends[keep, 1])


def as_cells(body: Intervals) -> np.ndarray:
    """(50, 40) bool: which unit cells a body covers."""
    cells = np.zeros((50, 40), bool)
    for ray, enter, leave in zip(body.ray, body.enter, body.leave, strict=True):
        assert leave > enter
        assert not cells[ray, int(enter) : int(leave)].any()
        cells[ray, int(enter) : int(leave)] = True
    return cells


def test_set_operations_agree_with_those_on_cells() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (random_intervals(rng) for _ in range(3))
    cells = [as_cells(body) for body in (a, b, c)]
    for result, expected in [
        (intervals.union(a, b, c), cells[0] | cells[1] | cells[2]),
        (intervals.intersection(a, b), cells[0] & cells[1]),
        (intervals.difference(a, b), cells[0] & ~cells[1]),
        (intervals.difference(a, b, c), cells[0] & ~cells[1] & ~cells[2]),
    ]:
        assert np.array_equal(as_cells(result), expected)
        assert np.array_equal(np.lexsort((result.enter, result.ray)), np.arange(len(result.ray)))
        assert np.array_equal(lengths(result, 50), expected.sum(1))
        # Touching pieces have merged.
        assert not ((result.ray[1:] == result.ray[:-1]) & (result.enter[1:] == result.leave[:-1])).any()


def test_rays_beyond_sixteen_bits_keep_their_order() -> None:
    rng = np.random.default_rng(2)
    ray, start = rng.permutation(300_000)[:5000], rng.random(5000)
    found = intervals.union(Intervals(ray, start, start + 1))
    assert np.array_equal(found.ray, np.sort(ray)) and np.array_equal(found.enter, start[np.argsort(ray)])


def test_nothing_combines_with_nothing() -> None:
    nothing = Intervals.none()
    assert len(intervals.union().ray) == len(intervals.difference(nothing, nothing).ray) == 0
    assert np.array_equal(lengths(nothing, 3), np.zeros(3))


def test_chord_of_a_sphere() -> None:
    directions, centre, radius = rays(2000, 15), np.array([1.0, 2.0, 3.0]), 10.0
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    distance = np.linalg.norm(np.cross(unit, centre - SOURCE), axis=1)
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert np.allclose(path(Sphere(radius, (1.0, 2.0, 3.0)), directions), chord, atol=1e-6)
    assert 0.1 < (chord > 0).mean() < 0.9


def test_chord_of_a_rod_is_that_of_its_disc_over_the_cosine() -> None:
    directions, radius = rays(2000, 8), 4.0
    across = directions[:, :2]
    distance = np.abs(across[:, 0] * SOURCE[1] - across[:, 1] * SOURCE[0]) / np.linalg.norm(across, axis=1)
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0)) * np.linalg.norm(directions, axis=1) / np.linalg.norm(across, axis=1)
    assert np.allclose(path(Cylinder(radius, -1000, 1000), directions), chord, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0])
def test_chord_of_a_tilted_cube(angle: float) -> None:
    # Parallel to one face pair, through the middle: side / max(|cos|, |sin|).
    transform, radians = np.eye(4), np.deg2rad(angle)
    transform[:2, :2] = [[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]
    cube = Placed(Box((-5, -5, -5), (5, 5, 5)), transform)
    chord = path(cube, np.array([[0.0, 2.0, 0.0]]), np.array([0.0, -500.0, 0.0]))
    assert np.allclose(chord, 10 / np.cos(radians))


# Solid and volume, mm3.
VOLUMES = {
    "box": (Box((-3, -4, -5), (3, 4, 5)), 480.0),
    "cylinder": (Cylinder(4, -6, 5), np.pi * 16 * 11),
    "cone": (Cone(0, 5, -4, 6), np.pi * 25 * 10 / 3),
    "blunt cone": (Cone(5, 2, -4, 6), np.pi * 10 / 3 * (25 + 10 + 4)),
    "tube": (Difference(Cylinder(5, -5, 5), (Cylinder(3, -6, 6),)), np.pi * 16 * 10),
    "lens": (Intersection(Sphere(6, (0, 0, -3)), Sphere(6, (0, 0, 3))), 2 * np.pi * 9 * (18 - 3) / 3),
    "two balls": (Union((Sphere(6, (0, 0, -3)), Sphere(6, (0, 0, 3)))), 2 * 4 / 3 * np.pi * 216 - 2 * np.pi * 9 * (18 - 3) / 3),
}


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_volume_is_the_integral_of_the_paths(name: str, seed: int) -> None:
    # A fan of rays through a grid: dV = t^2 dA |direction| dt where the direction has one component of 1 (pixels on a plane).
    solid, volume = VOLUMES[name]
    grid = (np.arange(400) + 0.5) / 400 * 0.06 - 0.03
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    directions = np.stack([u, np.ones_like(u), v], axis=1)
    found = Placed(solid, turned(seed)).intersect(np.array([0.0, -700.0, 0.0]), directions)
    assert np.isclose(((found.leave**3 - found.enter**3) / 3).sum() * (0.06 / 400) ** 2, volume, rtol=2e-3)


@pytest.mark.parametrize("solid", [solid for solid, _ in VOLUMES.values()], ids=VOLUMES.keys())
def test_points_sampled_along_rays_are_inside_where_the_intervals_say(solid: Solid) -> None:
    # From inside the body as well, and along its axis.
    for origin in (np.zeros(3), np.array([0.0, 0.0, -40.0]), np.array([0.5, 30.0, 1.0])):
        directions = np.random.default_rng(3).normal(size=(300, 3))
        directions[0] = (0, 0, 1)
        found = solid.intersect(origin, directions)
        assert (found.enter >= 0).all() and (found.leave > found.enter).all()
        t = np.linspace(1e-3, 60, 997)
        points = origin + t[:, None] * directions[:, None]
        inside = np.zeros(points.shape[:2], bool)
        for ray, enter, leave in zip(found.ray, found.enter, found.leave, strict=True):
            inside[ray] |= (t > enter) & (t < leave)
        assert np.array_equal(inside, contains(solid, points))


@pytest.mark.parametrize("name", ["box", "cylinder", "blunt cone", "tube", "lens", "two balls"])
def test_copies_are_the_union_of_the_placed(name: str) -> None:
    solid, directions = VOLUMES[name][0], rays(4000, 25)
    places = np.array([turned(seed) for seed in range(5)])
    places[:, :3, 3] *= 4
    for origin in (SOURCE, np.array([1.0, 2.0, 0.5])):
        found = Copies(solid, places).intersect(origin, directions)
        expected = Union(tuple(Placed(solid, place) for place in places)).intersect(origin, directions)
        assert len(found.ray) > 300 and np.array_equal(found.ray, expected.ray)
        assert np.allclose(found.enter, expected.enter, atol=1e-9) and np.allclose(found.leave, expected.leave, atol=1e-9)


@pytest.mark.parametrize("name", ["box", "cone", "tube", "lens", "two balls"])
def test_every_ray_may_have_its_own_origin(name: str) -> None:
    solid, directions = VOLUMES[name][0], rays(300, 12)
    origins = SOURCE + np.random.default_rng(4).uniform(-3, 3, directions.shape)
    found = lengths(solid.intersect(origins, directions), 300)
    assert np.allclose(found, [lengths(solid.intersect(o, d[None]), 1)[0] for o, d in zip(origins, directions, strict=True)], atol=1e-12)
    assert (found > 0).sum() > 10


def contains(solid: Solid, p: np.ndarray) -> np.ndarray:
    """Whether points (..., 3) lie in a solid, from its definition."""
    match solid:
        case Box():
            return ((p > solid.low) & (p < solid.high)).all(-1)
        case Sphere():
            return np.linalg.norm(p - solid.centre, axis=-1) < solid.radius
        case Cylinder():
            return (np.hypot(p[..., 0], p[..., 1]) < solid.radius) & (p[..., 2] > solid.start) & (p[..., 2] < solid.end)
        case Cone():
            share = (p[..., 2] - solid.start) / (solid.end - solid.start)
            radius = solid.radius_start + share * (solid.radius_end - solid.radius_start)
            return (np.hypot(p[..., 0], p[..., 1]) < radius) & (share > 0) & (share < 1)
        case Union():
            return np.any([contains(one, p) for one in solid.solids], axis=0)
        case Intersection():
            return contains(solid.one, p) & contains(solid.two, p)
        case Difference():
            return contains(solid.solid, p) & ~np.any([contains(one, p) for one in solid.removed], axis=0)
    raise AssertionError(solid)
