"""Ray casting on an NVIDIA GPU with Warp (package warp-lang), whose kernels also run, slowly, on the CPU: so they are tested anywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.tool_insertion import with_tools
from SyntheXLib.rendering.volume import render_volume
from SyntheXLib.rendering.warp_kernel import LAYOUT, LENS, THREADS, TILE, joseph_kernel
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

# Rows between two looks at whether the render was cancelled; a multiple of the kernel's tiles.
_CHUNK = 8 * TILE
# What the outputs of one launch may take on the device when they go to the host in the end, bytes.
_BATCH_BYTES = 1 << 30
# The kernel counts voxels in 32 bits.
_MOST_VOXELS = 2**31 - 1


@dataclass(frozen=True)
class DeviceProjection:
    """Line integrals of N views of one size, where they were computed: Warp arrays that any DLPack consumer takes without a copy.

    Attributes
    ----------
    cuts
        Limits of the HU classes, as in `Projection`.
    path_length
        (N, C, H, W) float32, mm inside the CT per class.
    hu_integral
        (N, C, H, W) float32, HU x mm per class.
    label_bits
        (N, H, W) uint32; bit n is set where the ray passes through structure n.
    label_path
        (N, L, H, W) float32, mm inside each structure; None where not asked for.
    label_dtype
        Type of the label bits on the host, that of the specimen's labels.
    """

    cuts: tuple[float, ...]
    path_length: Any
    hu_integral: Any
    label_bits: Any
    label_path: Any
    label_dtype: np.dtype

    def torch(self) -> tuple[Any, ...]:
        """Path length, HU integral, label bits (int32, for torch computes little with unsigned integers) and label path, as tensors.

        They share the memory of the arrays here; torch's current stream waits for the kernel.
        """
        import torch

        path, total, bits = (torch.from_dlpack(array) for array in (self.path_length, self.hu_integral, self.label_bits))
        return path, total, bits.view(torch.int32), None if self.label_path is None else torch.from_dlpack(self.label_path)

    def host(self) -> list[Projection]:
        """The views as numpy arrays, each on its own."""
        path, total, bits = self.path_length.numpy(), self.hu_integral.numpy(), self.label_bits.numpy().astype(self.label_dtype)
        lengths = [None] * len(path) if self.label_path is None else self.label_path.numpy()
        return [Projection(self.cuts, *parts[:3], label_path=parts[3]) for parts in zip(path, total, bits, lengths, strict=True)]


class CudaRenderer:
    """Fused ray caster in Warp; its kernel is compiled at the first call (seconds) and then found on disk.

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising.
    device
        Warp's name of the device: ``cuda``, ``cuda:1``, or ``cpu`` for tests.
    turn
        Whether rays along the rows of the CT may have a copy of it in which they run across the planes: twice the memory, fewer
        transactions. It is made when such rays first occur.

    Raises
    ------
    SyntheXError
        When Warp is missing or there is no such device.
    """

    def __init__(self, cuts: Sequence[float] = HU_CUTS, device: str = "cuda", turn: bool = True) -> None:
        self.cuts = tuple(float(cut) for cut in cuts)
        self.device = _device(device)
        self._turn = turn
        self._specimen: Specimen | None = None
        self._volume: _DeviceVolume | None = None

    @property
    def name(self) -> str:
        """Backend and kernel variant; identical bytes hold for one name on one model of GPU."""
        return "cuda-warp" if self.device.is_cuda else "warp-cpu"

    def render(
        self,
        scene: Scene,
        camera: Camera,
        cancelled: Callable[[], bool] | None = None,
        *,
        label_paths: bool = False,
        plane_step: int = 1,
    ) -> Projection | None:
        """See `renderer.Renderer.render`."""
        views = self._cast(scene, [camera], label_paths, plane_step, cancelled)
        return with_tools(views.host()[0], scene, camera, plane_step) if views else None

    def render_batch(
        self, scene: Scene, cameras: Sequence[Camera], *, label_paths: bool = False, plane_step: int = 1
    ) -> Iterable[Projection]:
        """The projections of several views of one size, in their order, on the host; as many at a time as take a gigabyte.

        Raises
        ------
        SyntheXError
            When the views differ in size.
        """
        height, width = _common_shape(cameras)
        channels = 2 * (len(self.cuts) + 1) + 1 + (len(scene.specimen.structures) if label_paths else 0)
        count = max(1, _BATCH_BYTES // (4 * channels * height * width))
        for first in range(0, len(cameras), count):
            part = cameras[first : first + count]
            views = self._cast(scene, part, label_paths, plane_step, None)
            assert views is not None  # nobody cancels
            for camera, projection in zip(part, views.host(), strict=True):
                yield with_tools(projection, scene, camera, plane_step)

    def cast(self, scene: Scene, cameras: Sequence[Camera], *, label_paths: bool = False, plane_step: int = 1) -> DeviceProjection:
        """Cast the rays of several views of one size in one launch; the result stays on the device.

        Parameters
        ----------
        scene
            What stands in the beam.
        cameras
            The views.
        label_paths
            Whether to give the length inside each structure as well.
        plane_step
            Every which plane of voxels is read: 1 all, 2 every second with doubled weight, for previews.

        Raises
        ------
        SyntheXError
            When the views differ in size, or the scene has tools, which are put in on the host: see `render_batch`.
        """
        if scene.tools:
            raise SyntheXError(f"Scene with {len(scene.tools)} tools: results that stay on the GPU show the CT alone; use render_batch.")
        views = self._cast(scene, cameras, label_paths, plane_step, None)
        assert views is not None
        return views

    def _cast(
        self, scene: Scene, cameras: Sequence[Camera], label_paths: bool, plane_step: int, cancelled: Callable[[], bool] | None
    ) -> DeviceProjection | None:
        import warp as wp

        volume, (height, width) = self._prepared(scene.specimen), _common_shape(cameras)
        rays, lens = _ray_vectors(volume.world_to_index, cameras), _lenses(cameras)
        if self._turn and not volume.turned and _along_rows(rays, (height, width)):
            volume.turn()
        views, classes, structures = len(cameras), len(self.cuts) + 1, len(scene.specimen.structures) if label_paths else 0
        path, total = (wp.empty((views, classes, height, width), wp.float32, device=self.device) for _ in range(2))
        hits = wp.empty((views, height, width), wp.uint32, device=self.device)
        lengths = wp.empty((views, structures, height, width), wp.float32, device=self.device)
        inputs = [
            volume.words,
            volume.high_labels,
            volume.layout,
            wp.vec3(*volume.size),
            wp.array(rays, wp.vec3, device=self.device),
            wp.array(lens, wp.float32, device=self.device),
        ]
        kernel = joseph_kernel(self.cuts, volume.label_dtype.itemsize > 2, structures, plane_step)
        chunk = height if cancelled is None else _CHUNK
        for row in range(0, height, chunk):
            if cancelled is not None and cancelled():
                return None
            last = min(row + chunk, height)
            dim = (views, -(-(last - row) // TILE), -(-width // TILE), THREADS)
            wp.launch(kernel, dim, [*inputs, row, last], [path, total, hits, lengths], device=self.device, block_dim=THREADS)
            if cancelled is not None:
                wp.synchronize_device(self.device)  # or all would be queued before the first answer
        if cancelled is not None and cancelled():
            return None
        return DeviceProjection(self.cuts, path, total, hits, lengths if label_paths else None, volume.label_dtype)

    def _prepared(self, specimen: Specimen) -> _DeviceVolume:
        # The last specimen is kept: views of one specimen come one after the other.
        if self._volume is None or self._specimen is not specimen:
            self._volume, self._specimen = None, None  # its memory first
            self._volume, self._specimen = _DeviceVolume(specimen, self.device), specimen
        return self._volume


class _DeviceVolume:
    """Voxels on the device as the kernel reads them, (K, J, I) in one flat array, behind them perhaps a copy as (I, K, J)."""

    def __init__(self, specimen: Specimen, device: Any) -> None:
        import warp as wp

        volume = render_volume(specimen)
        if volume.values.size > _MOST_VOXELS:
            raise SyntheXError(
                f"CT of {specimen.name}: the CUDA renderer takes at most {_MOST_VOXELS} voxels, found {volume.values.size}: use 'cpu'."
            )
        self.world_to_index = volume.world_to_index
        self.label_dtype = volume.labels.dtype
        self.size = volume.values.shape[::-1]
        labels = np.ascontiguousarray(volume.labels)
        words = labels.astype(np.uint32) << np.uint32(16)
        words |= volume.values
        self.words = wp.array(words.ravel(), wp.uint32, device=device)
        high = labels >> np.uint32(16) if self.label_dtype.itemsize > 2 else np.zeros(0)
        self.high_labels = wp.array(high.astype(np.uint16).ravel(), wp.uint16, device=device)
        i, j, _ = self.size
        layout = {0: (0, 1, i * j, i), 1: (0, i, i * j, 1), 2: (0, i * j, i, 1)}
        self._layout = np.array([layout[axis] for axis in range(3)], np.int32).reshape(3, len(LAYOUT))
        self.layout = wp.array(self._layout, wp.int32, device=device)
        # A copy that 32 bits cannot count is not to be made.
        self.turned = 2 * volume.values.size > _MOST_VOXELS

    def turn(self) -> None:
        """Make the copy."""
        import warp as wp

        i, j, k = self.size
        self.words, self.high_labels = self._with_copy(self.words), self._with_copy(self.high_labels)
        self._layout[0] = (i * j * k, j * k, j, 1)
        self.layout = wp.array(self._layout, wp.int32, device=self.layout.device)
        self.turned = True

    def _with_copy(self, array: Any) -> Any:
        import warp as wp

        i, j, k = self.size
        count = array.size
        if not count:
            return array
        both = wp.empty(2 * count, array.dtype, device=array.device)
        wp.copy(both, array, count=count)
        wp.copy(both[count:].reshape((i, k, j)), array.reshape((k, j, i)).transpose((2, 0, 1)))
        return both


def cuda_state() -> str:
    """One line on whether the renderer runs here, for people."""
    try:
        renderer = CudaRenderer()
    except SyntheXError as error:
        return f"none: {error}"
    return f"{renderer.name} on {renderer.device.name}"


def _device(name: str) -> Any:
    if importlib.util.find_spec("warp") is None:
        raise SyntheXError(
            "Renderer 'cuda' needs the package warp-lang, which is not installed: run pip install 'synthex[gpu]' or use 'cpu'."
        )
    import warp as wp

    # A missing driver is told below, and progress belongs to whoever calls.
    wp.config.log_level = max(wp.config.log_level, wp.LOG_ERROR)
    wp.init()
    if name != "cpu" and not wp.is_cuda_available():
        raise SyntheXError("Renderer 'cuda' needs an NVIDIA GPU, and Warp finds none or no driver for it: install the driver or use 'cpu'.")
    try:
        return wp.get_device(name)
    except ValueError:
        found = ", ".join(str(device) for device in wp.get_devices())
        raise SyntheXError(f"Unknown device '{name}' of the CUDA renderer: expected one of {found}.") from None


def _common_shape(cameras: Sequence[Camera]) -> tuple[int, int]:
    shapes = {camera.shape for camera in cameras}
    if len(shapes) != 1:
        raise SyntheXError(f"Cameras of a batch: expected one image size, found {sorted(shapes) or 'no camera'}.")
    return shapes.pop()


def _ray_vectors(world_to_index: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray:
    """(N, 4, 3) float32: source, direction of pixel (0, 0) a millimetre of depth, and its change a column and a row, index coordinates."""
    vectors = np.empty((len(cameras), 4, 3), np.float32)
    for place, camera in enumerate(cameras):
        index_from_camera = world_to_index @ np.linalg.inv(camera.world_to_camera)
        directions = index_from_camera[:3, :3] @ np.linalg.inv(camera.intrinsics)  # from homogeneous pixels
        vectors[place] = index_from_camera[:3, 3], directions[:, 2], directions[:, 0], directions[:, 1]
    return vectors


def _lenses(cameras: Sequence[Camera]) -> np.ndarray:
    """(N, 5) float32, `LENS` of each view."""
    lens = np.empty((len(cameras), len(LENS)), np.float32)
    for place, camera in enumerate(cameras):
        focal, centre = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
        lens[place] = -centre[0] / focal[0], 1 / focal[0], -centre[1] / focal[1], 1 / focal[1], camera.source_to_detector_mm
    return lens


def _along_rows(rays: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether some ray of a coarse grid over the views is dominated by the i axis; one that is missed is only slower."""
    y, x = (np.linspace(0, size - 1, 5) for size in shape)
    grid = rays[:, None, None, 1] + x[None, None, :, None] * rays[:, None, None, 2] + y[None, :, None, None] * rays[:, None, None, 3]
    return bool((np.abs(grid).argmax(-1) == 0).any())
