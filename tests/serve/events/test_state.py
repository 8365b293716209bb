"""The state of a user: order, bounds, what counts as seen, and counters worked by hand."""

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.json_text import json_text
from data.sources.event_types import EventType, Sign
from serve.events.config import EventsConfig
from serve.events.event import MICROS, Event
from serve.events.recent import Happening
from serve.events.state import DAY_US, ReleasedEvents, UserState
from tests.conformance.events import config, event

NOW = 1_700_000_000 * MICROS


def after(*events: Event, **values: object) -> UserState:
    state = UserState()
    for number, one in enumerate(events):
        state = state.with_events([(one, NOW + number)], config(**values))
    return UserState.decode(state.encode_within(config(**values)))


def test_events_are_in_the_order_of_training() -> None:
    """By the second, and within it as they were accepted."""
    late = event("1", item_id="late", time_us=NOW + 900_000)
    early = event("2", item_id="early", time_us=NOW + 100_000)
    before = event("3", item_id="before", time_us=NOW - MICROS)
    state = after(late, early, before)
    assert [*state.positives(config()).item_id] == ["before", "late", "early"]


def test_all_of_an_event_is_kept() -> None:
    plain = event("1", item_id="plain", time_us=NOW)
    rich = event("2", item_id="rich", type="view", time_us=NOW + MICROS, value=2.5, context={"surface": "app"})
    kept = after(plain, rich).events
    assert [*kept] == [
        Happening(NOW, NOW, "plain", "click", None, {}),
        Happening(NOW + MICROS, NOW + 1, "rich", "view", 2.5, {"surface": "app"}),
    ]
    assert (kept[-1], [*kept[1:]], [*kept[:0]]) == ([*kept][1], [*kept][1:], [])
    assert [*kept[::-1]] == [*reversed(kept)] == [*kept][::-1]
    assert UserState.decode(UserState().encode()) == UserState()


def test_a_state_from_before_its_events_had_columns_opens() -> None:
    rows = [[NOW, NOW, "a", "click", None, {}], [NOW + MICROS, NOW + 1, "b", "view", 1.5, {"surface": "app"}]]
    counts = {"click": [1, 1.0, NOW]}
    opened = UserState.decode(json_text({"events": rows, "seen": {"a": NOW}, "counts": counts, "forgotten": None}))
    assert [*opened.events] == [Happening(*row) for row in rows]
    assert UserState.decode(opened.encode()) == opened


def test_the_latest_events_are_kept() -> None:
    state = after(*(event(str(n), item_id=str(n), time_us=NOW + n * MICROS) for n in range(9)), history=4)
    assert [*state.positives(config()).item_id] == ["5", "6", "7", "8"]
    assert state.counts["click"].total == 9
    assert sorted(state.seen_at(NOW, config())) == sorted(str(n) for n in range(9))


def test_no_number_of_other_events_displaces_positives() -> None:
    bought = [event(f"b{n}", item_id=f"b{n}", time_us=NOW + n * MICROS) for n in range(3)]
    other = [
        event(f"o{n}", item_id=f"o{n}", type=type, time_us=NOW + (10 + n) * MICROS)
        for n, type in enumerate(["impression", "dismiss"] * 10)
    ]
    state = after(*bought, *other, history=5)
    assert [e.item_id for e in state.events] == ["b0", "b1", "b2", "o18", "o19"]
    state = after(*bought, *other, event("b3", item_id="b3", time_us=NOW + 99 * MICROS), history=3)
    assert [e.item_id for e in state.events] == ["b1", "b2", "b3"]


def test_positives_stay_within_the_bytes_too() -> None:
    bought = event("b", item_id="b", time_us=NOW)
    shown = [event(str(n), item_id="x" * 200, type="impression", time_us=NOW + n * MICROS) for n in range(1, 60)]
    state = after(bought, *shown, max_state_bytes=4096)
    assert [*state.positives(config()).item_id] == ["b"]
    assert 1 < len(state.events) < 60


def test_the_latest_context_stays_with_positives() -> None:
    bought = [event(f"b{n}", item_id=f"b{n}", time_us=NOW + n * MICROS) for n in range(5)]
    shown = event("s", type="impression", time_us=NOW + 9 * MICROS, context={"channel": "app"})
    later = event("t", type="impression", time_us=NOW + 10 * MICROS)
    state = after(*bought, shown, later, history=4)
    assert state.context(NOW + 10 * MICROS, config()) == {"channel": "app"}
    assert [*state.positives(config()).item_id] == ["b2", "b3", "b4"]


