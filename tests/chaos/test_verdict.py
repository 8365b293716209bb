"""The verdict finds each kind of harm in a history that was made to hold it."""

from dataclasses import replace

import pytest

from tests.benchmarks.harness.history import Asked
from tests.chaos.operators import Recall
from tests.chaos.verdict import History, judge, slope_mib_per_min

BEST = tuple("abcdefgh")
GOOD = Asked("u", 10.0, 10.1, "r", tuple("abc"))
QUIET = History([], [], [], [], 1.0, {"r": {"u": BEST}, "s": {"u": tuple("hgfedcba")}}, 3)
RECALL = Recall("b", called=5.0, returned=6.0, restored=20.0)


def found(one: Asked, **happened: object) -> set[str]:
    verdict = judge(replace(QUIET, asked=[one], **happened))
    names = ("failed", "lost", "mixed", "late", "recalled", "degraded")
    return {name for name in names if getattr(verdict, name)}


def test_a_whole_answer_in_time_is_sound() -> None:
    assert found(GOOD) == set()


@pytest.mark.parametrize("items", ["hgf", "acb", "acd", "abx"])
def test_items_of_another_release_are_mixed(items: str) -> None:
    assert found(replace(GOOD, items=tuple(items))) == {"mixed"}


def test_a_degraded_answer_is_not_compared() -> None:
    assert found(replace(GOOD, items=tuple("xyz"), degraded=True)) == {"degraded"}


def test_a_recalled_item_may_not_come_from_the_recalls_return_to_its_restoring() -> None:
    assert found(GOOD, recalls=[RECALL]) == {"recalled"}
    assert found(replace(GOOD, items=tuple("acd")), recalls=[RECALL]) == set()
    assert found(replace(GOOD, items=tuple("acx")), recalls=[RECALL]) == set()
    assert found(replace(GOOD, items=tuple("abc"), began=5.5, ended=5.6), recalls=[RECALL]) == set()
    assert found(GOOD, recalls=[replace(RECALL, restored=10.05)]) == set()


def test_an_answer_past_its_deadline_is_late() -> None:
    assert found(replace(GOOD, ended=11.02)) == {"late"}
    assert found(replace(GOOD, ended=11.005)) == set()


def test_a_request_is_lost_with_the_process_that_had_it_and_failed_otherwise() -> None:
    gone = Asked("u", 10.0, 10.1, problem="RemoteDisconnected: closed")
    assert found(gone) == {"failed"}
    assert found(gone, kills=[(10.05, "ingress")]) == {"lost"}
    assert found(gone, kills=[(9.0, "ingress")]) == {"failed"}
    refused = replace(gone, problem="ConnectionRefusedError: refused")
    assert found(refused, kills=[(9.0, "proxy")], proxy_back=[10.5]) == {"lost"}
    assert found(refused, kills=[(9.0, "proxy")], proxy_back=[9.5]) == {"failed"}


def test_the_slope_of_growing_memory() -> None:
    assert slope_mib_per_min([0, 60, 120], [100, 101, 102]) == pytest.approx(1.0)
