"""What every state store must hold."""

import threading
from typing import Any

import pytest

from data.sources.event_log.users import user_key
from serve.events.group import Group
from serve.events.protocol import Outcome, StateStore, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from serve.events.state import UserState
from tests.conformance.events import Opening, compacted, config, event, now_us

ACCEPTED, DUPLICATE, CONFLICT, FORGOTTEN = Outcome


def items(state: UserState) -> list[str]:
    return [happening.item_id for happening in state.events]


def logged(store: StateStore, max_events: int = 100) -> list[str]:
    """Compacts all, and returns the event ids in their order."""
    return [values["event_id"] for part in compacted(store, max_events) for values in part.events]


def test_a_user_without_events_has_an_empty_state(store: StateStore) -> None:
    assert store.read(["u", "v"]) == [UserState(), UserState()]
    assert store.num_waiting() == 0
    assert store.part(10) is None


def test_events_are_in_the_log_and_in_the_states_of_their_users(store: StateStore) -> None:
    first = event("1", item_id="a", context={"channel": "app"}, value=2.5)
    assert store.append([first, event("2", user_id="ü\u2028x", item_id="b")]) == [ACCEPTED, ACCEPTED]
    state, other, nobody = store.read(["u", "ü\u2028x", "w"])
    (happening,) = state.events
    assert (happening.item_id, happening.type, happening.value) == ("a", "click", 2.5)
    assert (happening.time_us, happening.context) == (first.time_us, {"channel": "app"})
    assert (items(other), nobody) == (["b"], UserState())
    assert store.num_waiting() == 2
    (logged_values,) = [v for part in compacted(store) for v in part.events if v["event_id"] == "1"]
    values = dict(logged_values)
    assert values.pop("received") == happening.received_us
    assert values == {
        "event_id": "1",
        "user_id": "u",
        "item_id": "a",
        "type": "click",
        "time": first.time_us,
        "value": 2.5,
        "context": {"channel": "app"},
        "request_id": None,
    }


def test_impressions_do_not_displace_what_the_user_wanted(store: StateStore) -> None:
    store.append([event("bought", item_id="bought", time_us=now_us() - 60_000_000)])
    store.append([event(f"shown-{n}", item_id=f"i{n}", type="impression") for n in range(20)])
    (state,) = store.read(["u"])
    assert items(state) == ["bought", "i16", "i17", "i18", "i19"], "the bound of all events is 5"
    assert [*state.positives(config()).item_id] == ["bought"]


def test_an_event_counts_once_by_its_id(store: StateStore) -> None:
    one = event("1")
    assert store.append([one, one, event("1", item_id="other", time_us=one.time_us)]) == [ACCEPTED, DUPLICATE, CONFLICT]
    assert store.append([one, event("1", user_id="v"), event("2")]) == [DUPLICATE, CONFLICT, ACCEPTED]
    assert items(store.read(["u"])[0]) == ["i", "i"]
    assert store.read(["v"]) == [UserState()]
    assert sorted(logged(store)) == ["1", "2"]
    assert store.append([one]) == [DUPLICATE], "after compaction too"
    assert logged(store) == []


def test_without_a_time_of_its_own_an_event_is_the_same_whenever_it_arrives(store: StateStore) -> None:
    assert store.append([event("1", time_us=10, is_timed=False)]) == [ACCEPTED]
    assert store.append([event("1", time_us=20, is_timed=False)]) == [DUPLICATE]


def test_ids_are_dropped_after_their_time(store: StateStore) -> None:
    if not isinstance(store, SqliteStore):
        return  # Redis drops them by itself, at a time that no test waits for
    one = event("1")
    store.append([one])
    store.prune(now_us() - 1_000_000)
    assert store.append([one]) == [DUPLICATE]
    store.prune(now_us() + 1_000_000)
    assert store.append([one]) == [ACCEPTED]


def test_the_state_is_shared_and_survives(opening: Opening) -> None:
    first, second = opening(), opening()
    first.append([event("1", item_id="a")])
    second.append([event("2", item_id="b")])
    for store in (first, second, opening()):
        assert items(store.read(["u"])[0]) == ["a", "b"]
    first.close()
    assert items(second.read(["u"])[0]) == ["a", "b"]


