"""A state store has one event log: two endpoints that share a store by mistake do not take events from each other."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.event_log.files import EventLog
from data.sources.event_log.identity import ID
from data.sources.event_log.log_from_before import note_of_base
from data.sources.event_log.users import user_key
from serve.events.compaction import LogCompactor, compact
from serve.events.notes.values import differences
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event, now_us


def test_a_store_of_another_endpoint_is_not_compacted(tmp_path: Path) -> None:
    """Each endpoint took some of the events, and who was forgotten at one was removed at either, at random."""
    store = SqliteStore(config(path=str(tmp_path / "events.sqlite")))
    mine, other = Folder.of(str(tmp_path / "mine")), Folder.of(str(tmp_path / "other"))
    values = config(store="redis", uri="redis://:secret@redis:6379/0")
    store.append([event("1")])
    assert compact(values, store, mine) == 1
    store.append([event("2")])
    store.forget("v", now_us())
    with pytest.raises(ConfigError) as refused:
        compact(values, store, other)
    said, (its, here) = str(refused.value), [f"{tmp_path}/{name}/events" for name in ("mine", "other")]
    assert said.startswith("events.store: redis at redis://***@redis:6379/0 has the events of an endpoint whose event")
    assert f"log is {its}, not {here}: give this endpoint another database" in said
    assert "\n" not in said
    assert not EventLog.of(other).files()
    assert compact(values, store, mine) == 1
    assert user_key("v") in EventLog.of(mine).folder.read_json("_forgotten.json")


def test_a_storage_root_that_was_moved_with_its_files_goes_on(tmp_path: Path) -> None:
    values = config(path=str(tmp_path / "events.sqlite"))
    store = SqliteStore(values)
    compact(values, store, Folder.of(str(tmp_path / "before")))
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    store.append([event("1")])
    assert compact(values, store, Folder.of(str(tmp_path / "after"))) == 1
    with pytest.raises(ConfigError, match=f"whose event log is {tmp_path}/after/events, not"):
        compact(values, store, Folder.of(str(tmp_path / "third")))


def test_a_root_that_takes_the_place_of_another_one_is_named_by_its_id(tmp_path: Path) -> None:
    """As where the files of before are gone: compaction says at each round what to write."""
    values, said = config(path=str(tmp_path / "events.sqlite")), list[str]()
    store, after = SqliteStore(values), tmp_path / "after"
    compact(values, store, Folder.of(str(tmp_path / "before")))
    store.append([event("1")])
    LogCompactor(values, Folder.of(str(after)), said.append).watch(lambda _: True)
    (line,) = said
    assert line.startswith("events: not compacted: events.store: sqlite at ")
    (after / "events" / ID).write_text(line.partition(", or write ")[2].partition(" into ")[0])
    assert compact(values, store, Folder.of(str(after))) == 1


def test_who_was_forgotten_at_the_other_endpoint_is_not_told_to_the_store(tmp_path: Path) -> None:
    """Nor by which values it computes the states of users."""
    values, other = config(path=str(tmp_path / "events.sqlite"), history=50), Folder.of(str(tmp_path / "other"))
    store = SqliteStore(values)
    store.append([event("1")])
    LogCompactor(values, Folder.of(str(tmp_path / "mine"))).watch(lambda _: True)
    EventLog.of(other).folder.create()
    note_of_base(EventLog.of(other), {user_key("u"): now_us()})
    LogCompactor(replace(values, history=100), other, lambda _: None).watch(lambda _: True)
    assert (len(store.read(["u"])[0].events), differences(values, store)) == (1, [])
