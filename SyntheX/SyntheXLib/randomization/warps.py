"""Effects that move things, labels and landmarks with them: crop, affine, local distortion, mirror, turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Limits, integers, uniform
from SyntheXLib.randomization.geometry import warp_affine, warp_by_displacement
from SyntheXLib.tasks.settings import Landmark, Structure


@dataclass(frozen=True)
class Crop:
    """A random square window, enlarged to the size of the image again.

    Attributes
    ----------
    side
        Side of the window as a share of the image's.
    """

    side: float = 0.9

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        room = 1 - self.side
        return warp_affine(batch, crop_maps(self.side, uniform((len(batch.image), 2), (-room, room), generator)))


def crop_maps(side: float, shift: Tensor) -> Tensor:
    """Affine maps (B, 2, 3) for `warp_affine` that enlarge a window of `side` (share of the image) whose centre lies at `shift`.

    `shift` is (B, 2), (x, y), in the frame where the edges of the image are -1 and 1; within +-(1 - side) the window stays inside.
    """
    maps = torch.zeros(len(shift), 2, 3, device=shift.device, dtype=shift.dtype)
    maps[:, 0, 0] = maps[:, 1, 1] = side
    maps[:, :, 2] = shift
    return maps


@dataclass(frozen=True)
class Affine:
    """Rotation, shear and scale about the image's middle, then a shift.

    Attributes
    ----------
    rotation_deg
        Limits of the rotation.
    shear_deg
        Limits of the angles by which the x axis and the y axis are turned on their own.
    scale
        Limits of the scale; above 1 things grow.
    shift
        Largest shift, in a random direction, as a share of the image's side.
    """

    rotation_deg: Limits = (-5.0, 5.0)
    shear_deg: Limits = (-2.0, 2.0)
    scale: Limits = (0.9, 1.1)
    shift: float = 20 / 360

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, shape = len(batch.image), batch.image.shape[2:]
        turn = torch.deg2rad(uniform(count, self.rotation_deg, generator))
        shear_x, shear_y = torch.deg2rad(uniform((2, count), self.shear_deg, generator))
        scale = uniform(count, self.scale, generator)
        direction, length = uniform(count, (0, 2 * torch.pi), generator), uniform(count, (0, self.shift), generator)
        # The columns say where the x and the y axis of the input go in the output, in pixels.
        moved = torch.stack(
            [
                torch.stack([torch.cos(turn + shear_x), torch.sin(turn + shear_x)], 1),
                torch.stack([-torch.sin(turn + shear_y), torch.cos(turn + shear_y)], 1),
            ],
            2,
        )
        return warp_affine(batch, output_to_input(scale[:, None, None] * moved, length, direction, (shape[0], shape[1])))


def output_to_input(linear: Tensor, length: Tensor, direction: Tensor, shape: tuple[int, int]) -> Tensor:
    """Maps (B, 2, 3) for `warp_affine` of a motion of what the image shows.

    Parameters
    ----------
    linear
        (B, 2, 2) map of pixels about the middle.
    length, direction
        (B,) shift as a share of the longer side, and its angle in radians.
    shape
        Rows and columns.
    """
    half = torch.tensor([shape[1] / 2, shape[0] / 2], device=linear.device, dtype=linear.dtype)
    shift = torch.stack([torch.cos(direction), torch.sin(direction)], 1) * length[:, None] * max(shape)
    inverse = torch.linalg.inv(linear)
    maps = torch.empty(len(linear), 2, 3, device=linear.device, dtype=linear.dtype)
    maps[:, :, :2] = inverse * half / half[:, None]  # in a frame where both half sides are 1
    maps[:, :, 2] = -(inverse @ shift[:, :, None])[:, :, 0] / half
    return maps


@dataclass(frozen=True)
class LocalDistortion:
    """The nodes of a coarse grid are moved at random, all between them smoothly.

    Attributes
    ----------
    nodes
        Nodes along each side.
    deviation
        Limits of the standard deviation of the nodes' shift, as a share of the image's side; none goes further than a quarter of the way
        to the next, so that nothing is folded.
    """

    nodes: int = 5
    deviation: Limits = (0.005, 0.03)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, _, height, width = batch.image.shape
        size = torch.tensor([width, height], device=generator.device).reshape(1, 2, 1, 1)
        deviation = uniform(count, self.deviation, generator)[:, None, None, None]
        shape = (count, 2, self.nodes, self.nodes)
        shift = deviation * torch.randn(shape, generator=generator, device=generator.device)
        limit = 1 / (4 * (self.nodes - 1))
        nodes = shift.clamp(-limit, limit) * size
        return warp_by_displacement(batch, functional.interpolate(nodes, (height, width), mode="bicubic", align_corners=True))


@dataclass(frozen=True)
class Jitter:
    """Every pixel shows one that lies a few pixels away, each in a direction of its own; nothing moves as a whole.

    Attributes
    ----------
    reach
        Limits of the largest displacement along each axis, pixels.
    """

    reach: Limits = (0.5, 3.5)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, _, height, width = batch.image.shape
        reach = uniform(count, self.reach, generator)[:, None, None, None]
        displacement = reach * uniform((count, 2, height, width), (-1, 1), generator)
        return batch._replace(image=warp_by_displacement(batch, displacement).image)


@dataclass(frozen=True)
class Mirror:
    """Left and right exchanged, in the image and in the names.

    Attributes
    ----------
    structures, landmarks
        For each structure and landmark of the task the place of its partner on the other side, or its own; see `mirrored_places`.
    exclusive
        Whether the labels are one map of numbers (0 is nothing, n + 1 is structure n) and not a mask a structure.
    """

    structures: Sequence[int]
    landmarks: Sequence[int]
    exclusive: bool

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        device, width = batch.image.device, batch.image.shape[3]
        structures, places = (torch.tensor(list(part), dtype=torch.long, device=device) for part in (self.structures, self.landmarks))
        labels = batch.labels.flip(3)
        if self.exclusive:
            numbers = torch.cat([torch.zeros(1, dtype=torch.long, device=device), structures + 1])
            labels = numbers[labels.long()].to(labels.dtype)
        else:
            labels = labels[:, structures]
        landmarks = batch.landmarks.clone()
        landmarks[..., 0] = width - 1 - landmarks[..., 0]
        return XrayBatch(batch.image.flip(3), labels, landmarks[:, places], batch.visible[:, places])


def mirrored_places(items: Sequence[Structure | Landmark]) -> list[int]:
    """For each structure or landmark of a task the place of its partner on the other side, or its own; the task names the partners."""
    places = {item.name: place for place, item in enumerate(items)}
    return [places[item.mirror] for item in items]


@dataclass(frozen=True)
class Turn:
    """Turned by a multiple of 90 degrees, as an image that nobody has put upright; square images for odd multiples.

    Attributes
    ----------
    quarters
        Quarter turns that are chosen from, clockwise.
    """

    quarters: tuple[int, ...] = (2,)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        chosen = integers(len(batch.image), (0, len(self.quarters) - 1), generator)
        parts = []
        for place, quarters in enumerate(self.quarters):
            rows = (chosen == place).nonzero()[:, 0]
            parts.append((rows, turned(XrayBatch(*(tensor[rows] for tensor in batch)), quarters)))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return XrayBatch(*(torch.cat([part[field] for _, part in parts])[order] for field in range(len(batch))))


def turned(batch: XrayBatch, quarters: int) -> XrayBatch:
    """Turn a batch by quarters, clockwise."""
    image, labels, landmarks = batch.image, batch.labels, batch.landmarks
    for _ in range(quarters % 4):
        height = image.shape[2]
        image, labels = (tensor.transpose(2, 3).flip(3) for tensor in (image, labels))
        landmarks = torch.stack([height - 1 - landmarks[..., 1], landmarks[..., 0]], -1)
    return XrayBatch(image, labels, landmarks, batch.visible)