def test_types_decide_about_history_and_seen() -> None:
    kinds = ("click", "view", "dismiss", "impression")
    state = after(*(event(kind, item_id=kind, type=kind, time_us=NOW) for kind in kinds))
    assert [*state.positives(config()).item_id] == ["click", "view"]
    assert sorted(state.seen_at(NOW, config())) == ["click", "dismiss"]
    assert {name: counter.total for name, counter in state.counts.items()} == dict.fromkeys(kinds, 1)


def test_seen_items_are_forgotten_after_their_time() -> None:
    values = config(seen_days=2.0)
    state = after(
        event("1", item_id="old", time_us=NOW - DAY_US), event("2", item_id="new", time_us=NOW), seen_days=2.0
    )
    assert sorted(state.seen_at(NOW, values)) == ["new", "old"]
    assert state.seen_at(NOW + DAY_US + MICROS, values) == ["new"]


def test_a_state_keeps_to_its_bytes() -> None:
    events = [event(str(n), item_id=f"{n}-{'x' * 200}", time_us=NOW + n * MICROS) for n in range(60)]
    state = after(*events, max_state_bytes=4096)
    assert len(state.encode()) <= 4096
    kept = [*state.positives(config()).item_id]
    assert kept == [e.item_id for e in events[-len(kept) :]]
    assert 0 < len(kept) < 60


def test_counters_decay() -> None:
    values = config(half_life_days=1.0)
    state = after(event("1", time_us=NOW), event("2", time_us=NOW + DAY_US), half_life_days=1.0)
    assert state.counts["click"].decayed == pytest.approx(1.5)
    assert state.counts["click"].decayed_at(NOW + 2 * DAY_US, values) == pytest.approx(0.75)
    late = after(event("1", time_us=NOW + DAY_US), event("2", time_us=NOW), half_life_days=1.0)
    assert late.counts == state.counts


def test_the_last_context_counts_for_a_while() -> None:
    state = after(event("1", time_us=NOW, context={"channel": "app"}), event("2", time_us=NOW + MICROS))
    assert state.context(NOW + 60 * MICROS, config(context_s=60)) == {"channel": "app"}
    assert state.context(NOW + 61 * MICROS, config(context_s=60)) == {}


def test_events_that_a_release_has_learnt_are_not_repeated() -> None:
    state = after(event("1", item_id="a", time_us=NOW), event("2", item_id="b", time_us=NOW))
    assert [*state.positives(config(), ReleasedEvents(NOW)).item_id] == ["b"]


def test_around_the_boundary_of_a_split_an_event_counts_once_however_late_it_came() -> None:
    """The release's history has what happened before the boundary and was accepted until the log was read."""
    boundary, read = NOW, NOW + 3600 * MICROS
    happened = {
        "late": (boundary - 1, boundary + 60 * MICROS),
        "early": (boundary + 30 * MICROS, boundary - 30 * MICROS),
        "in it": (boundary - 60 * MICROS, boundary - 59 * MICROS),
        "after it": (boundary, boundary + 1),
        "not read": (boundary - 60 * MICROS, read + 1),
    }
    events = [(event(name, item_id=name, time_us=time_us), at) for name, (time_us, at) in happened.items()]
    state = UserState().with_events(events, config())
    said = {"events_until_us": read, "events_before_us": boundary}
    assert set(state.positives(config(), ReleasedEvents.of_dataset(said)).item_id) == {"early", "after it", "not read"}
    earlier_version = {"events_until_us": boundary}
    assert set(state.positives(config(), ReleasedEvents.of_dataset(earlier_version)).item_id) == {
        "late", "after it", "not read",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"store": "mysql"}, "events.store: 'mysql' is unknown; known are"),
        ({"types": {"hide": EventType(sign=Sign.negative)}}, r"events.types: \['hide'\]: at least one must have"),
        ({"types": {"": EventType()}}, "events.types: '' must be 1 to 64"),
        ({"types": {"click": EventType()}, "path": "s3://bucket/x"}, "events.path: s3://bucket/x must be a file"),
        ({"types": {"click": EventType()}, "history": 0}, r"events.history: 0 must lie in 1..1000"),
    ],
)
def test_a_config_that_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        EventsConfig(**values)  # type: ignore[arg-type]
