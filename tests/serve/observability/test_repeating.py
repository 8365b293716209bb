"""What was exported last is exported again and again, also while the next round waits or hangs."""

import threading

from serve.observability.repeating import EVERY_S, repeated

WITHIN_S = 30
"""Ends a test that would otherwise hang."""


class Clock:
    """Lets time go by when it is told to, in steps of as long as somebody waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._may_go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._is_stopped = False

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self._waits.release()
        assert self._may_go.acquire(timeout=WITHIN_S)
        return self._is_stopped

    def go_on(self, stop: bool = False) -> None:
        assert self._waits.acquire(timeout=WITHIN_S)
        self._is_stopped = stop
        self._may_go.release()


def test_the_latest_values_are_exported_every_few_seconds_while_nothing_new_is_said() -> None:
    """The gauges of a compaction every 5 minutes were gone after 20 s, and no alert by them was ever raised."""
    exported, clock = list[int](), Clock()
    report = repeated(exported.append, clock.wait)
    assert exported == clock.waits == [], "nothing is known yet"
    report(1)
    clock.go_on()
    clock.go_on()
    report(2)
    clock.go_on()
    clock.go_on(stop=True)
    assert exported[0] == 1
    assert sorted(exported) == exported, "never an earlier value again"
    assert (len(exported), set(clock.waits)) == (5, {EVERY_S})
    assert EVERY_S < 10, "Ray drops a gauge after two of its exports, each 10 s"
