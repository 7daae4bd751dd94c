"""A file of DeepFluoro's layout that can be learned from: pelves of ellipsoids, and X-rays of them, cast with numpy and scipy.

The field of view is that of the real file (1,436 px of 0.194 mm after the crop). Nothing of the library is used: labels, images and
landmarks follow from the layout's formula alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from other_layouts import RELEASE_ORDER, DeepFluoro, rigid
from scipy import ndimage

# Centre (L, P, S) and half axes of the bones, mm, by label; right ones are mirrored.
_BONES = {
    1: ((52, 0, 8), (34, 26, 52)),
    3: ((0, 22, 92), (20, 20, 34)),
    4: ((0, 30, 42), (30, 16, 22)),
    7: ((0, 38, 14), (18, 12, 14)),
    5: ((92, 0, -62), (20, 20, 48)),
}
_MIRRORED = {1: 2, 5: 6}
# Left landmarks (L, P, S) in units of the pelvis.
_LANDMARKS = {
    "FH": (90, 0, -26),
    "GSN": (44, 30, 14),
    "IOF": (40, -2, -44),
    "MOF": (24, -8, -30),
    "SPS": (12, -18, -22),
    "IPS": (10, -16, -38),
    "ASIS": (62, -20, 46),
}
_SOFT, _BONE = 0.02, 0.05  # attenuation of body and bone, 1/mm


class SmallDeepFluoro(DeepFluoro):
    """Two specimens of different size, `views` images each."""

    side, spacing = 818, 1436 * 0.194 / 718
    _voxel = 4.0
    _rays = 118  # along each side of the cast picture, which is then enlarged

    def __init__(self, path: Path, views: int = 12) -> None:
        self.views = views
        super().__init__(path)

    def scale(self, number: int) -> np.ndarray:
        """Of the specimen along L, P and S."""
        return np.array([(1.0, 1.0, 1.0), (0.93, 1.05, 1.07)][number])

    def landmarks(self, number: int) -> dict[str, np.ndarray]:
        sides = {"l": np.array([1.0, 1, 1]), "r": np.array([-1.0, 1, 1])}
        return {name: np.array(_LANDMARKS[name[:-2]]) * sides[name[-1]] * self.scale(number) for name in RELEASE_ORDER}

    def turn(self, number: int, view: int) -> np.ndarray:
        random = np.random.default_rng((7, number, view))
        return rigid(random.uniform(-14, 14), tuple(random.uniform(-15, 15, 3)))

    def up(self, view: int) -> bool:
        return view % 3 == 1

    def volume(self, number: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], tuple[float, ...]]:
        shape, origin = (66, 50, 72), (-142.0, -98.0, -130.0)
        k, j, i = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
        place = np.stack([i, j, k], -1) * self._voxel + origin
        hu = np.where(((place / [130, 90, 400]) ** 2).sum(-1) < 1, 20.0, -1000.0).astype(np.float32)
        labels = np.zeros(shape, np.uint8)
        for label, (center, axes) in _BONES.items():
            for mirror, own in ((1, label), (-1, _MIRRORED.get(label))):
                if own is not None:
                    middle = np.array(center) * [mirror, 1, 1] * self.scale(number)
                    labels[(((place - middle) / (np.array(axes) * self.scale(number))) ** 2).sum(-1) < 1] = own
        hu[labels > 0] = 700
        return hu, labels, (self._voxel,) * 3, origin

    def picture(self, number: int, view: int) -> tuple[np.ndarray, np.ndarray]:
        hu, labels, spacing, origin = self.volume(number)
        bones = {5: "left-femur", 6: "right-femur"}
        body = np.where((hu > -500), _SOFT, 0.0)
        total = self._line_integral(body, spacing, origin, self.pose(number, view, "pelvis"))
        shadow = np.zeros((self._rays, self._rays), np.uint8)
        for label in (1, 2, 3, 4, 5, 6, 7):
            pose = self.pose(number, view, bones.get(label, "pelvis"))
            length = self._line_integral((labels == label).astype(float), spacing, origin, pose)
            total += (_BONE - _SOFT) * length
            shadow[length > self._voxel] = label
        random = np.random.default_rng((8, number, view))
        noisy = random.poisson(4000 * np.exp(-total)) / 4000
        size = self.side / self._rays
        pixels = ndimage.zoom(ndimage.gaussian_filter(noisy, 0.5), size, order=1, grid_mode=True, mode="nearest")
        large = ndimage.zoom(shadow, size, order=0, grid_mode=True, mode="nearest")
        return (65487 * pixels).astype(np.float32), large

    def _line_integral(self, values: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...], pose: np.ndarray) -> np.ndarray:
        """(rays, rays) of a volume, mm times its values; pixel to ray by the layout's formula, inverted."""
        grid = (np.arange(self._rays) + 0.5) * self.side / self._rays - 0.5
        columns, rows = np.meshgrid(grid, grid)
        # Camera frame: z = -1 in front of the source, so that intrinsic * point has the third component -1.
        directions = np.stack([-columns, -rows, -np.ones_like(rows)], -1) @ np.linalg.inv(self.intrinsic).T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        to_volume = pose @ np.linalg.inv(self.extrinsic)
        source, along = to_volume[:3, 3], directions @ to_volume[:3, :3].T
        step = 7.0
        total = np.zeros(rows.shape)
        for distance in np.arange(520, 880, step):
            index = (source + along * distance - origin) / np.array(spacing)
            total += ndimage.map_coordinates(values, index[..., ::-1].transpose(2, 0, 1), order=1, cval=0.0)
        return total * step
