"""The circuit breaker: a stage that keeps failing is not called for a while (Nygard 2007, "Release It!", ch. 5)."""

import time
from collections.abc import Callable
from enum import StrEnum

MAX_PAUSE_S = 30.0
"""The pause doubles with each failed trial call, up to this many seconds."""


class State(StrEnum):
    """The three states of a circuit breaker."""

    closed = "closed"  # calls are made
    open = "open"  # no calls are made
    half_open = "half_open"  # one trial call is in progress


class CircuitBreaker:
    """Stops calls to a stage after `failures` failures in a row.

    No call is made for `pause_s` seconds; then one trial call decides. If it succeeds, the breaker closes; if it fails,
    the breaker opens again for twice the pause, up to `MAX_PAUSE_S`.

    Use it from one event loop only; it is not safe across threads.

    Args:
        failures: Failures in a row that open the breaker.
        pause_s: The first pause, in seconds.
        clock: Returns the time in seconds.
    """

    def __init__(self, failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = failures
        self._first_pause_s = self._pause_s = pause_s
        self._clock = clock
        self._num_failures = 0
        self._open_until = 0.0
        self.state = State.closed

    def allows_call(self) -> bool:
        """Whether a call may be made now.

        The caller reports the outcome of the call by `record_success`, `record_failure`, `record_excused` or
        `record_unknown`.
        """
        if self.state is State.open and self._clock() >= self._open_until:
            self.state = State.half_open
            return True
        return self.state is State.closed

    def record_success(self) -> None:
        """The call succeeded: the breaker closes and counts from zero."""
        self.state, self._num_failures, self._pause_s = State.closed, 0, self._first_pause_s

    def record_failure(self) -> None:
        """The call failed: the breaker opens if it was the trial call, or the last failure that was allowed."""
        self._num_failures += 1
        if self.state is State.half_open:
            self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
        if self.state is State.half_open or self._num_failures >= self._max_failures:
            self.state, self._open_until = State.open, self._clock() + self._pause_s

    def record_excused(self) -> None:
        """The call failed by what may be no fault of the stage: it does not count.

        A trial call has not shown that the stage is well again, so the breaker stays open for the same pause once more.
        """
        if self.state is State.half_open:
            self.state, self._open_until = State.open, self._clock() + self._pause_s

    def record_unknown(self) -> None:
        """The call ended without an outcome, for example because it was cancelled: the next call is the trial."""
        if self.state is State.half_open:
            self.state, self._open_until = State.open, self._clock()
