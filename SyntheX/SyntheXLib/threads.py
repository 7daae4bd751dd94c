"""Threads that an interrupt of the main thread (Ctrl-C) cannot upset.

Python raises KeyboardInterrupt in the main thread between any two of its instructions, those of the standard library's pools and of
llvmlite included: it leaves a pool's lock taken for ever, or memory that is freed a second time. What is here asks in the main thread for
nothing but calls into C, which an interrupt strikes before or after, not within; and in other threads it strikes never.
"""

from __future__ import annotations

import _thread
import weakref
from collections.abc import Callable, Iterable
from functools import wraps
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_Tasks = SimpleQueue[Callable[[], None] | None]


class ThreadTeam:
    """A fixed number of threads, started at the first call, that end with this object.

    Parameters
    ----------
    count
        How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._started = 0
        self._tasks: _Tasks = SimpleQueue()
        weakref.finalize(self, _dismiss, self._tasks, count).atexit = False

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`function` of every item, in order; the first error is raised once all are done.

        After an interrupt the threads go on with what they were given, and hold `function` and the items meanwhile.
        """
        while self._started < self.count:
            _thread.start_new_thread(_serve, (self._tasks,))
            self._started += 1
        done: SimpleQueue[tuple[int, Result | None, BaseException | None]] = SimpleQueue()

        def task(number: int, item: Item) -> Callable[[], None]:
            def run() -> None:
                try:
                    done.put((number, function(item), None))
                except BaseException as error:  # it is raised in the thread that asked
                    done.put((number, None, error))

            return run

        count = 0
        for count, item in enumerate(items, 1):
            self._tasks.put(task(count, item))
        outcomes = sorted((done.get() for _ in range(count)), key=lambda outcome: outcome[0])
        for _, _, error in outcomes:
            if error is not None:
                raise error
        return [result for _, result, _ in outcomes]  # type: ignore[misc]  # without an error there is a result


def apart(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a function in a thread of its own whenever it is called."""

    @wraps(function)
    def call(*values: Parameters.args, **named: Parameters.kwargs) -> Result:
        return ThreadTeam(1).map(lambda _: function(*values, **named), (None,))[0]

    return call


def _serve(tasks: _Tasks) -> None:
    while (task := tasks.get()) is not None:
        task()
        del task  # and what it holds, before the next is waited for


def _dismiss(tasks: _Tasks, count: int) -> None:
    for _ in range(count):
        tasks.put(None)
