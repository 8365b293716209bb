"""Calls that wait for storage, such as reads of small files: several at a time, with what they return in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

AT_ONCE = 8
"""Calls that wait at the same time."""


def ahead(call: Callable[[S], T], values: Iterable[S]) -> Iterator[T]:
    """What a call returns for each value, in the order of the values; an error is raised at its place.

    Calls are made in threads, AT_ONCE of them ahead of the one that is asked for; so no more results are in memory, and
    whoever asks for no more, or meets an error, leaves the later calls undone but for those.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ahead") as pool:
        try:
            for value in values:
                waiting.append(pool.submit(call, value))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
