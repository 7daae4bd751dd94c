"""An image that changes faster than it is predicted: the newest frame first, the same nodes, one sentence when it ends."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from infer_network import HIP, IJK_TO_RAS, Network, masks_on

from SyntheXHomeLib.image_nodes import asSequence, browserOf, shownImage
from SyntheXInferLib.live import LiveInference
from SyntheXInferLib.logic import SyntheXInferLogic
from SyntheXInferLib.options import InferOptions
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction

OPTIONS = InferOptions(polarity="bone-bright", collimation="none")


class Told(Executor):
    """Does a job when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: function(*arguments)))
        return future

    def work(self) -> None:
        ((future, job),) = self.jobs  # never a queue
        self.jobs.clear()
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)


class Brightest(Network):
    """Finds the brightest pixel: landmark 0 lies there, and the pelvis is that pixel."""

    def predict(self, images: list[Any], batch: int = 8) -> list[Prediction]:
        self.seen += images
        found = []
        for image in images:
            mask, points = np.zeros(image.pixels.shape, np.uint16), self.landmarks.copy()
            row, column = np.unravel_index(int(image.pixels.argmax()), image.pixels.shape)
            mask[row, column], points[0] = 1, (column, row)
            found.append(Prediction(mask, points, self.confidence, np.zeros(mask.shape, np.uint8)))
        return found


