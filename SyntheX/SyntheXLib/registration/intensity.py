"""Multi-resolution registration by image content: the motion of bone under which its projection looks most like the X-ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.motion import DEPTH_MM, MotionSpace
from SyntheXLib.registration.search import Found, cma_es, nelder_mead
from SyntheXLib.registration.similarity import GradientSimilarity
from SyntheXLib.registration.views import View, camera_after


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes
    ----------
    longest
        Pixels along the longer side, about.
    patch
        Side of the patches of the similarity, px; None for the whole image.
    plane_step
        Of the ray caster; 2 is a preview.
    population, generations
        Of CMA-ES; no generations take Nelder-Mead.
    shrink
        The search begins with this share of the start's uncertainty.
    """

    longest: int
    patch: int | None
    plane_step: int
    population: int
    generations: int
    shrink: float


# The two first are gone through from every start, the last one from the best alone.
LEVELS = (
    Level(64, None, 2, 40, 30, 1.0),
    Level(128, 16, 1, 16, 25, 0.15),
    Level(200, 16, 1, 0, 0, 0.03),
)
# Every second start correlates small patches instead of the whole image: what leads one astray often does not mislead the other.
_OTHER_PATCH = 16
# Below this similarity a registration counts as failed. Learnt from simulated runs, see Docs/registration.md.
TRUSTED_SIMILARITY = 0.22
# Similarities are compared at this level, which noise hardly reaches.
JUDGED = LEVELS[1]
# Two searches agree when they end so near to each other: degrees about an axis, mm in the image plane, mm along the ray.
_AGREEMENT = np.array([1.5, 1.5, 1.5, 2.0, 2.0, 30.0 / DEPTH_MM])


@dataclass(frozen=True)
class Uncertainty:
    """How far the start may be off, as standard deviations: rotation about each axis (degrees), shift and depth (mm)."""

    rotation_deg: float = 10.0
    shift_mm: float = 20.0
    depth_mm: float = 20.0

    def spread(self) -> np.ndarray:
        """(6,) in the numbers of `MotionSpace`."""
        return np.array([self.rotation_deg] * 3 + [self.shift_mm] * 2 + [self.depth_mm / DEPTH_MM])


# The offsets with which registrations are usually tested.
ROUGH = Uncertainty()


@dataclass(frozen=True, eq=False)
class Registration:
    """What a registration found.

    Attributes
    ----------
    motion
        (4, 4) rigid motion of the object in the world (RAS, mm).
    similarity
        At the level `JUDGED`, mean over the views; see `similarity.GradientSimilarity`.
    polarity
        1 where bone is bright in the images, -1 where it is dark.
    starts, agreeing
        Searches made from the start, and how many of them ended where the best one did, itself included.
    spread
        (6,) standard deviation of the agreeing ones in the numbers of `motion.MotionSpace`; NaN where only one agrees.
    converged
        Whether the last search came to rest.
    evaluations
        Projections made.
    """

    motion: np.ndarray
    similarity: float
    polarity: int
    starts: int
    agreeing: int
    spread: np.ndarray
    converged: bool
    evaluations: int


