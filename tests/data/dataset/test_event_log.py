"""The source of events: events in the order of their acceptance, and what was shown and passed over."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.sources.event_log import decisions
from data.sources.event_log.files import EventLog
from data.sources.event_log.raw import event_blocks, skipped_blocks
from data.sources.event_types import EventType, is_negative
from data.sources.events import EventLogSource
from data.sources.schema import DataError
from data.sources.tables import TableFormat, TableSource
from data.sources.values.kept import with_ids
from tests.data.dataset.test_events import pairs

DAY, START_S = "2026-01-31", int(datetime(2026, 1, 31, 9, tzinfo=UTC).timestamp())
LATER = (START_S + 3600) * 1_000_000


def event(user: str, item: str, second: float, type: str = "click", **fields: Any) -> dict[str, Any]:
    time = int((START_S + second) * 1_000_000)
    values = {"event_id": f"{user}{item}{second}", "user_id": user, "item_id": item, "type": type, "time": time}
    return values | {"value": None, "context": {}, "request_id": None, "received": time + 500_000} | fields


def answer(id_: str, shown: str, not_shown: str = "", **fields: Any) -> dict[str, Any]:
    items = list(shown + not_shown)
    return {
        "request_id": id_, "kind": "recommend", "time": START_S * 1_000_000, "item_ids": items,
        "scores": [1.0] * len(items), "num_shown": len(shown), "context": [("daypart", "evening")],
    } | fields  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    """Events of three users, and three answers of which two were acted on."""
    storage = Folder.of(str(tmp_path / "endpoint"))
    log = EventLog.of(storage)
    acts = [
        event("u", "c", 5, request_id="1", context={"daypart": "evening", "channel": "app"}),
        event("u", "e", 6, request_id="1", received=int((START_S + 4) * 1_000_000)),
        event("v", "b", 7, request_id="2", type="dismiss"),
        event("w", "a", 7.9, request_id="3", type="impression"),
        event("u", "a", 7.2, received=int((START_S + 9) * 1_000_000)),
    ]
    log.write("part-1", acts)
    log.write("part-2", [event("u", "z", 8, received=LATER + 1)])
    log.set_until(LATER)
    shown = [answer("1", "abcde", "fg"), answer("2", "ab"), answer("3", "ab"), answer("4", "ab")]
    table = pa.Table.from_pylist(shown, schema=decisions.SCHEMA)
    decision_log = decisions.DecisionLog.of(storage)
    decision_log.folder.write_table(f".hours/{DAY}T09/a.parquet", table)
    decision_log.compact(datetime(2026, 2, 1, tzinfo=UTC))
    return storage


def test_a_file_that_compaction_deletes_while_the_log_is_read_is_left_out(storage: Folder) -> None:
    """The user of all of its events was forgotten."""
    blocks = event_blocks(storage.path, DAY, LATER, [])
    read = [next(blocks)]
    EventLog.of(storage).folder.delete_file(f"date={DAY}/part-2.parquet")
    assert [len(block) for block in (*read, *blocks)] == [5]


def rows(*blocks: pa.Table) -> list[tuple[Any, ...]]:
    table = pa.concat_tables(blocks)
    return list(zip(*(table[name].to_pylist() for name in ("user_id", "item_id", "type", "context")), strict=True))


def test_events_are_interactions_in_the_order_of_their_acceptance(storage: Folder) -> None:
    block = pa.concat_tables(event_blocks(storage.path, DAY, LATER, ["daypart"]))
    assert rows(block.sort_by([("time", "ascending"), ("position", "ascending")])) == [
        ("u", "c", "click", ["evening"]),
        ("u", "e", "click", [None]),
        ("v", "b", "dismiss", [None]),
        ("w", "a", "impression", [None]),
        ("u", "a", "click", [None]),
    ]
    assert set(block["time"].to_pylist()) == {START_S + second for second in (5, 6, 7)}


def test_what_stands_above_an_act_was_passed_over(storage: Folder) -> None:
    found = rows(*skipped_blocks(storage.path, DAY, LATER, ["daypart"], ["impression"], "skipped"))
    assert sorted(found) == [
        ("u", "a", "skipped", ["evening"]),
        ("u", "b", "skipped", ["evening"]),
        ("u", "d", "skipped", ["evening"]),
        ("v", "a", "skipped", ["evening"]),
    ]
    until = int((START_S + 5.4) * 1_000_000)
    assert [row[:2] for row in rows(*skipped_blocks(storage.path, DAY, until, [], ["impression"], "skipped"))] == [
        ("u", "a"), ("u", "b"), ("u", "c"), ("u", "d"),
    ], "of request 1, only the act on e was accepted by then"  # fmt: skip


def test_an_act_on_what_was_not_shown_passes_nothing_over(storage: Folder) -> None:
    """Clients send the request id of the latest answer with each act, also with one on an item found elsewhere."""
    shown = pa.Table.from_pylist([answer("5", "ab", "cg")], schema=decisions.SCHEMA)
    decision_log = decisions.DecisionLog.of(storage)
    decision_log.folder.write_table(f".hours/{DAY}T10/a.parquet", shown)
    decision_log.compact(datetime(2026, 2, 1, tzinfo=UTC))
    EventLog.of(storage).write("part-3", [event("x", "g", 9, request_id="5")])
    found = rows(*skipped_blocks(storage.path, DAY, LATER, [], ["impression"], "skipped"))
    assert {row[0] for row in found} == {"u", "v"}


def test_an_hour_that_is_compacted_while_a_log_is_read_waits_for_the_next_time(storage: Folder) -> None:
    """The survey has not seen its items: they would be unknown ones."""
    more = DAY, LATER, [], ["impression"], "skipped"
    assert not [*skipped_blocks(storage.path, *more, hours=["2026-01-31T08"])]
    (hour,) = decisions.DecisionLog.of(storage).hours_of(DAY)
    assert rows(*skipped_blocks(storage.path, *more, hours=[hour])) == rows(*skipped_blocks(storage.path, *more))


def test_a_request_id_of_several_users_says_nothing(storage: Folder) -> None:
    EventLog.of(storage).write("part-3", [event("x", "e", 9, request_id="1")])
    found = rows(*skipped_blocks(storage.path, DAY, LATER, [], ["impression"], "skipped"))
    assert [row[:2] for row in found] == [("v", "a")]


def test_ids_and_context_of_events_are_read_as_those_of_a_log(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    EventLog.of(storage).write(
        "part-1",
        [
            event("u", "a", 1, context={"daypart": "null"}),
            event("null", "a", 2),
            event("undefined", "null", 3),
            event("u", " ", 4),
            event("NA", "b", 5),
        ],
    )
    source = EventLogSource(root=storage.path, context=["daypart"])
    block = pa.concat_tables(event_blocks(storage.path, DAY, LATER, ["daypart"], source.missing_spellings()))
    assert rows(with_ids(block)) == [("u", "a", "click", [None]), ("NA", "b", "click", [None])]
    assert block["missing"].to_pylist() == [None, "events.user_id", "events.user_id", "events.item_id", None]


def test_spellings_of_events_are_added_to_those_of_the_log_from_before() -> None:
    base = TableSource(format=TableFormat.csv, interactions="log", missing=["-"])
    assert EventLogSource(root="s", base=base, base_type="click", missing=["?"]).missing_spellings() == ("-", "?")


def test_acts_without_a_user_pass_nothing_over(storage: Folder) -> None:
    EventLog.of(storage).write("part-3", [event("null", "b", 9, request_id="4")])
    more = DAY, LATER, [], ["impression"], "skipped"
    assert ("null", "a", "skipped", None) in rows(*skipped_blocks(storage.path, *more))
    assert not [row for row in rows(*skipped_blocks(storage.path, *more, ("null",))) if row[0] in (None, "null")]


@pytest.mark.slow
def test_events_without_an_id_are_left_out_and_counted(ray_session: None, storage: Folder, tmp_path: Path) -> None:
    log = EventLog.of(storage)
    log.write("part-3", [event("null", "b", second) for second in (9, 10, 11)] + [event("v", "undefined", 12)])
    said: list[str] = []
    dataset = prepare(load(overrides(storage)).data, Folder.of(str(tmp_path / "var")), said.append)
    assert dataset.manifest["missing"] == {"events.item_id": 1, "events.user_id": 3}
    note = "3 events are left out, whose user_id is blank or spelled as in data.source.missing"
    assert note in dataset.notes and any(note in line for line in said)
    assert not {"null", "undefined"} & {*dataset.users.ids.values.to_pylist(), *dataset.items.ids.values.to_pylist()}
    kept = prepare(load(overrides(storage, "data.source.missing=[]")).data, Folder.of(str(tmp_path / "var")))
    assert "null" in kept.users.ids.values.to_pylist()


@pytest.mark.slow
def test_events_that_were_written_before_they_count_make_another_dataset(
    ray_session: None, storage: Folder, tmp_path: Path
) -> None:
    """A compaction writes a part first, and says then that it is complete; the part's file is the same."""
    log, var = EventLog.of(storage), Folder.of(str(tmp_path / "var"))
    log.write("part-3", [event("v", "b", second) for second in (9, 10, 11)])
    before = prepare(load(overrides(storage)).data, var)
    log.set_until(LATER + 1)
    after = prepare(load(overrides(storage)).data, var)
    assert "z" not in before.items.ids.values.to_pylist() and "z" in after.items.ids.values.to_pylist()
    said: list[str] = []
    prepare(load(overrides(storage)).data, var, said.append)
    assert "already prepared" in said[0]