def frame(number: int, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    """Frame k has its bright pixel in column k of row 3."""
    pixels = np.zeros((1, *shape), np.uint16)
    pixels[0, 3, number] = 100
    return pixels


@pytest.fixture
def live(scene: Any, slicer_core: ModuleType) -> Iterator[SimpleNamespace]:
    """An image with frame 0 that is followed, and what predicts when it is told to."""
    volume = slicer_core.util.addVolumeFromArray(frame(0), IJK_TO_RAS, "stream")
    now = [100.0]
    executor, network = Told(), Brightest()
    made = LiveInference(volume, lambda: network, OPTIONS, executor=executor, clock=lambda: now[0])

    def show(number: int) -> None:
        slicer_core.util.updateVolumeFromArray(volume, frame(number))

    yield SimpleNamespace(volume=volume, live=made, executor=executor, network=network, now=now, show=show, util=slicer_core.util)
    made.stop()


def column_found(live: LiveInference) -> int:
    """The column of the pixel that both the masks and landmark 0 say."""
    assert live.found is not None
    mask = masks_on(live.found.segmentation, live.volume)["left_hemipelvis"][0]
    ((row, column),) = np.argwhere(mask)
    expected = (IJK_TO_RAS @ [column, row, 0, 1])[:3]
    np.testing.assert_allclose(live.found.landmarks[0].GetNthControlPointPosition(0), expected, atol=1e-5)
    return int(column)


def test_the_newest_frame_is_taken_and_those_between_are_passed_over(live: SimpleNamespace) -> None:
    assert not live.live.poll(0)  # begins with what the image shows
    for number in range(1, 9):
        live.now[0] += 0.01
        live.show(number)
        assert not live.live.poll(0)
    live.executor.work()
    assert live.live.poll(0) and column_found(live.live) == 0
    live.now[0] += 0.05
    live.executor.work()
    assert live.live.poll(0) and column_found(live.live) == 8
    assert [int(image.pixels.argmax()) % 16 for image in live.network.seen] == [0, 8]
    numbers = live.live.numbers()
    assert (numbers.done, numbers.passed) == (2, 7)
    assert numbers.latency_s == pytest.approx((0.08 + 0.05) / 2) and numbers.rate == pytest.approx(1 / 0.05)
    assert not live.live.poll(0) and not live.executor.jobs  # nothing new
    live.now[0] += 10
    assert live.live.numbers().rate < 0.1


def test_the_same_nodes_are_updated_in_place(live: SimpleNamespace, scene: Any, slicer_core: ModuleType) -> None:
    live.live.poll(0)
    live.executor.work()
    live.live.poll(0)
    nodes, count = (live.live.found.segmentation, live.live.found.landmarks[0]), scene.GetNumberOfNodes()
    changes: list[str] = []
    nodes[0].AddObserver(slicer_core.vtkSegmentation.SourceRepresentationModified, lambda *_: changes.append("masks"))
    for number in (4, 9):
        live.show(number)
        live.live.poll(0)
        live.executor.work()
        assert live.live.poll(0) and scene.GetNumberOfNodes() == count
        assert column_found(live.live) == number
        count = scene.GetNumberOfNodes()  # Slicer's reading of a segment leaves colour tables behind
    assert (live.live.found.segmentation, live.live.found.landmarks[0]) == nodes
    assert changes and nodes[1].GetNumberOfControlPoints() == 14


def test_overlapping_masks_and_another_size_and_place_are_followed(live: SimpleNamespace, slicer_core: ModuleType) -> None:
    from dataclasses import replace

    live.network.task = replace(HIP, segmentation="multilabel")
    live.live.poll(0)
    live.executor.work()
    live.live.poll(0)
    live.util.updateVolumeFromArray(live.volume, frame(15, (20, 30)))
    live.live.poll(0)
    live.executor.work()
    assert live.live.poll(0) and column_found(live.live) == 15
    live.show(2)  # small again while the large one is worked on
    live.util.updateVolumeFromArray(live.volume, frame(1, (20, 30)))
    live.live.poll(0)
    live.show(3)
    live.executor.work()
    assert not live.live.poll(0)  # masks of another size are not shown
    live.executor.work()
    assert live.live.poll(0) and column_found(live.live) == 3


def test_the_collimators_field_is_looked_for_now_and_then(live: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXLib.inference import predict_images

    looked: list[float] = []
    field = np.ones((12, 16), bool)
    monkeypatch.setattr(predict_images, "open_field", lambda frames, linear: looked.append(live.now[0]) or field)
    executor = Told()
    followed = LiveInference(live.volume, lambda: live.network, InferOptions(), executor=executor, clock=lambda: live.now[0])
    for number in range(1, 13):
        live.show(number)
        followed.poll(0)
        executor.work()
        live.now[0] += 0.5
        assert followed.poll(0) and live.network.seen[-1].field is field
        live.now[0] += 1.0
    assert looked == [100.0, 110.5]  # 10 s after it was found
    live.now[0] += 20
    live.show(0)
    followed.poll(0)
    executor.work()
    live.now[0] += 30  # a busy computer
    assert followed.poll(0)
    for number in range(1, 9):
        live.now[0] += 30
        live.show(number)
        followed.poll(0)
        executor.work()
        followed.poll(0)
    assert len(looked) == 3  # and not at every frame
    followed.stop()


def test_another_field_of_the_collimator_is_noticed(live: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXLib.inference import predict_images

    looked: list[int] = []
    field = np.ones((12, 16), bool)
    field[:, 12:] = False
    monkeypatch.setattr(predict_images, "open_field", lambda frames, linear: looked.append(1) or field)
    executor = Told()
    followed = LiveInference(live.volume, lambda: live.network, InferOptions(), executor=executor, clock=lambda: live.now[0])
    for covered, times in ((0, 1), (0, 1), (60, 2), (60, 2)):
        pixels = frame(3)
        pixels[0, :, 12:] = covered
        live.util.updateVolumeFromArray(live.volume, pixels)
        followed.poll(0)
        executor.work()
        assert followed.poll(0) and len(looked) == times
    followed.stop()


@pytest.mark.parametrize("how", ["arrayFromVolumeModified", "vtkImageData", "another image"])
def test_every_way_to_change_an_image_is_noticed_and_nothing_else_is(live: SimpleNamespace, slicer_core: ModuleType, how: str) -> None:
    import vtk

    live.live.poll(0)
    live.executor.work()
    live.live.poll(0)
    live.volume.SetName("renamed")
    live.live.poll(0)
    assert not live.executor.jobs
    if how == "another image":  # as OpenIGTLink does
        image = vtk.vtkImageData()
        image.DeepCopy(live.volume.GetImageData())
        live.volume.SetAndObserveImageData(image)
    live.util.arrayFromVolume(live.volume)[:] = frame(7)
    if how == "vtkImageData":
        live.volume.GetImageData().GetPointData().GetScalars().Modified()
        live.volume.GetImageData().Modified()
    else:
        live.util.arrayFromVolumeModified(live.volume)
    live.live.poll(0)
    live.executor.work()
    assert live.live.poll(0) and column_found(live.live) == 7


def test_a_sequence_that_is_played_is_followed(scene: Any, slicer_core: ModuleType) -> None:
    frames = np.concatenate([frame(number) for number in range(5)])
    sequence = asSequence(slicer_core.util.addVolumeFromArray(frames, IJK_TO_RAS, "run"))
    browser, executor = browserOf(sequence), Told()
    followed = LiveInference(sequence, Brightest, OPTIONS, executor=executor)
    for number in (0, 3, 1):
        browser.SetSelectedItemNumber(number)
        slicer_core.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        followed.poll(0)
        executor.work()
        assert followed.poll(0) and column_found(followed) == number
    assert followed.volume is shownImage(sequence)
    followed.stop()


def test_a_bad_frame_is_told_once_and_the_next_one_goes_on(live: SimpleNamespace) -> None:
    live.util.updateVolumeFromArray(live.volume, np.full((1, 12, 16), np.nan, np.float32))
    live.live.poll(0)
    live.executor.work()
    assert not live.live.poll(0) and live.live.running and "'stream'" in live.live.problem
    assert not live.live.poll(0) and not live.executor.jobs  # not again and again
    live.show(5)
    live.live.poll(0)
    live.executor.work()
    assert live.live.poll(0) and live.live.problem == "" and column_found(live.live) == 5


def ends(live: SimpleNamespace) -> str:
    """Why it has ended, told once."""
    assert not live.live.poll(0) and not live.live.running
    problem = live.live.problem
    live.show(6)
    assert not live.live.poll(0) and not live.executor.jobs and live.live.problem == problem
    return str(problem)


def test_it_ends_with_the_image(live: SimpleNamespace, scene: Any) -> None:
    live.live.poll(0)
    scene.RemoveNode(live.volume)
    live.executor.work()
    assert ends(live) == "The image was removed."


def test_it_ends_with_its_result(live: SimpleNamespace, scene: Any) -> None:
    live.live.poll(0)
    live.executor.work()
    live.live.poll(0)
    scene.RemoveNode(live.live.found.landmarks[0])
    assert ends(live) == "The masks or landmarks were removed."


def test_it_ends_when_the_scene_is_closed(live: SimpleNamespace, scene: Any) -> None:
    live.live.poll(0)
    scene.Clear(0)
    live.executor.work()
    assert ends(live) == "The image was removed."


def test_it_ends_with_the_model(scene: Any, live: SimpleNamespace, tmp_path: Path) -> None:
    executor = Told()
    followed = SyntheXInferLogic().startLive(live.volume, tmp_path / "gone.pt", executor=executor)
    followed.poll(0)
    executor.work()
    assert not followed.poll(0) and not followed.running
    assert "gone.pt" in followed.problem and "\n" not in followed.problem


def test_an_unforeseen_error_ends_it_in_one_sentence(live: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.network, "predict", lambda images: images[1])
    live.live.poll(0)
    live.executor.work()
    assert ends(live) == "Live inference ended by an unexpected error: IndexError: list index out of range"


def test_it_waits_for_the_first_frame_and_refuses_a_volume(scene: Any, slicer_core: ModuleType) -> None:
    empty, executor = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "stream"), Told()
    followed = LiveInference(empty, Brightest, OPTIONS, executor=executor)
    assert not followed.poll(0) and not executor.jobs and np.isnan(followed.numbers().latency_s)
    slicer_core.util.updateVolumeFromArray(empty, frame(2))
    followed.poll(0)
    executor.work()
    assert followed.poll(0) and followed.running
    followed.stop()
    volume = slicer_core.util.addVolumeFromArray(np.zeros((3, 4, 5)), np.eye(4), "CT")
    with pytest.raises(SyntheXError, match="Volume 'CT': expected a single image to follow, found 3 slices"):
        LiveInference(volume, Brightest, OPTIONS)


def test_a_polarity_that_nobody_tells_is_decided_once(live: SimpleNamespace, scene: Any) -> None:
    executor, network = Told(), Brightest()
    followed = LiveInference(live.volume, lambda: network, InferOptions(collimation="none"), executor=executor)
    for number, seen in ((1, 3), (2, 4)):  # at first both ways round are looked at
        live.show(number)
        followed.poll(0)
        executor.work()
        assert followed.poll(0) and len(network.seen) == seen
    followed.stop()


def test_a_thread_predicts_while_the_images_come(scene: Any, slicer_core: ModuleType) -> None:
    volume = slicer_core.util.addVolumeFromArray(frame(0), IJK_TO_RAS, "stream")
    network, threads = Brightest(), set()
    plain = network.predict

    def slow(images: list[Any]) -> list[Prediction]:
        threads.add(threading.current_thread().name)
        time.sleep(0.05)
        return plain(images)

    network.predict = slow  # type: ignore[method-assign]
    followed = LiveInference(volume, lambda: network, OPTIONS)
    until = time.monotonic() + 60
    number, longest = 0, 0.0
    while followed.numbers().done < 6 and time.monotonic() < until:
        number += 1
        slicer_core.util.updateVolumeFromArray(volume, frame(number % 16))
        start = time.monotonic()
        followed.poll()
        longest = max(longest, time.monotonic() - start)
        time.sleep(0.005)
    followed.stop()
    assert followed.numbers().done >= 6 and followed.numbers().passed >= 1
    assert threads and threading.main_thread().name not in threads
    assert longest < 5  # and not the whole work; generous for a busy machine


@pytest.mark.skipif(os.name == "nt", reason="usleep is POSIX")
def test_a_window_that_keeps_pythons_lock_lends_it(scene: Any, slicer_core: ModuleType) -> None:
    """`ctypes.PyDLL` keeps the lock during a call, as Slicer's window does between events."""
    volume = slicer_core.util.addVolumeFromArray(frame(0), IJK_TO_RAS, "stream")
    network = Brightest()
    plain = network.predict

    def many_steps(images: list[Any]) -> list[Prediction]:
        for _ in range(1000):  # each, as an operation of torch, lets go of the lock and wants it back
            time.sleep(0)
        return plain(images)

    network.predict = many_steps  # type: ignore[method-assign]
    followed = LiveInference(volume, lambda: network, OPTIONS)
    window = ctypes.PyDLL(None)
    ticks = 0
    while followed.numbers().done < 1 and ticks < 800:
        ticks += 1
        followed.poll()
        window.usleep(8000)
    followed.stop()
    assert followed.numbers().done == 1  # 1000 ticks and more, had each step to wait for one
