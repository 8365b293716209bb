"""The judge of swaps sees what is amiss: a judge that cannot find a fault says nothing."""

from dataclasses import replace

import pytest

from tests.benchmarks.harness.history import Asked, Change, first_p99_ratio, judge

EXPECTED = {"old": {"ann": ("a", "b")}, "new": {"ann": ("c", "d")}}
CHANGES = [Change("promote", 10.0, 12.0, "new"), Change("rollback", 20.0, 21.0, "old")]
OLD = Asked("ann", 1.0, 1.1, "old", ("a", "b"))
NEW = Asked("ann", 13.0, 13.1, "new", ("c", "d"))


def faults(*asked: Asked) -> tuple[int, int, int]:
    verdict = judge(asked, CHANGES, "old", EXPECTED)
    assert verdict.requests == len(asked)
    return verdict.failed, verdict.mixed, verdict.stale


def test_nothing_is_amiss() -> None:
    during = [replace(one, began=10.5, ended=10.6) for one in (OLD, NEW)]
    over = replace(OLD, began=9.0, ended=13.0)
    again = replace(OLD, began=22.0, ended=22.1)
    assert faults(OLD, NEW, *during, over, again) == (0, 0, 0)


@pytest.mark.parametrize(
    ("began", "ended", "one", "wanted"),
    [
        (12.1, 12.2, OLD, 1),  # begun after promote returned
        (12.1, 20.5, OLD, 0),  # the rollback was called before it ended
        (9.0, 9.9, NEW, 1),  # before anybody asked for it
        (21.1, 21.2, NEW, 1),
        (20.9, 30.0, NEW, 0),
    ],
)
def test_an_answer_by_what_is_not_live_is_stale(began: float, ended: float, one: Asked, wanted: int) -> None:
    assert faults(replace(one, began=began, ended=ended)) == (0, 0, wanted)


def test_items_of_another_release_are_a_mix() -> None:
    assert faults(replace(OLD, items=("a", "d"))) == (0, 1, 0)
    assert faults(replace(OLD, items=("b", "a"))) == (0, 1, 0)
    assert faults(replace(OLD, items=("b", "a"), degraded=True)) == (0, 0, 0)


def test_no_answer_is_a_failure() -> None:
    assert faults(replace(OLD, items=None, problem="503")) == (1, 0, 0)


def test_the_first_requests_after_a_change_are_set_against_the_time_before_any() -> None:
    before = [replace(OLD, began=t / 100, ended=t / 100 + 0.010) for t in range(500)]
    slow = [replace(NEW, began=12 + t / 100, ended=12 + t / 100 + 0.030) for t in range(100)]
    later = [replace(NEW, began=13.5 + t / 100, ended=13.5 + t / 100 + 0.5) for t in range(100)]
    back = [replace(OLD, began=21 + t / 100, ended=21 + t / 100 + 0.020) for t in range(200)]
    assert first_p99_ratio([*before, *slow, *later, *back], CHANGES) == pytest.approx(3.0, rel=0.01)
