"""Randomisation by name: the paper's words, its released code, ours, and ours for radiographs; none, regular and strong each."""

from __future__ import annotations

from SyntheXLib.errors import SyntheXError
from SyntheXLib.randomization.corruption import BoxDropout, BoxNoise, Dropout, SaltAndPepper
from SyntheXLib.randomization.effect import Effect, InOrder, SomeOf, Sometimes, one_of
from SyntheXLib.randomization.filters import BoxBlur, Emboss, GaussianBlur, MotionBlur, Pool, Sharpen
from SyntheXLib.randomization.fluoroscopy import CollimatorEdges, Polarity, SideMarker
from SyntheXLib.randomization.intensity import (
    Brightness,
    Gamma,
    Illumination,
    Invert,
    LinearContrast,
    LogContrast,
    Noise,
    PixelBrightness,
    Quantize,
    SigmoidContrast,
    Window,
)
from SyntheXLib.randomization.names import LEVELS, PRESETS
from SyntheXLib.randomization.radiography import radiography_effects
from SyntheXLib.randomization.regular import RegularRandomization
from SyntheXLib.randomization.warps import Affine, Crop, Jitter, LocalDistortion, Mirror, Turn, mirrored_places
from SyntheXLib.tasks.task import Task


def make_randomization(preset: str, level: str, task: Task, exclusive: bool) -> Effect | None:
    """The effects of a preset and level; None for the level ``none``.

    Parameters
    ----------
    preset
        One of `names.PRESETS`.
    level
        One of `names.LEVELS`.
    task
        Whose structures and landmarks have partners on the other side.
    exclusive
        Whether the labels of the batches are one map of numbers.

    Raises
    ------
    SyntheXError
        When preset or level is unknown.
    """
    for what, value, known in (("preset", preset, PRESETS), ("level", level, LEVELS)):
        if value not in known:
            raise SyntheXError(f"Unknown {what} of randomisation '{value}': expected one of {', '.join(known)}.")
    if level == "none":
        return None
    if preset == "paper-text":
        return RegularRandomization() if level == "regular" else InOrder((RegularRandomization(), SomeOf((0, 2), paper_effects())))
    if preset == "released-code":
        return _released_regular() if level == "regular" else InOrder((_released_regular(), _released_strong()))
    if preset == "radiography":
        return radiography_effects(level, task, exclusive)
    return _ours_regular(task, exclusive) if level == "regular" else _ours_strong(task, exclusive)


def paper_effects() -> tuple[Effect, ...]:
    """The eleven effects of the paper's strong randomisation, in its order.

    It prints no ranges for affine, contrast, boxes and local distortion: the first two are the released code's, its boxes too, and the
    distortion's grid is ours. A box of noise there measures some 15 % of the image's side.
    """
    return (
        Invert(),
        one_of(SaltAndPepper(salt=0.5), SaltAndPepper(salt=0.0), SaltAndPepper(salt=1.0)),
        Affine(),
        one_of(LinearContrast(), LogContrast(), SigmoidContrast()),
        one_of(GaussianBlur((3.0, 3.0)), BoxBlur((2, 7))),
        BoxNoise(),
        one_of(Dropout((0.01, 0.1)), BoxDropout((0.02, 0.05))),
        one_of(Sharpen(), Emboss()),
        Pool((2, 4)),
        one_of(Brightness(), PixelBrightness()),
        LocalDistortion(),
    )


def _released_regular() -> Effect:
    """As coded: half of the images, and of those each effect half; the crop is commented out there."""
    return Sometimes(0.5, InOrder((Sometimes(0.5, Noise((0.005, 0.01))), Sometimes(0.5, Gamma((0.7, 1.3))))))


def _released_strong() -> Effect:
    """As coded, see reference: half of the images; four effects, each half, then one or two of a group, each again half."""
    group = (
        one_of(GaussianBlur((0.0, 3.0)), BoxBlur((4, 6))),
        one_of(Dropout((0.1, 0.15)), Dropout((0.1, 0.15), cell=(0.1, 0.15))),
        one_of(Sharpen((0.5, 1.0), (1.0, 1.5)), Emboss((0.5, 1.0), (1.0, 2.0))),
        Pool((2, 4)),
        one_of(Brightness(), PixelBrightness()),
        Jitter(),
    )
    speckles = one_of(
        SaltAndPepper((0.1, 0.1), 0.5),
        SaltAndPepper((0.1, 0.1), 0.5),
        SaltAndPepper((0.05, 0.05), 0.5, cell=(0.01, 0.1)),
    )
    contrast = one_of(LinearContrast(), Gamma((0.5, 2.0)), LogContrast(), SigmoidContrast())
    effects = (
        Sometimes(0.5, Invert()),
        Sometimes(0.5, speckles),
        Sometimes(0.5, contrast),
        Sometimes(0.5, InOrder((Affine(), Quantize((8, 8))))),
        SomeOf((1, 2), tuple(Sometimes(0.5, effect) for effect in group)),
    )
    return Sometimes(0.5, InOrder(effects))


def _mirror(task: Task, exclusive: bool) -> Mirror:
    return Mirror(mirrored_places(task.structures), mirrored_places(task.landmarks), exclusive)


def _ours_regular(task: Task, exclusive: bool) -> Effect:
    """The paper's regular one, and what any C-arm may do: mirrored, a narrower field, another window. Each on a part of the images.

    Half of the images without noise, gamma or crop are worth more than all with them (small network, 96 px, one seed each): on the patient
    and C-arm of the training the median landmark error fell from 14.7 to 13.2 mm, in the shifted domain of Docs/studies from 13.8 to 11.0.
    """
    return InOrder(
        (
            Sometimes(0.5, _mirror(task, exclusive)),
            Sometimes(0.5, Noise((0.005, 0.05))),
            Sometimes(0.5, Gamma((0.7, 1.3))),
            Sometimes(0.5, Crop(0.9)),
            Sometimes(0.3, Window()),
            Sometimes(0.3, CollimatorEdges()),
        )
    )


def _ours_strong(task: Task, exclusive: bool) -> Effect:
    """Ours of the regular level, with the geometry of the room, and at most two of the paper's effects and of those of a display."""
    more = (
        Illumination(),
        MotionBlur(),
        Quantize(),
        SideMarker(),
        Polarity(),
    )
    return InOrder(
        (
            Sometimes(0.1, Turn((2,))),
            Sometimes(0.5, Affine(rotation_deg=(-15.0, 15.0), scale=(0.85, 1.15), shift=0.1)),
            _ours_regular(task, exclusive),
            SomeOf((0, 2), (*paper_effects(), *more)),
        )
    )