def test_several_replicas_write_at_the_same_time(opening: Opening) -> None:
    """No event is lost or counted twice, and acceptance has one order."""

    def write(store: StateStore, name: int) -> None:
        for number in range(20):
            store.append([event(f"{name}-{number}", item_id=f"{name}-{number}"), event(f"both-{number}", time_us=1)])

    threads = [threading.Thread(target=write, args=(opening(), name)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (state,) = opening().read(["u"])
    assert state.counts["click"].total == 3 * 20 + 20
    received = [values["received"] for part in compacted(opening(), 7) for values in part.events]
    assert len(received) == len(set(received)) == 80, "all are of one user"
    assert received == sorted(received)


def test_a_forgotten_user_stays_forgotten(store: StateStore) -> None:
    store.append([event("1"), event("2", user_id="v")])
    forgotten_us = store.forget("u", now_us())
    (state,) = store.read(["u"])
    assert (tuple(state.events), state.seen, state.counts, state.forgotten_us) == ((), {}, {}, forgotten_us)
    late, new = event("3", time_us=forgotten_us - 1), event("4", time_us=forgotten_us + 1)
    assert store.append([late, new]) == [FORGOTTEN, ACCEPTED]
    assert items(store.read(["u"])[0]) == ["i"]
    assert store.read(["u"])[0].forgotten_us == forgotten_us
    parts = compacted(store)
    assert sorted(values["event_id"] for part in parts for values in part.events) == ["2", "4"]
    assert [at for part in parts for at in part.forgotten.values()] == [forgotten_us], "for the files of the log"
    assert store.part(10) is None


def test_what_is_kept_out_counts_once_like_any_other_event(store: StateStore) -> None:
    """Otherwise who sends an event again would learn that its user was forgotten."""
    before = store.forget("u", now_us()) - 1
    late = event("1", time_us=before)
    assert store.append([late, late, event("2", user_id="v")]) == [FORGOTTEN, DUPLICATE, ACCEPTED]
    assert store.append([late, event("1", time_us=before, value=2.0)]) == [DUPLICATE, CONFLICT]
    assert store.append([event("3", time_us=before)]) == [FORGOTTEN]
    assert store.append([event("3", time_us=before)]) == [DUPLICATE]
    assert not store.read(["u"])[0].events
    assert logged(store) == ["2"]


def test_an_id_whose_write_failed_is_free_for_another_event(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a sender that makes the event anew when it tries again: nothing was accepted under the id."""

    def fail(*_: object) -> None:
        raise StoreUnavailable("away")

    failed = [event(id_) for id_ in ("1", "2", "3")]
    with monkeypatch.context() as patch:
        patch.setattr(Group, "of", fail)
        with pytest.raises(StoreUnavailable, match="away"):
            store.append(failed)
    other, anew = event("1", user_id="v", item_id="other"), event("2", item_id="anew")
    assert store.append([other, anew, *failed]) == [ACCEPTED, ACCEPTED, CONFLICT, CONFLICT, ACCEPTED]
    assert store.append([*failed, other, anew]) == [CONFLICT, CONFLICT, DUPLICATE, DUPLICATE, DUPLICATE]
    assert [sorted(items(state)) for state in store.read(["u", "v"])] == [["anew", "i"], ["other"]]
    assert sorted(logged(store)) == ["1", "2", "3"]


@pytest.mark.parametrize("user_id", ["u", "v", "w"])
def test_of_two_events_that_meet_under_an_id_one_is_accepted(
    opening: Opening, user_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes, of the same user or of another, when the first one is about to be written."""
    first, second = opening(), opening()
    if isinstance(first, SqliteStore):
        return  # its transactions come one after the other
    decide, outcomes = Group.of, list[list[Outcome]]()

    def meeting(*arguments: Any) -> Group:
        with monkeypatch.context() as patch:
            patch.setattr(Group, "of", decide)
            outcomes.append(second.append([event("1", user_id=user_id, item_id="other")]))
        return decide(*arguments)

    monkeypatch.setattr(Group, "of", meeting)
    outcomes.append(first.append([event("1"), event("2")]))
    assert sorted(found[0].value for found in outcomes[:1] + outcomes[-1:]) == ["accepted", "conflict"]
    assert outcomes[-1][1] is ACCEPTED
    assert sorted(logged(first)) == ["1", "2"]


def test_who_was_forgotten_at_another_store_is_taken_over(store: StateStore) -> None:
    store.append([event("1"), event("2", user_id="v")])
    known_us, at = store.forget("w", now_us()), now_us()
    users = {user_key("u"): at, user_key("new"): at, user_key("w"): known_us - 5}
    for _ in range(2):
        store.keep_out(users)
    states = store.read(["u", "new", "w", "v"])
    assert [state.forgotten_us for state in states] == [at, at, known_us, None]
    assert [items(state) for state in states] == [[], [], [], ["i"]]
    before, since = event("3", user_id="new", time_us=at - 1), event("4", user_id="new", time_us=at + 1)
    assert store.append([before, since]) == [FORGOTTEN, ACCEPTED]
    store.keep_out(users)
    assert items(store.read(["new"])[0]) == ["i"], "what the user has done since stays"
    forgotten = {key: us for part in compacted(store) for key, us in part.forgotten.items()}
    assert forgotten == {user_key("u"): at, user_key("w"): known_us}, "the log may have events of these"


def test_what_is_noted_about_a_store_is_known_to_all_who_open_it(opening: Opening) -> None:
    """Of two who note something at the same time where nothing was, both know which of the two it is."""
    first, second = opening(), opening()
    assert first.noted("color") is None
    assert [first.note("color", "red", replaces=False), second.note("color", "blue", replaces=False)] == ["red"] * 2
    assert second.note("color", "blue") == "blue"
    assert [first.noted("color"), opening().noted("color"), first.noted("size")] == ["blue", "blue", None]
