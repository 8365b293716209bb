"""A thread that makes blocking calls for the tasks of an event loop, those that wait at the same time together."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Overloaded(RuntimeError):
    """Too much waits for the thread already."""


class GroupingThread(Generic[A, R]):
    """Calls a blocking function with what several tasks give at the same time, and hands each its results.

    Args:
        name: Of the thread.
        call: Returns one result for each argument.
        max_group: Most arguments of one call, unless one task gives more.
        max_waiting: Most arguments that wait or are worked on.
    """

    def __init__(self, name: str, call: Callable[[list[A]], Sequence[R]], max_group: int, max_waiting: int) -> None:
        self._call = call
        self._max_group, self._max_waiting = max_group, max_waiting
        self._waiting: deque[tuple[Sequence[A], asyncio.Future[Sequence[R]]]] = deque()
        self._num_waiting = 0
        self._wake = threading.Condition()
        self._is_closed = self._is_woken = False
        self._began_at: float | None = None  # None while the thread waits
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def busy_s(self) -> float:
        """Seconds that the call has taken in which the thread is; 0 where it is in none."""
        began_at = self._began_at
        return 0.0 if began_at is None else time.monotonic() - began_at

    @property
    def num_waiting(self) -> int:
        """How many arguments wait or are worked on."""
        return self._num_waiting

    async def __call__(self, arguments: Sequence[A]) -> Sequence[R]:
        """Returns the results of these arguments. A task that is cancelled before its turn is left out.

        Raises:
            Overloaded: More than `max_waiting` would wait.
            Exception: What the function has raised.
        """
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._is_closed or self._num_waiting + len(arguments) > self._max_waiting:
                raise Overloaded(f"{self._num_waiting} wait already")
            self._num_waiting += len(arguments)
            self._waiting.append((arguments, future))
            wakes, self._is_woken = not self._is_woken, True
        if wakes:
            asyncio.get_running_loop().call_soon(self._wake_up)
        return await future

    def _wake_up(self) -> None:
        """Wakes the thread once in a turn of the event loop, with all that its tasks have given: each waking takes the
        interpreter lock from the loop.
        """
        with self._wake:
            self._is_woken = False
            self._wake.notify()

    def close(self) -> None:
        """Works off what waits, and ends the thread. It blocks until that is done."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            outcome: list[tuple[asyncio.Future[Sequence[R]], Sequence[R], Exception | None]] = []
            wanted = [(arguments, future) for arguments, future in group if not future.cancelled()]
            self._began_at = time.monotonic()
            try:
                results = self._call([a for arguments, _ in wanted for a in arguments]) if wanted else ()
                starts = 0
                for arguments, future in wanted:
                    outcome.append((future, results[starts : starts + len(arguments)], None))
                    starts += len(arguments)
            except Exception as e:  # each of the waiting tasks gets it
                outcome = [(future, (), e) for _, future in wanted]
            self._began_at = None
            with self._wake:
                self._num_waiting -= sum(len(arguments) for arguments, _ in group)
            if outcome:
                with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    outcome[0][0].get_loop().call_soon_threadsafe(_tell, outcome)

    def _next_group(self) -> list[tuple[Sequence[A], "asyncio.Future[Sequence[R]]"]]:
        """What waits now, at least one task's; nothing once the thread is to end."""
        with self._wake:
            while not self._waiting and not self._is_closed:
                self._wake.wait()
            group: list[tuple[Sequence[A], asyncio.Future[Sequence[R]]]] = []
            size = 0
            while self._waiting and (not group or size + len(self._waiting[0][0]) <= self._max_group):
                group.append(self._waiting.popleft())
                size += len(group[-1][0])
            return group


def _tell(outcome: Sequence[tuple["asyncio.Future[Sequence[R]]", Sequence[R], Exception | None]]) -> None:
    for future, results, error in outcome:
        if future.done():
            continue
        if error is None:
            future.set_result(results)
        else:
            future.set_exception(error)
