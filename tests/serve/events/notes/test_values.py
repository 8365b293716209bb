"""The states of users are computed by the endpoint's values, also by processes that take events from elsewhere."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.event_types import EventType
from serve.events.compaction import LogCompactor
from serve.events.config import EventsConfig
from serve.events.notes import values as of_values
from serve.events.notes.values import VALUES, EndpointValues, note_values
from serve.events.sqlite_store import SqliteStore
from serve.ingest import task
from tests.conformance.events import TYPES, config


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "events.sqlite"))


@pytest.fixture
def store(values: EventsConfig) -> SqliteStore:
    return SqliteStore(values)


def test_an_ingest_with_other_values_takes_nothing(tmp_path: Path) -> None:
    """It kept 100 events of users whose endpoint was told to keep 50, and counted items as seen that it did not."""
    overrides = ["ingest.bootstrap=127.0.0.1:1", "ingest.topic=events", f"storage.root={tmp_path}"]
    endpoint = load([f"storage.root={tmp_path}", "events.history=50", "events.types.view.seen=true"])
    LogCompactor(endpoint.events, Folder.of(str(tmp_path))).watch(lambda _: True)
    with pytest.raises(ConfigError) as refused:
        task(load(overrides))
    said = str(refused.value)
    assert said.startswith("events.history: 100 here, 50 at the endpoint; events.types.view.seen: false here, true at")
    assert said.endswith("start serve.ingest with those of the endpoint, such as the same overrides and --config-dir")


def test_a_type_that_one_of_both_lacks_is_a_difference(values: EventsConfig, store: SqliteStore) -> None:
    note_values(replace(values, types=TYPES | {"save": EventType(seen=False)}), store)
    with pytest.raises(ConfigError, match=r"^events\.types\.save\.sign: none here, positive at the endpoint; .*save\."):
        EndpointValues(values, store).require()


def test_where_there_is_no_endpoint_it_is_said(values: EventsConfig, store: SqliteStore) -> None:
    """As of another Redis, or of a file that was made right now."""
    said = list[str]()
    EndpointValues(values, store, said.append).require()
    assert said == [
        f"ingest: no endpoint has compacted {values.place} yet: see that it is the endpoint's store, or nobody learns"
        " of these events"
    ]
    note_values(values, store)
    EndpointValues(values, store, said.append).require()
    assert len(said) == 1


def test_a_change_of_the_endpoint_is_told_once(
    values: EventsConfig, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    note_values(values, store)
    watched = EndpointValues(values, store, said.append)
    monkeypatch.setattr(of_values, "LOOK_S", 0.0)
    watched.look()
    note_values(replace(values, seen_days=30.0), store)
    for _ in range(2):
        watched.look()
    assert [line[:60] for line in said] == ["ingest: events.seen_days: 90.0 here, 30.0 at the endpoint: u"]


def test_a_damaged_note_is_written_anew_by_the_endpoint(values: EventsConfig, store: SqliteStore) -> None:
    store.note(VALUES, "[")
    note_values(values, store)
    EndpointValues(values, store).require()


def test_it_is_said_until_when_ids_that_were_kept_for_less_are_missed(values: EventsConfig, store: SqliteStore) -> None:
    """Events of 20 days ago that had been accepted, and were sent again, counted twice without a word."""
    said = list[str]()
    for days in (7.0, 30.0, 30.0, 7.0, 3e38):
        note_values(replace(values, max_age_days=days), store, said.append)
    until = f"{datetime.now(UTC) + timedelta(days=23):%Y-%m-%d}"
    assert said[0] == (
        "events.max_age_days: it was 7 and is 30. Ids of events were kept for 8 days, so until"
        f" {until} an event that was accepted before these began, and is sent again, counts twice"
    )
    assert len(said) == 2
