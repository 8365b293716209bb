"""What every state store must hold about the parts of its log, which compaction takes one after the other."""

from data.sources.event_log.users import user_key
from serve.events.protocol import StateStore
from tests.conformance.events import Opening, compacted, event, now_us


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


def test_a_user_is_forgotten_later_than_what_was_before_also_by_a_clock_that_is_behind(store: StateStore) -> None:
    store.append([event("1")])
    until_us = max(part.until_us for part in compacted(store))
    assert store.forget("u", now_us() - 1_000_000_000) > until_us


def test_where_nothing_waits_the_log_is_complete_until_the_end(store: StateStore) -> None:
    """Users who were forgotten until then are removed, so a log that is read up to there has nothing of them."""
    store.append([event("1")])
    forgotten_us = store.forget("u", now_us())
    until_us = max(part.until_us for part in compacted(store))
    assert until_us >= forgotten_us
    store.append([event("2", user_id="v")])
    (part,) = compacted(store)
    assert [values["received"] > until_us for values in part.events] == [True]


def test_a_user_who_is_forgotten_during_a_compaction_is_removed_by_the_next(store: StateStore) -> None:
    store.append([event("1")])
    part = store.part(10)
    store.forget("u", now_us())
    assert part == store.part(10), "the part stays the same"
    assert part is not None
    store.done(part)
    (rest,) = compacted(store)
    assert (len(rest.events), len(rest.forgotten)) == (0, 1)
