"""What every state store must hold."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from data.sources.event_log.users import user_key
from serve.events.config import EventsConfig
from serve.events.protocol import LoggedEvents, Outcome, StateStore
from serve.events.sqlite_store import SqliteStore
from serve.events.state import UserState
from serve.events.stores import STATE_STORES
from tests.conformance.events import config, event, now_us
from tests.conformance.redis_server import serving_redis

ACCEPTED, DUPLICATE, CONFLICT, FORGOTTEN = Outcome
Opening = Callable[[], StateStore]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Starts what a store needs, once, and returns its part of the config."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def start(name: str) -> dict[str, Any]:
            if name == "sqlite":
                return {"store": "sqlite", "path": str(tmp_path_factory.mktemp("state") / "new" / "events.sqlite")}
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                started[name] = stack.enter_context(serving_redis(folder, cluster=name == "cluster"))
            with redis.Redis.from_url(started[name]) as client:
                client.flushall()
            return {"store": "redis", "uri": started[name], "cluster": name == "cluster"}

        yield start


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def opening(request: pytest.FixtureRequest, servers: Callable[[str], dict[str, Any]]) -> Iterator[Opening]:
    """Opens the same store again and again, as several replicas do."""
    values: EventsConfig = config(**servers(request.param), history=5, state_ms=2000, accept_ms=5000)
    opened: list[StateStore] = []

    def open_store() -> StateStore:
        opened.append(STATE_STORES[values.store](values))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(opening: Opening) -> StateStore:
    return opening()


def items(state: UserState) -> list[str]:
    return [happening.item_id for happening in state.events]


def logged(store: StateStore, max_events: int = 100) -> list[str]:
    """Compacts all, and returns the event ids in their order."""
    return [values["event_id"] for part in compacted(store, max_events) for values in part.events]


def compacted(store: StateStore, max_events: int = 100) -> list[LoggedEvents]:
    parts = []
    while (part := store.part(max_events)) is not None:
        parts.append(part)
        store.done(part)
    return parts


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


def test_a_part_of_the_log_stays_the_same_until_it_is_done(opening: Opening) -> None:
    store = opening()
    store.append([event(str(number)) for number in range(5)])
    part = store.part(3)
    store.append([event("later")])
    again = opening().part(100)
    assert part is not None
    assert again is not None
    assert (again.name, again.events) == (part.name, part.events)
    store.done(part)
    store.done(part)
    rest = opening().part(100)
    assert rest is not None
    assert rest.name != part.name
    assert [values["event_id"] for values in rest.events] == ["3", "4", "later"]


def test_what_comes_after_the_end_is_left_for_later(store: StateStore) -> None:
    users = [f"u{number}" for number in range(40)]
    store.append([event(f"before-{user}", user) for user in users])
    end, found = store.end(), list[str]()
    store.forget("gone", now_us() + 1000)
    while (part := store.part(7, end)) is not None:
        store.append([event(f"{part.name}-{user}", user) for user in users])
        assert not part.forgotten
        found += [values["event_id"] for values in part.events]
        store.done(part)
    assert sorted(found) == sorted(f"before-{user}" for user in users)
    assert store.num_waiting() > len(users)
    assert [list(part.forgotten) for part in compacted(store, 1000) if part.forgotten] == [[user_key("gone")]]


def test_what_is_older_is_compacted_first(store: StateStore) -> None:
    users = [f"u{number}" for number in range(40)]
    store.append([event(f"before-{user}", user) for user in users])
    found, until_us = list[str](), 0
    for number in range(len(users)):
        store.append([event(f"{number}-{user}", user) for user in users])
        part = store.part(1)
        assert part is not None
        assert part.until_us > until_us
        until_us = part.until_us
        found += [values["event_id"] for values in part.events]
        store.done(part)
    assert sorted(found) == sorted(f"before-{user}" for user in users)


def test_a_forgotten_user_is_in_no_part_however_many_there_are(store: StateStore) -> None:
    store.append([event("1"), event("2"), event("3"), event("4", user_id="v")])
    forgotten_us = store.forget("u", now_us())
    parts = compacted(store, 1)
    assert [values["event_id"] for part in parts for values in part.events] == ["4"]
    assert [dict(part.forgotten) for part in parts if part.forgotten] == [{user_key("u"): forgotten_us}]
    assert store.part(1) is None


def test_where_nothing_waits_the_log_is_complete_until_the_end(store: StateStore) -> None:
    """Users who were forgotten until then are removed, so a log that is read up to there has nothing of them."""
    store.append([event("1")])
    forgotten_us = store.forget("u", now_us())
    until_us = max(part.until_us for part in compacted(store))
    assert until_us >= forgotten_us
    store.append([event("2", user_id="v")])
    (part,) = compacted(store)
    assert [values["received"] > until_us for values in part.events] == [True]


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


def test_a_user_who_is_forgotten_during_a_compaction_is_removed_by_the_next(store: StateStore) -> None:
    store.append([event("1")])
    part = store.part(10)
    store.forget("u", now_us())
    assert part == store.part(10), "the part stays the same"
    assert part is not None
    store.done(part)
    (rest,) = compacted(store)
    assert (len(rest.events), len(rest.forgotten)) == (0, 1)
