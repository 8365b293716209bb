"""Who is in which variant: always the same, in the shares asked for, and by chance from one experiment to the next."""

from dataclasses import replace

import numpy as np
import pytest

from serve.experiments.assignment import CONTROL, Experiment, TrafficConfig, hash_to_unit_interval
from serve.releases.pointer import LivePointer, PointerError, promoted, rolled_back, staging, with_experiment

USERS = [f"u{number:05d}" for number in range(20_000)]
ONE = Experiment("one", {"b": 0.1, "c": 0.3}, "2026-01-01T00:00:00+00:00")
LIVE = LivePointer("a", "before", "2026-01-01T00:00:00+00:00")


def variants(experiment: Experiment) -> np.ndarray:
    return np.array([experiment.assign(user) for user in USERS])


def test_shares_are_those_asked_for_and_users_stay() -> None:
    of = variants(ONE)
    assert {name: (of == name).mean() for name in ONE.variants} == pytest.approx(ONE.variants, abs=0.01)
    assert (variants(ONE) == of).all()
    assert ONE.variants == {CONTROL: pytest.approx(0.6), "b": 0.1, "c": 0.3}


def test_a_larger_share_keeps_those_who_had_it() -> None:
    small, large = (Experiment("one", {"b": share}, "") for share in (0.05, 0.2))
    assert set(np.flatnonzero(variants(small) == "b")) < set(np.flatnonzero(variants(large) == "b"))


def test_another_experiment_deals_anew() -> None:
    two = replace(ONE, name="two")
    both = ((variants(ONE) == "c") & (variants(two) == "c")).mean()
    assert both == pytest.approx(0.09, abs=0.01)
    assert hash_to_unit_interval("one", "u") != hash_to_unit_interval("two", "u")


@pytest.mark.parametrize("shares", [{"b": 0.0}, {"b": 1.0}, {"b": 0.5, "c": 0.5}, {"b": -0.1}])
def test_shares_that_leave_nothing_or_are_nothing_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"traffic\.shares"):
        TrafficConfig(shares=shares)


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 101])
def test_a_name_is_part_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match=r"traffic\.name"):
        TrafficConfig(name=name)


def test_a_replica_holds_what_has_a_share_and_two_otherwise() -> None:
    assert LIVE.to_hold() == ["a", "before"]
    assert staging(LIVE, ["b"], "x").to_hold() == ["a", "b"]
    running = with_experiment(LIVE, ONE)
    assert running.to_hold() == ["a", "b", "c"]
    assert staging(running, ["d"], "x").to_hold() == ["a", "b", "c", "d"]
    assert [running.traffic_share(name) for name in "abcd"] == pytest.approx([0.6, 0.1, 0.3, 0])


def test_a_rollback_ends_the_experiment_first_and_only_once() -> None:
    over = rolled_back(with_experiment(LIVE, ONE), "too slow")
    assert (over.release, over.previous, over.experiment) == ("a", "before", None)
    assert (over.rolled_back, over.reason) == ("b, c", "too slow")
    assert rolled_back(over) == over, "again, or by another operator: nothing more"


def test_a_promotion_ends_the_experiment() -> None:
    assert promoted(with_experiment(LIVE, ONE), "b").others == []
    assert promoted(with_experiment(LIVE, ONE), "a").experiment is None
    with pytest.raises(PointerError, match="nothing to roll back"):
        rolled_back(None)
