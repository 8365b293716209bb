"""The circuit breaker by a clock of its own."""

from dataclasses import dataclass

from serve.pipeline.breaker import LONGEST_PAUSE_S, Breaker, State


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_alone() -> None:
    breaker = Breaker(2, 1.0, Clock())
    for verdict in (breaker.failed, breaker.succeeded, breaker.failed):
        assert breaker.allows()
        verdict()
    assert breaker.state is State.closed
    breaker.failed()
    assert (breaker.state, breaker.allows()) == (State.open, False)


def test_after_the_pause_one_call_finds_out() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, clock)
    breaker.failed()
    clock.now = 1.0
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.succeeded()
    assert breaker.allows()


def test_each_failed_trial_doubles_the_pause_up_to_the_longest() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, clock)
    breaker.failed()
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S):
        clock.now += pause - 0.01
        assert not breaker.allows()
        clock.now += 0.01
        assert breaker.allows()
        breaker.failed()


def test_a_trial_without_a_verdict_leaves_the_next_call_to_find_out() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, clock)
    breaker.failed()
    clock.now = 1.0
    assert breaker.allows()
    breaker.unknown()
    assert breaker.allows()