def overrides(storage: Folder, *more: str) -> list[str]:
    return ["data=events", f"storage.root={storage.path}", *more]


@pytest.mark.slow
def test_a_dataset_of_a_log_from_before_and_its_events(ray_session: None, storage: Folder, tmp_path: Path) -> None:
    base = ["num_users=30", "num_items=30", "num_clusters=3", "interactions_per_user=5", "cold_item_share=0"]
    config = load(
        overrides(
            storage,
            "data/source@data.source.base=synthetic",
            "data.source.base_type=like",
            *(f"data.source.base.{value}" for value in base),
        )
    )
    dataset = prepare(config.data, Folder.of(str(tmp_path / "var")))
    assert dataset.manifest["events_until_us"] == dataset.manifest["log_read_us"] == LATER
    assert dataset.events_until("train", "validation", "test") == {"events_until_us": LATER}
    test_from_s = dataset.manifest["boundaries"]["test_from"]
    assert dataset.events_until("train", "validation") == {
        "events_until_us": LATER,
        "events_before_us": test_from_s * 1_000_000,
    }
    positives = pairs(dataset, dataset.interactions("train", "validation", "test"))
    assert [row for row in positives if row[2] != "like"] == [
        ("u", "c", "click"),
        ("u", "e", "click"),
        ("u", "a", "click"),
    ]
    assert len(positives) > 30 and dataset.context == ("daypart",)
    others = dataset.of_types(dataset.others("train", "validation", "test"), is_negative)
    assert sorted(pairs(dataset, others)) == [
        ("u", "a", "skipped"), ("u", "b", "skipped"), ("u", "d", "skipped"),
        ("v", "a", "skipped"), ("v", "b", "dismiss"),
    ]  # fmt: skip
    again = prepare(config.data, Folder.of(str(tmp_path / "var")))
    assert again.fingerprint == dataset.fingerprint
    EventLog.of(storage).write("part-3", [event("u", "b", 9)])
    assert prepare(config.data, Folder.of(str(tmp_path / "var"))).fingerprint != dataset.fingerprint


def test_wrong_values_are_named(tmp_path: Path) -> None:
    empty = Folder.of(str(tmp_path))
    with pytest.raises(DataError, match="events: no events yet; post some to /v1/events"):
        load(overrides(empty)).data.source.read()
    with pytest.raises(ConfigError, match=r"data\.source\.base_type: null; name the type"):
        load(overrides(empty, "data/source@data.source.base=synthetic"))
    with pytest.raises(ConfigError, match=r"events\.types\.skipped: is what data\.source\.skipped means"):
        EventLogSource(root="x", types={"skipped": EventType()})
