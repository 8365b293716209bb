"""The circuit breaker by a clock of its own."""

from dataclasses import dataclass

from serve.pipeline.breaker import MAX_PAUSE_S, CircuitBreaker, State


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_alone() -> None:
    breaker = CircuitBreaker(2, 1.0, Clock())
    for record_outcome in (breaker.record_failure, breaker.record_success, breaker.record_failure):
        assert breaker.allows_call()
        record_outcome()
    assert breaker.state is State.closed
    breaker.record_failure()
    assert (breaker.state, breaker.allows_call()) == (State.open, False)


def test_after_the_pause_one_call_finds_out() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, clock)
    breaker.record_failure()
    clock.now = 1.0
    assert [breaker.allows_call(), breaker.allows_call()] == [True, False]
    breaker.record_success()
    assert breaker.allows_call()


def test_each_failed_trial_doubles_the_pause_up_to_the_longest() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, clock)
    breaker.record_failure()
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, MAX_PAUSE_S, MAX_PAUSE_S):
        clock.now += pause - 0.01
        assert not breaker.allows_call()
        clock.now += 0.01
        assert breaker.allows_call()
        breaker.record_failure()


def test_a_trial_without_a_verdict_leaves_the_next_call_to_find_out() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, clock)
    breaker.record_failure()
    clock.now = 1.0
    assert breaker.allows_call()
    breaker.record_unknown()
    assert breaker.allows_call()


def test_an_excused_trial_is_followed_by_the_same_pause() -> None:
    """A stage that hangs would otherwise be tried by each request, for as long as that has time."""
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, clock)
    breaker.record_failure()
    for clock.now in (1.0, 2.0, 3.0):
        assert breaker.allows_call()
        breaker.record_excused()
        assert not breaker.allows_call()
    assert CircuitBreaker(1, 1.0, clock).allows_call(), "a closed one stays so"
