"""Exports again and again what was exported last: Ray drops a gauge that nobody sets, though its value still holds."""

import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec

P = ParamSpec("P")

EVERY_S = 5.0
"""Seconds between two exports. Ray's agent drops a gauge some 20 s after it was set last."""


def repeated(export: Callable[P, None], stopped: Callable[[float], bool]) -> Callable[P, None]:
    """Returns the same function; after its first call, a thread repeats the latest one every EVERY_S seconds.

    So a gauge stays while its process waits for its next round, and while a round hangs.

    Args:
        export: takes values that nobody changes afterwards, and does not block.
        stopped: waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does).
    """
    lock, latest = threading.Lock(), list[Callable[[], None]]()

    def repeat() -> None:
        while not stopped(EVERY_S):
            with lock:
                latest[-1]()

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        with lock:
            is_first, latest[:] = not latest, [partial(export, *args, **kwargs)]
            latest[-1]()
        if is_first:
            threading.Thread(target=repeat, name="repeated export", daemon=True).start()

    return call
