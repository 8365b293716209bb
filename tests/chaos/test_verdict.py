"""The verdict finds each kind of harm in a history that was made to hold it."""

from dataclasses import replace

import pytest

from data.cluster.ray_compatibility.haproxy_template import NOT_READY
from tests.benchmarks.harness.history import Asked
from tests.chaos.operators import Recall
from tests.chaos.verdict import History, Kill, Verdict, amiss, judge, slope_mib_per_min

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


def test_a_recall_may_change_the_order_of_the_others_as_long_as_it_lasts() -> None:
    other_order = replace(GOOD, items=tuple("cad"))
    assert found(other_order, recalls=[RECALL]) == set()
    assert found(other_order, recalls=[replace(RECALL, restored=4.0)]) == {"mixed"}
    assert found(replace(GOOD, items=tuple("xyz")), recalls=[RECALL]) == {"mixed"}


def test_an_answer_past_its_deadline_is_late() -> None:
    assert found(replace(GOOD, ended=11.02)) == {"late"}
    assert found(replace(GOOD, ended=11.005)) == set()


def test_a_request_is_lost_with_the_process_that_had_it_and_failed_otherwise() -> None:
    gone = Asked("u", 10.0, 10.1, problem="RemoteDisconnected: closed")
    assert found(gone) == {"failed"}
    assert found(gone, kills=[Kill(10.05, 10.06, "ingress")]) == {"lost"}
    assert found(gone, kills=[Kill(9.99, 10.01, "ingress")]) == {"lost"}, "a process that dies takes requests still"
    assert found(gone, kills=[Kill(9.0, 9.1, "ingress")]) == {"failed"}
    by_the_proxy = replace(gone, problem="502: b'...'")
    assert found(by_the_proxy, kills=[Kill(10.05, 10.06, "ingress")]) == {"lost"}
    assert found(replace(by_the_proxy, ended=20.0), kills=[Kill(10.05, 10.06, "ingress")]) == {"failed"}, (
        "it ended for another reason"
    )
    by_the_ingress = replace(gone, problem='503: b\'{"detail": "overload"}\'')
    assert found(by_the_ingress, kills=[Kill(10.05, 10.06, "ingress")]) == {"failed"}, "another one had it, and lives"
    refused = replace(gone, problem="ConnectionRefusedError: refused")
    assert found(refused, kills=[Kill(9.0, 9.1, "proxy")], proxy_back=[10.5]) == {"lost"}
    assert found(refused, kills=[Kill(9.0, 9.1, "proxy")], proxy_back=[9.5]) == {"failed"}
    by_a_new_proxy = replace(gone, problem=f"503: {NOT_READY.encode()!r}")
    assert found(by_a_new_proxy, kills=[Kill(9.0, 9.1, "proxy")], proxy_back=[9.5]) == {"lost"}
    assert found(by_a_new_proxy, kills=[Kill(8.0, 8.1, "proxy")], proxy_back=[8.9]) == {"failed"}


def test_the_slope_of_growing_memory() -> None:
    assert slope_mib_per_min([0, 60, 120], [100, 101, 102]) == pytest.approx(1.0)
    assert slope_mib_per_min([], []) is None
    assert slope_mib_per_min([0], [100]) is None


@pytest.mark.parametrize("name", ["failed", "mixed", "late", "recalled"])
def test_one_answer_that_may_not_be_is_amiss(name: str) -> None:
    assert amiss(Verdict(**{name: 1}), 0.0, None, is_soak=False) == [f"{name}: 1"]


def test_what_may_be_is_not_amiss() -> None:
    """A request that was lost with the process that had it, and answers that say what they lack."""
    assert amiss(Verdict(requests=9, lost=1, degraded=3), 30.0, 0.9, is_soak=True) == []
    assert amiss(Verdict(), 0.0, None, is_soak=False) == []


def test_a_slow_recovery_and_memory_that_grows_or_was_not_measured_are_amiss() -> None:
    assert amiss(Verdict(), 30.1, None, is_soak=False) == ["recovered_s_max: 30.1 is above 30"]
    assert amiss(Verdict(), 0.0, 1.0, is_soak=True) == ["slope_mib_per_min: 1 is not below 1"]
    assert amiss(Verdict(), 0.0, None, is_soak=True) == ["slope_mib_per_min: was not measured"]
