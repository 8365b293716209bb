"""The circuit breaker: a stage that keeps failing is left alone for a while (Nygard 2007, "Release It!", ch. 5)."""

import time
from collections.abc import Callable
from enum import StrEnum

LONGEST_PAUSE_S = 30.0


class State(StrEnum):
    closed = "closed"  # calls go through
    open = "open"  # calls are not made
    trying = "trying"  # one call finds out


class Breaker:
    """After `failures` in a row no call is made for `pause_s`; then one is, and twice the pause follows if it fails.

    For one event loop; not safe across threads.
    """

    def __init__(self, failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._first_pause_s = self._pause_s = pause_s
        self._clock = clock
        self._in_a_row = 0
        self._open_until = 0.0
        self.state = State.closed

    def allows(self) -> bool:
        """Whether a call may be made now. Whoever makes it says how it went: `succeeded`, `failed` or `unknown`."""
        if self.state is State.open and self._clock() >= self._open_until:
            self.state = State.trying
            return True
        return self.state is State.closed

    def succeeded(self) -> None:
        self.state, self._in_a_row, self._pause_s = State.closed, 0, self._first_pause_s

    def failed(self) -> None:
        self._in_a_row += 1
        if self.state is State.trying:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        if self.state is State.trying or self._in_a_row >= self._failures:
            self.state, self._open_until = State.open, self._clock() + self._pause_s

    def unknown(self) -> None:
        """The call was given up before it could tell: the next one finds out."""
        if self.state is State.trying:
            self.state, self._open_until = State.open, self._clock()
