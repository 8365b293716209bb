"""A rollback is of what it was decided on, whatever others do between its steps."""

from typing import Any

import pytest

from data.artifacts.folders import Folder
from serve.releases.pointer import LivePointer, PointerError, staging
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import deny, read_denylist
from serve.rollout.replica_watch import ReplicaWatch
from serve.rollout.two_phase import roll_back, roll_out
from tests.data.artifacts.two_writers import interrupting
from tests.serve.rollout.meeting.world import (
    WITHIN_S,
    answering,
    begin,
    experiment,
    meanwhile,
    pointer,
    three_releases,
)

CHANGES = {
    "promotion": lambda registry: registry.promote("r3"),
    "experiment": lambda registry: begin(registry, experiment(r3=0.2)),
}


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_rollback_is_of_what_was_live_when_it_was_decided(
    registry: ReleaseRegistry, change: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r2")
    changed: list[LivePointer] = []
    meanwhile(monkeypatch, step, lambda: changed.append(CHANGES[change](registry)))
    with pytest.raises(PointerError, match=r"\(live: r[23].*nothing was rolled back.*serve\.rollback.*release=r1"):
        roll_back(registry, WITHIN_S, "r2 is bad")
    assert [pointer(registry)] == changed


def test_without_anybody_else_it_takes_place(registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(registry, "r2")
    found = meanwhile(monkeypatch, 4, lambda: None)
    live = roll_back(registry, WITHIN_S, "r2 is bad").live
    assert (live.release, live.rolled_back, live.staged) == ("r1", "r2", [])
    assert not found.met, "the steps are all that there are"


@pytest.mark.parametrize("step", [1, 2])
def test_a_command_rolls_back_what_it_has_seen(
    registry: ReleaseRegistry, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r2")
    seen = pointer(registry)
    meanwhile(monkeypatch, step, lambda: registry.promote("r3"))
    with pytest.raises(PointerError, match="live: r3"):
        roll_back(registry, WITHIN_S, decided_on=seen)
    assert pointer(registry).release == "r3"


def test_a_recall_meanwhile_does_not_hinder_a_rollback(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r2", "r1")
    meanwhile(monkeypatch, 2, lambda: deny(registry, ["i1"], "recalled", 0))
    live = roll_back(registry, WITHIN_S).live
    assert (live.release, set(read_denylist(registry, live))) == ("r1", {"i1"})


@pytest.mark.parametrize("step", [2, 3])
def test_two_who_roll_back_the_same_both_succeed(
    registry: ReleaseRegistry, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r2")
    meanwhile(monkeypatch, step, lambda: registry.rollback("so do I"))
    live = roll_back(registry, WITHIN_S, "r2 is bad").live
    assert (live.release, live.rolled_back, live.reason, live.staged) == ("r1", "r2", "so do I", [])


def test_a_second_rollback_does_not_undo_a_promotion_meanwhile(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.rollback()
    meanwhile(monkeypatch, 2, lambda: registry.promote("r3"))
    with pytest.raises(PointerError, match="live: r3"):
        roll_back(registry, WITHIN_S)
    assert pointer(registry).release == "r3"


@pytest.mark.parametrize("step", [1, 2])
def test_where_two_writers_meet_nothing_else_is_rolled_back(
    bucket: Folder, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each request of the write itself, on an object store."""
    registry = three_releases(bucket)
    interrupting(monkeypatch, registry.folder, step, lambda: registry.promote("r3"))
    with pytest.raises(PointerError, match="live: r3"):
        roll_back(registry, WITHIN_S)
    assert (pointer(registry).release, pointer(registry).previous) == ("r3", "r2")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_rollback_asks_for_nothing_any_more(
    registry: ReleaseRegistry, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(registry, "r2")
    before, look, looks = pointer(registry), ReplicaWatch.look, iter([False, True])

    def interrupted(watch: ReplicaWatch) -> Any:
        if next(looks):
            assert pointer(registry).staged == ["r1"]
            raise error
        return look(watch)

    monkeypatch.setattr(ReplicaWatch, "look", interrupted)
    with pytest.raises(error):
        roll_back(registry, WITHIN_S)
    assert pointer(registry) == before


def test_what_a_killed_command_has_staged_is_taken_over(registry: ReleaseRegistry) -> None:
    registry.update_pointer(lambda live: staging(live, ["r1"], "of the dead"))  # type: ignore[arg-type]
    assert roll_back(registry, WITHIN_S).live.staged == []
    registry.update_pointer(lambda live: staging(live, ["r3"], "of the dead"))  # type: ignore[arg-type]
    live = roll_out(registry, "r3", WITHIN_S).live
    assert (live.release, live.staged, live.attempt) == ("r3", [], None)
