"""A change of an endpoint that runs to another store of events leaves nothing in the former one, or is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.event_log.files import EventLog
from data.sources.event_log.log_from_before import forgotten_of_base
from data.sources.event_log.users import user_key
from serve.deployment.declared import deploy_config
from serve.deployment.in_place.events import FormerStore, emptying, former_store
from serve.events.compaction import compact
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import event, now_us

REDIS = ("events=redis", "events.uri=redis://r:1/0")


def former(*started: str, typed: tuple[str, ...] = REDIS) -> FormerStore | None:
    """What a command leaves of an endpoint that was started with these overrides."""
    config = load(started)
    declared = deploy_config(config, events=config.events.on_this_machine())["applications"]
    new = load((*started[:1], *typed)).events.on_this_machine()
    return former_store({application["name"]: application for application in declared}, new)


def test_what_waits_before_and_during_the_change_is_in_the_event_log(tmp_path: Path) -> None:
    """Nothing compacted it any more."""
    left = former(f"storage.root={tmp_path}")
    assert left is not None
    store, said = SqliteStore(left.events), list[str]()
    store.append([event("1")])
    forgotten_us = store.forget("w", now_us())
    with emptying(left, progress=said.append):
        store.append([event("2")])
    log = EventLog.of(Folder.of(str(tmp_path)))
    assert sorted(id_ for file in log.files() for id_ in log.read(file)["event_id"].to_pylist()) == ["1", "2"]
    assert store.num_waiting() == 0
    assert forgotten_of_base(log) == {user_key("w"): forgotten_us}
    assert "state/events.sqlite is left: what waits there goes into the event log" in said[0]
    assert "1 events have come there meanwhile" in said[1]


def test_the_store_that_follows_is_not_warned_of_the_one_that_was_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For a day it was told that events of one of two stores may be missing."""
    left, storage = former(f"storage.root={tmp_path}"), Folder.of(str(tmp_path))
    assert left is not None
    SqliteStore(left.events).append([event("1")])
    with emptying(left, progress=lambda _: None):
        pass
    after = load(("events.path=state/after.sqlite",)).events.on_this_machine()
    values = replace(after, path=str(tmp_path / "after.sqlite"))
    compact(values, SqliteStore(values), storage)
    assert "two stores" not in caplog.text
    compact(left.events, SqliteStore(left.events), storage)
    assert "two stores" in caplog.text, "both are in use"


@pytest.mark.parametrize(
    ("started", "typed", "is_left"),
    [
        ((), REDIS, True),
        ((), ("serve.timeout_ms=100",), False),
        ((), ("events=off",), True),
        ((), ("events.path=/srv/e.sqlite",), True),
        (("events=off",), REDIS, False),
        (REDIS, REDIS, False),
        (REDIS, ("events=redis", "events.uri=redis://other:1/0"), True),
    ],
)
def test_a_store_is_left_where_another_one_takes_its_place(
    tmp_path: Path, started: tuple[str, ...], typed: tuple[str, ...], is_left: bool
) -> None:
    assert (former(f"storage.root={tmp_path}", *started, typed=typed) is not None) is is_left


def test_a_store_that_cannot_be_emptied_is_not_left_unless_that_is_wanted(tmp_path: Path) -> None:
    left, said = former(f"storage.root={tmp_path}"), list[str]()
    with (
        pytest.raises(ConfigError, match=r"events\.store: .* there is no .*sqlite on this machine.* add replace=true"),
        emptying(left, progress=said.append),
    ):
        raise AssertionError("the change was made")
    with emptying(left, replaces=True, progress=said.append):
        pass
    assert "what waits there is not in the event log" in said[-1]
    assert not (tmp_path / "state").exists(), "no file was made"
