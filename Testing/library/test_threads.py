"""Threads that an interrupt cannot upset."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from SyntheXLib.threads import ThreadTeam, apart


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number**2

    assert ThreadTeam(3).map(slow_first, range(10)) == [number**2 for number in range(10)]
    assert ThreadTeam(2).map(slow_first, []) == []


def test_the_threads_work_at_the_same_time_and_are_no_more_than_asked() -> None:
    together = threading.Barrier(3, timeout=10)
    seen = set()

    def meet(_: int) -> None:
        together.wait()
        seen.add(threading.get_ident())

    team = ThreadTeam(3)
    for _ in range(2):
        team.map(meet, range(3))
    assert len(seen) == 3 and threading.get_ident() not in seen


def test_the_first_error_is_raised_when_all_are_done() -> None:
    done = []

    def fail(number: int) -> None:
        done.append(number)
        if number in (1, 2):
            raise ValueError(f"item {number}")

    team = ThreadTeam(2)
    with pytest.raises(ValueError, match="item 1"):
        team.map(fail, range(4))
    assert sorted(done) == [0, 1, 2, 3]
    assert team.map(str, [5]) == ["5"]  # and it still works


def test_a_team_ends_its_threads_and_keeps_nothing() -> None:
    ended = threading.Event()
    local = threading.local()

    class Told:
        def __del__(self) -> None:
            ended.set()

    def remember(array: np.ndarray) -> None:
        local.told = Told()  # lives as long as its thread

    array = np.zeros(3)
    kept = weakref.ref(array)
    team = ThreadTeam(1)
    team.map(remember, [array])
    team.map(str, [0])  # the task before is done with
    del array
    gc.collect()
    assert kept() is None and not ended.is_set()
    del team
    gc.collect()
    assert ended.wait(10)


def test_a_function_apart_runs_in_another_thread() -> None:
    @apart
    def where(offset: int, *, factor: int = 1) -> tuple[int, int]:
        """Where am I."""
        return threading.get_ident(), factor * (offset + 1)

    thread, value = where(2, factor=3)
    assert thread != threading.get_ident() and value == 9 and where.__doc__ == "Where am I."