def register(
    caster: BoneCaster,
    views: Sequence[View],
    center: np.ndarray | None = None,
    start: np.ndarray | None = None,
    uncertainty: Uncertainty = ROUGH,
    polarity: int = 0,
    levels: Sequence[Level] = LEVELS,
    most_starts: int = 6,
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
) -> Registration:
    """Find the motion of an object that explains one or several X-rays best.

    The random search is made again until its best result has been found twice and is one to be trusted.

    Parameters
    ----------
    caster
        Projects the object.
    views
        X-rays of the object at one pose, each with its camera.
    center
        (3,) RAS mm: what the motion turns about; None takes the middle of the bone.
    start
        (4, 4) motion to begin with; None is none.
    uncertainty
        Of the start.
    polarity
        1 for bone bright, -1 for bone dark, 0 where it is not known.
    levels
        From coarse to fine.
    most_starts
        Searches at most; with 1 there is no word on agreement.
    seed
        Of the random search.
    cancelled
        Asked at every projection; once true, KeyboardInterrupt is raised.
    """
    space = MotionSpace(caster.center if center is None else np.asarray(center, float), views[0].camera.world_to_camera)
    begin = np.zeros(6) if start is None else space.numbers(start)
    first = levels[0]
    ways = [levels, (replace(first, patch=_OTHER_PATCH), *levels[1:])] if first.patch is None else [levels]
    objectives = [[_Objective(caster, [view.at(one.longest) for view in views], space, one, cancelled) for one in way] for way in ways]
    judge = _Objective(caster, [view.at(JUDGED.longest) for view in views], space, JUDGED, cancelled)
    ends: list[tuple[float, np.ndarray]] = []
    evaluations = 0
    for number in range(most_starts):
        numbers = begin
        way = number % len(ways)
        for level, objective in zip(ways[way][:-1], objectives[way][:-1], strict=True):
            found = _search(objective.of(polarity), numbers, uncertainty.spread() * level.shrink, level, seed + number)
            numbers, evaluations = found.numbers, evaluations + found.evaluations
        value = judge.mean(numbers)
        ends.append((polarity * value if polarity else abs(value), numbers))
        best = max(ends, key=lambda end: end[0])
        near = [end for _, end in ends if np.all(np.abs(end - best[1]) < _AGREEMENT)]
        if len(near) > 1 and best[0] >= TRUSTED_SIMILARITY:
            break
    polarity = polarity or (1 if judge.mean(best[1]) >= 0 else -1)
    found = _search(objectives[0][-1].of(polarity), best[1], uncertainty.spread() * levels[-1].shrink, levels[-1], seed)
    spread = np.std(near, axis=0, ddof=1) if len(near) > 1 else np.full(6, np.nan)
    return Registration(
        space.motion(found.numbers),
        polarity * judge.mean(found.numbers),
        polarity,
        len(ends),
        len(near),
        spread,
        found.converged,
        evaluations + found.evaluations,
    )


def similarity_at(caster: BoneCaster, views: Sequence[View], motion: np.ndarray, level: Level = JUDGED) -> float:
    """Mean similarity of the views to the object at a motion (4, 4); negative where bone is dark."""
    space = MotionSpace(caster.center, views[0].camera.world_to_camera)
    return _Objective(caster, [view.at(level.longest) for view in views], space, level).mean(space.numbers(motion))


def _search(objective: Callable[[np.ndarray], float], numbers: np.ndarray, spread: np.ndarray, level: Level, seed: int) -> Found:
    if level.generations:
        return cma_es(objective, numbers, spread, level.population, level.generations, seed)
    return nelder_mead(objective, numbers, spread, 300, 0.02)


class _Objective:
    """The mean similarity of the views, of six numbers."""

    def __init__(
        self,
        caster: BoneCaster,
        views: Sequence[View],
        space: MotionSpace,
        level: Level,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._caster, self._views, self._space, self._level = caster, views, space, level
        self._similarities = [GradientSimilarity(view.image, view.mask, level.patch) for view in views]
        self._cancelled = cancelled

    def of(self, polarity: int) -> Callable[[np.ndarray], float]:
        """What is minimised: minus the similarity; without a known polarity, minus its absolute value."""
        return lambda numbers: -polarity * self.mean(numbers) if polarity else -abs(self.mean(numbers))

    def mean(self, numbers: np.ndarray) -> float:
        if self._cancelled is not None and self._cancelled():
            raise KeyboardInterrupt
        motion = self._space.motion(numbers)
        return float(np.mean([self._one(view, motion, alike) for view, alike in zip(self._views, self._similarities, strict=True)]))

    def _one(self, view: View, motion: np.ndarray, alike: GradientSimilarity) -> float:
        image = self._caster.image(camera_after(view.camera, motion), self._level.plane_step)
        return alike(image if view.background is None else image + view.background)
