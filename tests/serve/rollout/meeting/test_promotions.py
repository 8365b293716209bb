"""Promotions and experiments that meet: no release is live and on trial, and nothing is undone by who came before."""

import pytest

from conf.schema import load
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.releases.pointer import PointerError, with_experiment
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import deny, read_denylist
from serve.rollout.promotion import ended_by, split
from serve.rollout.two_phase import roll_out, roll_out_shares
from tests.serve.rollout.meeting.world import WITHIN_S, answering, begin, experiment, meanwhile, pointer

INDEX = load([]).index


def test_no_caller_can_give_the_live_release_a_share(registry: ReleaseRegistry) -> None:
    before = pointer(registry)
    with pytest.raises(PointerError, match=r"r2: is live and cannot have a share in experiment x .*leave it out"):
        begin(registry, experiment(r2=0.2))
    with pytest.raises(ReleaseError, match="'r9': no such release"):
        begin(registry, experiment(r9=0.2))
    assert pointer(registry) == before


def test_a_recall_is_not_refused_for_what_an_earlier_version_wrote(registry: ReleaseRegistry) -> None:
    registry.folder.write_json(POINTER, with_experiment(pointer(registry), experiment(r2=0.2)).as_json())
    assert set(read_denylist(registry, deny(registry, ["i1"], "recalled", 0).live)) == {"i1"}


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_canary_that_meets_the_promotion_of_its_release_is_refused(
    registry: ReleaseRegistry, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, step, lambda: roll_out(registry, "r3", WITHIN_S))
    with pytest.raises((PointerError, ReleaseError), match="r3"):
        roll_out_shares(registry, experiment(r3=0.2), WITHIN_S)
    live = pointer(registry)
    assert (live.release, live.experiment, live.staged) == ("r3", None, [])


def test_a_promotion_that_meets_the_canary_of_its_release_is_refused(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, 3, lambda: roll_out_shares(registry, experiment(r3=0.2), WITHIN_S))
    with pytest.raises(ReleaseError, match=r"r3: somebody else .* \(live: r2, with r3 on trial, asked for: nothing\)"):
        roll_out(registry, "r3", WITHIN_S)
    live = pointer(registry)
    assert (live.release, live.others, live.staged) == ("r2", ["r3"], [])


def test_of_two_shares_of_a_release_the_second_is_refused_and_the_same_is_shared(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        meanwhile(patched, 3, lambda: roll_out_shares(registry, experiment(r3=0.05), WITHIN_S))
        with pytest.raises(ReleaseError, match="somebody else"):
            roll_out_shares(registry, experiment(r3=0.2), WITHIN_S)
        assert pointer(registry).experiment.shares == {"r3": 0.05}  # type: ignore[union-attr]
    begun = experiment(r3=0.3)
    meanwhile(monkeypatch, 3, lambda: roll_out_shares(registry, begun, WITHIN_S))
    assert roll_out_shares(registry, experiment(r3=0.3), WITHIN_S).live.experiment == begun


def test_an_experiment_that_is_begun_again_goes_on_with_what_it_has_recorded(registry: ReleaseRegistry) -> None:
    """Such as by the same command, after its terminal was lost."""
    begun = Experiment("x", {"r1": 0.1, "r3": 0.2}, "2026-01-31T09:00:00.000+00:00")
    begin(registry, begun)
    again = Experiment("x", {"r3": 0.2, "r1": 0.1}, "2026-01-31T10:00:00.000+00:00")
    live = roll_out_shares(registry, again, WITHIN_S).live
    assert (live.experiment, live.staged) == (begun, [])
    assert list(live.experiment.shares) == ["r1", "r3"], "in the order by which users were assigned"  # type: ignore[union-attr]
    other = Experiment("x", {"r3": 0.3}, "2026-01-31T10:00:00.000+00:00")
    assert roll_out_shares(registry, other, WITHIN_S).live.experiment == other


def test_what_ends_an_experiment_says_so(registry: ReleaseRegistry) -> None:
    """Such as a canary that begins while another experiment runs."""
    before = begin(registry, Experiment("home", {"r1": 0.1}, "2026-01-31T09:00:00.000+00:00"))
    said = "experiment home, begun at 2026-01-31T09:00:00.000+00:00, is over"
    canary = roll_out_shares(registry, experiment(r3=0.05), WITHIN_S).live
    promoted = roll_out(registry, "r3", WITHIN_S).live
    assert [ended_by(before, after) for after in (before, canary, promoted)] == [None, said, said]
    assert ended_by(promoted, promoted) is None


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_end_of_an_experiment_promotes_nothing(
    registry: ReleaseRegistry, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(registry, experiment(r1=0.2))
    meanwhile(monkeypatch, step, lambda: registry.promote("r3"))
    live = split(INDEX, registry, TrafficConfig(), WITHIN_S).live
    assert (live.release, live.previous, live.experiment) == ("r3", "r2", None)


def test_the_end_of_an_experiment_is_not_that_of_the_next_one(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(registry, Experiment("x", {"r1": 0.2}, "2026-01-01T00:00:00.000+00:00"))
    begun = experiment(r3=0.2)
    meanwhile(monkeypatch, 3, lambda: begin(registry, begun))
    with pytest.raises(PointerError, match=r"experiment x: has begun meanwhile, .*serve\.split again"):
        split(INDEX, registry, TrafficConfig(), WITHIN_S)
    assert pointer(registry).experiment == begun


def test_a_release_that_is_live_no_longer_is_loaded_before_it_is_live_again(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r3")
    meanwhile(monkeypatch, 2, lambda: registry.promote("r3"))
    with pytest.raises(ReleaseError, match="r2: not ready"):
        roll_out(registry, "r2", WITHIN_S, lambda _: None)
    assert (pointer(registry).release, pointer(registry).staged) == ("r3", [])


def test_what_is_expected_to_be_live_counts_for_the_live_release_too(registry: ReleaseRegistry) -> None:
    before = begin(registry, experiment(r3=0.2))
    for expected in ("r1", "r2"):
        with pytest.raises(ReleaseError, match=rf"{expected}: is not what is live alone \(live: r2, with r3 on trial"):
            roll_out(registry, "r2", WITHIN_S, expected_live=expected)
        with pytest.raises(ReleaseError, match=f"{expected}: is not what is live alone"):
            roll_out_shares(registry, experiment(r1=0.2), WITHIN_S, expected_live=expected)
    assert pointer(registry) == before
